//! Tells of what peers and strangers do wrong, without letting them fill the log.

use std::time::{Duration, Instant};

/// Log lines that others can cause: so many in a while, and then how many were left out.
#[derive(Debug)]
pub(crate) struct Complaints {
    lines_max: u32,
    interval: Duration,
    began: Option<Instant>,
    told: u32,
    untold: u64,
}

impl Complaints {
    /// At most `lines_max` lines in `interval`.
    pub(crate) fn new(lines_max: u32, interval: Duration) -> Self {
        Self { lines_max, interval, began: None, told: 0, untold: 0 }
    }

    /// Logs `text`, or counts it.
    pub(crate) fn say(&mut self, now: Instant, text: impl FnOnce() -> String) {
        if let Some(line) = self.line(now, text) {
            log::warn!("{line}");
        }
    }

    fn line(&mut self, now: Instant, text: impl FnOnce() -> String) -> Option<String> {
        if self.began.is_none_or(|began| now.duration_since(began) >= self.interval) {
            self.began = Some(now);
            self.told = 0;
        }
        if self.told >= self.lines_max {
            self.untold += 1;
            return None;
        }
        self.told += 1;
        let untold = std::mem::take(&mut self.untold);
        let text = text();
        Some(if untold == 0 { text } else { format!("{text} (and {untold} times before)") })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_counted_and_not_written() {
        let mut complaints = Complaints::new(2, Duration::from_secs(10));
        let start = Instant::now();
        let mut lines = Vec::new();
        for tick in 0..1_100 {
            let now = start + Duration::from_millis(10 * tick);
            lines.extend(complaints.line(now, || tick.to_string()));
        }

        assert_eq!(lines, ["0", "1", "1000 (and 998 times before)", "1001"]);
    }
}
