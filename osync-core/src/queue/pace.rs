//! How often one path is sent: at once, then at a rate that backs off while it stays hot.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::model::rel_path::RelPath;

/// Gap after a first send.
const GAP_MIN: Duration = Duration::from_millis(5);
/// Gap of a path that never cools down.
const GAP_MAX: Duration = Duration::from_secs(1);
/// Paths remembered; when there are more, those that cooled down are forgotten first.
const PATHS_MAX: usize = 4_096;

/// When paths were sent last.
#[derive(Debug, Default)]
pub struct Pace {
    recent: HashMap<RelPath, Recent>,
}

#[derive(Debug)]
struct Recent {
    sent_at: Instant,
    gap: Duration,
}

impl Pace {
    /// When `path` may be sent next: `now`, or later if it was sent a moment ago.
    #[must_use]
    pub fn allowed_at(&self, path: &RelPath, now: Instant) -> Instant {
        self.recent.get(path).map_or(now, |recent| now.max(recent.sent_at + recent.gap))
    }

    /// Records that `path` is sent at `now`.
    pub fn on_sent(&mut self, path: &RelPath, now: Instant) {
        if let Some(recent) = self.recent.get_mut(path) {
            let is_hot = now.saturating_duration_since(recent.sent_at) < recent.gap * 4;
            recent.gap = if is_hot { (recent.gap * 2).min(GAP_MAX) } else { GAP_MIN };
            recent.sent_at = now;
            return;
        }
        if self.recent.len() >= PATHS_MAX {
            self.recent.retain(|_, recent| now < recent.sent_at + recent.gap * 4);
            if self.recent.len() >= PATHS_MAX {
                self.recent.clear();
            }
        }
        self.recent.insert(path.clone(), Recent { sent_at: now, gap: GAP_MIN });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hot_path_waits_longer_each_time_and_a_cool_one_not_at_all() {
        let mut pace = Pace::default();
        let path = RelPath::new(b"log").unwrap();
        let start = Instant::now();
        assert_eq!(pace.allowed_at(&path, start), start);

        let mut now = start;
        let mut gaps = Vec::new();
        for _ in 0..10 {
            pace.on_sent(&path, now);
            let next = pace.allowed_at(&path, now);
            gaps.push((next - now).as_millis());
            now = next;
        }

        assert_eq!(gaps, [5, 10, 20, 40, 80, 160, 320, 640, 1000, 1000]);
        let later = now + Duration::from_secs(10);
        assert_eq!(pace.allowed_at(&path, later), later);
    }
}
