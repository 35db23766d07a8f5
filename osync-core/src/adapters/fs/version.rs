//! One version of an entry before it is visible, and the step that makes it so.
//!
//! A file of a new name is written without one (`O_TMPFILE`) and linked when it is whole. Where a name
//! is taken, and for everything else, the version gets a name in the private directory and is moved over.

use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fd::{AsFd, BorrowedFd};
use rustix::fs::{self, AtFlags, CWD, FileType, Mode, OFlags, RenameFlags};
use rustix::io::{Errno, Result};

use crate::adapters::fs::aside::{Aside, Place};
use crate::adapters::fs::attributes::AttributeReader;
use crate::adapters::fs::disk::Disk;
use crate::adapters::fs::file_version::FileVersion;
use crate::adapters::fs::metadata::{Seen, Target, apply, look};
use crate::adapters::fs::newborn::{Newborn, permissions};
use crate::adapters::fs::root::movable;
use crate::adapters::fs::spot::{Replaced, Spot};
use crate::adapters::fs::trash::Trash;
use crate::adapters::fs::unlock::proc_path;
use crate::model::fidelity::Fidelity;
use crate::model::metadata::{Device, Kind, Metadata};

/// Makes versions of entries on one file system, and remembers what it cannot do.
#[derive(Debug)]
pub(super) struct Versions {
    pub(super) aside: Aside,
    pub(super) disk: Disk,
    /// No directory makes way for anything else, because what it holds would go with it.
    pub(super) keeps_all: bool,
    /// Where what is removed or replaced goes.
    pub(super) trash: Option<Trash>,
    pub(super) fidelity: Fidelity,
    pub(super) reader: AttributeReader,
    lacks_unnamed_files: AtomicBool,
    /// Linking a bare descriptor is a privilege on kernels before 6.10.
    links_by_proc: AtomicBool,
}

impl Versions {
    pub(super) fn new(aside: Aside, disk: Disk, reader: AttributeReader) -> Self {
        Self {
            aside,
            disk,
            keeps_all: false,
            trash: None,
            fidelity: Fidelity::FULL,
            reader,
            lacks_unnamed_files: AtomicBool::new(false),
            links_by_proc: AtomicBool::new(false),
        }
    }

    /// Keeps no more than `fidelity`.
    pub(super) fn with_fidelity(self, fidelity: Fidelity) -> Self {
        Self { fidelity, ..self }
    }

    /// As on a file system that knows no unnamed files.
    #[cfg(feature = "testing")]
    pub(super) fn without_unnamed_files(self) -> Self {
        self.lacks_unnamed_files.store(true, Ordering::Relaxed);
        self
    }

    /// Begins a version of a file that is to lie in `directory`, and most likely to have `mode`.
    pub(super) fn file(&self, directory: BorrowedFd<'_>, mode: u32) -> Result<FileVersion> {
        let access = OFlags::WRONLY | OFlags::CLOEXEC;
        let mode = Mode::from_raw_mode(permissions(mode));
        if !self.lacks_unnamed_files.load(Ordering::Relaxed) {
            match fs::openat(directory, ".", access | OFlags::TMPFILE, mode) {
                Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::INVAL) => {
                    self.lacks_unnamed_files.store(true, Ordering::Relaxed);
                }
                opened => {
                    return Ok(FileVersion { file: opened?, place: None });
                }
            }
        }
        let mut place = self.aside.place()?;
        let flags = access | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW;
        let file = fs::openat(place.directory(), place.name(), flags, mode)?;
        place.fill();
        Ok(FileVersion { file, place: Some(place) })
    }

    /// Makes a version of a file visible at `at`; returns what it replaced.
    pub(super) fn publish(
        &self,
        version: &mut FileVersion,
        metadata: &Metadata,
        at: Spot<'_>,
    ) -> Result<Replaced> {
        let _writing = self.disk.unsynced.writing(&self.aside)?;
        if self.publish_new(version, metadata, at, &mut Newborn::default())? {
            return Ok(Replaced::NoDirectory);
        }
        self.disk.sync_data(version.descriptor())?;
        self.publish_over(version, at)
    }

    /// Makes a version of a file visible at `at` if nothing lies there, or gives it a name in the
    /// private directory; returns whether it is visible. `newborn` is kept between files of one directory.
    pub(super) fn publish_new(
        &self,
        version: &mut FileVersion,
        metadata: &Metadata,
        at: Spot<'_>,
        newborn: &mut Newborn,
    ) -> Result<bool> {
        let file = version.file.as_fd();
        newborn.dress(file, metadata, self.fidelity, self.reader)?;
        if self.disk.is_synced_by_file() {
            self.disk.sync_data(file)?;
        }
        if let Some(place) = &mut version.place {
            if !self.disk.is_synced() || look(at.directory, at.name)?.is_some() {
                return Ok(false);
            }
            fs::renameat(place.directory(), place.name(), at.directory, at.name)?;
            place.empty();
        } else {
            match self.name(file, at.directory, at.name) {
                Err(Errno::EXIST) => {
                    let mut place = self.aside.place()?;
                    self.name(file, place.directory(), place.name().as_bytes())?;
                    place.fill();
                    version.place = Some(place);
                    return Ok(false);
                }
                linked => linked?,
            }
        }
        self.disk.sync_names(at.directory)?;
        Ok(true)
    }

    /// Makes a version of a file that is on disk, and has a name in the private directory, visible at `at`;
    /// returns what it replaced.
    pub(super) fn publish_over(&self, version: &mut FileVersion, at: Spot<'_>) -> Result<Replaced> {
        match &mut version.place {
            Some(place) => self.replace(place, at),
            None => Ok(Replaced::NoDirectory),
        }
    }

    /// Makes anything without content but a directory at `at`, in place of anything.
    pub(super) fn special(&self, metadata: &Metadata, at: Spot<'_>) -> Result<Replaced> {
        // Whatever the source says: the leave is given here.
        if !self.fidelity.nodes.allow(&metadata.kind) {
            return Err(Errno::PERM);
        }
        let mut place = self.aside.place()?;
        make(&metadata.kind, &place)?;
        place.fill();
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let made = fs::openat(place.directory(), place.name(), flags, Mode::empty())?;
        apply(Target::Path(made.as_fd()), metadata, None, self.fidelity, self.reader)?;
        self.replace(&mut place, at)
    }

    /// Makes an empty directory at `at`, in place of something that is none.
    pub(super) fn directory(&self, at: Spot<'_>) -> Result<()> {
        let mut place = self.aside.place()?;
        fs::mkdirat(place.directory(), place.name(), Mode::RWXU)?;
        place.fill();
        self.replace(&mut place, at)?;
        Ok(())
    }

    /// Takes what lies at `at` away, with everything below it.
    pub(super) fn remove(&self, at: Spot<'_>) -> Result<()> {
        if let Some(trash) = &self.trash {
            return trash.remove(at);
        }
        let unlink = |flags| fs::unlinkat(at.directory, at.name, flags);
        match unlink(AtFlags::empty()) {
            Err(Errno::ISDIR) => {}
            removed => return removed,
        }
        match unlink(AtFlags::REMOVEDIR) {
            Err(Errno::NOTEMPTY | Errno::EXIST) => {
                let mut place = self.aside.place()?;
                set_aside(at, &mut place)
            }
            // Not a directory any more.
            Err(Errno::NOTDIR) => unlink(AtFlags::empty()),
            removed => removed,
        }
    }

    /// Moves what lies at `from` to `to`, in place of a file or an empty directory.
    pub(super) fn rename(&self, from: Spot<'_>, to: Spot<'_>) -> Result<()> {
        if look(to.directory, to.name)?.is_some() {
            self.disk.sync_named(from.directory, from.name)?;
        }
        match &self.trash {
            Some(trash) => trash.rename(from, to),
            None => movable(from.directory, from.name, || {
                fs::renameat(from.directory, from.name, to.directory, to.name)
            }),
        }
    }

    /// Moves what lies at `place` to `at`; what lay there is deleted, or goes to the trash.
    pub(super) fn replace(&self, place: &mut Place, at: Spot<'_>) -> Result<Replaced> {
        let replaced = self.exchange(place, at)?;
        self.disk.sync_names(at.directory)?;
        Ok(replaced)
    }

    fn exchange(&self, place: &mut Place, at: Spot<'_>) -> Result<Replaced> {
        let Spot { directory, name, .. } = at;
        if let Some(trash) = &self.trash {
            let is_directory = |seen: Seen| seen.metadata.kind.is_directory();
            if self.keeps_all && look(directory, name)?.is_some_and(is_directory) {
                return Err(Errno::NOTEMPTY);
            }
            let replaced = trash.replace(place.directory(), place.name().as_bytes(), at)?;
            place.empty();
            return Ok(replaced);
        }
        match fs::renameat(place.directory(), place.name(), directory, name) {
            Err(Errno::ISDIR | Errno::NOTEMPTY | Errno::EXIST) if self.keeps_all => {
                return Err(Errno::NOTEMPTY);
            }
            // A directory and something else do not replace each other.
            Err(Errno::ISDIR | Errno::NOTDIR | Errno::NOTEMPTY | Errno::EXIST) => {}
            moved => {
                moved?;
                place.empty();
                return Ok(Replaced::NoDirectory);
            }
        }
        let exchange = || {
            let (there, flags) = (place.directory(), RenameFlags::EXCHANGE);
            fs::renameat_with(there, place.name(), directory, name, flags)
        };
        match movable(directory, name, exchange) {
            // Some file systems cannot exchange: two steps, and back if the second fails.
            Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {
                let mut old = self.aside.place()?;
                set_aside(at, &mut old)?;
                let moved = fs::renameat(place.directory(), place.name(), directory, name);
                if let Err(errno) = moved {
                    fs::renameat(old.directory(), old.name(), directory, name)?;
                    old.empty();
                    return Err(errno);
                }
                place.empty();
                Ok(Replaced::Directory)
            }
            // What lay there lies in the place now and is deleted with it.
            exchanged => exchanged.map(|()| Replaced::Directory),
        }
    }

    /// Gives an unnamed file its first name.
    fn name(&self, file: BorrowedFd<'_>, directory: BorrowedFd<'_>, name: &[u8]) -> Result<()> {
        if !self.links_by_proc.load(Ordering::Relaxed) {
            match fs::linkat(file, "", directory, name, AtFlags::EMPTY_PATH) {
                // The kernel's word for lacking the privilege, and for a directory that was removed.
                Err(Errno::NOENT) => {}
                linked => return linked,
            }
        }
        let flags = AtFlags::SYMLINK_FOLLOW;
        fs::linkat(CWD, proc_path(file), directory, name, flags)?;
        self.links_by_proc.store(true, Ordering::Relaxed);
        Ok(())
    }
}

/// Makes an entry of this kind at `place`.
pub(super) fn make(kind: &Kind, place: &Place) -> Result<()> {
    let (directory, name) = (place.directory(), place.name());
    let device = |device: &Device| fs::makedev(device.major, device.minor);
    let (file_type, device) = match kind {
        Kind::Symlink { target } => return fs::symlinkat(&target[..], directory, name),
        Kind::Fifo => (FileType::Fifo, 0),
        Kind::Socket => (FileType::Socket, 0),
        Kind::CharacterDevice(which) => (FileType::CharacterDevice, device(which)),
        Kind::BlockDevice(which) => (FileType::BlockDevice, device(which)),
        Kind::File { .. } | Kind::Directory => return Err(Errno::INVAL),
    };
    fs::mknodat(directory, name, file_type, Mode::RUSR, device)
}

fn set_aside(at: Spot<'_>, place: &mut Place) -> Result<()> {
    movable(at.directory, at.name, || {
        fs::renameat(at.directory, at.name, place.directory(), place.name())
    })?;
    place.fill();
    Ok(())
}
