//! The one way into a tree: a descriptor of its root, and directories found beneath it.
//!
//! Invariant: a descriptor returned here is of a directory that lay at the path asked for, beneath the
//! root, with no symbolic link on the way.

use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{self, FlockOperation, Mode, OFlags, ResolveFlags};
use rustix::io::{Errno, Result};

use crate::adapters::fs::unlock::unlocked;
use crate::model::rel_path::RelPath;

/// How long a lock is waited for: that of a killed process goes a moment after it.
const LOCK_PATIENCE: Duration = Duration::from_millis(500);
/// How often it is tried meanwhile.
const LOCK_INTERVAL: Duration = Duration::from_millis(20);

/// The longest path handed to the kernel at once, in bytes: `PATH_MAX` less some.
const PIECE_BYTES_MAX: usize = 4_000;

/// File systems in memory: tmpfs, ramfs.
const IN_MEMORY: [u64; 2] = [0x0102_1994, 0x8584_58f6];

/// For a descriptor to work relative to, not to read.
pub(in crate::adapters) const PLACE: OFlags =
    OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// For a descriptor to list.
pub(in crate::adapters) const LISTING: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

const BENEATH: ResolveFlags =
    ResolveFlags::BENEATH.union(ResolveFlags::NO_SYMLINKS).union(ResolveFlags::NO_MAGICLINKS);

/// The root of a tree, held open.
#[derive(Debug)]
pub(in crate::adapters) struct Root {
    path: PathBuf,
    descriptor: OwnedFd,
    identity: (u64, u64),
    /// Old kernels and some sandboxes lack it.
    has_openat2: bool,
}

impl Root {
    /// Whether its file system is one in memory: nothing there costs storage or survives a power cut.
    pub(in crate::adapters) fn is_in_memory(&self) -> bool {
        let found = fs::fstatfs(&self.descriptor);
        let kind = found.ok().and_then(|found| u64::try_from(found.f_type).ok());
        kind.is_some_and(|kind| IN_MEMORY.contains(&kind))
    }

    /// Holds the directory at `path`. This is the only path ever looked up by name from outside: a test
    /// of the source text (`only_the_root_is_found_by_a_path_from_outside`) sees to that.
    pub(in crate::adapters) fn open(path: &Path) -> std::io::Result<Self> {
        let path = std::path::absolute(path)?;
        let flags = PLACE.difference(OFlags::NOFOLLOW);
        let descriptor = fs::open(&path, flags, Mode::empty())?;
        let identity = identity(&fs::fstat(&descriptor)?);
        let probe = fs::openat2(&descriptor, ".", PLACE, Mode::empty(), BENEATH);
        Ok(Self { path, descriptor, identity, has_openat2: probe.is_ok() })
    }

    /// Makes the directory at `path`, with those above it, if it is not there, and holds it.
    pub(super) fn open_or_make(path: &Path) -> std::io::Result<Self> {
        std::fs::create_dir_all(path)?;
        Self::open(path)
    }

    /// As [`Root::open_or_make`], but what is made is for this user alone.
    pub(super) fn open_or_make_private(path: &Path) -> std::io::Result<Self> {
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path)?;
        Self::open(path)
    }

    /// This root, found component by component as on kernels without `openat2`.
    #[cfg(feature = "testing")]
    pub(super) fn without_openat2(mut self) -> Self {
        self.has_openat2 = false;
        self
    }

    /// Holds the root for one writer alone until what is returned is dropped or the process ends, however it does;
    /// `None` if another has it. Nobody is kept from reading, nor from writing to a directory inside.
    ///
    /// Where the file system knows no locks, nobody is kept out.
    pub(super) fn lock(&self) -> Result<Option<OwnedFd>> {
        // A lock is had by a descriptor to read only, and on the directory itself: nothing is left behind.
        let open = || enter(self.descriptor(), b".", LISTING);
        let lock = unlocked(self.descriptor(), open)?;
        let deadline = Instant::now() + LOCK_PATIENCE;
        loop {
            match fs::flock(&lock, FlockOperation::NonBlockingLockExclusive) {
                Err(Errno::WOULDBLOCK) if Instant::now() < deadline => thread::sleep(LOCK_INTERVAL),
                Err(Errno::WOULDBLOCK) => return Ok(None),
                Err(Errno::INTR) => {}
                Err(errno) => {
                    log::warn!("cannot keep other writers out of {}: {errno}", self.shown());
                    return Ok(Some(lock));
                }
                Ok(()) => return Ok(Some(lock)),
            }
        }
    }

    /// The path that the root was opened by, escaped.
    pub(super) fn shown(&self) -> String {
        self.path.as_os_str().as_bytes().escape_ascii().to_string()
    }

    /// Whether the path the root was opened by still leads to it; if not, what was found instead.
    pub(in crate::adapters) fn check(&self) -> std::result::Result<(), String> {
        match fs::stat(&self.path) {
            Ok(stat) if identity(&stat) == self.identity => Ok(()),
            Ok(_) => Err(format!("{} is another one now", self.shown())),
            Err(errno) => Err(format!("{}: {errno}", self.shown())),
        }
    }

    /// The descriptor of the root itself.
    pub(in crate::adapters) fn descriptor(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }

    /// Opens the directory at `path`; [`Errno::NOENT`] or [`Errno::NOTDIR`] if there is none.
    pub(in crate::adapters) fn directory(&self, path: &RelPath, flags: OFlags) -> Result<OwnedFd> {
        if !self.has_openat2 {
            let above = self.descend(path, |directory, name| enter(directory, name, PLACE))?;
            return enter(above.as_fd(), b".", flags);
        }
        let mut rest = path.as_bytes();
        let mut above: Option<OwnedFd> = None;
        loop {
            let (piece, after) = split_piece(rest);
            let flags = if after.is_empty() { flags } else { PLACE };
            let directory = above.as_ref().map_or(self.descriptor(), AsFd::as_fd);
            let piece = if piece.is_empty() { b"." } else { piece };
            let opened = retried(|| fs::openat2(directory, piece, flags, Mode::empty(), BENEATH))
                .map_err(link_is_no_directory)?;
            if after.is_empty() {
                return Ok(opened);
            }
            above = Some(opened);
            rest = after;
        }
    }

    /// Goes down to `path` from the root, taking each component by `step`.
    pub(super) fn descend(
        &self,
        path: &RelPath,
        mut step: impl FnMut(BorrowedFd<'_>, &[u8]) -> Result<OwnedFd>,
    ) -> Result<OwnedFd> {
        let mut directory = enter(self.descriptor(), b".", PLACE)?;
        for name in path.components() {
            directory = step(directory.as_fd(), name)?;
        }
        Ok(directory)
    }
}

/// Opens the directory `name` of `directory`, which is no symbolic link.
pub(super) fn enter(directory: BorrowedFd<'_>, name: &[u8], flags: OFlags) -> Result<OwnedFd> {
    fs::openat(directory, name, flags, Mode::empty()).map_err(link_is_no_directory)
}

/// Device and inode: which object it is.
pub(in crate::adapters) fn identity(stat: &fs::Stat) -> (u64, u64) {
    (stat.st_dev, stat.st_ino)
}

/// Whether the directory has lost its name for good.
pub(super) fn is_removed(directory: &OwnedFd) -> bool {
    fs::fstat(directory).is_ok_and(|stat| stat.st_nlink == 0)
}

fn link_is_no_directory(errno: Errno) -> Errno {
    if errno == Errno::LOOP { Errno::NOTDIR } else { errno }
}

/// Repeats what a signal or a rename elsewhere has interrupted.
fn retried<T>(mut operation: impl FnMut() -> Result<T>) -> Result<T> {
    loop {
        match operation() {
            Err(Errno::INTR | Errno::AGAIN) => {}
            done => return done,
        }
    }
}

/// Splits `path` after as many whole components as fit into one call.
fn split_piece(path: &[u8]) -> (&[u8], &[u8]) {
    if path.len() <= PIECE_BYTES_MAX {
        return (path, b"");
    }
    let end = path[..PIECE_BYTES_MAX]
        .iter()
        .rposition(|&byte| byte == b'/')
        .expect("a component has 255 bytes at most");
    (&path[..end], &path[end + 1..])
}

/// Runs `operation`, which moves `name` out of `directory`. A directory of ours that is to lie elsewhere
/// must be writable itself.
pub(super) fn movable(
    directory: BorrowedFd<'_>,
    name: &[u8],
    mut operation: impl FnMut() -> Result<()>,
) -> Result<()> {
    match operation() {
        Err(Errno::ACCESS) => {}
        done => return done,
    }
    match enter(directory, name, PLACE) {
        Ok(moved) => unlocked(moved.as_fd(), operation),
        Err(_) => Err(Errno::ACCESS),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_paths_split_between_components() {
        let path = [&[b'a'; 255][..]; 40].join(&b'/');

        let (first, rest) = split_piece(&path);

        assert!(first.len() <= PIECE_BYTES_MAX && first.len() > PIECE_BYTES_MAX - 256);
        assert_eq!([first, rest].join(&b'/'), path);
        assert_eq!(split_piece(b"a/b"), (&b"a/b"[..], &b""[..]));
    }
}
