//! What a change feed reports.

use crate::model::rel_path::RelPath;

/// How urgent a changed entry is, and what of it changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Touch {
    /// Its content or existence changed and it is whole now: closed after writing, created at once, linked, deleted.
    Settled,
    /// It is being written: look once it has been quiet for a moment.
    Writing,
    /// Only mode, owner or times changed.
    Metadata,
}

/// One hint of a change feed: "look here now".
///
/// A hint is never believed, only looked into, so a repeated, late or needless one costs work and no
/// correctness. A lost one must be made good by [`Change::Lost`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Change {
    /// The entry at `path` may differ: made, changed or gone. For a directory: its own metadata.
    Entry {
        /// The entry.
        path: RelPath,
        /// What happened to it.
        touch: Touch,
    },
    /// Anything at or below `path` may differ: a directory that appeared.
    Subtree {
        /// The top of what may differ.
        path: RelPath,
    },
    /// A directory came to `path` with what it holds, from where nothing is reported. What a sink has there may be
    /// another directory, whose files look the same.
    MovedIn {
        /// Where it lies.
        path: RelPath,
    },
    /// What lay at `from` lies at `to` now, with everything below it.
    Renamed {
        /// Where it lay.
        from: RelPath,
        /// Where it lies.
        to: RelPath,
        /// Whether it is a directory.
        is_directory: bool,
    },
    /// Reports were lost or could not be had: anything at or below `scope` may differ.
    Lost {
        /// The top of what may differ.
        scope: RelPath,
        /// Why, for the log: one line.
        reason: String,
    },
    /// From here on every change in the whole tree is reported. Said once after the start.
    Ready,
    /// Part of the tree cannot be watched; the feed reports it as [`Change::Lost`] from time to time instead.
    Unwatched {
        /// The top of what is not watched.
        scope: RelPath,
        /// Why, and what to do about it: one line.
        reason: String,
    },
    /// Everything that had happened before [`ChangeFeed::fence`] was called with this cookie has been reported.
    ///
    /// [`ChangeFeed::fence`]: crate::ports::change_feed::ChangeFeed::fence
    Fence {
        /// The cookie of the call.
        cookie: u64,
    },
    /// The feed has ended and reports nothing more.
    Failed {
        /// Why, and what to do about it: one line.
        reason: String,
    },
}
