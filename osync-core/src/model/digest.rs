//! BLAKE3 digests of listings and proofs, and checksums of content on its way.

use std::fmt;

use serde::{Deserialize, Serialize};
use twox_hash::XxHash3_128;

/// A BLAKE3 digest: 32 bytes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Digest([u8; 32]);

impl Digest {
    /// The digest of `bytes`.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self(*blake3::hash(bytes).as_bytes())
    }

    /// Its bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for Digest {
    /// The first eight bytes in hexadecimal: enough to tell two apart in a log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0[..8].iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Digest({self})")
    }
}

/// Takes bytes piece by piece and ends in their [`Digest`].
#[derive(Debug, Clone, Default)]
pub struct Hasher(blake3::Hasher);

impl Hasher {
    /// Appends `bytes`.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The digest of everything appended.
    #[must_use]
    pub fn finish(self) -> Digest {
        Digest(*self.0.finalize().as_bytes())
    }
}

/// Takes the content of a file piece by piece and ends in the [`Digest`] of its XXH3-128 checksum.
///
/// It finds what was damaged on its way from one end to the other, or changed between two readings, at the
/// speed of memory. It does not stand up to somebody who looks for collisions, and need not: who can change
/// what a sink receives can change the digest, too. What two ends have *each* is compared by [`Hasher`].
#[derive(Clone)]
pub struct Checksum(XxHash3_128);

impl fmt::Debug for Checksum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Checksum({})", self.finish())
    }
}

impl Default for Checksum {
    fn default() -> Self {
        Self(XxHash3_128::new())
    }
}

impl Checksum {
    /// Appends `bytes`.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.write(bytes);
    }

    /// The digest of everything appended.
    #[must_use]
    pub fn finish(&self) -> Digest {
        Digest::of(&self.0.finish_128().to_le_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checksum_is_the_same_in_whatever_pieces_and_another_for_other_bytes() {
        let content: Vec<u8> = (0..100_000_u32).map(|at| (at % 251).to_le_bytes()[0]).collect();
        let of = |piece_bytes| {
            let mut checksum = Checksum::default();
            content.chunks(piece_bytes).for_each(|piece| checksum.update(piece));
            checksum.finish()
        };

        // The vector of XXH3-128 for nothing, seed 0.
        let empty = 0x99aa_06d3_0147_98d8_6001_c324_468d_497f_u128;
        assert_eq!(Checksum::default().finish(), Digest::of(&empty.to_le_bytes()));
        assert_eq!(of(7), of(100_000));
        let mut other = Checksum::default();
        other.update(&content[1..]);
        assert_ne!(other.finish(), of(4096));
    }
}
