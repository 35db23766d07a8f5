//! Permissions of our own directories that are in our own way.
//!
//! A sink that is not the superuser holds directories it may not write, because their mode at the source
//! says so. Such a directory is opened up for the length of one operation and closed again.

use rustix::fd::{AsRawFd, BorrowedFd};
use rustix::fs::{self, Mode};
use rustix::io::{Errno, Result};
use rustix::process::geteuid;

/// Runs `operation`, which works in `directory`. If permissions are refused and the directory is ours
/// and lacks some for its owner, runs it once more with them.
pub(super) fn unlocked<T>(
    directory: BorrowedFd<'_>,
    mut operation: impl FnMut() -> Result<T>,
) -> Result<T> {
    let refused = match operation() {
        Err(Errno::ACCESS) => Errno::ACCESS,
        done => return done,
    };
    let stat = fs::fstat(directory)?;
    let mode = Mode::from_raw_mode(stat.st_mode);
    if stat.st_uid != geteuid().as_raw() || mode.contains(Mode::RWXU) {
        return Err(refused);
    }
    set_mode(directory, mode | Mode::RWXU)?;
    let result = operation();
    set_mode(directory, mode)?;
    result
}

/// Sets the mode of what a descriptor stands for, even one of `O_PATH`, by the only name that needs no
/// permission on the way and cannot be swapped.
pub(super) fn set_mode(descriptor: BorrowedFd<'_>, mode: Mode) -> Result<()> {
    fs::chmod(proc_path(descriptor), mode)
}

/// The name of an open descriptor in `/proc`, which leads to the object itself.
pub(super) fn proc_path(descriptor: BorrowedFd<'_>) -> String {
    format!("/proc/self/fd/{}", descriptor.as_raw_fd())
}
