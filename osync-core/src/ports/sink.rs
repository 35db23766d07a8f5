//! Where entries go.

use std::any::Any;
use std::sync::Arc;

use crate::model::account::Account;
use crate::model::digest::Digest;
use crate::model::durability::Durability;
use crate::model::fidelity::Fidelity;
use crate::model::metadata::{Entry, Metadata, Stamp};
use crate::model::name::Name;
use crate::model::rel_path::RelPath;

/// What is copied at a time where bytes cannot be shared.
const COPY_BUFFER_BYTES: usize = 128 * 1024;

/// Takes the path of a directory whose time is again what it was: see [`Sink::tell_restored`].
pub type TellRestored = Box<dyn Fn(&RelPath) + Send + Sync>;

/// A tree of entries that follows a source.
///
/// Called from several writer threads at once; two calls at a time never concern the same path, and
/// everything about the names of one directory comes from one thread. Paths come from another machine
/// and may name anything: an implementation touches nothing outside its root and follows no symbolic
/// link, whatever it finds in the tree.
///
/// Every change is atomic: a reader of the tree sees what was there before or what is there after. An
/// operation that adds or removes a name may leave any times on the directory; the caller sets them
/// afterwards with [`Sink::set_metadata`].
///
/// Metadata that is to be held comes with its attributes in full; those it does not name are removed. Where
/// it has digests only, attributes are left alone.
///
/// `osync_core::testing::conformance::sink` has the tests an implementation must pass.
pub trait Sink: Send + Sync {
    /// Which metadata this sink can hold.
    fn fidelity(&self) -> Fidelity;

    /// What lies at `path`, not following a symbolic link; `None` if nothing does. Here and in listings
    /// attributes may be told as digests.
    ///
    /// # Errors
    /// [`SinkError`] if that cannot be told.
    fn metadata(&self, path: &RelPath) -> Result<Option<Metadata>, SinkError>;

    /// The entries of `directory` with names above `after` (from the first, if `None`) up to and including
    /// `until` (to the last, if `None`), in ascending bytewise order; `None` if there is no such directory.
    ///
    /// Sockets and devices are among them even if the sink makes none. What it keeps for itself is left out.
    ///
    /// # Errors
    /// [`SinkError`] if the listing would not be complete.
    fn list(
        &self,
        directory: &RelPath,
        after: Option<&Name>,
        until: Option<&Name>,
    ) -> Result<Option<Vec<Entry>>, SinkError>;

    /// Makes `path` a regular file with this content and metadata, in place of whatever lies there.
    ///
    /// `metadata.kind` is a file of `content.len()` bytes. Missing directories above it are made.
    ///
    /// # Errors
    /// [`SinkError`]; what lay there is untouched.
    fn write_file(
        &self,
        path: &RelPath,
        metadata: &Metadata,
        content: &[u8],
    ) -> Result<(), SinkError>;

    /// Does [`Sink::write_file`] for each of `files`, which lie in one directory under different names; returns how
    /// each went. Where versions must be on disk before they replace others, many cost little more than one.
    fn write_files(&self, files: &[NewFile<'_>]) -> Vec<Result<(), SinkError>> {
        files.iter().map(|file| self.write_file(&file.path, file.metadata, file.content)).collect()
    }

    /// Begins a version of the regular file `path` that arrives in pieces, `size_bytes` long as far as known.
    ///
    /// # Errors
    /// [`SinkError`]; nothing is visible.
    fn stage(&self, path: &RelPath, size_bytes: u64) -> Result<Box<dyn StagedFile>, SinkError>;

    /// Opens the regular file at `path`, on which its next version may be built; `None` if there is none.
    ///
    /// A sink that cannot read what it holds never has one: changed files then travel whole.
    ///
    /// # Errors
    /// [`SinkError`] if it cannot be read.
    fn basis(&self, path: &RelPath) -> Result<Option<Arc<dyn Basis>>, SinkError> {
        let _ = path;
        Ok(None)
    }

    /// Begins to append to the very file at `path`, which must still be `basis`, as it was opened.
    ///
    /// What is appended is visible at once, and the file gets the time of that; its other metadata stays.
    /// The version that is returned is dropped, never committed.
    ///
    /// # Errors
    /// [`SinkError::Stale`] if it is another file, has changed since or has further names.
    fn extend(&self, path: &RelPath, basis: &dyn Basis) -> Result<Box<dyn StagedFile>, SinkError> {
        let _ = basis;
        Err(SinkError::Stale { path: path.clone() })
    }

    /// Makes `path` a directory, in place of anything else that lies there; returns whether it was made.
    ///
    /// A directory that exists stays as it is. Missing directories above it are made. The root may be given.
    ///
    /// # Errors
    /// [`SinkError`]; what lay there is untouched.
    fn make_directory(&self, path: &RelPath) -> Result<bool, SinkError>;

    /// Makes `path` a symbolic link, a named pipe, a socket or a device, as `metadata` says, in place of whatever lies
    /// there: never a kind that the fidelity leaves out.
    ///
    /// Missing directories above it are made.
    ///
    /// # Errors
    /// [`SinkError`]; what lay there is untouched.
    fn make_special(&self, path: &RelPath, metadata: &Metadata) -> Result<(), SinkError>;

    /// Makes `path` another name of what lies at `to`, in place of whatever lies at `path`, with this metadata.
    ///
    /// If it is that already, only the metadata is seen to. Missing directories above `path` are made. Another
    /// thread may replace what lies at `to` meanwhile: what it has then is linked, or refused.
    ///
    /// # Errors
    /// [`SinkError::Stale`] if nothing with the content that `metadata` tells of lies at `to`, or if it would have
    /// more names than `metadata.names`; other errors as usual. What lay at `path` is untouched.
    fn link(&self, path: &RelPath, to: &RelPath, metadata: &Metadata) -> Result<(), SinkError>;

    /// Gives what lies at `path` these times, permissions, owners and attributes, as far as the fidelity goes.
    ///
    /// # Errors
    /// [`SinkError::Stale`] if nothing of that kind, size or target lies there; nothing is changed.
    fn set_metadata(&self, path: &RelPath, metadata: &Metadata) -> Result<(), SinkError>;

    /// Removes `path` and everything below it; returns whether anything lay there. Never the root.
    ///
    /// # Errors
    /// [`SinkError`] if it is still there.
    fn remove(&self, path: &RelPath) -> Result<bool, SinkError>;

    /// Moves `from` to `to` in one operation, with everything below it, in place of a file or an empty
    /// directory that lies there. The directory above `to` exists.
    ///
    /// # Errors
    /// [`SinkError`] if nothing lies at `from`, or `to` cannot be replaced; nothing is changed.
    fn rename(&self, from: &RelPath, to: &RelPath) -> Result<(), SinkError>;

    /// Takes who some users and groups of the source are; called before anything that belongs to them is handed over,
    /// if the fidelity says that owners go by name. From then on the source's numbers stand for the accounts of these
    /// names here, in what is handed over and in what is told.
    fn learn(&self, accounts: &[Account]) {
        let _ = accounts;
    }

    /// Gives `metadata` of the source the numbers that it will be told with once it has been set here: where several
    /// numbers come to one, another than it has.
    fn settle(&self, metadata: &mut Metadata) {
        let _ = metadata;
    }

    /// Says how far what is written must be safe from a power cut; called before anything is written, if at all.
    ///
    /// Unless it is [`Durability::None`], a file that is durable is never replaced by a version whose data is not.
    fn set_durability(&self, durability: Durability) {
        let _ = durability;
    }

    /// Makes durable what calls have done that returned before this one began; returns whether it is now. A
    /// sink that cannot say never claims it.
    ///
    /// What was not durable before a power cut, or before this failed, and may lack content the sink tells of with a
    /// time that no source has, and links and builds upon it as little; until it `is_settled`: since the sink was
    /// opened, or this failed last, everything has been compared with the source and made equal.
    ///
    /// Called from a thread of its own, one call at a time, beside all others.
    ///
    /// # Errors
    /// [`SinkError`] if something of it may be lost.
    fn sync(&self, is_settled: bool) -> Result<bool, SinkError> {
        let _ = is_settled;
        Ok(false)
    }

    /// Takes whom to tell of each directory whose time this sink has changed for ends of its own and put back, once it
    /// has: who reads the tree may have read the time in between. Called before anything is written; `tell` is called
    /// from any thread, and may wait, but not for this sink.
    fn tell_restored(&self, tell: TellRestored) {
        drop(tell);
    }

    /// Ends work done behind the calls (removing what was moved aside), so that nothing temporary is left.
    ///
    /// Called when replication has caught up and at the end; may take long.
    fn tidy(&self) {}
}

/// A file for [`Sink::write_files`].
#[derive(Debug)]
pub struct NewFile<'a> {
    /// Where.
    pub path: RelPath,
    /// Its metadata: a file as long as the content.
    pub metadata: &'a Metadata,
    /// Its content.
    pub content: &'a [u8],
}

/// One version of one file on its way into a [`Sink`].
///
/// Called from one thread: [`StagedFile::append`], [`StagedFile::skip`] and [`StagedFile::copy`] any number of
/// times, then [`StagedFile::commit`];
/// dropping it abandons the version.
pub trait StagedFile: Send {
    /// Appends `chunk`: in file order, without gaps.
    ///
    /// # Errors
    /// Any error abandons this version; nothing of it becomes visible.
    fn append(&mut self, chunk: &[u8]) -> Result<(), SinkError>;

    /// Appends a hole of `bytes` bytes: it reads as zeros, and takes no room where that can be done.
    ///
    /// By default zeros are written.
    ///
    /// # Errors
    /// As [`StagedFile::append`].
    fn skip(&mut self, bytes: u64) -> Result<(), SinkError> {
        let zeros = vec![0; usize::try_from(bytes).unwrap_or(usize::MAX).min(COPY_BUFFER_BYTES)];
        let mut rest = bytes;
        while rest > 0 {
            let most = usize::try_from(rest).unwrap_or(usize::MAX).min(zeros.len());
            self.append(&zeros[..most])?;
            rest -= most as u64;
        }
        Ok(())
    }

    /// Appends `bytes` bytes of `basis` from `offset_bytes` on, by sharing them where that can be done.
    ///
    /// # Errors
    /// As [`StagedFile::append`]; [`SinkError::Stale`] if the basis ends before.
    fn copy(&mut self, basis: &dyn Basis, offset_bytes: u64, bytes: u64) -> Result<(), SinkError> {
        copy_bytes(self, basis, offset_bytes, bytes)
    }

    /// Makes the version visible in place of whatever lay at its path, with this metadata.
    ///
    /// # Errors
    /// [`SinkError`]; what lay there is untouched.
    fn commit(self: Box<Self>, metadata: &Metadata) -> Result<(), SinkError>;
}

/// Does what [`StagedFile::copy`] is to do by reading `basis` and appending to `file`.
///
/// # Errors
/// As [`StagedFile::copy`].
pub fn copy_bytes<F: StagedFile + ?Sized>(
    file: &mut F,
    basis: &dyn Basis,
    offset_bytes: u64,
    bytes: u64,
) -> Result<(), SinkError> {
    let (mut offset_bytes, mut rest) = (offset_bytes, bytes);
    let mut buffer = vec![0; usize::try_from(rest).unwrap_or(usize::MAX).min(COPY_BUFFER_BYTES)];
    while rest > 0 {
        let most = usize::try_from(rest).unwrap_or(usize::MAX).min(buffer.len());
        let count = basis.read_at(offset_bytes, &mut buffer[..most])?;
        if count == 0 {
            return Err(SinkError::Stale { path: basis.path().clone() });
        }
        file.append(&buffer[..count])?;
        (offset_bytes, rest) = (offset_bytes + count as u64, rest - count as u64);
    }
    Ok(())
}

/// An open regular file of a [`Sink`]: the version on which the next one is built.
///
/// Used from several threads at once. It stays readable whatever happens to its name.
pub trait Basis: Any + Send + Sync {
    /// Where it lay when it was opened.
    fn path(&self) -> &RelPath;

    /// Its metadata and stamp as of now. Equal ones before and after a read mean that it held still.
    ///
    /// # Errors
    /// [`SinkError`] if that cannot be told.
    fn metadata(&self) -> Result<(Metadata, Stamp), SinkError>;

    /// Whether it has further names, under which a change of it would show.
    ///
    /// # Errors
    /// [`SinkError`] if that cannot be told.
    fn is_shared(&self) -> Result<bool, SinkError>;

    /// Reads into `buffer` from `offset_bytes`; returns how many bytes, 0 only at the end of the file.
    ///
    /// # Errors
    /// [`SinkError`] if the bytes cannot be read.
    fn read_at(&self, offset_bytes: u64, buffer: &mut [u8]) -> Result<usize, SinkError>;
}

/// Why a sink could not hold something.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SinkError {
    /// The operating system refused.
    #[error("cannot {verb} {path}")]
    Io {
        /// What was tried: `create`, `write`, `rename`.
        verb: &'static str,
        /// On which entry.
        path: RelPath,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// What lies there is not what the call takes for granted; the source looks again.
    #[error("{path} is not what it was thought to be")]
    Stale {
        /// The entry.
        path: RelPath,
    },
    /// It is a socket or a device, and this sink has no leave to have some.
    #[error("{path} is a socket or a device, which this sink has no leave for")]
    NoLeave {
        /// The entry.
        path: RelPath,
    },
    /// The content does not hash to what the source announced; the source sends it again.
    #[error("{path} arrived damaged: expected {expected}, got {actual}")]
    DigestMismatch {
        /// The entry.
        path: RelPath,
        /// What the source announced.
        expected: Digest,
        /// What arrived.
        actual: Digest,
    },
    /// Another sink writes there; two would undo each other's work.
    #[error("{directory} is the target of another osync: end that one, or name another directory")]
    Occupied {
        /// The directory: escaped.
        directory: String,
    },
    /// The directory for what is removed cannot be used.
    #[error("{directory} cannot be the trash: {reason}")]
    Trash {
        /// The directory: escaped.
        directory: String,
        /// Why: one line.
        reason: String,
    },
    /// The root is gone, unmounted or another one: nothing is written.
    #[error("the target directory is not there: {reason}")]
    RootLost {
        /// What was found instead: one line.
        reason: String,
    },
}

impl SinkError {
    /// Whether the whole target takes nothing at present, rather than this entry: it is full, may not be written or
    /// is not there.
    #[must_use]
    pub fn is_of_target(&self) -> bool {
        use std::io::ErrorKind::{QuotaExceeded, ReadOnlyFilesystem, StorageFull};
        match self {
            Self::Io { source, .. } => {
                matches!(source.kind(), StorageFull | QuotaExceeded | ReadOnlyFilesystem)
            }
            Self::RootLost { .. } => true,
            Self::Stale { .. }
            | Self::NoLeave { .. }
            | Self::Trash { .. }
            | Self::DigestMismatch { .. }
            | Self::Occupied { .. } => false,
        }
    }

    /// Whether the source should simply look at the entry again, rather than report a problem.
    #[must_use]
    pub fn is_stale(&self) -> bool {
        match self {
            Self::Stale { .. } | Self::DigestMismatch { .. } => true,
            // Something above the path is no directory yet, or no longer.
            Self::Io { source, .. } => source.kind() == std::io::ErrorKind::NotADirectory,
            Self::RootLost { .. }
            | Self::Occupied { .. }
            | Self::Trash { .. }
            | Self::NoLeave { .. } => false,
        }
    }
}
