//! The sums of a basis, as the source has them: found by checksum, confirmed by hash.

use std::collections::HashMap;

use crate::compare::delta::sums::{BLOCKS_MAX, Id, SUM_BYTES};

/// Blocks with one checksum that are tried; more have been made so on purpose.
const CANDIDATES_MAX: usize = 8;
/// Bits of a checksum that the filter looks at: 128 KiB, which stay in the cache.
const FILTER_BITS: u32 = 20;
/// Ends a chain.
const NONE: u32 = u32::MAX;

/// Why sums do not belong to the basis they were asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the sums do not fit the file they are of")]
pub struct Misfit;

/// What is known of the blocks of one basis. It may still grow.
#[derive(Debug)]
pub struct Signature {
    size_bytes: u64,
    block_bytes: u32,
    blocks: u32,
    sums: Vec<Known>,
    /// The first block of each checksum.
    index: HashMap<u32, u32>,
    /// Which checksums may be there at all.
    filter: Vec<u64>,
}

/// One block.
#[derive(Debug, Clone, Copy)]
struct Known {
    weak: u32,
    strong: [u8; 4],
    /// The next block with the same checksum and another hash.
    next: u32,
}

impl Signature {
    /// Of a basis of `size_bytes` in blocks of `block_bytes`, of which nothing is known yet.
    ///
    /// # Errors
    /// [`Misfit`] if those would be too many blocks.
    pub fn new(size_bytes: u64, block_bytes: u32) -> Result<Self, Misfit> {
        let blocks = size_bytes.div_ceil(u64::from(block_bytes.max(1)));
        if block_bytes == 0 || blocks > BLOCKS_MAX {
            return Err(Misfit);
        }
        Ok(Self {
            size_bytes,
            block_bytes,
            blocks: u32::try_from(blocks).map_err(|_| Misfit)?,
            sums: Vec::new(),
            index: HashMap::new(),
            filter: vec![0; 1 << (FILTER_BITS - 6)],
        })
    }

    /// Appends the sums of the next blocks.
    ///
    /// # Errors
    /// [`Misfit`] if they are no whole sums, or more than there are blocks.
    pub fn extend(&mut self, sums: &[u8]) -> Result<(), Misfit> {
        let (chunks, rest) = sums.as_chunks::<SUM_BYTES>();
        if !rest.is_empty() || self.sums.len() + chunks.len() > self.blocks as usize {
            return Err(Misfit);
        }
        for &[a, b, c, d, ref strong @ ..] in chunks {
            self.insert(u32::from_le_bytes([a, b, c, d]), *strong);
        }
        Ok(())
    }

    fn insert(&mut self, weak: u32, strong: [u8; 4]) {
        let block = self.known();
        self.sums.push(Known { weak, strong, next: NONE });
        // The last block may be short; it is tried at its own place only.
        if self.length_of(block) < self.block_bytes as usize {
            return;
        }
        let (word, bit) = place(weak);
        self.filter[word] |= bit;
        let mut last = match self.index.entry(weak) {
            std::collections::hash_map::Entry::Vacant(entry) => {
                entry.insert(block);
                return;
            }
            std::collections::hash_map::Entry::Occupied(entry) => *entry.get(),
        };
        for _ in 0..CANDIDATES_MAX {
            let known = &mut self.sums[last as usize];
            if known.strong == strong {
                return;
            }
            if known.next == NONE {
                known.next = block;
                return;
            }
            last = known.next;
        }
    }

    /// How many blocks there are.
    #[must_use]
    pub fn blocks(&self) -> u32 {
        self.blocks
    }

    /// Of how many blocks the sums are known.
    #[must_use]
    pub fn known(&self) -> u32 {
        u32::try_from(self.sums.len()).unwrap_or(NONE)
    }

    /// Whether all sums are known.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.known() == self.blocks
    }

    /// Length of all blocks but the last, in bytes.
    #[must_use]
    pub fn block_bytes(&self) -> usize {
        self.block_bytes as usize
    }

    /// Length of `block` in bytes; 0 beyond the end.
    #[must_use]
    pub fn length_of(&self, block: u32) -> usize {
        let start = u64::from(block) * u64::from(self.block_bytes);
        let rest = self.size_bytes.saturating_sub(start).min(u64::from(self.block_bytes));
        usize::try_from(rest).unwrap_or(0)
    }

    /// Whether `block` has this checksum.
    #[must_use]
    pub fn has_weak(&self, block: u32, weak: u32) -> bool {
        self.sums.get(block as usize).is_some_and(|known| known.weak == weak)
    }

    /// Whether `block` has this hash.
    #[must_use]
    pub fn has_id(&self, block: u32, id: &Id) -> bool {
        self.sums.get(block as usize).is_some_and(|known| known.strong == id[..4])
    }

    /// Whether a whole block may have this checksum: wrong for few, quick for all.
    #[must_use]
    #[inline]
    pub fn may_have(&self, weak: u32) -> bool {
        let (word, bit) = place(weak);
        self.filter[word] & bit != 0
    }

    /// The whole blocks with this checksum, those with equal hashes once.
    pub fn candidates(&self, weak: u32) -> impl Iterator<Item = u32> + '_ {
        std::iter::successors(self.index.get(&weak).copied(), |&block| {
            let next = self.sums[block as usize].next;
            (next != NONE).then_some(next)
        })
        .take(CANDIDATES_MAX + 1)
    }
}

/// Where the filter keeps a checksum.
#[inline]
fn place(weak: u32) -> (usize, u64) {
    let bits = weak.wrapping_mul(0x9e37_79b1) >> (32 - FILTER_BITS);
    ((bits >> 6) as usize, 1 << (bits & 63))
}
