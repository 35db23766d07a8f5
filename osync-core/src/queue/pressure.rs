//! Is the link what holds things up, and how hard should be compressed then?
//!
//! While bytes queue on the link, time is left to compress them better; while they do not, or the sink is
//! the slower one, compressing only takes the processor away from it. So the level climbs as long as
//! the link is full, and falls as soon as it is not.

use std::time::{Duration, Instant};

use crate::model::compression::Compression;

/// Levels of zstd, from none to the hardest that a thread does at the speed of a thin link.
const LEVELS: [Option<i32>; 5] = [None, Some(1), Some(3), Some(6), Some(9)];
/// How long is looked at before a step is made.
const STEP: Duration = Duration::from_millis(50);
/// What is seen of the link in that time at the least.
const SIGHTS_MIN: u32 = 8;

/// A link that carries so many bytes a second is faster than any thread compresses.
const FAST_BYTES_PER_SECOND: u64 = 128 * 1024 * 1024;

/// How hard to compress for one sink.
#[derive(Debug)]
pub struct Pressure {
    mode: Compression,
    /// Index into [`LEVELS`].
    step: usize,
    /// How often the link was seen, and how often it was full.
    seen: u32,
    full: u32,
    /// Bytes that arrived in that time.
    bytes: u64,
    since: Option<Instant>,
}

impl Pressure {
    /// Nothing is known of the link yet.
    #[must_use]
    pub fn new(mode: Compression) -> Self {
        Self { mode, step: 0, seen: 0, full: 0, bytes: 0, since: None }
    }

    /// The level to compress at now; `None`: not at all.
    #[must_use]
    pub fn level(&self) -> Option<i32> {
        match self.mode {
            Compression::Off => None,
            Compression::Level(level) => Some(level),
            Compression::Auto => LEVELS[self.step],
        }
    }

    /// At `now` the link was full, with nothing waiting at the sink, or it was not; `bytes` more have arrived.
    pub fn on_sight(&mut self, is_full: bool, bytes: u64, now: Instant) {
        self.seen += 1;
        self.full += u32::from(is_full);
        self.bytes = self.bytes.saturating_add(bytes);
        let since = *self.since.get_or_insert(now);
        let passed = now.saturating_duration_since(since);
        if self.seen < SIGHTS_MIN || passed < STEP {
            return;
        }
        let micros = passed.as_micros().max(1);
        let is_fast = u128::from(self.bytes) * 1_000_000 / micros > FAST_BYTES_PER_SECOND.into();
        if self.full * 4 > self.seen * 3 && !is_fast {
            self.step = (self.step + 1).min(LEVELS.len() - 1);
        } else if self.full * 2 < self.seen || is_fast {
            self.step = self.step.saturating_sub(1);
        }
        (self.seen, self.full, self.bytes, self.since) = (0, 0, 0, Some(now));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn watch(pressure: &mut Pressure, is_full: bool, bytes: u64, at: &mut Instant) {
        for _ in 0..40 {
            *at += Duration::from_millis(10);
            pressure.on_sight(is_full, bytes, *at);
        }
    }

    #[test]
    fn a_full_link_raises_the_level_and_a_free_one_ends_compression() {
        let mut pressure = Pressure::new(Compression::Auto);
        let mut now = Instant::now();
        assert_eq!(pressure.level(), None);

        watch(&mut pressure, true, 10_000, &mut now);
        assert_eq!(pressure.level(), Some(9));

        watch(&mut pressure, false, 10_000, &mut now);
        assert_eq!(pressure.level(), None);
    }

    #[test]
    fn a_fast_link_is_never_compressed_for_however_full_it_is() {
        let mut pressure = Pressure::new(Compression::Auto);
        let mut now = Instant::now();

        watch(&mut pressure, true, 3_000_000, &mut now);

        assert_eq!(pressure.level(), None);
    }

    #[test]
    fn a_level_that_was_asked_for_stays() {
        for (mode, level) in [(Compression::Off, None), (Compression::Level(5), Some(5))] {
            let mut pressure = Pressure::new(mode);
            let mut now = Instant::now();
            watch(&mut pressure, true, 10_000, &mut now);
            assert_eq!(pressure.level(), level);
        }
    }
}
