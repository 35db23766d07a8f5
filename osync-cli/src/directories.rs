//! The two directories of the command line: looked up, made, kept apart, named.
//!
//! Everything is checked before anything is made, and every refusal says what to do instead.

use std::fs;
use std::path::{Path, PathBuf};

use osync_core::model::sink_id::SinkId;

use crate::render::printable;

/// The source directory's canonical path.
pub(crate) fn existing(directory: &Path) -> Result<PathBuf, String> {
    let shown = directory.display();
    let canonical = directory.canonicalize().map_err(|error| {
        format!("cannot use source {shown}: {error}: name an existing directory")
    })?;
    if canonical.is_dir() {
        Ok(canonical)
    } else {
        Err(format!("cannot use source {shown}: not a directory: name an existing directory"))
    }
}

/// Makes the target directory if it is absent; returns its canonical path.
pub(crate) fn made(directory: &Path) -> Result<PathBuf, String> {
    fs::create_dir_all(directory).and_then(|()| directory.canonicalize()).map_err(|error| {
        let shown = directory.display();
        format!("cannot make target {shown}: {error}: name a directory that can be written")
    })
}

/// The path of `target`, if neither directory lies in the other. Made sure of before anything is made.
pub(crate) fn apart(source: &Path, target: &Path) -> Result<PathBuf, String> {
    let refused = |why: &str| {
        let (source, target) = (source.display(), target.display());
        Err(format!("cannot mirror {source} into {target}: {why}: name two separate directories"))
    };
    // The part that exists is resolved; what is still to be made cannot hold links.
    let absolute = std::path::absolute(target).map_err(|error| error.to_string())?;
    let mut resolved = None;
    for ancestor in absolute.ancestors() {
        if let Ok(canonical) = ancestor.canonicalize() {
            let rest = absolute.strip_prefix(ancestor).expect("an ancestor is a prefix");
            resolved = Some(canonical.join(rest));
            break;
        }
    }
    let Some(resolved) = resolved else {
        return refused("no part of the target's path can be looked up");
    };
    if resolved.components().any(|component| component.as_os_str() == "..") {
        return refused("'..' below a directory that does not exist");
    }
    if resolved.starts_with(source) || source.starts_with(&resolved) {
        return refused("one of them is or holds the other");
    }
    Ok(resolved)
}

/// Host name and path, cut to the longest name a sink may have.
pub(crate) fn sink_name(target: &Path) -> Result<SinkId, String> {
    let host = rustix::system::uname();
    let mut name =
        printable(&format!("{}:{}", host.nodename().to_string_lossy(), target.display()));
    while name.len() > SinkId::BYTES_MAX {
        name.pop();
    }
    SinkId::new(name).map_err(|error| format!("cannot name this sink: {error}: give --name"))
}
