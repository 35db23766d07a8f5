//! An open regular file of a source: its bytes, its holes, and what it looks like by now.

use std::ops::Range;

use rustix::buffer::spare_capacity;
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{self, SeekFrom};
use rustix::io::{self, Errno};
use rustix::time::{ClockId, clock_gettime};

use crate::adapters::fs::attributes::{AttributeReader, Holder};
use crate::adapters::fs::metadata::{Seen, look_at};
use crate::adapters::fs::source::{Noted, failed};
use crate::model::attributes::Attributes;
use crate::model::metadata::{Metadata, Stamp};
use crate::model::rel_path::RelPath;
use crate::ports::source::{SourceError, SourceFile};

/// Two ticks of the slowest clock that Linux stamps files with.
const FRESH_MILLISECONDS: i64 = 20;

/// What was seen of a file before it was opened.
#[derive(Debug)]
pub(super) struct Known {
    stamp: Stamp,
    attributes: Attributes,
    may_have_holes: bool,
}

impl From<&Seen> for Known {
    fn from(seen: &Seen) -> Self {
        Self {
            stamp: seen.stamp,
            attributes: seen.metadata.attributes.clone(),
            may_have_holes: seen.may_have_holes,
        }
    }
}

/// An open regular file.
#[derive(Debug)]
pub(super) struct OpenFile {
    path: RelPath,
    file: OwnedFd,
    reader: AttributeReader,
    /// What of the mode is told.
    mode_mask: u32,
    owners: Option<Noted>,
    /// Saves reading attributes that have not changed since.
    known: Option<(Stamp, Attributes)>,
    may_have_holes: bool,
}

impl OpenFile {
    pub(super) fn new(
        path: RelPath,
        file: OwnedFd,
        reader: AttributeReader,
        mode_mask: u32,
        owners: Option<Noted>,
        known: Option<Known>,
    ) -> Self {
        // Room that was reserved and never written looks like a hole, but only to who asks for holes.
        let may_have_holes = known.as_ref().map_or_else(
            || look_at(file.as_fd()).is_ok_and(|seen| seen.may_have_holes),
            |known| known.may_have_holes,
        );
        let known = known.map(|known| (known.stamp, known.attributes));
        Self { path, file, reader, mode_mask, owners, known, may_have_holes }
    }
}

impl SourceFile for OpenFile {
    fn metadata(&mut self) -> Result<(Metadata, Stamp), SourceError> {
        let failed = |errno| failed("look at", &self.path, errno);
        let mut seen = look_at(self.file.as_fd()).map_err(failed)?;
        seen.metadata.attributes = match &self.known {
            Some((stamp, attributes)) if *stamp == seen.stamp => attributes.clone(),
            Some(_) | None => self.reader.read(Holder::Open(self.file.as_fd())).map_err(failed)?,
        };
        seen.metadata.mode &= self.mode_mask;
        self.owners.iter().for_each(|owners| owners.note(&seen.metadata));
        Ok((seen.metadata, seen.stamp))
    }

    fn next_data(&mut self, offset_bytes: u64) -> Result<Option<Range<u64>>, SourceError> {
        if !self.may_have_holes {
            return Ok(Some(offset_bytes..u64::MAX));
        }
        match fs::seek(&self.file, SeekFrom::Data(offset_bytes)) {
            Ok(start) => {
                let end = fs::seek(&self.file, SeekFrom::Hole(start));
                Ok(Some(start..end.unwrap_or(u64::MAX)))
            }
            Err(Errno::NXIO) => Ok(None),
            // A file system that cannot tell.
            Err(Errno::INVAL | Errno::OPNOTSUPP) => {
                self.may_have_holes = false;
                Ok(Some(offset_bytes..u64::MAX))
            }
            Err(errno) => Err(failed("read", &self.path, errno)),
        }
    }

    fn read_at(&mut self, offset_bytes: u64, buffer: &mut [u8]) -> Result<usize, SourceError> {
        loop {
            match io::pread(&self.file, &mut *buffer, offset_bytes) {
                Err(Errno::INTR) => {}
                read => return read.map_err(|errno| failed("read", &self.path, errno)),
            }
        }
    }

    fn append_to(
        &mut self,
        bytes: &mut Vec<u8>,
        offset_bytes: u64,
        length_max: usize,
    ) -> Result<usize, SourceError> {
        let start = bytes.len();
        bytes.reserve(length_max);
        loop {
            let filled = bytes.len() - start;
            if filled >= length_max {
                // What was read beyond is left out.
                bytes.truncate(start + length_max);
                return Ok(length_max);
            }
            match io::pread(&self.file, spare_capacity(bytes), offset_bytes + filled as u64) {
                Ok(0) => return Ok(filled),
                Ok(_) | Err(Errno::INTR) => {}
                Err(errno) => return Err(failed("read", &self.path, errno)),
            }
        }
    }
    fn is_fresh(&self, stamp: &Stamp) -> bool {
        let now = clock_gettime(ClockId::Realtime);
        let seconds = now.tv_sec.saturating_sub(stamp.changed.seconds);
        let nanoseconds = now.tv_nsec - i64::from(stamp.changed.nanoseconds);
        let age_milliseconds =
            seconds.saturating_mul(1_000).saturating_add(nanoseconds / 1_000_000);
        age_milliseconds < FRESH_MILLISECONDS
    }
}
