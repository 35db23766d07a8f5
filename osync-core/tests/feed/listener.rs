//! A feed that runs, and what it reports.

#![allow(dead_code, reason = "each test program uses its part of this")]

use std::path::Path;
use std::time::{Duration, Instant};

use crossbeam_channel::Receiver;
use osync_core::adapters::feed::inotify::InotifyFeed;
use osync_core::model::change::{Change, Touch};
use osync_core::model::rel_path::RelPath;
use osync_core::ports::change_feed::{ChangeFeed, Reporter};

pub(crate) const PATIENCE: Duration = Duration::from_mins(1);

pub(crate) struct Listener {
    feed: Box<dyn ChangeFeed>,
    pub(crate) changes: Receiver<Change>,
    cookie: u64,
}

impl Listener {
    /// Starts an inotify feed of `root`.
    pub(crate) fn start(root: &Path) -> Self {
        Self::start_with(InotifyFeed::new(root).unwrap(), 64)
    }

    /// Starts `feed` on a channel of `capacity` reports.
    pub(crate) fn start_with(feed: impl ChangeFeed + 'static, capacity: usize) -> Self {
        let mut feed: Box<dyn ChangeFeed> = Box::new(feed);
        let (sender, changes) = crossbeam_channel::bounded(capacity);
        feed.start(Reporter::new(sender)).unwrap();
        Self { feed, changes, cookie: 0 }
    }

    /// Everything reported up to and without the first change that is `last`, and that one.
    pub(crate) fn until(&mut self, last: impl Fn(&Change) -> bool) -> (Vec<Change>, Change) {
        let deadline = Instant::now() + PATIENCE;
        let mut reports = Vec::new();
        loop {
            match self.changes.recv_deadline(deadline) {
                Ok(change) if last(&change) => return (reports, change),
                Ok(change) => reports.push(change),
                Err(error) => panic!("{error} after {reports:?}"),
            }
        }
    }

    /// Everything reported until the feed is ready.
    pub(crate) fn until_ready(&mut self) -> Vec<Change> {
        self.until(|change| *change == Change::Ready).0
    }

    /// Everything reported until a fence sent now is back.
    pub(crate) fn fence(&mut self) -> Vec<Change> {
        self.cookie += 1;
        let cookie = self.cookie;
        self.feed.fence(cookie).unwrap();
        self.until(|change| *change == Change::Fence { cookie }).0
    }
}

pub(crate) fn path(bytes: impl AsRef<[u8]>) -> RelPath {
    RelPath::new(bytes.as_ref()).unwrap()
}

pub(crate) fn entry(name: impl AsRef<[u8]>, touch: Touch) -> Change {
    let path = path(name);
    Change::Entry { path, touch }
}

pub(crate) fn subtree(name: impl AsRef<[u8]>) -> Change {
    let path = path(name);
    Change::Subtree { path }
}

pub(crate) fn moved_in(name: impl AsRef<[u8]>) -> Change {
    let path = path(name);
    Change::MovedIn { path }
}

/// Whether this says that everything may differ.
pub(crate) fn is_all_lost(change: &Change) -> bool {
    matches!(change, Change::Lost { scope, .. } if scope.is_root())
}
