//! How many bytes may be sent a second, where an operator has set a limit.
//!
//! What is allowed accumulates up to a burst. Sending may run into debt, which is waited for: the
//! backlog begins nothing while anything is owed, a live change may owe one burst.

use std::time::{Duration, Instant};

use crate::queue::mark::Lane;

/// How long an idle link saves up.
const BURST: Duration = Duration::from_millis(50);
/// What may be saved up in any case, in bytes: one message on the thinnest link.
const BURST_BYTES_MIN: f64 = 16.0 * 1024.0;
/// A message should not take longer than this at the rate allowed.
const MESSAGE: Duration = Duration::from_millis(20);

/// A limit on bytes sent.
#[derive(Debug)]
pub struct Allowance {
    bytes_per_second: f64,
    /// Below 0: owed.
    saved_bytes: f64,
    at: Instant,
}

impl Allowance {
    /// `bytes_per_second` from `now` on.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a rate is far below 2^52")]
    pub fn new(bytes_per_second: u64, now: Instant) -> Self {
        let bytes_per_second = bytes_per_second.max(1) as f64;
        Self { bytes_per_second, saved_bytes: 0.0, at: now }
    }

    fn burst_bytes(&self) -> f64 {
        (self.bytes_per_second * BURST.as_secs_f64()).max(BURST_BYTES_MIN)
    }

    /// What a message should have at most, in bytes.
    #[must_use]
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a rate")]
    pub fn message_bytes(&self) -> u64 {
        (self.bytes_per_second * MESSAGE.as_secs_f64()) as u64
    }

    /// Lets time pass.
    pub fn on_time(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.at).as_secs_f64();
        self.at = self.at.max(now);
        let saved_bytes = self.saved_bytes + passed * self.bytes_per_second;
        self.saved_bytes = saved_bytes.min(self.burst_bytes());
    }

    /// `bytes` have been sent.
    #[expect(clippy::cast_precision_loss, reason = "a message is far below 2^52 bytes")]
    pub fn spend(&mut self, bytes: u64) {
        self.saved_bytes -= bytes as f64;
    }

    /// When something of `lane` may be begun: now, if that is not later.
    #[must_use]
    pub fn allowed_at(&self, lane: Lane) -> Instant {
        let credit_bytes = if lane == Lane::Live { self.burst_bytes() } else { 0.0 };
        let owed_bytes = -(self.saved_bytes + credit_bytes);
        if owed_bytes <= 0.0 {
            return self.at;
        }
        // A day is long enough for anybody, and no float turns into a panic.
        let seconds = (owed_bytes / self.bytes_per_second).min(86_400.0);
        self.at + Duration::from_secs_f64(seconds) + Duration::from_micros(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn over_time_no_more_is_sent_than_allowed() {
        let start = Instant::now();
        let mut allowance = Allowance::new(1_000_000, start);
        let (mut now, mut sent) = (start, 0);
        while now < start + Duration::from_secs(10) {
            allowance.on_time(now);
            let at = allowance.allowed_at(Lane::Backlog);
            if at > now {
                now = at;
                continue;
            }
            allowance.spend(10_000);
            sent += 10_000;
        }
        assert!((9_900_000..10_100_000).contains(&sent), "{sent}");
    }

    #[test]
    fn a_live_change_does_not_wait_for_what_the_backlog_owes() {
        let now = Instant::now();
        let mut allowance = Allowance::new(1_000_000, now);
        allowance.spend(20_000);

        assert_eq!(allowance.allowed_at(Lane::Live), now);
        assert!(allowance.allowed_at(Lane::Backlog) >= now + Duration::from_millis(20));

        allowance.spend(1_000_000);
        assert!(allowance.allowed_at(Lane::Live) > now + Duration::from_millis(900));
    }

    #[test]
    fn an_idle_link_saves_up_a_burst_and_no_more() {
        let start = Instant::now();
        let mut allowance = Allowance::new(1_000_000, start);
        let now = start + Duration::from_secs(100);
        allowance.on_time(now);

        allowance.spend(60_000);

        assert!(allowance.allowed_at(Lane::Backlog) > now);
    }
}
