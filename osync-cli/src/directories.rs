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
    let resolved = match resolved(target) {
        Ok(resolved) => resolved,
        Err(why) => return refused(&why),
    };
    if resolved.starts_with(source) || source.starts_with(&resolved) {
        return refused("one of them is or holds the other");
    }
    Ok(resolved)
}

/// Makes sure that `trash` is not in `source`, where what is kept would be replicated.
pub(crate) fn outside(source: &Path, trash: &Path) -> Result<(), String> {
    let refused = |why: &str| {
        format!("cannot keep a trash in {}: {why}: name another directory", trash.display())
    };
    let resolved = resolved(trash).map_err(|why| refused(&why))?;
    if resolved.starts_with(source) { Err(refused("it lies in the source")) } else { Ok(()) }
}

/// The path of a directory that need not be there yet. The part that exists is resolved; what is still to be made
/// cannot hold links.
fn resolved(directory: &Path) -> Result<PathBuf, String> {
    let absolute = std::path::absolute(directory).map_err(|error| error.to_string())?;
    let mut ancestors = absolute.ancestors();
    let found = ancestors.find_map(|ancestor| Some((ancestor, ancestor.canonicalize().ok()?)));
    let (ancestor, canonical) = found.ok_or("no part of its path can be looked up")?;
    let resolved =
        canonical.join(absolute.strip_prefix(ancestor).expect("an ancestor is a prefix"));
    if resolved.components().any(|component| component.as_os_str() == "..") {
        return Err("'..' below a directory that does not exist".to_owned());
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
