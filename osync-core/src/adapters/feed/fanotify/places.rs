//! Where the directories of events lie: a handle is opened, and the kernel says the path of what was opened.
//!
//! The path is that of *now*, and a kept one that of a moment ago, while the event is older. Both are as
//! good: a directory that has moved since has an event of its own still to come, and that covers everything at
//! and below the place it moved to. For the same reason a directory that is gone needs no hint: its removal has.
//!
//! Answers are kept until the next rename of a directory in the tree, into it or out of it, because it may move others.
//! They are kept for directories outside the root as well, so what other programs do on the same file system is dropped
//! at the price of one look-up.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{AtFlags, CWD, Dir, Mode, OFlags};
use rustix::io::Errno;

use crate::adapters::feed::fanotify::record::Object;
use crate::adapters::fs::root::{LISTING, identity};
use crate::model::name::Name;
use crate::model::rel_path::RelPath;

/// Answers kept: with paths of 100 bytes about 4 MiB. All are given up when there would be more.
const ANSWERS_MAX: usize = 16_384;

/// Names taken off a path that is too long for the kernel to say: more than a path may have here.
const CLIMB_MAX: usize = RelPath::BYTES_MAX;

/// Tries to open a handle, 1 ms apart: while its directory is moved or removed, ext4 says now and then that memory
/// is short.
const TRIES_MAX: usize = 8;

/// What the kernel appends to the path of a directory that has been removed.
const REMOVED: &[u8] = b" (deleted)";

/// Where a directory lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Whereabouts {
    /// At this path, or there a moment ago.
    At(RelPath),
    /// Not at or below the root, or nowhere any more.
    Elsewhere,
    /// Somewhere below this path; it cannot be said better.
    Below(RelPath),
}

/// Finds directories by handle, and remembers where they were.
#[derive(Debug)]
pub(super) struct Places {
    root: File,
    root_path: PathBuf,
    answers: HashMap<Box<[u8]>, Answer>,
    /// Answers of older generations may be wrong.
    generation: u64,
}

#[derive(Debug)]
struct Answer {
    generation: u64,
    whereabouts: Whereabouts,
}

/// Where a climb ended.
#[derive(Debug)]
enum Top {
    Known(Whereabouts),
    Path(PathBuf),
}

impl Places {
    /// Places below the directory that `root` is open on.
    pub(super) fn below(root: impl AsFd) -> io::Result<Self> {
        // Handles cannot be opened by way of a descriptor made with `O_PATH`.
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = File::from(rustix::fs::openat(root, ".", flags, Mode::empty())?);
        let root_path = path_of(&root)?;
        Ok(Self { root, root_path, answers: HashMap::new(), generation: 0 })
    }

    /// Gives up all answers, because a directory has moved somewhere.
    pub(super) fn forget(&mut self) {
        self.generation += 1;
    }

    /// Where `directory` lies.
    pub(super) fn find(&mut self, directory: Object<'_>) -> Whereabouts {
        if let Some(known) = self.known(directory.key()) {
            return known.clone();
        }
        let before = self.answers.get(directory.key()).map(|answer| answer.whereabouts.clone());
        let mut found = self.look_for(directory);
        for _ in 1..TRIES_MAX {
            if found.as_ref().err().is_none_or(is_gone) {
                break;
            }
            std::thread::sleep(Duration::from_millis(1));
            found = self.look_for(directory);
        }
        let whereabouts = match found {
            Ok(whereabouts) => whereabouts,
            Err(error) if is_gone(&error) => before.unwrap_or(Whereabouts::Elsewhere),
            Err(error) => {
                log::warn!("cannot tell where a change happened: {error}");
                return Whereabouts::Below(RelPath::root());
            }
        };
        if self.answers.len() >= ANSWERS_MAX {
            self.answers.clear();
        }
        let answer = Answer { generation: self.generation, whereabouts: whereabouts.clone() };
        self.answers.insert(directory.key().into(), answer);
        whereabouts
    }

    /// The path of the root, as this process sees it.
    pub(super) fn root_path(&self) -> &Path {
        &self.root_path
    }

    fn look_for(&mut self, directory: Object<'_>) -> io::Result<Whereabouts> {
        let (kind, handle) = directory.handle();
        let opened = osync_sys::handle::open_by_handle(&self.root, kind, handle)?;
        let (names, is_known, top) = self.climb(opened, directory)?;
        let whereabouts = match top {
            Top::Known(Whereabouts::At(top)) => descend(top, &names, is_known),
            Top::Known(whereabouts) => whereabouts,
            Top::Path(path) => match self.relative(&path) {
                Some(top) => descend(top, &names, is_known),
                None => self.locate_anew(&path, &names, is_known)?,
            },
        };
        Ok(whereabouts)
    }

    /// Climbs from `directory` to the first above it whose place is known or can be said; returns the names taken
    /// off, the last one first, and whether they are all.
    fn climb(
        &self,
        mut directory: OwnedFd,
        object: Object<'_>,
    ) -> io::Result<(Vec<Name>, bool, Top)> {
        let mut names = Vec::new();
        let mut is_known = true;
        loop {
            match path_of(&directory) {
                Ok(path) => return Ok((names, is_known, Top::Path(path))),
                Err(error) if Errno::from_io_error(&error) != Some(Errno::NAMETOOLONG) => {
                    return Err(error);
                }
                Err(error) if names.len() == CLIMB_MAX => return Err(error),
                Err(_) => {}
            }
            let above = rustix::fs::openat(&directory, "..", LISTING, Mode::empty())?;
            if let Some(name) = name_in(&above, &directory)? {
                names.push(name);
            } else {
                // It has just been moved.
                names.clear();
                is_known = false;
            }
            // Without this a deep tree that is made from the top would be climbed whole for each level.
            let (kind, handle) = osync_sys::handle::handle_of(&above)?;
            if let Some(known) = self.known(&object.key_of(kind, &handle)) {
                return Ok((names, is_known, Top::Known(known.clone())));
            }
            directory = above;
        }
    }

    fn known(&self, key: &[u8]) -> Option<&Whereabouts> {
        let answer = self.answers.get(key)?;
        (answer.generation == self.generation).then_some(&answer.whereabouts)
    }

    /// Where `path` and then `names` lead, unless it is the root that has moved since it was last looked for.
    fn locate_anew(
        &mut self,
        path: &Path,
        names: &[Name],
        is_known: bool,
    ) -> io::Result<Whereabouts> {
        let root_path = path_of(&self.root)?;
        if root_path == self.root_path {
            return Ok(Whereabouts::Elsewhere);
        }
        self.root_path = root_path;
        self.forget();
        let found = self.relative(path).map(|top| descend(top, names, is_known));
        Ok(found.unwrap_or(Whereabouts::Elsewhere))
    }

    fn relative(&self, path: &Path) -> Option<RelPath> {
        let relative = path.strip_prefix(&self.root_path).ok()?;
        RelPath::new(relative.as_os_str().as_bytes()).ok()
    }
}

/// Whether there is no such directory any more.
fn is_gone(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::STALE | Errno::NOENT))
}

/// The path that `names`, the last one first, lead to from `top`.
fn descend(top: RelPath, names: &[Name], is_known: bool) -> Whereabouts {
    let mut path = top;
    for name in names.iter().rev() {
        match path.join(name) {
            Ok(longer) => path = longer,
            Err(_) => return Whereabouts::Below(path),
        }
    }
    if is_known { Whereabouts::At(path) } else { Whereabouts::Below(path) }
}

/// The path of an open directory; an error if it has none (any more), or one longer than `PATH_MAX`.
fn path_of(directory: impl AsFd) -> io::Result<PathBuf> {
    let link = format!("/proc/self/fd/{}", directory.as_fd().as_raw_fd());
    let path = rustix::fs::readlinkat(CWD, link, Vec::new())?;
    if path.as_bytes().ends_with(REMOVED) && rustix::fs::fstat(&directory)?.st_nlink == 0 {
        return Err(Errno::NOENT.into());
    }
    Ok(PathBuf::from(OsStr::from_bytes(path.as_bytes())))
}

/// The name that `child` has in the directory `above`; `None` if it has just lost it.
fn name_in(above: &OwnedFd, child: &OwnedFd) -> io::Result<Option<Name>> {
    let child = rustix::fs::fstat(child)?;
    for entry in Dir::read_from(above)? {
        let entry = entry?;
        if entry.ino() != child.st_ino {
            continue;
        }
        let found = rustix::fs::statat(above, entry.file_name(), AtFlags::SYMLINK_NOFOLLOW);
        if found.is_ok_and(|found| identity(&found) == identity(&child)) {
            return Ok(Name::new(entry.file_name().to_bytes()).ok());
        }
    }
    Ok(None)
}
