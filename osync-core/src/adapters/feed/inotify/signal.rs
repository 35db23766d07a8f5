//! What an event of `notify` means, in few bytes.

use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use notify::event::{AccessKind, AccessMode, EventKind, ModifyKind, RenameMode};

use crate::adapters::feed::tree::is_reserved;
use crate::model::change::Touch;
use crate::model::rel_path::RelPath;

/// One event, ready for the queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Signal {
    /// Something appeared at the path or went away; how far a regular file there has got.
    Named(RelPath, Touch),
    /// Something left the path; the second half with the same cookie says where it went.
    Departed(RelPath, usize),
    /// Something arrived at the path; the first half with the same cookie said where it came from.
    Arrived(RelPath, usize),
    /// The entry was touched where it is.
    Touched(RelPath, Touch),
    /// A fence came back through this file.
    Fence(usize),
    /// Events were lost, for this reason.
    Lost(String),
}

/// Translates an event; `None` if it means nothing here.
pub(super) fn translate(
    root: &Path,
    fences: &[PathBuf; 2],
    event: notify::Result<notify::Event>,
) -> Option<Signal> {
    let event = match event {
        Ok(event) => event,
        Err(error) => return Some(Signal::Lost(format!("reading events failed: {error}"))),
    };
    if event.need_rescan() {
        let reason = "the kernel's queue overflowed (fs.inotify.max_queued_events bounds it)";
        return Some(Signal::Lost(reason.to_owned()));
    }
    let absolute = event.paths.first()?;
    if let Some(index) = fences.iter().position(|fence| fence == absolute) {
        return Some(Signal::Fence(index));
    }
    let relative = absolute.strip_prefix(root).ok()?;
    let path = RelPath::new(relative.as_os_str().as_bytes()).ok()?;
    if is_reserved(&path) {
        return None;
    }
    match event.kind {
        EventKind::Create(_) => Some(Signal::Named(path, Touch::Writing)),
        EventKind::Remove(_) => Some(Signal::Named(path, Touch::Settled)),
        // A directory that says it has itself moved carries no cookie; the one above says more.
        EventKind::Modify(ModifyKind::Name(RenameMode::From)) => {
            event.tracker().map(|cookie| Signal::Departed(path, cookie))
        }
        EventKind::Modify(ModifyKind::Name(RenameMode::To)) => {
            event.tracker().map(|cookie| Signal::Arrived(path, cookie))
        }
        EventKind::Modify(ModifyKind::Data(_)) => Some(Signal::Touched(path, Touch::Writing)),
        EventKind::Modify(ModifyKind::Metadata(_)) => Some(Signal::Touched(path, Touch::Metadata)),
        EventKind::Access(AccessKind::Close(AccessMode::Write)) => {
            Some(Signal::Touched(path, Touch::Settled))
        }
        // Both halves of a rename once more, and what is never asked for.
        EventKind::Modify(ModifyKind::Name(_) | ModifyKind::Any | ModifyKind::Other)
        | EventKind::Access(_)
        | EventKind::Any
        | EventKind::Other => None,
    }
}
