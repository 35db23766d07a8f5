//! Blocks of a basis, and what is said of each.

/// What is sent of a block, in bytes: the rolling checksum, then the beginning of the keyed hash.
pub const SUM_BYTES: usize = 8;
/// Shortest block, in bytes: a page, so that blocks can be shared between files.
pub const BLOCK_BYTES_MIN: u32 = 4 * 1024;
/// Longest block, in bytes. Files that would need longer ones are sent whole.
pub const BLOCK_BYTES_MAX: u32 = 4 * 1024 * 1024;
/// Most blocks of one basis: 2 MiB of sums.
pub const BLOCKS_MAX: u64 = 1 << 18;
/// What is kept of a block's hash for the proof, in bytes.
pub const ID_BYTES: usize = 16;

/// Modulus of the rolling checksum.
const MODULUS: u32 = 65_521;

/// Key of all hashes of one transfer.
pub type Key = [u8; 32];
/// A block's keyed hash, as far as it is kept.
pub type Id = [u8; ID_BYTES];

/// How long the blocks of a basis of `size_bytes` are: about the square root, where the sums and one
/// changed block cost least together. `None` if that would be too many or too long blocks.
#[must_use]
pub fn block_bytes(size_bytes: u64) -> Option<u32> {
    let least = size_bytes.isqrt().max(size_bytes.div_ceil(BLOCKS_MAX));
    let whole_pages = least.next_multiple_of(u64::from(BLOCK_BYTES_MIN));
    let bytes = u32::try_from(whole_pages).ok()?.max(BLOCK_BYTES_MIN);
    (bytes <= BLOCK_BYTES_MAX).then_some(bytes)
}

/// Both hashes of one block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sum {
    /// The checksum that can roll.
    pub weak: u32,
    /// The keyed hash.
    pub id: Id,
}

impl Sum {
    /// The sum of `block`.
    #[must_use]
    pub fn of(key: &Key, block: &[u8]) -> Self {
        Self { weak: weak(block), id: id(key, block) }
    }

    /// What of it is sent.
    #[must_use]
    pub fn to_bytes(self) -> [u8; SUM_BYTES] {
        let mut bytes = [0; SUM_BYTES];
        bytes[..4].copy_from_slice(&self.weak.to_le_bytes());
        bytes[4..].copy_from_slice(&self.id[..4]);
        bytes
    }
}

/// The keyed hash of `block`.
#[must_use]
pub fn id(key: &Key, block: &[u8]) -> Id {
    let mut id = [0; ID_BYTES];
    id.copy_from_slice(&blake3::keyed_hash(key, block).as_bytes()[..ID_BYTES]);
    id
}

/// The checksum of `block`: Adler-32, which a byte can be taken out of at the front.
#[must_use]
pub fn weak(block: &[u8]) -> u32 {
    simd_adler32::adler32(&block)
}

/// The checksum of a window that moves on byte by byte.
#[derive(Debug)]
pub struct Rolling {
    low: u32,
    high: u32,
    /// What the place of each byte that leaves adds to `high`, the sum of the other bytes left out.
    leaving: Box<[u32; 256]>,
}

impl Rolling {
    /// For windows of `bytes` bytes; it begins with [`Rolling::restart`].
    #[must_use]
    #[expect(clippy::cast_possible_truncation, reason = "below the modulus")]
    pub fn new(bytes: usize) -> Self {
        let length = bytes as u64 % u64::from(MODULUS);
        let mut leaving = Box::new([0; 256]);
        for (byte, share) in (0_u64..).zip(leaving.iter_mut()) {
            *share = MODULUS - 1 - (length * byte % u64::from(MODULUS)) as u32;
        }
        Self { low: 0, high: 0, leaving }
    }

    /// Goes on at another window of the same length.
    pub fn restart(&mut self, window: &[u8]) {
        let weak = weak(window);
        (self.low, self.high) = (weak & 0xffff, weak >> 16);
    }

    /// Moves on by one byte: `first` leaves, `next` comes in.
    #[inline]
    pub fn roll(&mut self, first: u8, next: u8) {
        // As little as can be waits for the byte before.
        let change = less_modulus(MODULUS - u32::from(first) + u32::from(next));
        self.low = less_modulus(self.low + change);
        let leaving = self.leaving[usize::from(first)];
        self.high = less_modulus(self.high + less_modulus(self.low + leaving));
    }

    /// The checksum of the window as it is.
    #[must_use]
    #[inline]
    pub fn weak(&self) -> u32 {
        self.high << 16 | self.low
    }
}

/// `sum` of two numbers below the modulus, brought below it again.
#[inline]
fn less_modulus(sum: u32) -> u32 {
    // Where it is below, the difference is huge.
    sum.min(sum.wrapping_sub(MODULUS))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checksum_that_rolled_is_that_of_the_window() {
        let data: Vec<u8> =
            (0..70_000_u32).map(|n| (n.wrapping_mul(n) / 7).to_le_bytes()[0]).collect();
        for window in [1, 5, 4_096, 65_521] {
            let mut rolling = Rolling::new(window);
            rolling.restart(&data[..window]);
            for at in 0..1_000 {
                assert_eq!(rolling.weak(), weak(&data[at..at + window]), "{window} at {at}");
                rolling.roll(data[at], data[at + window]);
            }
        }
    }

    #[test]
    fn blocks_are_about_the_square_root_and_never_too_many() {
        assert_eq!(block_bytes(0), Some(BLOCK_BYTES_MIN));
        assert_eq!(block_bytes(1 << 20), Some(4 * 1024));
        assert_eq!(block_bytes(1 << 30), Some(32 * 1024));
        for shift in 10..40 {
            let size_bytes = (1_u64 << shift) + 12_345;
            let blocks = size_bytes.div_ceil(u64::from(block_bytes(size_bytes).unwrap()));
            assert!(blocks <= BLOCKS_MAX, "{blocks} blocks of {size_bytes} bytes");
        }
        assert_eq!(block_bytes(1 << 42), None);
        assert_eq!(block_bytes(u64::MAX), None);
    }
}
