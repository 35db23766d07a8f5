//! The polling feed keeps the contract of the port, as far as one can who sees nothing.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "feed/listener.rs"]
mod listener;

use std::path::Path;
use std::time::Duration;

use osync_core::adapters::feed::poll::PollFeed;
use osync_core::ports::change_feed::ChangeFeed;
use osync_core::testing::conformance::change_feed as suite;
use tempfile::TempDir;

use crate::listener::{Listener, is_all_lost};

/// Longer than any test takes.
const NEVER: Duration = Duration::from_hours(1);

struct Fixture {
    root: TempDir,
    outside: TempDir,
}

impl Fixture {
    fn new() -> Self {
        Self { root: tempfile::tempdir().unwrap(), outside: tempfile::tempdir().unwrap() }
    }
}

impl suite::Fixture for Fixture {
    fn feed(&self) -> Box<dyn ChangeFeed> {
        Box::new(PollFeed::new(self.root.path(), NEVER))
    }

    fn root(&self) -> &Path {
        self.root.path()
    }

    fn outside(&self) -> &Path {
        self.outside.path()
    }
}

#[test]
fn fences_cover_every_kind_of_change() {
    suite::covers_single_changes(&Fixture::new());
    suite::covers_new_directories(&Fixture::new());
    suite::covers_moves_across_the_border(&Fixture::new());
    suite::covers_directories_that_replace_others(&Fixture::new());
    suite::fences_follow_what_they_fence(&Fixture::new());
}

#[test]
fn churn_converges() {
    assert!(suite::churn_converges(&Fixture::new(), 1, 500) > 0);
}

#[test]
fn stops() {
    suite::stops(&Fixture::new());
}

#[test]
fn everything_is_reported_again_and_again() {
    let feed = PollFeed::new(Path::new("/"), Duration::from_millis(1));
    let mut listener = Listener::start_with(feed, 1);
    listener.until_ready();

    for _ in 0..3 {
        assert_eq!(listener.until(is_all_lost).0, []);
    }
}
