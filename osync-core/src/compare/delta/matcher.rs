//! Goes through a file and finds the blocks of a basis in it, a piece at a time.
//!
//! Right after a block the next one is expected and tried at once. If it is not there, a checksum rolls on
//! byte by byte until some block is found. While sums are still arriving a gap is not searched for long:
//! what is missing may be in those to come.

use crate::compare::delta::script::{Op, Script};
use crate::compare::delta::signature::{Misfit, Signature};
use crate::compare::delta::sums::{self, Key, Rolling};
use crate::model::digest::Digest;

/// Bytes read at a time.
const READ_BYTES: usize = 256 * 1024;
/// Hashing in vain, in bytes hashed for each byte passed: bounds what a file made on purpose can cost.
const VAIN_BYTES_PER_BYTE: u64 = 4;
/// Blocks that may be hashed in vain in any case.
const VAIN_BLOCKS: u64 = 64;

/// What a matcher needs to go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Want {
    /// More of the file: [`Matcher::room`], [`Matcher::filled`] or [`Matcher::end`].
    Bytes,
    /// More sums: [`Matcher::extend`].
    Sums,
    /// That somebody takes away what it has found, of which there is more.
    Room,
    /// Nothing: the file has been gone through.
    Nothing,
}

/// What is known of the place that is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// The checksum does not belong to it.
    Fresh,
    /// The checksum does.
    Rolling,
    /// No block begins there, and the next byte is not there yet.
    Tried,
}

/// The search in one file.
#[derive(Debug)]
pub struct Matcher {
    key: Key,
    signature: Signature,
    script: Script,
    /// Bytes of the file: sent up to `start`, looked at up to `scan`, there up to `end`.
    data: Vec<u8>,
    start: usize,
    scan: usize,
    end: usize,
    is_ended: bool,
    is_searching: bool,
    /// The block to be tried here, right after the one before it.
    expected: Option<u32>,
    /// The block that would lie where the gap began, and how long the gap is.
    gap: (u32, u64),
    rolling: Rolling,
    place: Place,
    /// Nothing is searched before all sums are known.
    is_waiting: bool,
    vain_bytes: u64,
    literal_bytes_max: usize,
}

impl Matcher {
    /// A search for the blocks of `signature`, hashed with `key`, with `literal_bytes_max` bytes at most in
    /// one [`Op::Literal`]. One that `holds_back` says nothing while everything is as in the basis.
    #[must_use]
    pub fn new(key: Key, signature: Signature, literal_bytes_max: usize, holds_back: bool) -> Self {
        let block_bytes = signature.block_bytes();
        Self {
            script: Script::new(&key, block_bytes, holds_back),
            key,
            rolling: Rolling::new(block_bytes),
            signature,
            data: Vec::new(),
            start: 0,
            scan: 0,
            end: 0,
            is_ended: false,
            is_searching: true,
            expected: Some(0),
            gap: (0, 0),
            place: Place::Fresh,
            is_waiting: false,
            vain_bytes: 0,
            literal_bytes_max,
        }
    }

    /// The basis.
    #[must_use]
    pub fn signature(&self) -> &Signature {
        &self.signature
    }

    /// Takes the sums of further blocks.
    ///
    /// # Errors
    /// [`Misfit`] if there are no such blocks.
    pub fn extend(&mut self, sums: &[u8]) -> Result<(), Misfit> {
        self.signature.extend(sums)
    }

    /// Searches no more: the rest of the file is said as it is.
    pub fn give_up(&mut self) {
        self.is_searching = false;
    }

    /// Bytes said as they are, and bytes found in the basis, about.
    #[must_use]
    pub fn balance_bytes(&self) -> (u64, u64) {
        let copied_bytes = self.script.copied_blocks() * self.signature.block_bytes() as u64;
        (self.script.literal_bytes(), copied_bytes)
    }

    /// Whether the file is the basis, byte for byte. Nothing has been said then if it held back.
    #[must_use]
    pub fn is_same(&self) -> bool {
        self.script.is_same(self.signature.blocks())
    }

    /// Digest over everything said.
    #[must_use]
    pub fn proof(&self) -> Digest {
        self.script.proof()
    }

    /// Where the next bytes of the file are to be put, of which there are `left_bytes`.
    pub fn room(&mut self, left_bytes: usize) -> &mut [u8] {
        if self.start > 0 {
            self.data.copy_within(self.start..self.end, 0);
            (self.scan, self.end) = (self.scan - self.start, self.end - self.start);
            self.start = 0;
        }
        // What is carried over when more is read: a gap not yet sent, and less than one block beyond it.
        let most = READ_BYTES + self.literal_bytes_max + 2 * self.signature.block_bytes();
        let room = most.min(self.end + READ_BYTES.min(left_bytes));
        if let Some(more) = room.checked_sub(self.data.len()) {
            self.data.reserve_exact(more);
            self.data.resize(room, 0);
        }
        &mut self.data[self.end..room]
    }

    /// So many bytes have been put into the room.
    pub fn filled(&mut self, bytes: usize) {
        self.end = self.data.len().min(self.end + bytes);
    }

    /// The file ends with what has been filled in.
    pub fn end(&mut self) {
        self.is_ended = true;
    }

    /// Goes on as far as possible; what it finds is appended to `ops`, in literals of `literal_bytes_max`
    /// bytes at most, and no more than [`OPS_MAX`] of them.
    ///
    /// [`OPS_MAX`]: crate::compare::delta::script::OPS_MAX
    pub fn step(&mut self, literal_bytes_max: usize, ops: &mut Vec<Op>) -> Want {
        let literal_bytes_max = literal_bytes_max.clamp(1, self.literal_bytes_max);
        self.script.limit_literals(literal_bytes_max);
        loop {
            if !self.script.take(ops) {
                return Want::Room;
            }
            if self.script.has_ended() {
                return Want::Nothing;
            }
            if self.scan - self.start >= literal_bytes_max {
                self.say_literal(self.scan);
            }
            if !self.is_searching {
                self.scan = self.end.min(self.start + literal_bytes_max);
                if self.scan < self.end || self.scan - self.start >= literal_bytes_max {
                    continue;
                }
                self.say_literal(self.scan);
                if !self.is_ended {
                    return Want::Bytes;
                }
                self.script.end(self.signature.blocks());
                continue;
            }
            if let Some(block) = self.expected {
                match self.try_expected(block) {
                    Some(want) => return want,
                    None => continue,
                }
            }
            let block_bytes = self.signature.block_bytes();
            if self.end - self.scan < block_bytes {
                if !self.is_ended {
                    return Want::Bytes;
                }
                self.say_tail();
                continue;
            }
            if self.waits_for_sums() {
                return Want::Sums;
            }
            self.roll(literal_bytes_max);
            if self.place == Place::Tried {
                return Want::Bytes;
            }
        }
    }

    /// Tries `block` here; `None` if there is an answer.
    fn try_expected(&mut self, block: u32) -> Option<Want> {
        let length = self.signature.length_of(block);
        if length > 0 && block >= self.signature.known() {
            return Some(Want::Sums);
        }
        if self.end - self.scan < length && !self.is_ended {
            return Some(Want::Bytes);
        }
        if length > 0 && self.end - self.scan >= length {
            let window = &self.data[self.scan..self.scan + length];
            if self.signature.has_weak(block, sums::weak(window)) {
                let id = sums::id(&self.key, window);
                if self.signature.has_id(block, &id) {
                    self.accept(block, &id);
                    return None;
                }
            }
        }
        self.expected = None;
        self.gap = (block, 0);
        self.place = Place::Fresh;
        None
    }

    /// Searches on until a block is found, the gap is to be said, or bytes run out.
    fn roll(&mut self, literal_bytes_max: usize) {
        let block_bytes = self.signature.block_bytes();
        if self.place == Place::Fresh {
            self.rolling.restart(&self.data[self.scan..self.scan + block_bytes]);
            self.place = Place::Rolling;
        }
        while self.scan - self.start < literal_bytes_max && !self.is_long_for_now() {
            self.pass_over(literal_bytes_max);
            if std::mem::replace(&mut self.place, Place::Rolling) != Place::Tried
                && let Some((block, id)) = self.find(self.rolling.weak())
            {
                self.accept(block, &id);
                return;
            }
            let next = self.scan + block_bytes;
            if next >= self.end {
                if !self.is_ended {
                    self.place = Place::Tried;
                    return;
                }
                self.pass(1);
                self.place = Place::Fresh;
                return;
            }
            self.rolling.roll(self.data[self.scan], self.data[next]);
            self.pass(1);
        }
    }

    /// Rolls on over places where no block can be.
    fn pass_over(&mut self, literal_bytes_max: usize) {
        if self.place == Place::Tried {
            return;
        }
        let block_bytes = self.signature.block_bytes();
        let rest = (self.end - self.scan).saturating_sub(block_bytes);
        let mut most = rest.min(literal_bytes_max - (self.scan - self.start));
        if !self.signature.is_complete() {
            let until_long = (2 * block_bytes as u64).saturating_sub(self.gap.1);
            most = most.min(usize::try_from(until_long).unwrap_or(usize::MAX));
        }
        let leaving = &self.data[self.scan..self.scan + most];
        let coming = &self.data[self.scan + block_bytes..self.scan + block_bytes + most];
        let mut passed = 0;
        for (&first, &next) in leaving.iter().zip(coming) {
            if self.signature.may_have(self.rolling.weak()) {
                break;
            }
            self.rolling.roll(first, next);
            passed += 1;
        }
        self.pass(passed);
    }

    fn pass(&mut self, bytes: usize) {
        self.scan += bytes;
        self.gap.1 += bytes as u64;
    }

    /// Whether the gap is long and what would end it may be among the sums to come.
    fn is_long_for_now(&self) -> bool {
        !self.signature.is_complete() && self.gap.1 >= 2 * self.signature.block_bytes() as u64
    }

    /// Goes back to where the gap began, as far as it has not been said, once all sums are needed.
    fn waits_for_sums(&mut self) -> bool {
        if self.is_long_for_now() {
            self.gap.1 -= (self.scan - self.start) as u64;
            self.scan = self.start;
            (self.place, self.is_waiting) = (Place::Fresh, true);
        }
        self.is_waiting &= !self.signature.is_complete();
        self.is_waiting
    }

    /// How much may have been hashed in vain by now.
    fn vain_bytes_max(&self) -> u64 {
        let passed = self.script.literal_bytes() + (self.scan - self.start) as u64;
        VAIN_BLOCKS * self.signature.block_bytes() as u64 + VAIN_BYTES_PER_BYTE * passed
    }

    /// The block that lies here, the one at its old place first.
    fn find(&mut self, weak: u32) -> Option<(u32, sums::Id)> {
        if !self.signature.may_have(weak) {
            return None;
        }
        let vain_max = self.vain_bytes_max();
        let candidates = &mut self.signature.candidates(weak).peekable();
        candidates.peek()?;
        let block_bytes = self.signature.block_bytes();
        if self.vain_bytes + block_bytes as u64 > vain_max {
            return None;
        }
        let id = sums::id(&self.key, &self.data[self.scan..self.scan + block_bytes]);
        let (first, gap_bytes) = self.gap;
        let shift = u32::try_from(gap_bytes / block_bytes as u64).unwrap_or(u32::MAX);
        let old_place = first.saturating_add(shift);
        let is_whole = self.signature.length_of(old_place) == block_bytes;
        let is_there = is_whole && self.signature.has_weak(old_place, weak);
        let is_there = is_there && self.signature.has_id(old_place, &id);
        let mut found = candidates.find(|&block| self.signature.has_id(block, &id));
        if is_there {
            found = Some(old_place);
        }
        if found.is_none() {
            self.vain_bytes += block_bytes as u64;
        }
        found.map(|block| (block, id))
    }

    /// Takes `block` as what lies here.
    fn accept(&mut self, block: u32, id: &sums::Id) {
        self.say_literal(self.scan);
        self.script.copy(block, id);
        self.scan += self.signature.length_of(block);
        self.start = self.scan;
        self.expected = Some(block + 1);
        self.place = Place::Fresh;
    }

    /// Says the bytes up to `until` as they are.
    fn say_literal(&mut self, until: usize) {
        self.script.literal(&self.data[self.start..until]);
        self.start = until;
    }

    /// Says what is left once no whole block fits any more: the last block of the basis may be shorter.
    fn say_tail(&mut self) {
        if let Some(block) = self.signature.blocks().checked_sub(1) {
            let length = self.signature.length_of(block);
            if length < self.signature.block_bytes() && length <= self.end - self.start {
                let window = &self.data[self.end - length..self.end];
                let weak = sums::weak(window);
                let id = sums::id(&self.key, window);
                if self.signature.has_weak(block, weak) && self.signature.has_id(block, &id) {
                    self.scan = self.end - length;
                    self.accept(block, &id);
                }
            }
        }
        self.scan = self.end;
        self.say_literal(self.end);
        self.script.end(self.signature.blocks());
    }
}
