//! What a feed itself looks at in the tree: the kind of an entry, and the directories in a directory.
//!
//! Listing takes the kinds from `getdents64`, so files cost no `stat`. It is confined beneath the root,
//! because somebody may swap a directory for a symbolic link between event and look.

use std::ffi::OsStr;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType, RawDir};
use rustix::io::Errno;

use crate::adapters::fs::root::{LISTING, PLACE, Root};
use crate::model::name::Name;
use crate::model::rel_path::RelPath;

/// The name directly below the root that belongs to osync itself: neither watched nor reported.
const RESERVED: &[u8] = b".osync";

/// Room for about 1,000 entries per `getdents64`.
const LISTING_BYTES: usize = 32 * 1024;

/// The longest path, in bytes, that is handed to the kernel in one piece: `PATH_MAX` less room for an anchor.
const DIRECT_BYTES_MAX: usize = 4_000;

/// File systems that count the directories in a directory among its links: ext2 to ext4, XFS, tmpfs.
const COUNTING: [u64; 3] = [0xEF53, 0x5846_5342, 0x0102_1994];

/// The root of the watched tree, held open.
#[derive(Debug)]
pub(super) struct Tree {
    root: Root,
    buffer: Vec<u8>,
    /// The device last listed on, and whether its file system is among [`COUNTING`].
    counting: Option<(u64, bool)>,
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
    pub(super) fn open(path: &Path) -> std::io::Result<Self> {
        Ok(Self {
            root: Root::open(path)?,
            buffer: Vec::with_capacity(LISTING_BYTES),
            counting: None,
        })
    }

    /// Whether the path it was opened by still leads to this root.
    pub(super) fn is_in_place(&self) -> bool {
        self.root.check().is_ok()
    }

    /// Whether it is in memory: listing it costs no storage.
    pub(super) fn is_in_memory(&self) -> bool {
        self.root.is_in_memory()
    }

    /// The descriptor of the root, to work relative to.
    pub(super) fn descriptor(&self) -> BorrowedFd<'_> {
        self.root.descriptor()
    }

    /// An absolute path of the root that leads there wherever it is moved.
    pub(super) fn anchor(&self) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}", self.descriptor().as_raw_fd()))
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
        match self.kind(path) {
            Err(_) => Seen::Nothing,
            Ok(FileType::Directory) => Seen::Directory,
            Ok(FileType::RegularFile) => Seen::File,
            Ok(_) => Seen::Special,
        }
    }

    fn kind(&self, path: &RelPath) -> Result<FileType, Errno> {
        let Some((above, name)) = path.split() else { return Ok(FileType::Directory) };
        let stat = if path.as_bytes().len() <= DIRECT_BYTES_MAX {
            rustix::fs::statat(self.descriptor(), path.as_bytes(), AtFlags::SYMLINK_NOFOLLOW)
        } else {
            let above = self.root.directory(&above, PLACE)?;
            rustix::fs::statat(above, name.as_bytes(), AtFlags::SYMLINK_NOFOLLOW)
        };
        Ok(FileType::from_raw_mode(stat?.st_mode))
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
        let opened = self.root.directory(directory, LISTING)?;
        if self.is_leaf(&opened)? {
            return Ok(());
        }
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

impl Tree {
    /// Whether the links of `directory` tell that there is none in it: most are such leaves, and files are many.
    fn is_leaf(&mut self, directory: &OwnedFd) -> Result<bool, Errno> {
        let stat = rustix::fs::fstat(directory)?;
        // Its name and its ".".
        if stat.st_nlink != 2 {
            return Ok(false);
        }
        let counts = match self.counting {
            Some((device, counts)) if device == stat.st_dev => counts,
            Some(_) | None => {
                let kind = u64::try_from(rustix::fs::fstatfs(directory)?.f_type);
                kind.is_ok_and(|kind| COUNTING.contains(&kind))
            }
        };
        self.counting = Some((stat.st_dev, counts));
        Ok(counts)
    }
}

/// Whether `path` is or lies in the directory that belongs to osync itself.
pub(super) fn is_reserved(path: &RelPath) -> bool {
    path.components().next() == Some(RESERVED)
}
