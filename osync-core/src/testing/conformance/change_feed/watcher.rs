//! One started feed and what it has reported.

use std::time::Duration;

use crossbeam_channel::Receiver;

use crate::model::change::Change;
use crate::model::rel_path::RelPath;
use crate::ports::change_feed::{ChangeFeed, Reporter};
use crate::testing::conformance::change_feed::{Fixture, path};

/// A feed that has said [`Change::Ready`].
pub(super) struct Watcher {
    feed: Box<dyn ChangeFeed>,
    changes: Receiver<Change>,
    last_cookie: u64,
    next_cookie: u64,
}

impl Watcher {
    /// How long a feed may take for anything.
    pub(super) const PATIENCE: Duration = Duration::from_secs(30);

    /// Starts a feed and waits until it is ready.
    pub(super) fn start(fixture: &dyn Fixture) -> Self {
        let (sender, changes) = crossbeam_channel::bounded(64);
        let mut feed = fixture.feed();
        feed.start(Reporter::new(sender)).expect("the feed starts");
        let mut watcher = Self { feed, changes, last_cookie: 0, next_cookie: 1 };
        while watcher.next() != Change::Ready {}
        watcher
    }

    /// The next report.
    pub(super) fn next(&mut self) -> Change {
        let change = self.changes.recv_timeout(Self::PATIENCE).expect("the feed reports in time");
        if let Change::Failed { reason } = &change {
            panic!("the feed failed: {reason}");
        }
        if let Change::Fence { cookie } = change {
            assert_eq!(cookie, self.last_cookie + 1, "fences come once, in order");
            self.last_cookie = cookie;
        }
        change
    }

    /// Sends a fence on its way; returns its cookie.
    pub(super) fn send_fence(&mut self) -> u64 {
        let cookie = self.next_cookie;
        self.next_cookie += 1;
        self.feed.fence(cookie).expect("the feed takes a fence");
        cookie
    }

    /// Sends a fence and calls `on_change` with every report until it is back.
    pub(super) fn fence_with(&mut self, mut on_change: impl FnMut(Change)) {
        let cookie = self.send_fence();
        while self.last_cookie < cookie {
            on_change(self.next());
        }
    }

    /// Everything reported until a fence sent now is back, itself included.
    pub(super) fn fence(&mut self) -> Vec<Change> {
        let mut reports = Vec::new();
        self.fence_with(|change| reports.push(change));
        reports
    }

    /// Checks that all of `names` are covered by the reports up to a fence sent now.
    pub(super) fn expect_covered(&mut self, names: &[impl AsRef<str>]) {
        let reports = self.fence();
        for name in names {
            let path = path(name.as_ref());
            let is_covered = reports.iter().any(|change| covers(change, &path));
            assert!(is_covered, "{path} is not covered by {reports:?}");
        }
    }

    /// A report that has already arrived.
    pub(super) fn try_next(&mut self) -> Option<Change> {
        (!self.changes.is_empty()).then(|| self.next())
    }

    pub(super) fn stop(mut self) {
        self.feed.stop();
    }
}

/// Whether whoever follows `change` looks at `path`.
fn covers(change: &Change, path: &RelPath) -> bool {
    match change {
        Change::Entry { path: entry, .. } => entry == path,
        Change::Subtree { path: scope }
        | Change::MovedIn { path: scope }
        | Change::Lost { scope, .. } => path.is_within(scope),
        Change::Renamed { from, to, .. } => from == path || to == path,
        Change::Ready | Change::Unwatched { .. } | Change::Fence { .. } | Change::Failed { .. } => {
            false
        }
    }
}
