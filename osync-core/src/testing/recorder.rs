//! [`Recorder`]: a monitor that keeps what it hears, for tests that wait for something to be said.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::ports::monitor::{Event, Monitor};

/// Keeps every event. Cloning gives another handle of the same record.
#[derive(Debug, Clone, Default)]
pub struct Recorder(Arc<Record>);

#[derive(Debug, Default)]
struct Record {
    events: Mutex<Vec<Event>>,
    added: Condvar,
}

impl Recorder {
    /// A recorder that has heard nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Everything heard so far, in order.
    #[must_use]
    pub fn events(&self) -> Vec<Event> {
        self.0.events.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The first event that `is_it`, heard already or within `timeout`; `None` if there is none.
    #[must_use]
    pub fn wait_for(&self, timeout: Duration, is_it: impl Fn(&Event) -> bool) -> Option<Event> {
        let deadline = Instant::now() + timeout;
        let mut events = self.0.events.lock().unwrap_or_else(PoisonError::into_inner);
        let mut looked_at = 0;
        loop {
            if let Some(event) = events[looked_at..].iter().find(|event| is_it(event)) {
                return Some(event.clone());
            }
            looked_at = events.len();
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return None;
            }
            let waited = self.0.added.wait_timeout(events, left);
            (events, _) = waited.unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl Monitor for Recorder {
    fn event(&self, event: &Event) {
        let mut events = self.0.events.lock().unwrap_or_else(PoisonError::into_inner);
        events.push(event.clone());
        drop(events);
        self.0.added.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::rel_path::RelPath;

    fn lost(reason: &str) -> Event {
        Event::FeedLost { scope: RelPath::root(), reason: reason.to_owned() }
    }

    #[test]
    fn what_was_said_before_and_what_is_said_meanwhile_is_heard() {
        let recorder = Recorder::new();
        recorder.event(&lost("one"));
        let speaker = recorder.clone();
        let wait = Duration::from_secs(10);

        let heard = std::thread::scope(|scope| {
            let listener = scope.spawn(|| recorder.wait_for(wait, |event| *event == lost("two")));
            speaker.event(&lost("two"));
            listener.join().unwrap()
        });

        assert_eq!(heard, Some(lost("two")));
        assert_eq!(recorder.wait_for(wait, |_| true), Some(lost("one")));
        assert_eq!(recorder.wait_for(Duration::ZERO, |event| *event == lost("three")), None);
        assert_eq!(recorder.events(), [lost("one"), lost("two")]);
    }
}
