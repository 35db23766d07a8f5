//! The file systems mounted below the root: they come and go without an event of the directory they cover.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fd::{AsFd, BorrowedFd};

use crate::model::rel_path::RelPath;

const MOUNT_TABLE: &str = "/proc/self/mountinfo";

/// Which field of a line is the mount point.
const MOUNT_POINT_FIELD: usize = 4;

/// The mounts below one root.
#[derive(Debug)]
pub(super) struct Mounts {
    /// Polls as exceptional, once, when the table has changed since it was last polled.
    table: File,
    /// By number too, because one may lie upon another.
    points: BTreeSet<(RelPath, u64)>,
}

impl Mounts {
    /// The mounts below the directory at the absolute path `root`.
    pub(super) fn below(root: &Path) -> io::Result<Self> {
        let table = File::open(MOUNT_TABLE)?;
        let mut mounts = Self { table, points: BTreeSet::new() };
        mounts.points = read(root)?;
        Ok(mounts)
    }

    /// Where something is mounted, as of the last [`Mounts::update`].
    pub(super) fn points(&self) -> impl Iterator<Item = &RelPath> {
        self.points.iter().map(|(point, _)| point)
    }

    /// Whether the table has changed since this, or a poll of the descriptor, last said so.
    pub(super) fn are_changed(&self) -> bool {
        let mut poll = [PollFd::new(&self.table, PollFlags::PRI)];
        rustix::event::poll(&mut poll, Some(&Timespec::default())) != Ok(0)
    }

    /// Reads the table again; returns where something was mounted or unmounted.
    pub(super) fn update(&mut self, root: &Path) -> io::Result<Vec<RelPath>> {
        let points = read(root)?;
        let changed = points.symmetric_difference(&self.points);
        let changed = changed.map(|(point, _)| point.clone()).collect();
        self.points = points;
        Ok(changed)
    }
}

impl AsFd for Mounts {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.table.as_fd()
    }
}

fn read(root: &Path) -> io::Result<BTreeSet<(RelPath, u64)>> {
    let table = std::fs::read(MOUNT_TABLE)?;
    Ok(table.split(|&byte| byte == b'\n').filter_map(|line| point_below(root, line)).collect())
}

/// The mount point in one line of the table, if it is below `root`, and the number of the mount.
fn point_below(root: &Path, line: &[u8]) -> Option<(RelPath, u64)> {
    let number = line.split(|&byte| byte == b' ').next()?;
    let number = std::str::from_utf8(number).ok()?.parse().ok()?;
    let field = line.split(|&byte| byte == b' ').nth(MOUNT_POINT_FIELD)?;
    let point = PathBuf::from(OsString::from_vec(unescaped(field)));
    let relative = point.strip_prefix(root).ok()?;
    let path = RelPath::new(relative.as_os_str().as_bytes()).ok()?;
    (!path.is_root()).then_some((path, number))
}

/// Space, tab, newline and backslash are written as three octal digits.
fn unescaped(field: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&byte, after)) = rest.split_first() {
        let digits = after.get(..3).and_then(|digits| std::str::from_utf8(digits).ok());
        match digits.and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(escaped) if byte == b'\\' => {
                bytes.push(escaped);
                rest = &after[3..];
            }
            _ => {
                bytes.push(byte);
                rest = after;
            }
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mount_points_below_the_root_are_read_with_their_escapes() {
        let line =
            br"36 35 98:0 /sub /srv/pool/a\040b\134c rw,noatime master:1 - ext4 /dev/root rw";
        let found = |root: &str| point_below(Path::new(root), line);

        assert_eq!(found("/srv/pool"), RelPath::new(br"a b\c").ok().map(|path| (path, 36)));
        assert_eq!(found("/srv/pool/a b\\c"), None);
        assert_eq!(found("/srv/po"), None);
        assert_eq!(point_below(Path::new("/"), b"1 2 3"), None);
    }
}
