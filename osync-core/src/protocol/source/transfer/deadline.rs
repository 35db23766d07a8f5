//! When a transfer has something to do without being told.

use std::time::{Duration, Instant};

use crate::protocol::source::transfer::Transfer;

impl Transfer {
    /// When [`Transfer::on_tick`] should be called at the latest.
    #[must_use]
    pub fn next_deadline(&self, now: Instant) -> Instant {
        let mut deadline = self.control_sent_at + crate::protocol::HEARTBEAT_INTERVAL;
        if self.data.window().in_flight_bytes() > 0 {
            deadline = deadline.min(self.data_sent_at + crate::protocol::HEARTBEAT_INTERVAL);
        }
        let dues = [
            self.live.marks.next_due(),
            self.backlog.marks.next_due(),
            self.presence.due(),
            self.trial_due(),
            self.removals.due(),
            self.grown.next_due(),
            self.limit_ends(),
            self.search.due(now),
            self.horizon.due(),
        ];
        for due in dues.into_iter().flatten().filter(|&due| due > now) {
            deadline = deadline.min(due);
        }
        if !self.renames.is_empty() {
            deadline = deadline.min(now + Duration::from_millis(100));
        }
        deadline.max(now)
    }
}
