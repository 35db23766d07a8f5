//! Files with keys: who else may touch them is asked of what was opened, and none is read without end.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::fs::{Mode, OFlags};
use zeroize::Zeroizing;

use crate::adapters::transport::zmq::keys::KeyError;

/// The longest file with a secret key, in bytes.
const SECRET_BYTES_MAX: u64 = 4 * 1024;
/// The longest list of keys, in bytes.
const LIST_BYTES_MAX: u64 = 1024 * 1024;
/// Others may read or write.
const EXPOSED: u32 = 0o077;
/// Others may write.
const FORGEABLE: u32 = 0o022;

/// The text of a file that only its owner can read.
pub(super) fn read_secret(path: &Path) -> Result<Zeroizing<String>, KeyError> {
    let (exposure, advice) = ("holds a secret that others can read", "600");
    read(path, EXPOSED, exposure, advice, SECRET_BYTES_MAX)
}

/// The text of a file that only its owner can write.
pub(super) fn read_list(path: &Path) -> Result<Zeroizing<String>, KeyError> {
    read(path, FORGEABLE, LIST_FORGEABLE, "go-w", LIST_BYTES_MAX)
}

const LIST_FORGEABLE: &str = "decides who is let in, and others can write it";

/// Refuses a directory of lists that others can write.
pub(super) fn check_directory(path: &Path) -> Result<(), KeyError> {
    let metadata = path.metadata().map_err(|source| refused("look at", path, source))?;
    check(path, &metadata, FORGEABLE, LIST_FORGEABLE, "go-w")
}

fn read(
    path: &Path,
    forbidden: u32,
    exposure: &'static str,
    advice: &'static str,
    bytes_max: u64,
) -> Result<Zeroizing<String>, KeyError> {
    // Without waiting for somebody at the other end of a pipe.
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    let file = rustix::fs::open(path, flags, Mode::empty())
        .map_err(|errno| refused("open", path, errno.into()))?;
    let file = File::from(file);
    let metadata = file.metadata().map_err(|source| refused("look at", path, source))?;
    if !metadata.is_file() {
        return Err(malformed(path, "is not a regular file"));
    }
    check(path, &metadata, forbidden, exposure, advice)?;
    if metadata.len() > bytes_max {
        return Err(malformed(path, "is too long to hold keys only"));
    }
    // Never grown, so that no copy of a secret is left behind.
    let room = usize::try_from(bytes_max).unwrap_or(usize::MAX).min(64 * 1024);
    let mut text = Zeroizing::new(String::with_capacity(room));
    file.take(bytes_max)
        .read_to_string(&mut text)
        .map_err(|source| refused("read", path, source))?;
    Ok(text)
}

/// Refuses what `forbidden` permission bits or an owner other than us and root make untrustworthy.
fn check(
    path: &Path,
    metadata: &std::fs::Metadata,
    forbidden: u32,
    exposure: &'static str,
    advice: &'static str,
) -> Result<(), KeyError> {
    let us = rustix::process::geteuid().as_raw();
    if ![us, 0].contains(&metadata.uid()) {
        return Err(malformed(
            path,
            "belongs to another user: run osync as its owner, or chown it",
        ));
    }
    if metadata.mode() & forbidden != 0 {
        return Err(KeyError::Exposed { path: path.to_owned(), exposure, advice });
    }
    Ok(())
}

pub(super) fn refused(verb: &'static str, path: &Path, source: io::Error) -> KeyError {
    KeyError::Io { verb, path: path.to_owned(), source }
}

pub(super) fn malformed(path: &Path, reason: &str) -> KeyError {
    KeyError::Malformed { path: path.to_owned(), reason: reason.to_owned() }
}
