//! The tree a sink writes to: finding directories in it, working in them, listing them.
//!
//! Parents come from a cache of descriptors; a call that finds its parent gone looks it up once more.

use std::borrow::Cow;
use std::sync::{Arc, Mutex, PoisonError};

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{self, Mode, OFlags};
use rustix::io::{Errno, Result as OsResult};

use crate::adapters::fs::attributes::{AttributeReader, Holder};
use crate::adapters::fs::directories::Directories;
use crate::adapters::fs::metadata::{Seen, Target, apply, look, look_at, look_closely};
use crate::adapters::fs::names::{Listings, Names};
use crate::adapters::fs::new_directories::NewDirectories;
use crate::adapters::fs::owners::Owners;
use crate::adapters::fs::root::{LISTING, PLACE, Root, enter, is_removed};
use crate::adapters::fs::spot::{Replaced, Spot};
use crate::adapters::fs::unlock::unlocked;
use crate::adapters::fs::version::Versions;
use crate::adapters::fs::{RESERVED_NAME, is_reserved};
use crate::model::attributes::Attributes;
use crate::model::fidelity::Fidelity;
use crate::model::metadata::{Entry, Metadata};
use crate::model::name::Name;
use crate::model::rel_path::RelPath;
use crate::ports::sink::SinkError;

/// How often directories on the way to one that is made may be replaced meanwhile.
const DESCENTS_MAX: usize = 8;

/// What the sink shares with the files staged in it.
#[derive(Debug)]
pub(super) struct Tree {
    pub(super) root: Arc<Root>,
    pub(super) directories: Directories,
    pub(super) new_directories: NewDirectories,
    pub(super) versions: Versions,
    pub(super) listings: Listings,
    /// Held while the time of a directory is set, or changed and put back.
    pub(super) times: Mutex<()>,
    pub(super) fidelity: Fidelity,
    pub(super) reader: AttributeReader,
    /// Owners go by name.
    pub(super) owners: Option<Owners>,
    /// Keeps other sinks out. Last, so that all work has ended when it goes.
    pub(super) _lock: OwnedFd,
}

/// Whether missing directories above a path are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Missing {
    Stays,
    IsMade,
}

impl Tree {
    /// The directory at `path`, from the cache if it is fresh there.
    pub(super) fn directory(&self, path: &RelPath, missing: Missing) -> OsResult<Arc<OwnedFd>> {
        self.directories.get(path, || self.find(path, missing))
    }

    /// The directory at `path`, by its path.
    fn find(&self, path: &RelPath, missing: Missing) -> OsResult<OwnedFd> {
        if self.root.check().is_err() {
            return Err(Errno::NOENT);
        }
        match self.root.directory(path, PLACE) {
            Err(Errno::NOENT) if missing == Missing::IsMade => {}
            Err(Errno::ACCESS) => {}
            found => return found,
        }
        for _ in 1..DESCENTS_MAX {
            match self.descend(path, missing) {
                // A directory on the way was replaced, by one that holds its first files, while it was entered.
                Err(Errno::NOENT) if missing == Missing::IsMade => {}
                found => return found,
            }
        }
        self.descend(path, missing)
    }

    fn descend(&self, path: &RelPath, missing: Missing) -> OsResult<OwnedFd> {
        self.root.descend(path, |directory, name| {
            unlocked(directory, || match enter(directory, name, PLACE) {
                Err(Errno::NOENT) if missing == Missing::IsMade => {
                    // Private until its own metadata arrives.
                    match fs::mkdirat(directory, name, Mode::RWXU) {
                        Ok(()) | Err(Errno::EXIST) => enter(directory, name, PLACE),
                        Err(errno) => Err(errno),
                    }
                }
                entered => entered,
            })
        })
    }

    /// Runs `operation` on the directory above `path` and the name there.
    pub(super) fn in_parent<T>(
        &self,
        verb: &'static str,
        path: &RelPath,
        missing: Missing,
        mut operation: impl FnMut(Spot<'_>) -> OsResult<T>,
    ) -> Result<T, SinkError> {
        let Some((parent, name)) = path.split().filter(|_| !is_reserved(path)) else {
            return Err(self.failed(verb, path, Errno::INVAL));
        };
        let mut work_in = |directory: &OwnedFd| {
            let (directory, name) = (directory.as_fd(), name.as_bytes());
            unlocked(directory, || operation(Spot { directory, name, path }))
        };
        let found = self.directory(&parent, missing);
        let done = found.and_then(|directory| match work_in(&directory) {
            // Somebody has removed the directory that the cache led to.
            Err(Errno::NOENT) if is_removed(&directory) => {
                self.directories.forget(&parent);
                work_in(&*self.directory(&parent, missing)?)
            }
            done => done,
        });
        done.map_err(|errno| self.failed(verb, path, errno))
    }

    /// The error for `errno`: that the root is lost, if it is.
    pub(super) fn failed(&self, verb: &'static str, path: &RelPath, errno: Errno) -> SinkError {
        if let Err(lost) = self.check_root() {
            return lost;
        }
        SinkError::Io { verb, path: path.clone(), source: errno.into() }
    }

    pub(super) fn check_root(&self) -> Result<(), SinkError> {
        self.root.check().map_err(|reason| SinkError::RootLost { reason })
    }

    /// Puts something at `path` by `put`, which says what it replaced.
    pub(super) fn put(
        &self,
        verb: &'static str,
        path: &RelPath,
        put: impl FnMut(Spot<'_>) -> OsResult<Replaced>,
    ) -> Result<(), SinkError> {
        let replaced = self.in_parent(verb, path, Missing::IsMade, put)?;
        if replaced == Replaced::Directory {
            self.directories.forget(path);
        }
        Ok(())
    }

    /// Runs `operation` while the time of the directory at `path` is neither set nor changed and put back by others.
    pub(super) fn with_times_still<T>(
        &self,
        path: Option<&RelPath>,
        operation: impl FnOnce() -> T,
    ) -> T {
        if path.is_none_or(RelPath::is_root) {
            return self.versions.aside.with_root_still(operation);
        }
        let _still = self.times.lock().unwrap_or_else(PoisonError::into_inner);
        operation()
    }

    /// Gives what lies at `path` this metadata, if it is of that kind; returns whether it is.
    pub(super) fn set_metadata(&self, path: &RelPath, wanted: &Metadata) -> OsResult<bool> {
        let Some((parent, name)) = path.split() else {
            let root = self.root.descriptor();
            return self.with_times_still(None, || self.mend(root, b".", wanted));
        };
        if is_reserved(path) {
            return Ok(false);
        }
        self.new_directories.take(path);
        let directory = self.directory(&parent, Missing::Stays)?;
        let mend = || {
            unlocked(directory.as_fd(), || self.mend(directory.as_fd(), name.as_bytes(), wanted))
        };
        if wanted.kind.is_directory() { self.with_times_still(Some(path), mend) } else { mend() }
    }

    fn mend(&self, directory: BorrowedFd<'_>, name: &[u8], wanted: &Metadata) -> OsResult<bool> {
        // Looked at before it is opened: a pipe or a device never is.
        let Some(seen) = look(directory, name)? else { return Ok(false) };
        let open = |flags| {
            let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            fs::openat(directory, name, flags, Mode::empty())
        };
        if seen.metadata.kind.is_file() || seen.metadata.kind.is_directory() {
            match open(OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY) {
                Err(Errno::ACCESS | Errno::LOOP | Errno::NXIO) => {}
                opened => return self.mend_open(Target::Open(opened?.as_fd()), wanted),
            }
        }
        self.mend_open(Target::Path(open(OFlags::PATH)?.as_fd()), wanted)
    }

    /// Applies `wanted` to `target` if it is of that kind; returns whether it is.
    fn mend_open(&self, target: Target<'_>, wanted: &Metadata) -> OsResult<bool> {
        let (Target::Open(descriptor) | Target::Path(descriptor)) = target;
        let seen = look_at(descriptor)?;
        if seen.metadata.kind != wanted.kind || !self.fidelity.nodes.allow(&wanted.kind) {
            return Ok(false);
        }
        // The time says that the content is the source's: not before it is on disk.
        if let (Target::Open(file), true) = (target, seen.metadata.kind.is_file())
            && seen.metadata.modified != wanted.modified
        {
            let _writing = self.versions.disk.unsynced.writing(&self.versions.aside)?;
            self.versions.disk.sync_data(file)?;
        }
        apply(target, wanted, Some(&seen.metadata), self.fidelity, self.reader)?;
        Ok(true)
    }

    /// `metadata` of the source, with the numbers of this machine.
    pub(super) fn local<'m>(&self, metadata: &'m Metadata) -> Cow<'m, Metadata> {
        match &self.owners {
            Some(owners) => Cow::Owned(owners.localised(metadata)),
            None => Cow::Borrowed(metadata),
        }
    }

    /// The digests of the attributes of `holder`, as they are told.
    pub(super) fn digests(&self, holder: Holder<'_>) -> OsResult<Attributes> {
        let Some(owners) = &self.owners else { return self.reader.digests(holder) };
        AttributeReader::digested(self.reader.read(holder).map(|read| owners.told(read)))
    }

    /// What is told of what was seen.
    pub(super) fn told(&self, seen: Seen) -> Metadata {
        let mut metadata = self.versions.disk.unsynced.told(seen);
        self.owners.iter().for_each(|owners| owners.tell(&mut metadata));
        metadata
    }

    /// The entries of the directory at `path`, always found by its path, which corrects the cache.
    pub(super) fn list(
        &self,
        path: &RelPath,
        after: Option<&Name>,
        until: Option<&Name>,
    ) -> OsResult<Vec<Entry>> {
        if self.root.check().is_err() {
            return Err(Errno::NOENT);
        }
        let listed = self.root.directory(path, LISTING).and_then(|open| {
            self.directories.correct(path, open.as_fd());
            self.entries(path, open.as_fd(), after, until)
        });
        match listed {
            // Perhaps it is ours, and may be listed after all.
            Err(Errno::ACCESS) => self.list_unlocked(path, after, until),
            Err(errno @ (Errno::NOENT | Errno::NOTDIR)) => {
                self.directories.forget(path);
                Err(errno)
            }
            listed => listed,
        }
    }

    fn list_unlocked(
        &self,
        path: &RelPath,
        after: Option<&Name>,
        until: Option<&Name>,
    ) -> OsResult<Vec<Entry>> {
        let directory = self.directories.find(path, || self.find(path, Missing::Stays))?;
        unlocked(directory.as_fd(), || {
            // Opened in here: a second attempt has to read from the start.
            let open = enter(directory.as_fd(), b".", LISTING)?;
            self.entries(path, open.as_fd(), after, until)
        })
    }

    /// What lies above `after` up to and including `until` in the directory open as `directory`.
    fn entries(
        &self,
        path: &RelPath,
        directory: BorrowedFd<'_>,
        after: Option<&Name>,
        until: Option<&Name>,
    ) -> OsResult<Vec<Entry>> {
        let kept = after.and_then(|_| self.listings.get(path, directory));
        let is_kept = kept.is_some();
        let names = match kept {
            Some(names) => names,
            None => {
                Arc::new(Names::read(directory, |name| !(path.is_root() && name == RESERVED_NAME))?)
            }
        };
        let mut entries = Vec::new();
        for (name, _) in names.above(after.map(Name::as_bytes)) {
            if until.is_some_and(|until| name > until.as_bytes()) {
                break;
            }
            let read = |holder: Holder<'_>| self.digests(holder);
            if let Some(seen) = look_closely(directory, name, read)? {
                entries.push(Entry {
                    name: Name::new(name).map_err(|_| Errno::NAMETOOLONG)?,
                    metadata: self.told(seen),
                });
            }
        }
        if until.is_none() {
            self.listings.end(path);
        } else if !is_kept {
            self.listings.keep(path, directory, &names);
        }
        Ok(entries)
    }
}
