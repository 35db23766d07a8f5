//! What the feed itself looks at in the tree: the kind of an entry, and the directories in a directory.
//!
//! Listing takes the kinds from `getdents64`, so files cost no `stat`. It is confined beneath the root
//! (`openat2`), because somebody may swap a directory for a symbolic link between event and look.

use std::ffi::OsStr;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, RawDir, ResolveFlags, Stat};
use rustix::io::Errno;

use crate::model::name::Name;
use crate::model::rel_path::RelPath;

/// The name directly below the root that belongs to osync itself: neither watched nor reported.
const RESERVED: &[u8] = b".osync";

/// Room for about 1,000 entries per `getdents64`.
const LISTING_BYTES: usize = 32 * 1024;

/// The root of the watched tree, held open.
#[derive(Debug)]
pub(super) struct Tree {
    path: PathBuf,
    root: OwnedFd,
    buffer: Vec<u8>,
}

/// What lies at a path at the moment of looking.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Seen {
    /// Nothing that can be reached.
    Nothing,
    /// A directory.
    Directory,
    /// A regular file.
    File,
    /// Anything else: there whole from the start.
    Special,
}

impl Tree {
    /// Opens the directory `path`.
    pub(super) fn open(path: &Path) -> Result<Self, Errno> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(Self {
            path: path.to_path_buf(),
            root: rustix::fs::openat(CWD, path, flags, Mode::empty())?,
            buffer: Vec::with_capacity(LISTING_BYTES),
        })
    }

    /// Whether the path it was opened by still leads to this root.
    pub(super) fn is_in_place(&self) -> bool {
        let identity = |stat: Stat| (stat.st_dev, stat.st_ino);
        let there = rustix::fs::stat(&self.path).map(identity);
        there.is_ok() && there == rustix::fs::fstat(&self.root).map(identity)
    }

    /// An absolute path of the root that leads there wherever it is moved.
    pub(super) fn anchor(&self) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}", self.root.as_raw_fd()))
    }

    /// An absolute path of an entry, by way of [`Tree::anchor`].
    pub(super) fn absolute(&self, path: &RelPath) -> PathBuf {
        // The root needs the dot, because the anchor is a link and watching follows none.
        let relative = if path.is_root() { b"." } else { path.as_bytes() };
        self.anchor().join(OsStr::from_bytes(relative))
    }

    /// What lies at `path` now.
    ///
    /// The answer only chooses between hints, so an error is `Nothing`: whoever gets the hint looks himself.
    pub(super) fn look(&self, path: &RelPath) -> Seen {
        let found = if path.is_root() {
            rustix::fs::fstat(&self.root)
        } else {
            rustix::fs::statat(&self.root, path.as_bytes(), AtFlags::SYMLINK_NOFOLLOW)
        };
        match found.map(|stat| FileType::from_raw_mode(stat.st_mode)) {
            Err(_) => Seen::Nothing,
            Ok(FileType::Directory) => Seen::Directory,
            Ok(FileType::RegularFile) => Seen::File,
            Ok(_) => Seen::Special,
        }
    }

    /// Appends the directories in `directory` to `found`; none if it is not a directory (any more).
    pub(super) fn list_directories(
        &mut self,
        directory: &RelPath,
        found: &mut Vec<RelPath>,
    ) -> Result<(), Errno> {
        match self.try_list(directory, found) {
            // Its parent is watched, so that is an event of its own.
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Ok(()),
            listed => listed,
        }
    }

    fn try_list(&mut self, directory: &RelPath, found: &mut Vec<RelPath>) -> Result<(), Errno> {
        let relative: &[u8] = if directory.is_root() { b"." } else { directory.as_bytes() };
        let opened = rustix::fs::openat2(
            &self.root,
            relative,
            OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC,
            Mode::empty(),
            ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS,
        )?;
        let mut entries = RawDir::new(&opened, self.buffer.spare_capacity_mut());
        while let Some(entry) = entries.next() {
            let entry = entry?;
            let name = entry.file_name();
            let mut kind = entry.file_type();
            if kind == FileType::Unknown {
                kind = rustix::fs::statat(&opened, name, AtFlags::SYMLINK_NOFOLLOW)
                    .map_or(kind, |stat| FileType::from_raw_mode(stat.st_mode));
            }
            if kind != FileType::Directory {
                continue;
            }
            // "." and ".." are no names.
            let Ok(name) = Name::new(name.to_bytes()) else { continue };
            if let Ok(path) = directory.join(&name)
                && !is_reserved(&path)
            {
                found.push(path);
            }
        }
        Ok(())
    }
}

/// Whether `path` is or lies in the directory that belongs to osync itself.
pub(super) fn is_reserved(path: &RelPath) -> bool {
    path.components().next() == Some(RESERVED)
}
