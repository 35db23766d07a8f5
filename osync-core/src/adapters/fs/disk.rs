//! What reaches the disk, and when.
//!
//! A rename over an existing name before the new version's data is on disk can cost both versions in a power
//! cut, so the data goes first. A name that is new can lose nothing: it waits for the next [`Disk::sync`].

use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use rustix::fd::{BorrowedFd, OwnedFd};
use rustix::fs::{self, FileType, Mode, OFlags};
use rustix::io::{Errno, Result};

use crate::adapters::fs::root::{LISTING, Root, enter};
use crate::adapters::fs::unlock::unlocked;
use crate::adapters::fs::unsynced::Unsynced;
use crate::model::durability::Durability;

/// So many files are synced one by one; for more the whole file system is.
pub(super) const SINGLES_MAX: usize = 4;

/// The file system of a sink's root.
#[derive(Debug)]
pub(super) struct Disk {
    root: Arc<Root>,
    durability: AtomicU8,
    /// Held open, because the kernel reports an error once to each descriptor that was open when it happened.
    open: Mutex<Option<OwnedFd>>,
    pub(super) unsynced: Unsynced,
}

impl Disk {
    /// Nothing is synced until [`Disk::set_durability`] asks for it.
    pub(super) fn new(root: Arc<Root>, unsynced: Unsynced) -> Self {
        let durability = AtomicU8::new(Durability::None as u8);
        Self { root, durability, open: Mutex::new(None), unsynced }
    }

    pub(super) fn set_durability(&self, durability: Durability) {
        self.durability.store(durability as u8, Ordering::Relaxed);
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        *open = None;
        self.unsynced.enable(false);
        if !self.is_synced() {
            return;
        }
        match self.watch() {
            Ok(_) if self.root.is_in_memory() => {
                log::info!("the target is in memory: nothing of it survives a power cut");
            }
            Ok(descriptor) => {
                *open = Some(descriptor);
                self.unsynced.enable(true);
            }
            Err(errno) => log::warn!("the target cannot be synced: {errno}"),
        }
    }

    /// Whether anything is synced at all.
    pub(super) fn is_synced(&self) -> bool {
        self.durability.load(Ordering::Relaxed) != Durability::None as u8
    }

    /// Whether every file is on disk, with its name, before it is confirmed.
    pub(super) fn is_synced_by_file(&self) -> bool {
        self.durability.load(Ordering::Relaxed) == Durability::File as u8
    }

    /// A descriptor that hears of every error in writing from now on.
    pub(super) fn watch(&self) -> Result<OwnedFd> {
        let root = self.root.descriptor();
        unlocked(root, || enter(root, b".", LISTING))
    }

    /// Puts everything on disk; returns whether it will be there after a power cut. If it `is_settled`, whatever
    /// was not believed has been replaced.
    pub(super) fn sync(&self, is_settled: bool) -> Result<bool> {
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(descriptor) = &*open else { return Ok(false) };
        let synced = self.unsynced.begin().and_then(|turn| {
            fs::syncfs(descriptor)?;
            self.unsynced.end(turn, is_settled)
        });
        if synced.is_err() {
            self.unsynced.fail()?;
        }
        synced.map(|()| true)
    }

    /// Leaves nothing behind that only a sync would take away, if there is none.
    pub(super) fn tidy(&self) {
        if !self.is_synced() {
            self.unsynced.forget();
        }
    }

    /// Puts the content of `file` on disk, if anything is to be there.
    pub(super) fn sync_data(&self, file: BorrowedFd<'_>) -> Result<()> {
        if self.is_synced() { fs::fdatasync(file) } else { Ok(()) }
    }

    /// Puts the content of `name` in `directory` on disk if it is a regular file, and anything is to be there.
    pub(super) fn sync_named(&self, directory: BorrowedFd<'_>, name: &[u8]) -> Result<()> {
        if !self.is_synced() || !is_regular(directory, name)? {
            return Ok(());
        }
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        match fs::openat(directory, name, flags, Mode::empty()) {
            Err(Errno::ACCESS) => fs::syncfs(self.watch()?),
            file => fs::fdatasync(file?),
        }
    }

    /// Puts the names in `directory` on disk, if they are to be there before they are confirmed.
    pub(super) fn sync_names(&self, directory: BorrowedFd<'_>) -> Result<()> {
        if !self.is_synced_by_file() {
            return Ok(());
        }
        match enter(directory, b".", LISTING) {
            // Whoever opened it up for writing need not be able to read it.
            Err(Errno::ACCESS) => fs::syncfs(self.watch()?),
            open => fs::fsync(open?),
        }
    }
}

fn is_regular(directory: BorrowedFd<'_>, name: &[u8]) -> Result<bool> {
    let stat = fs::statat(directory, name, fs::AtFlags::SYMLINK_NOFOLLOW)?;
    Ok(FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile)
}
