//! A directory as a [`Sink`].
//!
//! What a reader can see changes in single system calls only: a link, a rename, an exchange, an unlink.
//! Parents are found in a cache of descriptors; a call that finds its parent gone looks it up once more.

use std::path::Path;
use std::sync::Arc;

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{self, AtFlags, Mode, OFlags};
use rustix::io::{Errno, Result as OsResult};
use rustix::process::geteuid;

use crate::adapters::fs::aside::Aside;
use crate::adapters::fs::directories::Directories;
use crate::adapters::fs::metadata::{Target, apply, look, look_at};
use crate::adapters::fs::names::{Listings, Names};
use crate::adapters::fs::root::{LISTING, PLACE, Root, enter};
use crate::adapters::fs::unlock::unlocked;
use crate::adapters::fs::version::{FileVersion, Replaced, Versions, movable};
use crate::adapters::fs::{RESERVED_NAME, is_reserved};
use crate::model::fidelity::Fidelity;
use crate::model::metadata::{Entry, Metadata};
use crate::model::name::Name;
use crate::model::rel_path::RelPath;
use crate::ports::sink::{Sink, SinkError, StagedFile};

/// A directory and everything below it, for writing.
///
/// The superuser keeps owners and set-id bits, others do not. The name `.osync` at the root is the
/// sink's own: it is there while something is replaced or deleted, and never listed. Dropping the sink
/// ends that work first.
#[derive(Debug)]
pub struct DirectorySink {
    tree: Arc<Tree>,
}

/// What the sink shares with the files staged in it.
#[derive(Debug)]
struct Tree {
    root: Arc<Root>,
    directories: Directories,
    versions: Versions,
    listings: Listings,
    fidelity: Fidelity,
}

/// Whether missing directories above a path are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Missing {
    Stays,
    IsMade,
}

impl DirectorySink {
    /// Opens the directory at `root`, and makes it, with those above it, if it is not there. What a killed
    /// process left in `.osync` is deleted.
    ///
    /// # Errors
    /// [`SinkError::Io`] if that cannot be done.
    pub fn open(root: &Path) -> Result<Self, SinkError> {
        std::fs::create_dir_all(root)
            .and_then(|()| Self::on(Root::open(root)?, |versions| versions))
            .map_err(cannot_open)
    }

    /// As [`DirectorySink::open`], but as on a kernel and a file system without `openat2` and unnamed files.
    ///
    /// # Errors
    /// As [`DirectorySink::open`].
    #[cfg(feature = "testing")]
    pub fn open_without_shortcuts(root: &Path) -> Result<Self, SinkError> {
        Root::open(root)
            .map(Root::without_openat2)
            .and_then(|root| Self::on(root, Versions::without_unnamed_files))
            .map_err(cannot_open)
    }

    fn on(root: Root, change: impl FnOnce(Versions) -> Versions) -> std::io::Result<Self> {
        let root = Arc::new(root);
        let is_superuser = geteuid().is_root();
        let fidelity = Fidelity {
            owner: is_superuser,
            set_id: is_superuser,
        };
        let aside = Aside::open(Arc::clone(&root))?;
        Ok(Self {
            tree: Arc::new(Tree {
                root,
                directories: Directories::new(),
                versions: change(Versions::new(aside, fidelity)),
                listings: Listings::default(),
                fidelity,
            }),
        })
    }
}

fn cannot_open(source: std::io::Error) -> SinkError {
    SinkError::Io {
        verb: "open",
        path: RelPath::root(),
        source,
    }
}

impl Tree {
    /// The directory at `path`, from the cache if it is fresh there.
    fn directory(&self, path: &RelPath, missing: Missing) -> OsResult<Arc<OwnedFd>> {
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
    fn in_parent<T>(
        &self,
        verb: &'static str,
        path: &RelPath,
        missing: Missing,
        mut operation: impl FnMut(BorrowedFd<'_>, &[u8]) -> OsResult<T>,
    ) -> Result<T, SinkError> {
        let Some((parent, name)) = path.split().filter(|_| !is_reserved(path)) else {
            return Err(self.failed(verb, path, Errno::INVAL));
        };
        let mut work_in = |directory: &OwnedFd| {
            unlocked(directory.as_fd(), || {
                operation(directory.as_fd(), name.as_bytes())
            })
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
    fn failed(&self, verb: &'static str, path: &RelPath, errno: Errno) -> SinkError {
        if let Err(lost) = self.check_root() {
            return lost;
        }
        SinkError::Io {
            verb,
            path: path.clone(),
            source: errno.into(),
        }
    }

    fn check_root(&self) -> Result<(), SinkError> {
        self.root
            .check()
            .map_err(|reason| SinkError::RootLost { reason })
    }

    /// Puts something at `path` by `put`, which says what it replaced.
    fn put(
        &self,
        verb: &'static str,
        path: &RelPath,
        put: impl FnMut(BorrowedFd<'_>, &[u8]) -> OsResult<Replaced>,
    ) -> Result<(), SinkError> {
        let replaced = self.in_parent(verb, path, Missing::IsMade, put)?;
        if replaced == Replaced::Directory {
            self.directories.forget(path);
        }
        Ok(())
    }

    /// Gives what lies at `path` this metadata, if it is of that kind; returns whether it is.
    fn set_metadata(&self, path: &RelPath, wanted: &Metadata) -> OsResult<bool> {
        let Some((parent, name)) = path.split() else {
            let root = self.root.descriptor();
            return self
                .versions
                .aside
                .with_root_still(|| self.mend(root, b".", wanted));
        };
        if is_reserved(path) {
            return Ok(false);
        }
        let directory = self.directory(&parent, Missing::Stays)?;
        unlocked(directory.as_fd(), || {
            self.mend(directory.as_fd(), name.as_bytes(), wanted)
        })
    }

    fn mend(&self, directory: BorrowedFd<'_>, name: &[u8], wanted: &Metadata) -> OsResult<bool> {
        // Looked at before it is opened: a pipe or a device never is.
        let Some(seen) = look(directory, name)? else {
            return Ok(false);
        };
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
        if seen.is_foreign || seen.metadata.kind != wanted.kind {
            return Ok(false);
        }
        apply(target, wanted, Some(&seen.metadata), self.fidelity)?;
        Ok(true)
    }

    /// The entries of the directory at `path`, always found by its path, which corrects the cache.
    fn list(
        &self,
        path: &RelPath,
        after: Option<&Name>,
        until: Option<&Name>,
    ) -> OsResult<Vec<Entry>> {
        let find = || self.find(path, Missing::Stays);
        let directory = self.directories.find(path, find)?;
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
            None => Arc::new(Names::read(directory, |name| {
                !(path.is_root() && name == RESERVED_NAME)
            })?),
        };
        let mut entries = Vec::new();
        for name in names.above(after.map(Name::as_bytes)) {
            if until.is_some_and(|until| name > until.as_bytes()) {
                break;
            }
            if let Some(seen) = look(directory, name)? {
                entries.push(Entry {
                    name: Name::new(name).map_err(|_| Errno::NAMETOOLONG)?,
                    metadata: seen.metadata,
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

impl Sink for DirectorySink {
    fn fidelity(&self) -> Fidelity {
        self.tree.fidelity
    }

    fn metadata(&self, path: &RelPath) -> Result<Option<Metadata>, SinkError> {
        let tree = &self.tree;
        let seen = match path.split() {
            None => {
                tree.check_root()?;
                look_at(tree.root.descriptor()).map(Some)
            }
            Some(_) if is_reserved(path) => return Ok(None),
            Some((parent, name)) => tree
                .directory(&parent, Missing::Stays)
                .and_then(|directory| {
                    unlocked(directory.as_fd(), || {
                        look(directory.as_fd(), name.as_bytes())
                    })
                }),
        };
        match seen {
            Ok(Some(seen)) => Ok(Some(seen.metadata)),
            Ok(None) | Err(Errno::NOENT | Errno::NOTDIR) => {
                tree.check_root()?;
                Ok(None)
            }
            Err(errno) => Err(tree.failed("look at", path, errno)),
        }
    }

    fn list(
        &self,
        directory: &RelPath,
        after: Option<&Name>,
        until: Option<&Name>,
    ) -> Result<Option<Vec<Entry>>, SinkError> {
        if is_reserved(directory) {
            return Ok(None);
        }
        let tree = &self.tree;
        match tree.list(directory, after, until) {
            Ok(entries) => Ok(Some(entries)),
            Err(Errno::NOENT | Errno::NOTDIR) => {
                tree.check_root()?;
                Ok(None)
            }
            Err(errno) => Err(tree.failed("list", directory, errno)),
        }
    }

    fn write_file(
        &self,
        path: &RelPath,
        metadata: &Metadata,
        content: &[u8],
    ) -> Result<(), SinkError> {
        let versions = &self.tree.versions;
        self.tree.put("write", path, |directory, name| {
            let mut version = versions.file(directory, metadata.mode)?;
            version.append(content)?;
            versions.publish(&mut version, metadata, directory, name)
        })
    }

    fn stage(&self, path: &RelPath, _size_bytes: u64) -> Result<Box<dyn StagedFile>, SinkError> {
        let versions = &self.tree.versions;
        let version = self
            .tree
            .in_parent("stage", path, Missing::IsMade, |directory, _| {
                versions.file(directory, 0o600)
            })?;
        Ok(Box::new(Staged {
            version,
            tree: Arc::clone(&self.tree),
            path: path.clone(),
        }))
    }

    fn make_directory(&self, path: &RelPath) -> Result<bool, SinkError> {
        let tree = &self.tree;
        if path.is_root() {
            tree.check_root()?;
            return Ok(false);
        }
        tree.in_parent("make", path, Missing::IsMade, |directory, name| {
            match fs::mkdirat(directory, name, Mode::RWXU) {
                Err(Errno::EXIST) => {}
                made => return made.map(|()| true),
            }
            match look(directory, name)? {
                Some(seen) if seen.metadata.kind.is_directory() => Ok(false),
                Some(_) | None => tree.versions.directory(directory, name).map(|()| true),
            }
        })
    }

    fn make_special(&self, path: &RelPath, metadata: &Metadata) -> Result<(), SinkError> {
        let versions = &self.tree.versions;
        self.tree.put("make", path, |directory, name| {
            versions.special(metadata, directory, name)
        })
    }

    fn set_metadata(&self, path: &RelPath, metadata: &Metadata) -> Result<(), SinkError> {
        match self.tree.set_metadata(path, metadata) {
            Ok(true) => Ok(()),
            Ok(false) | Err(Errno::NOENT | Errno::NOTDIR) => {
                self.tree.check_root()?;
                Err(SinkError::Stale { path: path.clone() })
            }
            Err(errno) => Err(self.tree.failed("change", path, errno)),
        }
    }

    fn remove(&self, path: &RelPath) -> Result<bool, SinkError> {
        let tree = &self.tree;
        tree.check_root()?;
        let removed = tree.in_parent("remove", path, Missing::Stays, |directory, name| {
            match fs::unlinkat(directory, name, AtFlags::empty()) {
                Err(Errno::ISDIR) => {}
                removed => return removed,
            }
            match fs::unlinkat(directory, name, AtFlags::REMOVEDIR) {
                Err(Errno::NOTEMPTY | Errno::EXIST) => tree.versions.discard(directory, name)?,
                removed => removed?,
            }
            tree.directories.forget(path);
            Ok(())
        });
        match removed {
            Ok(()) => Ok(true),
            Err(SinkError::Io { source, .. })
                if matches!(
                    source.kind(),
                    std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory
                ) =>
            {
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    fn rename(&self, from: &RelPath, to: &RelPath) -> Result<(), SinkError> {
        let tree = &self.tree;
        tree.check_root()?;
        tree.in_parent("rename", from, Missing::Stays, |from_above, from_name| {
            let Some((parent, to_name)) = to.split().filter(|_| !is_reserved(to)) else {
                return Err(Errno::INVAL);
            };
            let to_above = tree.directory(&parent, Missing::Stays)?;
            unlocked(to_above.as_fd(), || {
                movable(from_above, from_name, || {
                    fs::renameat(from_above, from_name, &to_above, to_name.as_bytes())
                })
            })
        })?;
        tree.directories.forget(from);
        tree.directories.forget(to);
        Ok(())
    }

    fn tidy(&self) {
        self.tree.versions.aside.tidy();
    }
}

fn is_removed(directory: &OwnedFd) -> bool {
    fs::fstat(directory).is_ok_and(|stat| stat.st_nlink == 0)
}

/// A file on its way into the tree.
#[derive(Debug)]
struct Staged {
    // Before the tree: its place in the private directory goes first.
    version: FileVersion,
    tree: Arc<Tree>,
    path: RelPath,
}

impl StagedFile for Staged {
    fn append(&mut self, chunk: &[u8]) -> Result<(), SinkError> {
        let appended = self.version.append(chunk);
        appended.map_err(|errno| self.tree.failed("write", &self.path, errno))
    }

    fn commit(mut self: Box<Self>, metadata: &Metadata) -> Result<(), SinkError> {
        let Self {
            version,
            tree,
            path,
        } = &mut *self;
        tree.put("write", path, |directory, name| {
            tree.versions.publish(version, metadata, directory, name)
        })
    }
}
