//! Payloads that are compressed on their way.
//!
//! Batches and chunks are compressed as wholes, with zstd, on the threads that read, and decompressed on those
//! that write. A payload says how long it is unpacked; that is bounded before anything is allocated.

use bytes::Bytes;

use crate::model::frame::Frame;
use crate::wire::decode::DecodeError;

/// Shorter payloads are sent as they are.
const PACKED_BYTES_MIN: usize = 512;
/// Of payloads longer than this a sample is tried first, in bytes.
const PROBED_BYTES_MIN: usize = 16 * 1024;
/// The sample, in bytes.
const PROBE_BYTES: usize = 4 * 1024;
/// Level at which the sample is tried: the quickest that still tells.
const PROBE_LEVEL: i32 = -5;

/// A payload as it travels.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Payload {
    /// The bytes on the wire.
    pub bytes: Bytes,
    /// How many bytes they are once decompressed; none if they are not compressed.
    pub unpacked_bytes: Option<u32>,
}

impl From<Vec<u8>> for Payload {
    fn from(bytes: Vec<u8>) -> Self {
        Self { bytes: Bytes::from(bytes), unpacked_bytes: None }
    }
}

impl Payload {
    /// How many bytes it is when nothing is compressed.
    #[must_use]
    pub fn len_bytes(&self) -> u64 {
        self.unpacked_bytes.map_or(self.bytes.len() as u64, u64::from)
    }

    /// What was packed.
    ///
    /// # Errors
    /// [`DecodeError`] if the bytes are damaged or not as many as they say.
    pub fn unpacked(self) -> Result<Bytes, DecodeError> {
        let Some(unpacked_bytes) = self.unpacked_bytes else { return Ok(self.bytes) };
        if unpacked_bytes as usize > Frame::PAYLOAD_BYTES_MAX {
            return Err(DecodeError::Impossible("a payload longer than any"));
        }
        let bytes = zstd::bulk::decompress(&self.bytes, unpacked_bytes as usize)
            .map_err(|error| DecodeError::Malformed(error.to_string()))?;
        if bytes.len() != unpacked_bytes as usize {
            return Err(DecodeError::Impossible("a payload of another length"));
        }
        Ok(Bytes::from(bytes))
    }
}

impl Payload {
    /// What was packed, when `tail_bytes` bytes that were not follow it; they follow the result too.
    ///
    /// # Errors
    /// As [`Payload::unpacked`].
    pub fn unpacked_before(self, tail_bytes: u32) -> Result<Bytes, DecodeError> {
        let Self { mut bytes, unpacked_bytes } = self;
        if unpacked_bytes.is_none() {
            return Ok(bytes);
        }
        let packed_bytes = bytes.len().checked_sub(tail_bytes as usize);
        let packed_bytes = packed_bytes.ok_or(DecodeError::Impossible("a payload too short"))?;
        let tail = bytes.split_off(packed_bytes);
        let unpacked = Self { bytes, unpacked_bytes }.unpacked()?;
        if tail.is_empty() {
            return Ok(unpacked);
        }
        Ok(Bytes::from([&unpacked[..], &tail[..]].concat()))
    }
}

/// Compresses the payloads of one thread.
#[derive(Default)]
pub struct Packer {
    compressor: Option<(i32, zstd::bulk::Compressor<'static>)>,
}

impl std::fmt::Debug for Packer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Packer").finish_non_exhaustive()
    }
}

impl Packer {
    /// Compresses `payload` at `level`, unless that is not worth while.
    pub fn pack(&mut self, payload: &mut Payload, level: i32) {
        let bytes = &payload.bytes;
        if payload.unpacked_bytes.is_some() || bytes.len() < PACKED_BYTES_MIN {
            return;
        }
        if bytes.len() >= PROBED_BYTES_MIN {
            let middle = (bytes.len() - PROBE_BYTES) / 2;
            let sample = &bytes[middle..middle + PROBE_BYTES];
            if self.compressed(sample, PROBE_LEVEL).is_none() {
                return;
            }
        }
        let Ok(unpacked_bytes) = u32::try_from(bytes.len()) else { return };
        if let Some(packed) = self.compressed(bytes, level) {
            *payload = Payload { bytes: Bytes::from(packed), unpacked_bytes: Some(unpacked_bytes) };
        }
    }

    /// `bytes` compressed; `None` if they do not become a tenth shorter.
    fn compressed(&mut self, bytes: &[u8], level: i32) -> Option<Vec<u8>> {
        if self.compressor.as_ref().is_none_or(|(current, _)| *current != level) {
            let (_, mut compressor) = match self.compressor.take() {
                Some(compressor) => compressor,
                None => (level, zstd::bulk::Compressor::new(level).ok()?),
            };
            compressor.set_compression_level(level).ok()?;
            self.compressor = Some((level, compressor));
        }
        let (_, compressor) = self.compressor.as_mut()?;
        let packed = compressor.compress(bytes).ok()?;
        (packed.len() < bytes.len() - bytes.len() / 11).then_some(packed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(bytes: usize) -> Payload {
        Payload::from(b"all work and no play makes a dull line. ".repeat(bytes / 40))
    }

    #[test]
    fn what_was_packed_comes_back_and_is_shorter() {
        let mut packer = Packer::default();
        for (bytes, level) in [(600, 1), (200_000, 1), (200_000, 6), (4_000_000, 3)] {
            let whole = text(bytes);
            let mut payload = whole.clone();

            packer.pack(&mut payload, level);

            assert!(payload.bytes.len() < whole.bytes.len() / 4, "{}", payload.bytes.len());
            assert_eq!(payload.len_bytes(), whole.len_bytes());
            assert_eq!(payload.unpacked().unwrap(), whole.bytes);
        }
    }

    #[test]
    fn what_cannot_be_compressed_stays_as_it_is() {
        let mut random = vec![0; 100_000];
        blake3::Hasher::new().finalize_xof().fill(&mut random);
        for whole in [Payload::from(random), text(400), Payload::default()] {
            let mut payload = whole.clone();
            Packer::default().pack(&mut payload, 3);
            assert_eq!(payload, whole);
        }
    }

    #[test]
    fn a_payload_that_lies_about_its_length_is_refused() {
        let mut packed = text(100_000);
        let right = u32::try_from(packed.bytes.len()).unwrap();
        Packer::default().pack(&mut packed, 1);

        for unpacked_bytes in [0, 1, right - 1, right + 1, u32::MAX] {
            let lie = Payload { unpacked_bytes: Some(unpacked_bytes), ..packed.clone() };
            assert!(lie.unpacked().is_err(), "{unpacked_bytes}");
        }
        let cut = Payload { bytes: packed.bytes.slice(..20), ..packed };
        assert!(cut.unpacked().is_err());
    }
}
