//! One version of a regular file before it is visible. This is the one place where content is written.

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{self, SeekFrom};
use rustix::io::{self, Errno, Result};

use crate::adapters::fs::aside::Place;

/// What one call writes, in bytes. Calls of 1 MiB are three times slower on ext4 (large folios).
pub(super) const WRITE_BYTES_MAX: usize = 128 * 1024;

/// One version of a regular file; gone when dropped before it is published.
#[derive(Debug)]
pub(super) struct FileVersion {
    pub(super) file: OwnedFd,
    /// Its name in the private directory, if it has one.
    pub(super) place: Option<Place>,
}

impl FileVersion {
    /// A file that is visible already: what is appended shows at once.
    pub(super) fn visible(file: OwnedFd) -> Self {
        Self { file, place: None }
    }

    /// The file itself.
    pub(super) fn descriptor(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }

    /// Appends `content`.
    pub(super) fn append(&mut self, content: &[u8]) -> Result<()> {
        let mut rest = content;
        while !rest.is_empty() {
            let piece = &rest[..rest.len().min(WRITE_BYTES_MAX)];
            match io::write(&self.file, piece) {
                Err(Errno::INTR) => {}
                written => rest = &rest[written?..],
            }
        }
        Ok(())
    }

    /// Appends a hole of `bytes` bytes.
    pub(super) fn skip(&mut self, bytes: u64) -> Result<()> {
        let bytes = i64::try_from(bytes).map_err(|_| Errno::FBIG)?;
        let end_bytes = fs::seek(&self.file, SeekFrom::Current(bytes))?;
        fs::ftruncate(&self.file, end_bytes)
    }
}
