//! Waiting for something to become true, never longer than a deadline.

use std::thread;
use std::time::{Duration, Instant};

/// How often a condition is looked at.
const POLL: Duration = Duration::from_millis(10);

/// Waits until `condition` gives a value; panics with what `complain` says after `limit`.
pub(crate) fn for_value<T>(
    limit: Duration,
    mut condition: impl FnMut() -> Option<T>,
    complain: impl FnOnce() -> String,
) -> T {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(Instant::now() < deadline, "not within {limit:?}: {}", complain());
        thread::sleep(POLL);
    }
}
