//! The trash: a directory beside the tree, on the same file system, that keeps what is removed or replaced.
//!
//! What lay at `a/b` goes to `2026-11-26/a/b`, the date by UTC, in one rename; where that is taken to `b~1~`,
//! `b~2~` .. . The directories above it are made, for the sink's user alone, because what they keep may have lain
//! behind a closed door. What replaces something goes the same way: it is moved to the place in the trash and
//! exchanged with what is there, so the name is never absent, and a killed process has lost neither.
//!
//! Of one thing with several names only the last name to go is kept: until then nothing is lost, and further names
//! in the trash would be names too many for those that stay.
//!
//! Invariant: nothing leaves the tree, other than a name of many or an empty directory, unless it is in the trash.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{self, AtFlags, Mode, OFlags, RenameFlags};
use rustix::io::{Errno, Result};

use crate::adapters::fs::aside::Aside;
use crate::adapters::fs::metadata::look;
use crate::adapters::fs::root::{PLACE, Root, enter, identity, is_removed, movable};
use crate::adapters::fs::spot::{Replaced, Spot};
use crate::adapters::fs::unlock::unlocked;
use crate::model::name::Name;
use crate::model::rel_path::RelPath;

const DAY_SECONDS: u64 = 24 * 60 * 60;
/// How often a place that was free a moment ago may be taken.
const ATTEMPTS_MAX: u32 = 8;
/// The name by which it is tried whether something can be moved here.
const TRIAL: &str = ".osync-trial";

/// The directory and everything kept in it.
#[derive(Debug)]
pub(super) struct Trash {
    root: Root,
    /// One at a time: of two names of one thing the later must not find the earlier.
    turn: Mutex<()>,
    /// The last one failed, and the log says so.
    has_failed: AtomicBool,
}

/// Where something is kept now.
struct Kept {
    directory: OwnedFd,
    name: Vec<u8>,
}

impl Trash {
    /// Keeps in the directory at `path`, which is made if it is not there, what goes from the tree of `target`.
    ///
    /// # Errors
    /// Why it cannot.
    pub(super) fn open(
        path: &Path,
        target: &Root,
        aside: &Aside,
    ) -> std::result::Result<Self, String> {
        let text = |error: std::io::Error| error.to_string();
        let refuse_inside = |root: &Root| match lies_in(root, target) {
            Ok(true) => Err("it is the target or lies in it".to_owned()),
            Ok(false) => Ok(()),
            Err(errno) => Err(errno.to_string()),
        };
        let path = std::path::absolute(path).map_err(text)?;
        // Before anything is made, what is there already is asked.
        if let Some(above) = path.ancestors().find_map(|above| Root::open(above).ok()) {
            refuse_inside(&above)?;
        }
        let root = Root::open_or_make_private(&path).map_err(text)?;
        refuse_inside(&root)?;
        let trash = Self { root, turn: Mutex::default(), has_failed: AtomicBool::new(false) };
        match trash.try_moving(aside) {
            Ok(()) => Ok(trash),
            Err(Errno::XDEV) => Err("it lies on another file system than the target".to_owned()),
            Err(errno) => Err(errno.to_string()),
        }
    }

    /// Moves something here, which another file system or mount does not take.
    fn try_moving(&self, aside: &Aside) -> Result<()> {
        let mut place = match aside.place() {
            // The target takes nothing at present, and is tried again by everything that is removed.
            Err(Errno::NOSPC | Errno::DQUOT | Errno::ROFS) => return Ok(()),
            place => place?,
        };
        fs::mkdirat(place.directory(), place.name(), Mode::RWXU)?;
        place.fill();
        fs::renameat(place.directory(), place.name(), self.root.descriptor(), TRIAL)?;
        place.empty();
        fs::unlinkat(self.root.descriptor(), TRIAL, AtFlags::REMOVEDIR)
    }

    fn turn(&self) -> MutexGuard<'_, ()> {
        self.turn.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes what lies at `at` out of the tree.
    pub(super) fn remove(&self, at: Spot<'_>) -> Result<()> {
        let _turn = self.turn();
        let seen = look(at.directory, at.name)?.ok_or(Errno::NOENT)?.metadata;
        if !seen.kind.is_directory() {
            if seen.is_linked() {
                return fs::unlinkat(at.directory, at.name, AtFlags::empty());
            }
            return self.keep(at.directory, at.name, at.path).map(|_| ());
        }
        // One whose entries have gone before it is there already.
        if self.root.directory(&dated(at.path)?, PLACE).is_ok() {
            match fs::unlinkat(at.directory, at.name, AtFlags::REMOVEDIR) {
                Err(Errno::NOTEMPTY | Errno::EXIST) => {}
                removed => return removed,
            }
        }
        self.keep(at.directory, at.name, at.path).map(|_| ())
    }

    /// Moves `name` of `directory` to `at`, in place of anything that lies there; says what did.
    pub(super) fn replace(
        &self,
        directory: BorrowedFd<'_>,
        name: &[u8],
        at: Spot<'_>,
    ) -> Result<Replaced> {
        let _turn = self.turn();
        let plainly =
            || movable(directory, name, || fs::renameat(directory, name, at.directory, at.name));
        let Some(there) = look(at.directory, at.name)? else {
            return plainly().map(|()| Replaced::NoDirectory);
        };
        let was = if there.metadata.kind.is_directory() {
            Replaced::Directory
        } else {
            Replaced::NoDirectory
        };
        if was == Replaced::NoDirectory && there.metadata.is_linked() {
            match plainly() {
                // A directory replaces nothing else in one step.
                Err(Errno::NOTDIR) => {}
                replaced => return replaced.map(|()| was),
            }
        }
        let kept = self.keep(directory, name, at.path)?;
        let back = |errno: Errno| {
            fs::renameat(&kept.directory, &kept.name[..], directory, name)?;
            Err(errno)
        };
        let exchanged = movable(at.directory, at.name, || {
            let flags = RenameFlags::EXCHANGE;
            fs::renameat_with(&kept.directory, &kept.name[..], at.directory, at.name, flags)
        });
        match exchanged {
            Ok(()) => Ok(was),
            // Some file systems cannot exchange: two steps, and back if the second fails.
            Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {
                fs::renameat(&kept.directory, &kept.name[..], directory, name)?;
                let old = self.keep(at.directory, at.name, at.path)?;
                if let Err(errno) = plainly() {
                    fs::renameat(&old.directory, &old.name[..], at.directory, at.name)?;
                    return Err(errno);
                }
                Ok(was)
            }
            Err(errno) => back(errno),
        }
    }

    /// Moves what lies at `from` to `to`, in place of anything there but a directory with something in it.
    pub(super) fn rename(&self, from: Spot<'_>, to: Spot<'_>) -> Result<()> {
        let moved = look(from.directory, from.name)?.ok_or(Errno::NOENT)?.metadata;
        let there = look(to.directory, to.name)?.map(|there| there.metadata);
        let which = |at: Spot<'_>| {
            fs::statat(at.directory, at.name, AtFlags::SYMLINK_NOFOLLOW).map(|stat| identity(&stat))
        };
        // Of directories only an empty one makes way.
        let is_plain =
            moved.kind.is_directory() || there.is_none_or(|there| there.kind.is_directory());
        if is_plain || which(from)? == which(to)? {
            return movable(from.directory, from.name, || {
                fs::renameat(from.directory, from.name, to.directory, to.name)
            });
        }
        self.replace(from.directory, from.name, to).map(|_| ())
    }

    /// Moves `name` of `directory` into the trash, as what lay at `path`.
    fn keep(&self, directory: BorrowedFd<'_>, name: &[u8], path: &RelPath) -> Result<Kept> {
        let kept = self.try_to_keep(directory, name, path);
        match &kept {
            Ok(_) => self.has_failed.store(false, Ordering::Relaxed),
            Err(errno) if !self.has_failed.swap(true, Ordering::Relaxed) => {
                let trash = self.root.shown();
                log::warn!("{path} cannot be moved to the trash {trash} and stays: {errno}");
            }
            Err(_) => {}
        }
        kept
    }

    fn try_to_keep(&self, directory: BorrowedFd<'_>, name: &[u8], path: &RelPath) -> Result<Kept> {
        let gone = |errno: Errno| match errno {
            // Not to be taken for the absence of what is to be kept.
            Errno::NOENT | Errno::NOTDIR => Errno::NOLINK,
            errno => errno,
        };
        let (above, last) = path.split().ok_or(Errno::INVAL)?;
        let above = self.directory(&above).map_err(gone)?;
        for _ in 0..ATTEMPTS_MAX {
            let is_taken = |candidate: &[u8]| match look(above.as_fd(), candidate) {
                Ok(found) => Ok(found.is_some()),
                Err(errno) => Err(gone(errno)),
            };
            let free = free_name(last.as_bytes(), is_taken)?;
            let flags = RenameFlags::NOREPLACE;
            let moved = unlocked(above.as_fd(), || {
                movable(directory, name, || {
                    match fs::renameat_with(directory, name, &above, &free[..], flags) {
                        // It is known on fewer file systems than this.
                        Err(Errno::INVAL | Errno::NOSYS) => {
                            fs::renameat(directory, name, &above, &free[..])
                        }
                        moved => moved,
                    }
                })
            });
            match moved {
                Err(Errno::EXIST) => {}
                Err(Errno::NOENT) if is_removed(&above) => return Err(Errno::NOLINK),
                moved => return moved.map(|()| Kept { directory: above, name: free }),
            }
        }
        Err(Errno::BUSY)
    }

    /// The directory for what lay in `above`, which is made.
    fn directory(&self, above: &RelPath) -> Result<OwnedFd> {
        let path = dated(above)?;
        if let Ok(found) = self.root.directory(&path, PLACE) {
            return Ok(found);
        }
        self.root.descend(&path, |directory, name| {
            let try_to_enter = |name: &[u8]| match enter(directory, name, PLACE) {
                Err(Errno::NOENT) => {
                    match unlocked(directory, || fs::mkdirat(directory, name, Mode::RWXU)) {
                        Ok(()) | Err(Errno::EXIST) => enter(directory, name, PLACE),
                        Err(errno) => Err(errno),
                    }
                }
                entered => entered,
            };
            // Something else of that name was removed before.
            let is_other = |name: &[u8]| match enter(directory, name, PLACE) {
                Err(Errno::NOTDIR) => Ok(true),
                Ok(_) | Err(Errno::NOENT) => Ok(false),
                Err(errno) => Err(errno),
            };
            try_to_enter(&free_name(name, is_other)?)
        })
    }
}

/// Whether `root` is `target` or lies somewhere in it.
fn lies_in(root: &Root, target: &Root) -> Result<bool> {
    let wanted = identity(&fs::fstat(target.descriptor())?);
    let mut at = enter(root.descriptor(), b".", PLACE)?;
    loop {
        let here = identity(&fs::fstat(&at)?);
        if here == wanted {
            return Ok(true);
        }
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let above = fs::openat(&at, "..", flags, Mode::empty())?;
        if identity(&fs::fstat(&above)?) == here {
            return Ok(false);
        }
        at = above;
    }
}

/// The path in the trash of what lies at `path`, the first time today.
fn dated(path: &RelPath) -> Result<RelPath> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let mut dated = RelPath::root();
    let name = |bytes: &[u8]| Name::new(bytes).map_err(|_| Errno::NAMETOOLONG);
    let date = date(now.as_secs() / DAY_SECONDS);
    for component in std::iter::once(date.as_bytes()).chain(path.components()) {
        dated = dated.join(&name(component)?).map_err(|_| Errno::NAMETOOLONG)?;
    }
    Ok(dated)
}

/// The date, so many days after the first of 1970.
fn date(days: u64) -> String {
    // Years begin in March here, so that the odd day is their last.
    let days = days + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (month, later) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    format!("{:04}-{month:02}-{day:02}", era * 400 + year + later)
}

/// `name`, or where that is taken the same with a number: found in a few steps, however many there are.
fn free_name(name: &[u8], mut is_taken: impl FnMut(&[u8]) -> Result<bool>) -> Result<Vec<u8>> {
    if !is_taken(name)? {
        return Ok(name.to_vec());
    }
    let mut free = 1_u64;
    while is_taken(&numbered(name, free))? {
        free = free.checked_mul(2).ok_or(Errno::MLINK)?;
    }
    let mut taken = free / 2;
    while free - taken > 1 {
        let middle = taken + (free - taken) / 2;
        if is_taken(&numbered(name, middle))? { taken = middle } else { free = middle }
    }
    Ok(numbered(name, free))
}

/// `name~number~`, cut where that is too long.
fn numbered(name: &[u8], number: u64) -> Vec<u8> {
    let number = format!("~{number}~");
    let kept_bytes = name.len().min(Name::BYTES_MAX - number.len());
    [&name[..kept_bytes], number.as_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn days_have_dates() {
        let dates = [0, 59, 789, 790, 11_016, 20_783, 47_540].map(date);

        assert_eq!(
            dates,
            [
                "1970-01-01",
                "1970-03-01",
                "1972-02-29",
                "1972-03-01",
                "2000-02-29",
                "2026-11-26",
                "2100-02-28"
            ]
        );
    }

    #[test]
    fn a_free_name_is_found_in_a_few_steps() {
        for taken in [0, 1, 2, 3, 7, 8, 9, 9_999] {
            let nth = |n| if n == 0 { b"n".to_vec() } else { numbered(b"n", n) };
            let names: HashSet<Vec<u8>> = (0..taken).map(nth).collect();
            let mut steps = 0;
            let found = free_name(b"n", |candidate| {
                steps += 1;
                Ok(names.contains(candidate))
            });

            assert_eq!(found, Ok(nth(taken)));
            assert!(steps < 40, "{steps} steps for {taken}");
        }
    }

    #[test]
    fn long_names_are_cut_to_make_room_for_the_number() {
        let long = [b'x'; Name::BYTES_MAX];

        assert_eq!(numbered(&long, 12).len(), Name::BYTES_MAX);
        assert!(numbered(&long, 12).ends_with(b"x~12~"));
    }
}
