//! How far a file has been read, with the digest of what was.

use std::ops::Range;

use crate::model::digest::{Checksum, Digest};
use crate::ports::source::{SourceError, SourceFile};

/// Goes through a file from one range of data to the next, passing over holes.
pub(super) struct Reading {
    /// Up to where everything has been read or passed over.
    pub(super) offset_bytes: u64,
    /// Where the range of data ends in which that lies.
    data_end_bytes: u64,
    /// Where the reading ends.
    size_bytes: u64,
    /// The file ended before that.
    is_cut: bool,
    checksum: Checksum,
}

impl Reading {
    pub(super) fn new(size_bytes: u64) -> Self {
        let checksum = Checksum::default();
        Self { offset_bytes: 0, data_end_bytes: 0, size_bytes, is_cut: false, checksum }
    }

    /// The next bytes of data and where they lie; none where nothing but a hole is left.
    pub(super) fn read(
        &mut self,
        file: &mut dyn SourceFile,
        bytes_max: usize,
    ) -> Result<(u64, Vec<u8>), SourceError> {
        if self.offset_bytes >= self.data_end_bytes {
            let end_bytes = self.size_bytes;
            let data = file.next_data(self.offset_bytes)?.unwrap_or(end_bytes..end_bytes);
            let start_bytes = data.start.min(end_bytes);
            if start_bytes > self.offset_bytes && start_bytes < end_bytes {
                self.checksum.update(&start_bytes.to_le_bytes());
            }
            self.offset_bytes = start_bytes;
            self.data_end_bytes = data.end.min(end_bytes);
        }
        let offset_bytes = self.offset_bytes;
        let left_bytes = self.data_end_bytes.saturating_sub(offset_bytes);
        let length = bytes_max.min(usize::try_from(left_bytes).unwrap_or(usize::MAX));
        let mut bytes = Vec::with_capacity(length);
        let filled = file.append_to(&mut bytes, offset_bytes, length)?;
        self.checksum.update(&bytes);
        self.offset_bytes += filled as u64;
        // A file that became shorter may have nothing where data was to go on.
        self.is_cut = filled < length.max(1) && self.offset_bytes < self.size_bytes;
        Ok((offset_bytes, bytes))
    }

    pub(super) fn is_all(&self) -> bool {
        !self.is_cut && self.offset_bytes == self.size_bytes
    }

    pub(super) fn is_over(&self) -> bool {
        self.is_cut || self.is_all()
    }

    pub(super) fn digest(&self) -> Digest {
        self.checksum.finish()
    }

    /// Whether both have read everything, and the same.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        self.is_all() && other.is_all() && self.digest() == other.digest()
    }
}

/// Whether a file of `size_bytes` has holes.
pub(super) fn has_holes(file: &mut dyn SourceFile, size_bytes: u64) -> Result<bool, SourceError> {
    let is_whole = |data: Range<u64>| data.start == 0 && data.end >= size_bytes;
    Ok(size_bytes > 0 && !file.next_data(0)?.is_some_and(is_whole))
}
