//! Where entries come from.

use std::ops::Range;
use std::sync::Arc;

use crate::model::fidelity::Fidelity;
use crate::model::metadata::{Entry, Metadata, Stamp};
use crate::model::name::Name;
use crate::model::rel_path::RelPath;
use crate::ports::accounts::Roster;

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

    /// Whom the metadata told so far belongs to, if names of owners can be told: a number is there before any metadata
    /// with it is told.
    fn roster(&self) -> Option<Arc<Roster>> {
        None
    }

    /// What lies at `path` now, not following a symbolic link, its attributes in full; `None` if nothing
    /// does, or nothing that may be told: a socket or a device, if the fidelity leaves them out.
    ///
    /// # Errors
    /// [`SourceError`] if that cannot be told. In particular [`SourceError::RootLost`] rather than `None`
    /// when the whole tree is not there.
    fn metadata(&self, path: &RelPath) -> Result<Option<(Metadata, Stamp)>, SourceError>;

    /// The entries of `directory` with names above `after` (all, if `None`), in ascending bytewise order
    /// of their names, `limit` (at least 1) at the most; `None` if there is no such directory.
    ///
    /// Pages of one directory are asked for in order, other calls in between. Entries that vanish
    /// between listing and looking are left out. Attributes are told as digests; those of an entry that
    /// cannot be read are [`Attributes::unreadable`], so that the entry is asked for and the reason told.
    ///
    /// [`Attributes::unreadable`]: crate::model::attributes::Attributes::unreadable
    ///
    /// # Errors
    /// [`SourceError`] if the page would not be complete.
    fn list(
        &self,
        directory: &RelPath,
        after: Option<&Name>,
        limit: usize,
    ) -> Result<Option<Page>, SourceError>;

    /// As [`Source::list`], but of each entry no more than its name and whether it is a directory.
    ///
    /// For a sink that has nothing of the directory. Override it where that costs less than metadata does.
    ///
    /// # Errors
    /// As [`Source::list`].
    fn names(
        &self,
        directory: &RelPath,
        after: Option<&Name>,
        limit: usize,
    ) -> Result<Option<NamePage>, SourceError> {
        Ok(self.list(directory, after, limit)?.map(NamePage::from))
    }

    /// Opens the regular file at `path`; `None` if there is none (any more).
    ///
    /// # Errors
    /// [`SourceError`] if it exists and cannot be read.
    fn open(&self, path: &RelPath) -> Result<Option<Box<dyn SourceFile>>, SourceError>;

    /// `directory`, to look at a few of its names in a row; `None` if there is no such directory.
    ///
    /// Override it where a name costs less once its directory is found.
    ///
    /// # Errors
    /// [`SourceError`] if that cannot be told, as from [`Source::metadata`].
    fn directory<'a>(
        &'a self,
        directory: &RelPath,
    ) -> Result<Option<Box<dyn SourceDirectory + 'a>>, SourceError> {
        Ok(Some(Box::new(ByPath { source: self, directory: directory.clone() })))
    }

    /// Whether nothing lies in the root: then nothing is removed at a sink, because it may be a file system that is
    /// not mounted. Override it where that costs less than a page of one entry does.
    ///
    /// # Errors
    /// [`SourceError`] if that cannot be told.
    fn is_empty(&self) -> Result<bool, SourceError> {
        let page = self.list(&RelPath::root(), None, 1)?;
        Ok(page.is_none_or(|page| page.entries.is_empty()))
    }

    /// What at `path` is left out of replication on purpose: though the source does not tell of it, a sink
    /// keeps what it has there. Nothing, unless a filter says so.
    ///
    /// # Errors
    /// [`SourceError`] if that cannot be told.
    fn left_out(&self, _path: &RelPath) -> Result<LeftOut, SourceError> {
        Ok(LeftOut::default())
    }
}

/// Which sorts of entry are left out of replication at a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LeftOut {
    /// Directories are.
    pub directory: bool,
    /// Everything else is.
    pub other: bool,
}

/// One directory of a [`Source`], held for some milliseconds. Used by one thread.
///
/// Should it be moved meanwhile, what is told is of the directory that was found: the change feed
/// reports the move, and both places are looked at once more.
pub trait SourceDirectory {
    /// What lies at `name` now, as [`Source::metadata`] tells it.
    ///
    /// # Errors
    /// As [`Source::metadata`].
    fn metadata(&self, name: &Name) -> Result<Option<(Metadata, Stamp)>, SourceError>;

    /// Opens the regular file at `name`, where [`SourceDirectory::metadata`] has just told of one;
    /// `None` if it is there no more.
    ///
    /// What is opened may be something else by now: the caller asks the open file what it is.
    ///
    /// # Errors
    /// As [`Source::open`].
    fn open(&self, name: &Name) -> Result<Option<Box<dyn SourceFile>>, SourceError>;
}

/// A directory of a source that knows whole paths only.
struct ByPath<'a, S: ?Sized> {
    source: &'a S,
    directory: RelPath,
}

impl<S: ?Sized> ByPath<'_, S> {
    fn path(&self, name: &Name) -> Result<RelPath, SourceError> {
        self.directory
            .join(name)
            .map_err(|source| SourceError::Path { directory: self.directory.clone(), source })
    }
}

impl<S: Source + ?Sized> SourceDirectory for ByPath<'_, S> {
    fn metadata(&self, name: &Name) -> Result<Option<(Metadata, Stamp)>, SourceError> {
        self.source.metadata(&self.path(name)?)
    }

    fn open(&self, name: &Name) -> Result<Option<Box<dyn SourceFile>>, SourceError> {
        self.source.open(&self.path(name)?)
    }
}

/// One open regular file of a [`Source`]. Used by one thread at a time.
pub trait SourceFile: Send {
    /// Metadata, attributes in full, and stamp of the open file as of now, even if its name has gone or names
    /// another file.
    ///
    /// # Errors
    /// [`SourceError`] if that cannot be told.
    fn metadata(&mut self) -> Result<(Metadata, Stamp), SourceError>;

    /// The first range at or above `offset_bytes` that is no hole, and may end beyond the file; `None` if
    /// there is none up to the end. Never an empty one. Of a hole nothing is read or sent. By default there
    /// are no holes.
    ///
    /// Asked for each range once, in order.
    ///
    /// # Errors
    /// [`SourceError`] if that cannot be told.
    fn next_data(&mut self, offset_bytes: u64) -> Result<Option<Range<u64>>, SourceError> {
        Ok(Some(offset_bytes..u64::MAX))
    }

    /// Reads into `buffer` from `offset_bytes`; returns how many bytes, 0 only at the end of the file.
    ///
    /// # Errors
    /// [`SourceError`] if the bytes cannot be read.
    fn read_at(&mut self, offset_bytes: u64, buffer: &mut [u8]) -> Result<usize, SourceError>;

    /// Appends the bytes from `offset_bytes` on to `bytes`, `length_max` at the most; returns how many,
    /// fewer only at the end of the file.
    ///
    /// Override it where memory need not be cleared before it is read into.
    ///
    /// # Errors
    /// As [`SourceFile::read_at`]; what was appended by then is left.
    fn append_to(
        &mut self,
        bytes: &mut Vec<u8>,
        offset_bytes: u64,
        length_max: usize,
    ) -> Result<usize, SourceError> {
        let start = bytes.len();
        bytes.resize(start + length_max, 0);
        let mut filled = 0;
        while filled < length_max {
            match self.read_at(offset_bytes + filled as u64, &mut bytes[start + filled..]) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) => {
                    bytes.truncate(start + filled);
                    return Err(error);
                }
            }
        }
        bytes.truncate(start + filled);
        Ok(filled)
    }

    /// Whether `stamp`, which was told just now, is so young that a change from now on might not move it,
    /// because the clock behind it ticks slowly. Not for a source whose stamps move with every change.
    fn is_fresh(&self, _stamp: &Stamp) -> bool {
        false
    }
}

/// Part of the listing of one directory.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Page {
    /// Entries in ascending bytewise order of their names, each name once.
    pub entries: Vec<Entry>,
    /// Whether names above the last one follow. `false` ends the directory.
    pub has_more: bool,
}

/// Part of the names of one directory.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NamePage {
    /// Names in ascending bytewise order, each once, and whether a directory lies there.
    pub names: Vec<(Name, bool)>,
    /// Whether names above the last one follow. `false` ends the directory.
    pub has_more: bool,
}

impl From<Page> for NamePage {
    fn from(Page { entries, has_more }: Page) -> Self {
        let named = |entry: Entry| (entry.name, entry.metadata.kind.is_directory());
        Self { names: entries.into_iter().map(named).collect(), has_more }
    }
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
    /// An entry has more extended attributes than can be replicated.
    #[error("the extended attributes of {path} are longer than {bytes_max} bytes")]
    Attributes {
        /// The entry.
        path: RelPath,
        /// The most they may be, names and values together.
        bytes_max: usize,
    },
    /// The root is gone, unmounted or another one: nothing below it can be told.
    #[error("the source directory is not there: {reason}")]
    RootLost {
        /// What was found instead: one line.
        reason: String,
    },
    /// Nothing lies in the source: nothing is removed because of it.
    #[error("the source directory is empty")]
    Emptied,
    /// A path became too long to name.
    #[error("cannot name an entry of {directory}")]
    Path {
        /// The directory.
        directory: RelPath,
        /// What is wrong with the name.
        source: crate::model::rel_path::RelPathError,
    },
}
