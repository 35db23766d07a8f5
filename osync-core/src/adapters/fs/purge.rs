//! Deleting trees that were moved aside, in the room of two descriptors whatever their depth.
//!
//! A directory inside a doomed one that is not empty is moved up beside it and is doomed itself. So the
//! private directory holds a flat heap that only shrinks, and a killed deletion is taken up again.

use rustix::fd::{AsFd, BorrowedFd};
use rustix::fs::{self, AtFlags};
use rustix::io::{Errno, Result};

use crate::adapters::fs::names::for_each_name;
use crate::adapters::fs::root::{LISTING, PLACE, enter};
use crate::adapters::fs::unlock::unlocked;

/// How the names of doomed directories begin.
pub(super) const DOOMED: u8 = b'd';

/// How the names of those that could not be deleted begin; they are tried again by the next process.
const STUCK: u8 = b's';

/// How many doomed directories are noted at a time.
const BATCH_MAX: usize = 256;

/// Deletes every doomed directory in `aside`. `fresh` gives numbers that no name there has yet.
///
/// # Errors
/// The first error, after everything else has been deleted.
pub(super) fn purge(aside: BorrowedFd<'_>, fresh: &dyn Fn() -> u64) -> Result<()> {
    let mut result = Ok(());
    loop {
        let mut batch: Vec<Vec<u8>> = Vec::new();
        for_each_name(enter(aside, b".", LISTING)?.as_fd(), |name| {
            if name.first() == Some(&DOOMED) {
                batch.push(name.to_vec());
            }
            Ok(batch.len() < BATCH_MAX)
        })?;
        if batch.is_empty() {
            return result;
        }
        for name in batch {
            if let Err(errno) = delete(aside, &name, fresh) {
                let stuck = numbered(STUCK, fresh());
                fs::renameat(aside, name.as_slice(), aside, stuck)?;
                result = result.and(Err(errno));
            }
        }
    }
}

/// The name of entry `number` of a sort.
pub(super) fn numbered(sort: u8, number: u64) -> String {
    format!("{}{number}", char::from(sort))
}

fn delete(aside: BorrowedFd<'_>, name: &[u8], fresh: &dyn Fn() -> u64) -> Result<()> {
    let place = enter(aside, name, PLACE)?;
    loop {
        let listing = unlocked(place.as_fd(), || enter(place.as_fd(), b".", LISTING))?;
        let mut removed = 0_u64;
        let mut result = Ok(());
        for_each_name(listing.as_fd(), |child| {
            let done = unlocked(place.as_fd(), || detach(place.as_fd(), child, aside, fresh));
            removed += u64::from(done.is_ok());
            result = result.and(done);
            Ok(true)
        })?;
        match fs::unlinkat(aside, name, AtFlags::REMOVEDIR) {
            // Deleting while reading may pass over names.
            Err(Errno::NOTEMPTY | Errno::EXIST) if result.is_ok() && removed > 0 => {}
            deleted => return result.and(deleted),
        }
    }
}

/// Takes `child` out of `directory`: for good, or as a doomed directory of its own.
fn detach(
    directory: BorrowedFd<'_>,
    child: &[u8],
    aside: BorrowedFd<'_>,
    fresh: &dyn Fn() -> u64,
) -> Result<()> {
    match fs::unlinkat(directory, child, AtFlags::empty()) {
        Err(Errno::ISDIR) => {}
        done => return done,
    }
    match fs::unlinkat(directory, child, AtFlags::REMOVEDIR) {
        Err(Errno::NOTEMPTY | Errno::EXIST) => {}
        done => return done,
    }
    let moved = enter(directory, child, PLACE)?;
    unlocked(moved.as_fd(), || fs::renameat(directory, child, aside, numbered(DOOMED, fresh())))
}
