//! A file of the sink on which its next version is built: read, shared with the new version, extended.

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{self, FileType, Mode, OFlags};
use rustix::io::{self, Errno, Result as OsResult};

use crate::adapters::fs::metadata::look_at;
use crate::adapters::fs::root::identity;
use crate::model::metadata::{Metadata, Stamp};
use crate::model::rel_path::RelPath;
use crate::ports::sink::{Basis, SinkError};

/// Neither followed, nor waited for, nor made ours, should it not be a regular file.
const NO_TRAP: OFlags =
    OFlags::NOFOLLOW.union(OFlags::NONBLOCK).union(OFlags::NOCTTY).union(OFlags::CLOEXEC);

/// File systems that share whole blocks at the most, and none over a network: tmpfs, ext4, xfs, btrfs.
const LOCAL: [u64; 4] = [0x0102_1994, 0xef53, 0x5846_5342, 0x9123_683e];
/// A page, in bytes.
const PAGE_BYTES: u64 = 4 * 1024;

/// An open regular file.
#[derive(Debug)]
pub(super) struct FileBasis {
    path: RelPath,
    file: OwnedFd,
}

impl FileBasis {
    /// Opens the regular file `name` in `directory`; `None` if there is none.
    pub(super) fn open(
        path: &RelPath,
        directory: BorrowedFd<'_>,
        name: &[u8],
    ) -> OsResult<Option<Self>> {
        // Looked at before it is opened: a device never is.
        match fs::statat(directory, name, fs::AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) if is_regular(&stat) => {}
            Ok(_) | Err(Errno::NOENT) => return Ok(None),
            Err(errno) => return Err(errno),
        }
        let file = match fs::openat(directory, name, OFlags::RDONLY | NO_TRAP, Mode::empty()) {
            Err(Errno::LOOP | Errno::NXIO | Errno::NOENT) => return Ok(None),
            file => file?,
        };
        let is_it = is_regular(&fs::fstat(&file)?);
        Ok(is_it.then(|| Self { path: path.clone(), file }))
    }

    /// Opens `name` in `directory` for appending if it is this very file, unchanged and of one name.
    pub(super) fn open_to_extend(
        &self,
        directory: BorrowedFd<'_>,
        name: &[u8],
    ) -> OsResult<Option<OwnedFd>> {
        let flags = OFlags::WRONLY | OFlags::APPEND | NO_TRAP;
        let file = match fs::openat(directory, name, flags, Mode::empty()) {
            Err(Errno::LOOP | Errno::NXIO | Errno::NOENT) => return Ok(None),
            file => file?,
        };
        let (ours, theirs) = (fs::fstat(&self.file)?, fs::fstat(&file)?);
        let is_it = identity(&ours) == identity(&theirs) && theirs.st_nlink == 1;
        Ok(is_it.then_some(file))
    }

    /// Appends `bytes` bytes from `offset_bytes` on to `to`; returns how many it could, or was not slow to.
    pub(super) fn share(&self, offset_bytes: u64, bytes: u64, to: BorrowedFd<'_>) -> OsResult<u64> {
        if !is_shared_quickly(offset_bytes, to)? {
            return Ok(0);
        }
        let (mut offset_bytes, mut shared) = (offset_bytes, 0);
        while shared < bytes {
            let most = usize::try_from(bytes - shared).unwrap_or(usize::MAX);
            match fs::copy_file_range(&self.file, Some(&mut offset_bytes), to, None, most) {
                Ok(0) | Err(Errno::XDEV | Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => break,
                Ok(count) => shared += count as u64,
                Err(Errno::INTR) => {}
                Err(errno) => return Err(errno),
            }
        }
        Ok(shared)
    }

    fn failed(&self, verb: &'static str, errno: Errno) -> SinkError {
        SinkError::Io { verb, path: self.path.clone(), source: errno.into() }
    }
}

/// Whether the kernel is the one to copy. Where pages do not lie upon pages it does so in a roundabout way
/// that takes a third longer than reading and writing.
fn is_shared_quickly(offset_bytes: u64, to: BorrowedFd<'_>) -> OsResult<bool> {
    if offset_bytes.abs_diff(fs::tell(to)?).is_multiple_of(PAGE_BYTES) {
        return Ok(true);
    }
    let kind = fs::fstatfs(to).ok().and_then(|found| u64::try_from(found.f_type).ok());
    Ok(kind.is_none_or(|kind| !LOCAL.contains(&(kind & 0xffff_ffff))))
}

fn is_regular(stat: &fs::Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile
}

impl Basis for FileBasis {
    fn path(&self) -> &RelPath {
        &self.path
    }

    fn metadata(&self) -> Result<(Metadata, Stamp), SinkError> {
        let seen = look_at(self.file.as_fd()).map_err(|errno| self.failed("look at", errno))?;
        Ok((seen.metadata, seen.stamp))
    }

    fn is_shared(&self) -> Result<bool, SinkError> {
        let stat = fs::fstat(&self.file).map_err(|errno| self.failed("look at", errno))?;
        Ok(stat.st_nlink > 1)
    }

    fn read_at(&self, offset_bytes: u64, buffer: &mut [u8]) -> Result<usize, SinkError> {
        loop {
            match io::pread(&self.file, &mut *buffer, offset_bytes) {
                Err(Errno::INTR) => {}
                read => return read.map_err(|errno| self.failed("read", errno)),
            }
        }
    }
}
