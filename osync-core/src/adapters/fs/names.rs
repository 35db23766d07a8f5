//! The names of a directory, sorted, read once however many pages they are asked for in.
//!
//! The names of one listing are those there were when its first page was read; what lies at each is
//! looked up when its page is made. A replaced directory is noticed and read anew.

use std::collections::VecDeque;
use std::mem::MaybeUninit;
use std::sync::{Arc, Mutex, PoisonError};

use rustix::fd::BorrowedFd;
use rustix::fs::{self, FileType, RawDir};
use rustix::io::{Errno, Result};

use crate::adapters::fs::root::identity;
use crate::model::rel_path::RelPath;

/// What one call to the kernel may return, in bytes: about 500 names.
const READ_BYTES: usize = 16 * 1024;

/// All unfinished listings together, in bytes, but for the newest, which may be as large as its directory.
const LISTINGS_BYTES_MAX: usize = 64 * 1024 * 1024;

/// The names of one directory in ascending bytewise order.
#[derive(Debug, Default)]
pub(super) struct Names {
    arena: Vec<u8>,
    index: Vec<Slot>,
}

/// Where a name lies in the arena, and what the directory says lies at it: unknown on some file systems.
#[derive(Debug, Clone, Copy)]
struct Slot {
    offset: u32,
    length: u16,
    file_type: FileType,
}

impl Names {
    /// Reads the names of `directory` that `wants` says yes to, without `.` and `..`.
    pub(super) fn read(
        directory: BorrowedFd<'_>,
        mut wants: impl FnMut(&[u8]) -> bool,
    ) -> Result<Self> {
        let mut names = Self::default();
        for_each_entry(directory, |name, file_type| {
            if wants(name) {
                let offset = u32::try_from(names.arena.len()).map_err(|_| Errno::OVERFLOW)?;
                let length = u16::try_from(name.len()).map_err(|_| Errno::OVERFLOW)?;
                names.index.push(Slot { offset, length, file_type });
                names.arena.extend_from_slice(name);
            }
            Ok(true)
        })?;
        let Self { arena, index } = &mut names;
        index.sort_unstable_by(|a, b| slice(arena, *a).cmp(slice(arena, *b)));
        // A directory that changes while it is read may give a name twice.
        index.dedup_by(|a, b| slice(arena, *a) == slice(arena, *b));
        Ok(names)
    }

    /// The names above `after`, or all, each with what the directory says lies at it.
    pub(super) fn above(
        &self,
        after: Option<&[u8]>,
    ) -> impl ExactSizeIterator<Item = (&[u8], FileType)> {
        let from = after
            .map_or(0, |after| self.index.partition_point(|&at| slice(&self.arena, at) <= after));
        self.index[from..].iter().map(|&at| (slice(&self.arena, at), at.file_type))
    }

    fn len_bytes(&self) -> usize {
        self.arena.len() + self.index.len() * size_of::<Slot>()
    }
}

fn slice(arena: &[u8], at: Slot) -> &[u8] {
    &arena[at.offset as usize..][..usize::from(at.length)]
}

/// Calls `take` with each name of `directory` in no order, without `.` and `..`, until it says `false`.
pub(super) fn for_each_name(
    directory: BorrowedFd<'_>,
    mut take: impl FnMut(&[u8]) -> Result<bool>,
) -> Result<()> {
    for_each_entry(directory, |name, _| take(name))
}

fn for_each_entry(
    directory: BorrowedFd<'_>,
    mut take: impl FnMut(&[u8], FileType) -> Result<bool>,
) -> Result<()> {
    let mut buffer = [MaybeUninit::uninit(); READ_BYTES];
    let mut entries = RawDir::new(directory, &mut buffer);
    while let Some(entry) = entries.next() {
        let entry = match entry {
            Err(Errno::INTR) => continue,
            entry => entry?,
        };
        let name = entry.file_name().to_bytes();
        if name != b"." && name != b".." && !take(name, entry.file_type())? {
            break;
        }
    }
    Ok(())
}

/// Listings that were begun and not ended.
#[derive(Debug, Default)]
pub(super) struct Listings(Mutex<VecDeque<Listing>>);

#[derive(Debug)]
struct Listing {
    path: RelPath,
    identity: (u64, u64),
    names: Arc<Names>,
}

impl Listings {
    /// The names of the listing of the directory at `path`, now open as `directory`, if it was begun.
    pub(super) fn get(&self, path: &RelPath, directory: BorrowedFd<'_>) -> Option<Arc<Names>> {
        let listings = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let listing = listings.iter().find(|listing| listing.path == *path)?;
        let is_same = identity(&fs::fstat(directory).ok()?) == listing.identity;
        is_same.then(|| Arc::clone(&listing.names))
    }

    /// Keeps `names` for the pages to come, at the expense of the oldest listings.
    pub(super) fn keep(&self, path: &RelPath, directory: BorrowedFd<'_>, names: &Arc<Names>) {
        let Ok(stat) = fs::fstat(directory) else { return };
        let mut listings = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        listings.retain(|listing| listing.path != *path);
        listings.push_back(Listing {
            path: path.clone(),
            identity: identity(&stat),
            names: Arc::clone(names),
        });
        let mut bytes: usize = listings.iter().map(|l| l.names.len_bytes()).sum();
        while bytes > LISTINGS_BYTES_MAX && listings.len() > 1 {
            bytes -= listings.pop_front().map_or(0, |l| l.names.len_bytes());
        }
    }

    /// Drops the listing of the directory at `path`: its last page is made.
    pub(super) fn end(&self, path: &RelPath) {
        let mut listings = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        listings.retain(|listing| listing.path != *path);
    }
}
