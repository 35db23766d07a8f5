//! What one sink has confirmed in this session, and how much of it is durable.
//!
//! Invariant: `durable <= applied`, and `waiting` tells of the confirmations between them, in order.

use std::collections::VecDeque;

/// Over so many parts a sink that is silent about what is durable takes no more memory.
const PARTS_MAX: usize = 4_096;

/// The confirmations of one session.
#[derive(Debug, Default)]
pub struct Confirmed {
    applied: u64,
    durable: u64,
    /// Up to which confirmation, and how many entries these are.
    waiting: VecDeque<(u64, u64)>,
    entries: u64,
}

impl Confirmed {
    /// The next confirmation is of so many entries.
    pub fn applied(&mut self, entries: u64) {
        self.applied += 1;
        self.entries += entries;
        let is_full = self.waiting.len() >= PARTS_MAX;
        match self.waiting.back_mut().filter(|_| is_full) {
            Some(last) => *last = (self.applied, last.1 + entries),
            None => self.waiting.push_back((self.applied, entries)),
        }
    }

    /// The first `applied` are durable; returns how many entries have become so, or `None` if there are not so
    /// many, or were more before.
    pub fn durable(&mut self, applied: u64) -> Option<u64> {
        if applied > self.applied || applied < self.durable {
            return None;
        }
        self.durable = applied;
        let covered = self.waiting.iter().take_while(|(until, _)| *until <= applied).count();
        let entries = self.waiting.drain(..covered).map(|(_, entries)| entries).sum();
        self.entries -= entries;
        Some(entries)
    }

    /// How many confirmations there were.
    #[must_use]
    pub fn parts(&self) -> u64 {
        self.applied
    }

    /// How many of them are durable: all, if there was nothing to put on disk.
    #[must_use]
    pub fn durable_parts(&self) -> u64 {
        self.durable
    }

    /// How many entries may not be durable yet.
    #[must_use]
    pub fn undurable(&self) -> u64 {
        self.entries
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_become_durable_with_their_confirmation() {
        let mut confirmed = Confirmed::default();
        for entries in [3, 0, 4] {
            confirmed.applied(entries);
        }

        assert_eq!(confirmed.durable(2), Some(3));
        assert_eq!(confirmed.undurable(), 4);
        assert_eq!(confirmed.durable(2), Some(0));
        assert_eq!(confirmed.durable(1), None, "fewer than before");
        assert_eq!(confirmed.durable(4), None, "more than there are");
        assert_eq!(confirmed.durable(3), Some(4));
    }

    #[test]
    fn a_silent_sink_takes_no_more_memory_and_is_believed_late() {
        let mut confirmed = Confirmed::default();
        (0..2 * PARTS_MAX).for_each(|_| confirmed.applied(1));

        assert_eq!(confirmed.waiting.len(), PARTS_MAX);
        assert_eq!(confirmed.durable(PARTS_MAX as u64), Some(PARTS_MAX as u64 - 1));
        assert_eq!(confirmed.durable(2 * PARTS_MAX as u64), Some(PARTS_MAX as u64 + 1));
    }
}
