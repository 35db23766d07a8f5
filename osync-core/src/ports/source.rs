//! Where entries come from.

use crate::model::fidelity::Fidelity;
use crate::model::metadata::{Entry, Metadata, Stamp};
use crate::model::name::Name;
use crate::model::rel_path::RelPath;

/// A tree of entries that is being replicated.
///
/// Called from several reader threads at once, while the tree changes underneath. A vanished entry is
/// normal and is `None`, never an error; an error means "cannot tell", and nothing is ever removed at a
/// sink because of one. Paths come from a sink or a change feed and may name anything: an
/// implementation looks below its root only, and follows no symbolic link.
///
/// `osync_core::testing::conformance::source` has the tests an implementation must pass.
pub trait Source: Send + Sync {
    /// Which metadata this source can tell.
    fn fidelity(&self) -> Fidelity {
        Fidelity::FULL
    }

    /// What lies at `path` now, not following a symbolic link; `None` if nothing does, or nothing that
    /// can be replicated (a socket, a device).
    ///
    /// # Errors
    /// [`SourceError`] if that cannot be told. In particular [`SourceError::RootLost`] rather than `None`
    /// when the whole tree is not there.
    fn metadata(&self, path: &RelPath) -> Result<Option<(Metadata, Stamp)>, SourceError>;

    /// The entries of `directory` with names above `after` (all, if `None`), in ascending bytewise order
    /// of their names, `limit` (at least 1) at the most; `None` if there is no such directory.
    ///
    /// Pages of one directory are asked for in order, other calls in between. Entries that vanish
    /// between listing and looking are left out.
    ///
    /// # Errors
    /// [`SourceError`] if the page would not be complete.
    fn list(
        &self,
        directory: &RelPath,
        after: Option<&Name>,
        limit: usize,
    ) -> Result<Option<Page>, SourceError>;

    /// Opens the regular file at `path`; `None` if there is none (any more).
    ///
    /// # Errors
    /// [`SourceError`] if it exists and cannot be read.
    fn open(&self, path: &RelPath) -> Result<Option<Box<dyn SourceFile>>, SourceError>;
}

/// One open regular file of a [`Source`]. Used by one thread at a time.
pub trait SourceFile: Send {
    /// Metadata and stamp of the open file as of now, even if its name has gone or names another file.
    ///
    /// # Errors
    /// [`SourceError`] if that cannot be told.
    fn metadata(&mut self) -> Result<(Metadata, Stamp), SourceError>;

    /// Reads into `buffer` from `offset_bytes`; returns how many bytes, 0 only at the end of the file.
    ///
    /// # Errors
    /// [`SourceError`] if the bytes cannot be read.
    fn read_at(&mut self, offset_bytes: u64, buffer: &mut [u8]) -> Result<usize, SourceError>;
}

/// Part of the listing of one directory.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Page {
    /// Entries in ascending bytewise order of their names, each name once.
    pub entries: Vec<Entry>,
    /// Whether names above the last one follow. `false` ends the directory.
    pub has_more: bool,
}

/// Why a source could not tell or read something.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SourceError {
    /// The operating system refused.
    #[error("cannot {verb} {path}")]
    Io {
        /// What was tried: `open`, `read`, `list`.
        verb: &'static str,
        /// On which entry.
        path: RelPath,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// The root is gone, unmounted or another one: nothing below it can be told.
    #[error("the source directory is not there: {reason}")]
    RootLost {
        /// What was found instead: one line.
        reason: String,
    },
    /// A path became too long to name.
    #[error("cannot name an entry of {directory}")]
    Path {
        /// The directory.
        directory: RelPath,
        /// What is wrong with the name.
        source: crate::model::rel_path::RelPathError,
    },
}
