//! How many bytes may be in flight to one sink.
//!
//! Whatever lies in anybody's buffers delays a live change behind it, so the window aims at a queueing
//! delay rather than at a size: it grows while messages come through quickly and shrinks when they
//! begin to queue. Thin links get tens of kilobytes, fast ones megabytes, without being told.
//!
//! The sink grants cumulatively, so a lost or repeated grant does no harm.
//!
//! A machine with more threads than processors delays single messages by milliseconds although nothing
//! queues. So of the last few round trips the shortest counts: a queue makes all of them long.
//!
//! On a machine that is busy with other things even that is not enough: every thread on the way waits for its
//! turn, and a smaller window does not make that shorter. So the window never becomes smaller than what the
//! way has shown to take within the aimed-at delay.
//!
//! Origin: LEDBAT (RFC 6817), with the delay measured over the whole way there and back.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Aimed-at time that a byte waits behind others: less than what people notice, and more than a busy machine takes to
/// get round to a thread. With 3 ms a machine with twice as many busy threads as processors had the window collapse.
pub const DELAY_TARGET: Duration = Duration::from_millis(10);
/// Smallest window: two chunks on the thinnest link.
pub const WINDOW_BYTES_MIN: u64 = 32 * 1024;
/// Largest window. On a machine's own loopback it is the processors that queue, not the link.
pub const WINDOW_BYTES_MAX: u64 = 8 * 1024 * 1024;
/// Where a session begins.
pub const WINDOW_BYTES_START: u64 = 256 * 1024;
/// Most messages in flight, whatever their size: below every queue's bound on the way.
pub const WINDOW_MESSAGES_MAX: u64 = 512;
/// For how long the shortest round trip seen counts as the way's own.
const BASE_AGE_MAX: Duration = Duration::from_secs(10);
/// Of so many round trips the shortest counts as the present one.
const FILTER_LENGTH: usize = 4;
/// What comes through is counted for so long at least, so that a burst that some buffer took does not count.
const RATE_INTERVAL: Duration = Duration::from_millis(20);
/// For how long the highest rate seen counts.
const RATE_AGE_MAX: Duration = Duration::from_secs(2);
/// How fast the window moves: gain per round trip, as a part of the window.
const GAIN: f64 = 0.5;

/// The window of one session, seen from the source.
#[derive(Debug)]
pub struct Window {
    bytes: f64,
    bytes_max: f64,
    sent_bytes: u64,
    consumed_bytes: u64,
    /// Sequence, cumulative bytes and time of the messages not yet known to be consumed.
    in_flight: VecDeque<(u64, u64, Instant)>,
    base: Option<(Duration, Instant)>,
    /// The last round trips, [`FILTER_LENGTH`] at most.
    recent: VecDeque<Duration>,
    rate: Rate,
}

/// How fast bytes come through.
#[derive(Debug, Default)]
struct Rate {
    /// Since when they have been counted, and how many had been consumed then.
    since: Option<(Instant, u64)>,
    /// The highest rate of late in bytes a second, and when it was seen.
    highest: Option<(f64, Instant)>,
}

impl Rate {
    #[expect(clippy::cast_precision_loss, reason = "bytes in flight are far below 2^52")]
    fn on_consumed(&mut self, consumed_bytes: u64, now: Instant) {
        let &mut (since, before_bytes) = self.since.get_or_insert((now, consumed_bytes));
        let elapsed = now.saturating_duration_since(since);
        if elapsed < RATE_INTERVAL {
            return;
        }
        self.since = Some((now, consumed_bytes));
        let rate = consumed_bytes.saturating_sub(before_bytes) as f64 / elapsed.as_secs_f64();
        let is_higher = |&(highest, at): &(f64, Instant)| {
            rate >= highest || now.saturating_duration_since(at) > RATE_AGE_MAX
        };
        if self.highest.as_ref().is_none_or(is_higher) {
            self.highest = Some((rate, now));
        }
    }

    /// What comes through within the aimed-at delay, in bytes.
    fn within_target_bytes(&self) -> f64 {
        self.highest.map_or(0.0, |(rate, _)| rate * DELAY_TARGET.as_secs_f64())
    }
}

impl Window {
    /// The window of a session that begins, of `bytes_max` at the most.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a window is far below 2^52 bytes")]
    pub fn new(bytes_max: u64) -> Self {
        let bytes_max = bytes_max.clamp(WINDOW_BYTES_MIN, WINDOW_BYTES_MAX) as f64;
        Self {
            bytes: (WINDOW_BYTES_START as f64).min(bytes_max),
            bytes_max,
            sent_bytes: 0,
            consumed_bytes: 0,
            in_flight: VecDeque::new(),
            base: None,
            recent: VecDeque::with_capacity(FILTER_LENGTH),
            rate: Rate::default(),
        }
    }

    /// From now on it has `bytes_max` at the most.
    #[expect(clippy::cast_precision_loss, reason = "a window is far below 2^52 bytes")]
    pub fn set_bytes_max(&mut self, bytes_max: u64) {
        self.bytes_max = bytes_max.clamp(WINDOW_BYTES_MIN, WINDOW_BYTES_MAX) as f64;
        self.bytes = self.bytes.min(self.bytes_max);
    }

    /// The present size, in bytes.
    #[must_use]
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped")]
    pub fn size_bytes(&self) -> u64 {
        self.bytes as u64
    }

    /// Bytes sent and not known to be consumed.
    #[must_use]
    pub fn in_flight_bytes(&self) -> u64 {
        self.sent_bytes - self.consumed_bytes
    }

    /// Whether at least half of it is in flight.
    #[must_use]
    pub fn is_half_full(&self) -> bool {
        self.in_flight_bytes() * 2 >= self.size_bytes()
    }

    /// How many of `consumed_bytes` were not known to be consumed.
    #[must_use]
    pub fn fresh_bytes(&self, consumed_bytes: u64) -> u64 {
        consumed_bytes.saturating_sub(self.consumed_bytes)
    }

    /// Messages sent and not known to be consumed.
    #[must_use]
    pub fn in_flight_messages(&self) -> u64 {
        self.in_flight.len() as u64
    }

    /// How many bytes may still be sent, `reserve_bytes` beyond the window; 0 once too many messages are out.
    #[must_use]
    pub fn room_bytes(&self, reserve_bytes: u64) -> u64 {
        if self.in_flight.len() as u64 >= WINDOW_MESSAGES_MAX {
            return 0;
        }
        (self.size_bytes() + reserve_bytes).saturating_sub(self.in_flight_bytes())
    }

    /// Records that message `sequence` of `bytes` bytes was sent at `now`.
    pub fn on_sent(&mut self, sequence: u64, bytes: u64, now: Instant) {
        self.sent_bytes += bytes;
        self.in_flight.push_back((sequence, self.sent_bytes, now));
    }

    /// Takes a grant: `consumed_bytes` in all, the message `newest` last.
    ///
    /// Returns `false` if it claims more than was sent; nothing is changed then.
    #[expect(clippy::cast_precision_loss, reason = "bytes in flight are far below 2^52")]
    pub fn on_credit(&mut self, consumed_bytes: u64, newest: u64, now: Instant) -> bool {
        if consumed_bytes > self.sent_bytes {
            return false;
        }
        let was_full = self.in_flight_bytes() as f64 > self.bytes * 0.5;
        let fresh_bytes = consumed_bytes.saturating_sub(self.consumed_bytes);
        self.consumed_bytes = self.consumed_bytes.max(consumed_bytes);
        self.rate.on_consumed(self.consumed_bytes, now);
        let sent_at = self
            .in_flight
            .iter()
            .find(|(sequence, _, _)| *sequence == newest)
            .map(|&(_, _, sent_at)| sent_at);
        while self
            .in_flight
            .front()
            .is_some_and(|&(_, cumulative, _)| cumulative <= self.consumed_bytes)
        {
            self.in_flight.pop_front();
        }
        if let Some(sent_at) = sent_at {
            self.adapt(now.saturating_duration_since(sent_at), fresh_bytes, was_full, now);
        }
        true
    }

    #[expect(clippy::cast_precision_loss, reason = "bytes in flight are far below 2^52")]
    fn adapt(&mut self, round_trip: Duration, fresh_bytes: u64, was_full: bool, now: Instant) {
        let base = match self.base {
            Some((base, at)) if base <= round_trip && now.duration_since(at) < BASE_AGE_MAX => base,
            Some(_) | None => {
                self.base = Some((round_trip, now));
                round_trip
            }
        };
        if self.recent.len() == FILTER_LENGTH {
            self.recent.pop_front();
        }
        self.recent.push_back(round_trip);
        let present = self.recent.iter().min().map_or(round_trip, |&shortest| shortest);
        let target = DELAY_TARGET.as_secs_f64();
        let off = (target - present.saturating_sub(base).as_secs_f64()) / target;
        // A window that is not used says nothing about whether a larger one would queue.
        let off = if was_full { off.clamp(-1.0, 1.0) } else { off.clamp(-1.0, 0.0) };
        self.bytes = (self.bytes + GAIN * off * fresh_bytes as f64)
            .max(self.rate.within_target_bytes())
            .clamp(WINDOW_BYTES_MIN as f64, self.bytes_max);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A link of `bytes_per_second` with `delay` there and back; returns the window after `seconds`.
    fn settled(bytes_per_second: u64, delay: Duration, seconds: u64) -> u64 {
        let mut window = Window::new(WINDOW_BYTES_MAX);
        let start = Instant::now();
        let mut now = start;
        let mut link_free_at = start;
        let mut arrivals: VecDeque<(Instant, u64, u64)> = VecDeque::new();
        let (mut sequence, mut consumed) = (0, 0);
        let chunk = 16 * 1024;
        while now < start + Duration::from_secs(seconds) {
            while window.room_bytes(0) >= chunk {
                sequence += 1;
                window.on_sent(sequence, chunk, now);
                let transmission = Duration::from_nanos(chunk * 1_000_000_000 / bytes_per_second);
                link_free_at = link_free_at.max(now) + transmission;
                arrivals.push_back((link_free_at + delay, sequence, chunk));
            }
            let (at, newest, bytes) = arrivals.pop_front().unwrap();
            now = at;
            consumed += bytes;
            assert!(window.on_credit(consumed, newest, now));
        }
        window.size_bytes()
    }

    #[test]
    fn a_thin_link_gets_a_small_window_and_a_fast_one_a_large() {
        let thin = settled(12_500_000, Duration::from_micros(200), 5);
        let fast = settled(1_250_000_000, Duration::from_micros(200), 5);

        assert!(thin < 250_000, "{thin}");
        assert!(fast > 1_000_000, "{fast}");
    }

    #[test]
    fn a_window_is_no_larger_than_it_may_be() {
        let mut window = Window::new(100_000);
        let (mut now, mut sent) = (Instant::now(), 0);
        for sequence in 1..100 {
            window.on_sent(sequence, 60_000, now);
            now += Duration::from_micros(100);
            sent += 60_000;
            assert!(window.on_credit(sent, sequence, now));
        }

        assert_eq!(window.size_bytes(), 100_000);
        window.set_bytes_max(50_000);
        assert_eq!(window.size_bytes(), 50_000);
        assert_eq!(Window::new(1).size_bytes(), WINDOW_BYTES_MIN);
    }

    #[test]
    fn single_late_messages_do_not_shrink_the_window() {
        let mut window = Window::new(WINDOW_BYTES_MAX);
        let mut now = Instant::now();
        let chunk = WINDOW_BYTES_START / 4;
        let mut consumed = 0;
        for sequence in 1..=200 {
            for part in 0..4 {
                window.on_sent(sequence * 4 + part, chunk, now);
            }
            for part in 0..4 {
                now += Duration::from_millis(if part == 1 { 9 } else { 0 });
                consumed += chunk;
                assert!(window.on_credit(consumed, sequence * 4 + part, now));
            }
        }

        assert!(window.size_bytes() >= WINDOW_BYTES_START, "{}", window.size_bytes());
    }

    #[test]
    fn a_busy_machine_does_not_shrink_the_window_below_what_comes_through() {
        let mut window = Window::new(WINDOW_BYTES_MAX);
        let mut now = Instant::now();
        let (mut sequence, mut consumed) = (0, 0);
        for turn in 0..2_000 {
            let chunk = window.size_bytes() / 4;
            for _ in 0..4 {
                sequence += 1;
                window.on_sent(sequence, chunk, now);
            }
            // We have the processor for a moment, then somebody else does for a second and a half.
            let wait = if turn % 100 < 75 { 200 } else { 15_000 };
            for newest in sequence - 3..=sequence {
                now += Duration::from_micros(wait);
                consumed += chunk;
                assert!(window.on_credit(consumed, newest, now));
            }
        }

        assert!(window.size_bytes() > 8 * WINDOW_BYTES_MIN, "{}", window.size_bytes());
    }

    #[test]
    fn credit_beyond_what_was_sent_is_refused() {
        let mut window = Window::new(WINDOW_BYTES_MAX);
        window.on_sent(1, 100, Instant::now());
        assert!(!window.on_credit(101, 1, Instant::now()));
        assert_eq!(window.in_flight_bytes(), 100);
    }
}
