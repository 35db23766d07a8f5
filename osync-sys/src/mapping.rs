//! What a process has mapped to write to, shared with everybody who reads the file (Linux 6.11).

use std::io::{Error, Result};
use std::os::fd::{AsFd, AsRawFd};

/// Room for the path of a mapped file, which `PATH_MAX` bounds.
pub const PATH_BYTES_MAX: u32 = 4_096;

/// `struct procmap_query` of the kernel.
#[repr(C)]
#[derive(Default)]
struct Query {
    size: u64,
    flags: u64,
    address: u64,
    start: u64,
    end: u64,
    access: u64,
    page_bytes: u64,
    offset: u64,
    inode: u64,
    device_major: u32,
    device_minor: u32,
    path_bytes: u32,
    build_id_bytes: u32,
    path: u64,
    build_id: u64,
}

const PROCMAP_QUERY: libc::Ioctl = libc::_IOWR::<Query>(b'f' as u32, 17);
/// Writable, shared, of a file; the one at the address or the next.
const WANTED: u64 = 0x02 | 0x08 | 0x20 | 0x10;

/// A part of a file that is mapped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mapping {
    /// The first address behind it.
    pub end: u64,
    /// The number of the file's inode.
    pub inode: u64,
    /// The absolute path of the file as this process would name it; one that is gone ends in ` (deleted)`.
    pub path: Vec<u8>,
}

/// The first mapping at or above `address` that is shared, of a file, and may be written to, in the process whose
/// `/proc/PID/maps` is open as `maps`; `None` if there is none.
///
/// # Errors
/// What the operating system says: `ENOTTY` before Linux 6.11, `ESRCH` if the process is gone.
pub fn next_shared_writable(maps: impl AsFd, address: u64) -> Result<Option<Mapping>> {
    let mut path = vec![0_u8; PATH_BYTES_MAX as usize];
    let mut query = Query {
        size: size_of::<Query>() as u64,
        flags: WANTED,
        address,
        path_bytes: PATH_BYTES_MAX,
        path: path.as_mut_ptr().addr() as u64,
        ..Query::default()
    };
    // SAFETY: `query` is laid out as the kernel's structure and says its own size; the kernel writes to it and, at
    // `query.path`, no more than the `query.path_bytes` bytes that `path` has; both are ours alone for the call.
    let result = unsafe { libc::ioctl(maps.as_fd().as_raw_fd(), PROCMAP_QUERY, &raw mut query) };
    if result < 0 {
        let error = Error::last_os_error();
        return if error.raw_os_error() == Some(libc::ENOENT) { Ok(None) } else { Err(error) };
    }
    // The length counts the final NUL.
    path.truncate((query.path_bytes as usize).min(path.len()).saturating_sub(1));
    Ok(Some(Mapping { end: query.end, inode: query.inode, path }))
}

/// A file mapped to write to, as a program that is replicated may have it: for tests.
#[cfg(feature = "testing")]
#[derive(Debug)]
pub struct SharedWritable {
    start: *mut libc::c_void,
    bytes: usize,
}

#[cfg(feature = "testing")]
impl SharedWritable {
    /// Maps the first `bytes` bytes of `file`, which has that many and must keep them.
    ///
    /// # Errors
    /// What the operating system says.
    pub fn map(file: impl AsFd, bytes: usize) -> Result<Self> {
        let access = libc::PROT_READ | libc::PROT_WRITE;
        let descriptor = file.as_fd().as_raw_fd();
        // SAFETY: a new mapping at an address of the kernel's choice overlaps nothing.
        let start = unsafe {
            libc::mmap(std::ptr::null_mut(), bytes, access, libc::MAP_SHARED, descriptor, 0)
        };
        if start == libc::MAP_FAILED {
            Err(Error::last_os_error())
        } else {
            Ok(Self { start, bytes })
        }
    }

    /// Stores `value` in all of it.
    pub fn fill(&mut self, value: u8) {
        // SAFETY: the mapping is as long as it says and lives as long as `self`.
        unsafe { std::ptr::write_bytes(self.start.cast::<u8>(), value, self.bytes) }
    }
}

#[cfg(feature = "testing")]
impl Drop for SharedWritable {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours, whole, and nothing refers to it any more.
        let _result = unsafe { libc::munmap(self.start, self.bytes) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_descriptor_that_is_no_list_of_mappings_is_refused() {
        let directory = std::fs::File::open(".").expect("the working directory can be read");

        assert!(next_shared_writable(&directory, 0).is_err());
    }
}
