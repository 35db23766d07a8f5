//! When the sink is synced, and what is durable then.
//!
//! A barrier makes durable everything that was confirmed before it began. One runs at a time: a second after
//! something was applied, after 64 MiB, or at once if somebody waits.
//!
//! Invariant: `told <= durable <= applied`, counted in confirmations of all sessions.

use std::time::{Duration, Instant};

/// How long something that was applied waits for a barrier.
const WAIT_MAX: Duration = Duration::from_secs(1);
/// After so many bytes a barrier begins earlier, so that none takes long.
const BYTES_MAX: u64 = 64 * 1024 * 1024;
/// How long after one that failed the next begins at the earliest.
const FAILURE_WAIT: Duration = Duration::from_secs(1);

/// The barriers of one sink.
#[derive(Debug)]
pub struct Barrier {
    /// The sink is to be synced, and has not said that it cannot be.
    is_wanted: bool,
    /// Confirmations so far.
    applied: u64,
    /// Those of earlier sessions among them.
    base: u64,
    /// Those before and up to this one are durable, or nobody will be told of them.
    durable: u64,
    /// How many there were when the barrier that runs began.
    running: Option<u64>,
    /// When something was applied first that no barrier covers.
    dirty_since: Option<Instant>,
    /// Bytes that no barrier covers.
    bytes: u64,
    not_before: Option<Instant>,
}

impl Barrier {
    /// Without anything applied. Unless it `is_wanted`, there never is a barrier.
    ///
    /// What the sink has already counts as confirmed once: whoever wrote it may have been killed before it was
    /// durable.
    #[must_use]
    pub fn new(is_wanted: bool, now: Instant) -> Self {
        Self {
            is_wanted,
            applied: 1,
            base: 1,
            durable: 0,
            running: None,
            dirty_since: Some(now),
            bytes: 0,
            not_before: None,
        }
    }

    /// Something that came in `bytes` bytes was written, and is confirmed so many times.
    pub fn count(&mut self, confirmations: u64, bytes: u64, now: Instant) {
        self.applied += confirmations;
        self.bytes += bytes;
        self.dirty_since.get_or_insert(now);
    }

    /// A session begins: what was confirmed in earlier ones is told to nobody.
    pub fn begin_session(&mut self) {
        self.base = self.applied;
    }

    /// How many confirmations there are.
    #[must_use]
    pub fn applied(&self) -> u64 {
        self.applied
    }

    /// Whether the first so many are durable, or never will be known to be.
    #[must_use]
    pub fn is_settled(&self, applied: u64) -> bool {
        !self.is_wanted || self.durable >= applied
    }

    /// Whether it can be said that something is durable.
    #[must_use]
    pub fn is_wanted(&self) -> bool {
        self.is_wanted
    }

    /// Whether nothing is left to be made durable.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        !self.is_wanted || (self.dirty_since.is_none() && self.running.is_none())
    }

    /// When the next one is to begin, if ever; earlier if somebody waits.
    #[must_use]
    pub fn due(&self, is_waited_for: bool) -> Option<Instant> {
        let dirty_since = self.dirty_since.filter(|_| self.is_wanted && self.running.is_none())?;
        let is_hurried = is_waited_for || self.bytes >= BYTES_MAX;
        let due = if is_hurried { dirty_since } else { dirty_since + WAIT_MAX };
        Some(self.not_before.map_or(due, |not_before| due.max(not_before)))
    }

    /// One begins.
    pub fn begin(&mut self) {
        self.running = Some(self.applied);
        (self.dirty_since, self.bytes) = (None, 0);
    }

    /// It ended well, and everything is durable if `is_durable`; returns how many confirmations of this
    /// session are, if that is news.
    pub fn end(&mut self, is_durable: bool) -> Option<u64> {
        let reached = self.running.take()?;
        self.is_wanted &= is_durable;
        self.not_before = None;
        let told = self.durable.max(self.base);
        if !is_durable || reached <= self.durable {
            return None;
        }
        self.durable = reached;
        (reached > told).then(|| reached - self.base)
    }

    /// It failed: what was confirmed so far may be lost, and nobody is told of it.
    pub fn fail(&mut self, now: Instant) {
        self.running = None;
        (self.dirty_since, self.bytes) = (None, 0);
        self.durable = self.applied;
        self.not_before = Some(now + FAILURE_WAIT);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_applied_while_one_ran_waits_for_the_next() {
        let now = Instant::now();
        let mut barrier = Barrier::new(true, now);
        barrier.count(2, 10, now);
        assert_eq!(barrier.due(false), Some(now + WAIT_MAX));
        assert_eq!(barrier.due(true), Some(now));
        barrier.begin();
        barrier.count(1, 10, now);

        assert_eq!(barrier.due(true), None, "one at a time");
        assert_eq!(barrier.end(true), Some(2));
        assert!(barrier.is_settled(3) && !barrier.is_settled(4) && !barrier.is_idle());
        barrier.begin();
        assert_eq!(barrier.end(true), Some(3));
        assert!(barrier.is_idle());
    }

    #[test]
    fn what_was_there_before_is_not_believed_to_be_durable() {
        let now = Instant::now();
        let mut barrier = Barrier::new(true, now);

        assert!(!barrier.is_settled(barrier.applied()));
        assert_eq!(barrier.due(false), Some(now + WAIT_MAX));
        barrier.begin();
        assert_eq!(barrier.end(true), None, "nobody asked for it");
        assert!(barrier.is_settled(barrier.applied()) && barrier.is_idle());
    }

    #[test]
    fn a_session_is_told_of_its_own_only() {
        let mut barrier = Barrier::new(true, Instant::now());
        barrier.count(2, 10, Instant::now());
        barrier.begin();
        barrier.begin_session();

        assert_eq!(barrier.end(true), None);
        barrier.count(1, 10, Instant::now());
        barrier.begin();
        assert_eq!(barrier.end(true), Some(1));
    }

    #[test]
    fn after_a_failure_nothing_is_told_and_the_next_one_waits() {
        let now = Instant::now();
        let mut barrier = Barrier::new(true, Instant::now());
        barrier.count(2, 10, now);
        barrier.begin();
        barrier.fail(now);
        barrier.begin_session();
        barrier.count(1, BYTES_MAX, now);

        assert_eq!(barrier.due(true), Some(now + FAILURE_WAIT));
        barrier.begin();
        assert_eq!(barrier.end(true), Some(1));
    }

    #[test]
    fn a_sink_that_cannot_say_claims_nothing_and_is_asked_once() {
        let mut barrier = Barrier::new(true, Instant::now());
        barrier.count(2, 10, Instant::now());
        barrier.begin();

        assert_eq!(barrier.end(false), None);
        assert!(barrier.is_settled(9) && !barrier.is_wanted() && barrier.is_idle());
        barrier.count(1, 10, Instant::now());
        assert_eq!(barrier.due(true), None);
    }
}
