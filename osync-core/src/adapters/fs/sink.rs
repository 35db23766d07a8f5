//! A directory as a [`Sink`].
//!
//! What a reader can see changes in single system calls only: a link, a rename, an exchange, an unlink.

use std::any::Any;
use std::path::Path;
use std::sync::{Arc, Mutex};

use rustix::fd::AsFd;
use rustix::fs::{self, Mode};
use rustix::io::Errno;

use crate::adapters::fs::aside::Aside;
use crate::adapters::fs::attributes::{AttributeReader, Holder};
use crate::adapters::fs::basis::FileBasis;
use crate::adapters::fs::directories::Directories;
use crate::adapters::fs::disk::Disk;
use crate::adapters::fs::file_version::FileVersion;
use crate::adapters::fs::is_reserved;
use crate::adapters::fs::metadata::{look, look_at, look_closely};
use crate::adapters::fs::names::Listings;
use crate::adapters::fs::new_directories::NewDirectories;
use crate::adapters::fs::probe;
use crate::adapters::fs::root::Root;
use crate::adapters::fs::spot::{Replaced, Spot};
use crate::adapters::fs::staged::Staged;
use crate::adapters::fs::tree::{Missing, Tree};
use crate::adapters::fs::unlock::unlocked;
use crate::adapters::fs::unsynced::Unsynced;
use crate::adapters::fs::version::Versions;
use crate::model::account::Account;
use crate::model::durability::Durability;
use crate::model::fidelity::Fidelity;
use crate::model::metadata::{Entry, Metadata};
use crate::model::name::Name;
use crate::model::rel_path::RelPath;
use crate::ports::sink::{Basis, NewFile, Sink, SinkError, StagedFile, TellRestored};

/// A directory and everything below it, for writing.
///
/// The superuser keeps owners and set-id bits, others do not. The name `.osync` at the root is the
/// sink's own: it is there while something is replaced or deleted, and never listed. Dropping the sink
/// ends that work first.
#[derive(Debug)]
pub struct DirectorySink {
    pub(super) tree: Arc<Tree>,
}

impl DirectorySink {
    /// Opens the directory at `root`, and makes it, with those above it, if it is not there. What a killed
    /// process left in `.osync` is deleted. No other sink may open the directory until this one is dropped.
    ///
    /// # Errors
    /// [`SinkError::Occupied`] if another sink has the directory, of this process or another;
    /// [`SinkError::Io`] if it cannot be used.
    pub fn open(root: &Path) -> Result<Self, SinkError> {
        let root = Root::open_or_make(root).map_err(cannot_open)?;
        let reader = AttributeReader::probe(root.descriptor());
        Self::on(root, reader, |versions| versions)
    }

    /// As [`DirectorySink::open`], but as on a kernel and a file system without `openat2`, unnamed
    /// files and attributes by name.
    ///
    /// # Errors
    /// As [`DirectorySink::open`].
    #[cfg(feature = "testing")]
    pub fn open_without_shortcuts(root: &Path) -> Result<Self, SinkError> {
        let root = Root::open(root).map(Root::without_openat2).map_err(cannot_open)?;
        let reader = AttributeReader::probe(root.descriptor()).without_calls_by_name();
        Self::on(root, reader, Versions::without_unnamed_files)
    }

    fn on(
        root: Root,
        reader: AttributeReader,
        change: impl FnOnce(Versions) -> Versions,
    ) -> Result<Self, SinkError> {
        let root = Arc::new(root);
        // Before anything is swept: it might be another sink's.
        let lock = root.lock().map_err(|errno| cannot_open(errno.into()))?;
        let Some(lock) = lock else {
            return Err(SinkError::Occupied { directory: root.shown() });
        };
        let aside = Aside::open(Arc::clone(&root)).map_err(|errno| cannot_open(errno.into()))?;
        let unsynced = Unsynced::open(&aside).map_err(|errno| cannot_open(errno.into()))?;
        let disk = Disk::new(Arc::clone(&root), unsynced);
        let versions = change(Versions::new(aside, disk, reader));
        let fidelity = probe::fidelity(&versions, root.descriptor());
        versions.aside.tidy();
        Ok(Self {
            tree: Arc::new(Tree {
                root,
                directories: Directories::new(),
                new_directories: NewDirectories::default(),
                versions: versions.with_fidelity(fidelity),
                listings: Listings::default(),
                times: Mutex::default(),
                fidelity,
                reader,
                owners: None,
                _lock: lock,
            }),
        })
    }
}

fn cannot_open(source: std::io::Error) -> SinkError {
    SinkError::Io { verb: "open", path: RelPath::root(), source }
}

/// Whether there is no such entry, or no directory where it would be.
fn is_absent(error: &std::io::Error) -> bool {
    matches!(error.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory)
}

impl Sink for DirectorySink {
    fn fidelity(&self) -> Fidelity {
        self.tree.fidelity
    }

    fn metadata(&self, path: &RelPath) -> Result<Option<Metadata>, SinkError> {
        let tree = &self.tree;
        let digests = |holder: Holder<'_>| tree.digests(holder);
        let seen = match path.split() {
            None => {
                tree.check_root()?;
                // By its descriptor: its mode may forbid us to look anything up in it.
                let root = tree.root.descriptor();
                look_at(root).and_then(|mut seen| {
                    seen.metadata.attributes = digests(Holder::Path(root))?;
                    Ok(Some(seen))
                })
            }
            Some(_) if is_reserved(path) => return Ok(None),
            Some((parent, name)) => tree.directory(&parent, Missing::Stays).and_then(|directory| {
                unlocked(directory.as_fd(), || {
                    look_closely(directory.as_fd(), name.as_bytes(), digests)
                })
            }),
        };
        match seen {
            Ok(Some(seen)) => Ok(Some(tree.told(seen))),
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
        let metadata = self.tree.local(metadata);
        self.tree.put("write", path, |at| {
            let mut version = versions.file(at.directory, metadata.mode)?;
            version.append(content)?;
            versions.publish(&mut version, &metadata, at)
        })
    }

    fn write_files(&self, files: &[NewFile<'_>]) -> Vec<Result<(), SinkError>> {
        let Some(owners) = &self.tree.owners else { return self.tree.write_files(files) };
        let local: Vec<_> = files.iter().map(|file| owners.localised(file.metadata)).collect();
        let files = files.iter().zip(&local).map(|(file, metadata)| {
            let (path, content) = (file.path.clone(), file.content);
            NewFile { path, metadata, content }
        });
        self.tree.write_files(&files.collect::<Vec<_>>())
    }

    fn stage(&self, path: &RelPath, _size_bytes: u64) -> Result<Box<dyn StagedFile>, SinkError> {
        let versions = &self.tree.versions;
        let version = self
            .tree
            .in_parent("stage", path, Missing::IsMade, |at| versions.file(at.directory, 0o600))?;
        Ok(Box::new(Staged { version, tree: Arc::clone(&self.tree), path: path.clone() }))
    }

    fn basis(&self, path: &RelPath) -> Result<Option<Arc<dyn Basis>>, SinkError> {
        let opened = self.tree.in_parent("open", path, Missing::Stays, |at| {
            let Spot { directory, name, .. } = at;
            // What may lack content is no basis.
            let seen = look(directory, name)?;
            if seen.is_some_and(|seen| self.tree.versions.disk.unsynced.doubts(&seen)) {
                return Ok(None);
            }
            match FileBasis::open(path, directory, name) {
                Err(Errno::NOTDIR) => Ok(None),
                opened => opened,
            }
        });
        match opened {
            Ok(basis) => Ok(basis.map(|basis| -> Arc<dyn Basis> { Arc::new(basis) })),
            Err(SinkError::Io { source, .. }) if is_absent(&source) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn extend(&self, path: &RelPath, basis: &dyn Basis) -> Result<Box<dyn StagedFile>, SinkError> {
        let stale = || SinkError::Stale { path: path.clone() };
        let basis: &dyn Any = basis;
        let basis = basis.downcast_ref::<FileBasis>().ok_or_else(stale)?;
        let file = self.tree.in_parent("open", path, Missing::Stays, |at| {
            let versions = &self.tree.versions;
            let _writing = versions.disk.unsynced.writing(&versions.aside)?;
            basis.open_to_extend(at.directory, at.name)
        })?;
        let version = FileVersion::visible(file.ok_or_else(stale)?);
        Ok(Box::new(Staged { version, tree: Arc::clone(&self.tree), path: path.clone() }))
    }

    fn make_directory(&self, path: &RelPath) -> Result<bool, SinkError> {
        let tree = &self.tree;
        if path.is_root() {
            tree.check_root()?;
            return Ok(false);
        }
        let made = tree.in_parent("make", path, Missing::IsMade, |at| {
            match fs::mkdirat(at.directory, at.name, Mode::RWXU) {
                Err(Errno::EXIST) => {}
                made => return made.map(|()| true),
            }
            match look(at.directory, at.name)? {
                Some(seen) if seen.metadata.kind.is_directory() => Ok(false),
                Some(_) | None => tree.versions.directory(at).map(|()| true),
            }
        })?;
        if made {
            tree.new_directories.insert(path);
        }
        Ok(made)
    }

    fn make_special(&self, path: &RelPath, metadata: &Metadata) -> Result<(), SinkError> {
        let (versions, metadata) = (&self.tree.versions, self.tree.local(metadata));
        self.tree.put("make", path, |at| versions.special(&metadata, at))
    }

    fn link(&self, path: &RelPath, to: &RelPath, metadata: &Metadata) -> Result<(), SinkError> {
        let tree = &self.tree;
        let stale = || SinkError::Stale { path: path.clone() };
        let Some((parent, to_name)) = to.split().filter(|_| !is_reserved(to)) else {
            return Err(stale());
        };
        let mut is_it = true;
        let linked = tree.put("link", path, |at| {
            let to_above = match tree.directory(&parent, Missing::Stays) {
                Err(Errno::NOENT | Errno::NOTDIR) => {
                    is_it = false;
                    return Ok(Replaced::NoDirectory);
                }
                found => found?,
            };
            let to = (to_above.as_fd(), to_name.as_bytes());
            let linked = unlocked(to.0, || tree.versions.link(metadata, to, at))?;
            is_it = linked.is_some();
            Ok(linked.unwrap_or(Replaced::NoDirectory))
        });
        linked?;
        if is_it { self.set_metadata(path, metadata) } else { Err(stale()) }
    }

    fn set_metadata(&self, path: &RelPath, metadata: &Metadata) -> Result<(), SinkError> {
        match self.tree.set_metadata(path, &self.tree.local(metadata)) {
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
        if tree.versions.keeps_all {
            return Ok(false);
        }
        let removed = tree.in_parent("remove", path, Missing::Stays, |at| {
            tree.versions.remove(at)?;
            tree.directories.forget(path);
            Ok(())
        });
        match removed {
            Ok(()) => Ok(true),
            Err(SinkError::Io { source, .. }) if is_absent(&source) => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn rename(&self, from: &RelPath, to: &RelPath) -> Result<(), SinkError> {
        let tree = &self.tree;
        tree.check_root()?;
        tree.in_parent("rename", from, Missing::Stays, |at| {
            let Some((parent, to_name)) = to.split().filter(|_| !is_reserved(to)) else {
                return Err(Errno::INVAL);
            };
            let to_above = tree.directory(&parent, Missing::Stays)?;
            let (directory, name) = (to_above.as_fd(), to_name.as_bytes());
            unlocked(directory, || tree.versions.rename(at, Spot { directory, name, path: to }))
        })?;
        tree.new_directories.forget_all();
        tree.directories.forget(from);
        tree.directories.forget(to);
        Ok(())
    }

    fn learn(&self, accounts: &[Account]) {
        self.tree.owners.iter().for_each(|owners| owners.learn(accounts));
    }

    fn settle(&self, metadata: &mut Metadata) {
        self.tree.owners.iter().for_each(|owners| owners.settle(metadata));
    }

    fn set_durability(&self, durability: Durability) {
        self.tree.versions.disk.set_durability(durability);
    }

    fn sync(&self, is_settled: bool) -> Result<bool, SinkError> {
        let synced = self.tree.versions.disk.sync(is_settled);
        synced.map_err(|errno| self.tree.failed("sync", &RelPath::root(), errno))
    }

    fn tell_restored(&self, tell: TellRestored) {
        self.tree.versions.aside.restored().listen(tell);
    }

    fn tidy(&self) {
        self.tree.versions.disk.tidy();
        self.tree.versions.aside.tidy();
    }
}
