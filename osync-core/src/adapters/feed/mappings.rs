//! Which files below a root some process of this machine has mapped to write to.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{CWD, Dir, Mode, OFlags};

use crate::adapters::feed::tree::is_reserved;
use crate::model::rel_path::RelPath;

const PROCESSES: &str = "/proc";

/// Files told of; what is mapped beyond them is not known.
pub(super) const FILES_MAX: usize = 1_024;

/// Mappings of one process that are looked at.
const MAPPINGS_MAX: usize = 65_536;

/// The inode number of each such file by its path: of all processes that this one may look into, by the path
/// that leads to the file here. A file that is mounted elsewhere, too, may go by another path and is not found.
///
/// # Errors
/// [`io::ErrorKind::Unsupported`] before Linux 6.11; otherwise why the processes cannot be listed.
pub(super) fn shared_writable_below(root: &Path) -> io::Result<BTreeMap<RelPath, u64>> {
    let mut found = BTreeMap::new();
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let processes = rustix::fs::openat(CWD, PROCESSES, flags | OFlags::DIRECTORY, Mode::empty())?;
    for process in Dir::read_from(&processes)? {
        let process = process?;
        let number = process.file_name().to_bytes();
        if !number.iter().all(u8::is_ascii_digit) {
            continue;
        }
        let name = [number, b"/maps"].concat();
        // Gone by now, or another user's.
        let Ok(maps) = rustix::fs::openat(&processes, name, flags, Mode::empty()) else { continue };
        let mut address = 0;
        for _ in 0..MAPPINGS_MAX {
            let mapping = match osync_sys::mapping::next_shared_writable(&maps, address) {
                Ok(Some(mapping)) => mapping,
                Err(error)
                    if error.raw_os_error() == Some(rustix::io::Errno::NOTTY.raw_os_error()) =>
                {
                    return Err(io::ErrorKind::Unsupported.into());
                }
                // It has ended.
                Ok(None) | Err(_) => break,
            };
            address = mapping.end;
            if let Some(path) = relative(root, &mapping.path) {
                found.insert(path, mapping.inode);
            }
            if found.len() >= FILES_MAX {
                return Ok(found);
            }
        }
    }
    Ok(found)
}

/// The path below `root`, if it is below, and not osync's own.
fn relative(root: &Path, path: &[u8]) -> Option<RelPath> {
    let below = Path::new(OsStr::from_bytes(path)).strip_prefix(root).ok()?;
    let path = RelPath::new(below.as_os_str().as_bytes()).ok()?;
    (!path.is_root() && !is_reserved(&path)).then_some(path)
}
