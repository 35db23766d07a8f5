//! How a file is put together: blocks of the basis and literal bytes, in the order of the file.

use std::collections::VecDeque;

use crate::compare::delta::proof::Proof;
use crate::compare::delta::sums::{Id, Key};
use crate::model::digest::Digest;

/// Bytes in one copy: a few milliseconds of the sink's time.
const COPY_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Steps that are taken at once: each becomes a message, and of those only so many may be in flight.
pub const OPS_MAX: usize = 32;

/// One step of putting a file together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Op {
    /// Blocks of the basis.
    Copy {
        /// The first.
        first: u32,
        /// How many, at least 1.
        count: u32,
    },
    /// Bytes that the basis does not have here.
    Literal(Vec<u8>),
}

impl Op {
    fn copied_blocks(&self) -> u32 {
        match self {
            Self::Copy { count, .. } => *count,
            Self::Literal(_) => 0,
        }
    }
}

/// What has been found of a file so far, and what of it has been said.
#[derive(Debug)]
pub struct Script {
    proof: Proof,
    /// Blocks in one [`Op::Copy`].
    copy_blocks_max: u32,
    /// Bytes in one [`Op::Literal`].
    literal_bytes_max: usize,
    /// Blocks in a row that have not been said, first and how many.
    found: (u32, u32),
    /// What has been said and not been taken; copies may be too long still.
    said: VecDeque<Op>,
    holds_back: bool,
    copied_blocks: u64,
    literal_bytes: u64,
    is_in_order: bool,
    has_ended: bool,
}

impl Script {
    /// An empty one, of a basis in blocks of `block_bytes`. One that `holds_back` says nothing while
    /// everything is as in the basis.
    #[must_use]
    pub fn new(key: &Key, block_bytes: usize, holds_back: bool) -> Self {
        let copy_blocks_max = u32::try_from(COPY_BYTES_MAX / block_bytes.max(1));
        Self {
            proof: Proof::new(key),
            copy_blocks_max: copy_blocks_max.unwrap_or(u32::MAX).max(1),
            literal_bytes_max: 1,
            found: (0, 0),
            said: VecDeque::new(),
            holds_back,
            copied_blocks: 0,
            literal_bytes: 0,
            is_in_order: true,
            has_ended: false,
        }
    }

    /// From now on no literal is longer.
    pub fn limit_literals(&mut self, bytes: usize) {
        self.literal_bytes_max = bytes.max(1);
    }

    /// `block` of the basis comes next.
    pub fn copy(&mut self, block: u32, id: &Id) {
        self.is_in_order &= u64::from(block) == self.copied_blocks;
        let (first, count) = self.found;
        let is_full = count >= self.copy_blocks_max && !(self.holds_back && self.is_unchanged());
        if count > 0 && (first + count != block || is_full) {
            self.say();
        }
        if self.found.1 == 0 {
            self.found.0 = block;
        }
        self.found.1 += 1;
        self.copied_blocks += 1;
        self.proof.block(id);
    }

    /// `bytes` that the basis does not have come next.
    pub fn literal(&mut self, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        self.say();
        self.literal_bytes += bytes.len() as u64;
        for piece in bytes.chunks(self.literal_bytes_max) {
            self.proof.literal(piece);
            self.said.push_back(Op::Literal(piece.to_vec()));
        }
    }

    /// The file ends here; it is `blocks` of the basis if it is the same.
    pub fn end(&mut self, blocks: u32) {
        self.has_ended = true;
        if !(self.holds_back && self.is_same(blocks)) {
            self.say();
        }
    }

    /// Whether the end has been said.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.has_ended
    }

    /// Whether the file is all `blocks` of the basis in their order.
    #[must_use]
    pub fn is_same(&self, blocks: u32) -> bool {
        self.is_unchanged() && self.copied_blocks == u64::from(blocks)
    }

    fn is_unchanged(&self) -> bool {
        self.is_in_order && self.literal_bytes == 0
    }

    /// Literal bytes said.
    #[must_use]
    pub fn literal_bytes(&self) -> u64 {
        self.literal_bytes
    }

    /// Blocks found.
    #[must_use]
    pub fn copied_blocks(&self) -> u64 {
        self.copied_blocks
    }

    /// Digest over everything found.
    #[must_use]
    pub fn proof(&self) -> Digest {
        self.proof.clone().finish()
    }

    /// Appends what has been said to `ops`, until those are [`OPS_MAX`] or copy as much as one copy may; returns
    /// whether nothing is left.
    pub fn take(&mut self, ops: &mut Vec<Op>) -> bool {
        while let Some(next) = self.said.front_mut() {
            let copied: u32 = ops.iter().map(Op::copied_blocks).sum();
            if ops.len() >= OPS_MAX || copied >= self.copy_blocks_max {
                return false;
            }
            match next {
                Op::Copy { first, count } if *count > self.copy_blocks_max => {
                    ops.push(Op::Copy { first: *first, count: self.copy_blocks_max });
                    *first += self.copy_blocks_max;
                    *count -= self.copy_blocks_max;
                }
                Op::Copy { .. } | Op::Literal(_) => ops.extend(self.said.pop_front()),
            }
        }
        true
    }

    /// Says what has been found.
    fn say(&mut self) {
        let (first, count) = std::mem::take(&mut self.found);
        if count > 0 {
            self.said.push_back(Op::Copy { first, count });
        }
    }
}
