//! Which files below a root some process of this machine has mapped to write to.

use std::collections::{BTreeMap, HashMap};
use std::ffi::OsStr;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::{io, mem};

use rustix::fs::{CWD, Dir, Mode, OFlags};
use rustix::io::Errno;

use crate::adapters::feed::tree::is_reserved;
use crate::model::rel_path::RelPath;

const PROCESSES: &str = "/proc";

/// Files told of; what is mapped beyond them is not known.
pub(super) const FILES_MAX: usize = 1_024;

/// Mappings of one process that are looked at.
const MAPPINGS_MAX: usize = 65_536;

/// Processes whose list of mappings stays open from one time to the next, which saves two calls of three.
const OPEN_MAX: usize = 128;

/// So often it is opened anew: of a process that was just about to run another program it is still its parent's.
const ANEW_TIMES: u64 = 8;

/// Asks the processes, again and again.
#[derive(Debug, Default)]
pub(super) struct Mappings {
    /// What is known of the processes by their numbers.
    known: HashMap<Vec<u8>, Process>,
    times: u64,
}

#[derive(Debug)]
struct Process {
    /// Of its directory in `/proc`: the next one of the same number has another.
    inode: u64,
    /// None of a process without memory of its own: a thread of the kernel, as two of three are on an idle machine.
    maps: Option<OwnedFd>,
}

impl Mappings {
    /// The inode number of each such file by its path: of all processes that this one may look into, by the path
    /// that leads to the file here. A file that is mounted elsewhere, too, may go by another path and is not found.
    ///
    /// # Errors
    /// [`io::ErrorKind::Unsupported`] before Linux 6.11; otherwise why the processes cannot be listed.
    pub(super) fn shared_writable_below(
        &mut self,
        root: &Path,
    ) -> io::Result<BTreeMap<RelPath, u64>> {
        let mut found = BTreeMap::new();
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        let processes =
            rustix::fs::openat(CWD, PROCESSES, flags | OFlags::DIRECTORY, Mode::empty())?;
        let mut known = mem::take(&mut self.known);
        self.times += 1;
        if self.times.is_multiple_of(ANEW_TIMES) {
            known.clear();
        }
        let mut open = 0;
        for entry in Dir::read_from(&processes)? {
            let entry = entry?;
            let number = entry.file_name().to_bytes();
            if !number.iter().all(u8::is_ascii_digit) {
                continue;
            }
            let before = known.remove(number).filter(|before| before.inode == entry.ino());
            let maps = match before {
                Some(Process { maps: None, .. }) => None,
                Some(Process { maps: Some(maps), .. }) if ask(&maps, root, &mut found)? => {
                    Some(maps)
                }
                // New, or another program since.
                Some(_) | None => {
                    let name = [number, b"/maps"].concat();
                    match rustix::fs::openat(&processes, name, flags, Mode::empty()) {
                        Ok(maps) => ask(&maps, root, &mut found)?.then_some(maps),
                        Err(Errno::SRCH) => None,
                        // What is another user's may become one of ours.
                        Err(_) => continue,
                    }
                }
            };
            if found.len() >= FILES_MAX {
                break;
            }
            if maps.is_some() {
                open += 1;
                if open > OPEN_MAX {
                    continue;
                }
            }
            self.known.insert(number.to_vec(), Process { inode: entry.ino(), maps });
        }
        Ok(found)
    }
}

/// Adds what a process has mapped, of which these are the `maps`; `false` if it has no memory, or not this any more.
fn ask(maps: &OwnedFd, root: &Path, found: &mut BTreeMap<RelPath, u64>) -> io::Result<bool> {
    let mut address = 0;
    for _ in 0..MAPPINGS_MAX {
        let mapping = match osync_sys::mapping::next_shared_writable(maps, address) {
            Ok(Some(mapping)) => mapping,
            Ok(None) => break,
            Err(error) => match Errno::from_io_error(&error) {
                Some(Errno::NOTTY) => return Err(io::ErrorKind::Unsupported.into()),
                Some(Errno::SRCH) => return Ok(false),
                _ => break,
            },
        };
        address = mapping.end;
        if let Some(path) = relative(root, &mapping.path) {
            found.insert(path, mapping.inode);
        }
        if found.len() >= FILES_MAX {
            break;
        }
    }
    Ok(true)
}

/// The path below `root`, if it is below, and not osync's own.
fn relative(root: &Path, path: &[u8]) -> Option<RelPath> {
    let below = Path::new(OsStr::from_bytes(path)).strip_prefix(root).ok()?;
    let path = RelPath::new(below.as_os_str().as_bytes()).ok()?;
    (!path.is_root() && !is_reserved(&path)).then_some(path)
}
