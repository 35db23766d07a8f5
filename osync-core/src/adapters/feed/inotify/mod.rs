//! A directory tree watched with inotify, through the crate `notify`.
//!
//! ```text
//! kernel --> notify's thread --> queue --> osync-feed --> Reporter
//!               ^  (session)                   |  (driver)
//!               +------ watch these paths -----+
//! ```
//!
//! There is one watch per directory, and the recursion is the feed's own: *watch, then list*. Whatever
//! happens in a directory before it is watched is covered by a [`Change::Subtree`] reported after; whatever
//! happens later is an event.
//!
//! Invariant: every directory of the tree is watched, or there is a walk under way that will come to it, or
//! an event about it or a directory above it is still in a queue, and will begin such a walk.
//!
//! Files from low to high: limits, renames, signal, scope, queue, session, walks, driver.
//!
//! `/proc` must be mounted: the tree is watched through the descriptor of its root, so that it may be moved.
//!
//! [`Change::Subtree`]: crate::model::change::Change::Subtree

mod driver;
mod limits;
mod queue;
mod renames;
mod scope;
mod session;
mod signal;
mod walks;

use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam_channel::{Sender, bounded};

use crate::adapters::feed::inotify::driver::Driver;
use crate::adapters::feed::inotify::scope::Scope;
use crate::adapters::feed::inotify::session::{Fences, lock};
use crate::adapters::feed::outlet::Outlet;
use crate::adapters::feed::refused;
use crate::adapters::filters::Filter;
use crate::ports::change_feed::{ChangeFeed, FeedError, Reporter};

/// A [`ChangeFeed`] of a local directory tree.
///
/// Symbolic links are not followed. Changes through `mmap`, through a hard link from outside, and by
/// another path of a bind mount make no events.
///
/// Removing or renaming a directory costs the crate `notify` time in proportion to all directories watched
/// (17 ms of its thread for 100,000), and events wait meanwhile. New directories are watched when it has
/// once read all events there are; what happens in them until then is reported when they are.
#[derive(Debug)]
pub struct InotifyFeed {
    root: PathBuf,
    retry_after: Duration,
    scope: Scope,
    running: Option<Running>,
}

#[derive(Debug)]
struct Running {
    fences: Arc<Mutex<Fences>>,
    stop: Sender<Infallible>,
    thread: JoinHandle<()>,
}

impl InotifyFeed {
    /// A minute: often enough for an audit, and seldom enough for a large part of a tree.
    pub const RETRY_AFTER_SECONDS_DEFAULT: u64 = 60;

    /// A feed of everything below the directory `root`; a path `.osync` directly below it is left out.
    ///
    /// # Errors
    /// [`FeedError::Watch`] if there is no such directory.
    pub fn new(root: &Path) -> Result<Self, FeedError> {
        // Once, because what a link points to later is another tree; with a dot, because it must be a directory.
        let root =
            std::fs::canonicalize(root.join(".")).map_err(|error| refused(root, error.into()))?;
        Ok(Self {
            root,
            retry_after: Duration::from_secs(Self::RETRY_AFTER_SECONDS_DEFAULT),
            scope: Scope::default(),
            running: None,
        })
    }

    /// Neither watches directories that `filter` leaves out nor reports what it leaves out.
    ///
    /// A directory that is left out later stays watched until the feed begins afresh.
    #[must_use]
    pub fn with_filter(mut self, filter: Arc<Filter>) -> Self {
        self.scope = Scope::of(filter);
        self
    }

    /// How often to report what cannot be watched as [`Change::Lost`], and to try again to watch it.
    ///
    /// [`Change::Lost`]: crate::model::change::Change::Lost
    #[must_use]
    pub fn with_retry_after(mut self, retry_after: Duration) -> Self {
        self.retry_after = retry_after;
        self
    }
}

impl ChangeFeed for InotifyFeed {
    fn start(&mut self, reporter: Reporter) -> Result<(), FeedError> {
        let (stop, stopped) = bounded(0);
        let scope = self.scope.clone();
        let reporter = scope.limit(reporter);
        let (driver, fences) =
            Driver::open(&self.root, self.retry_after, scope, Outlet::new(reporter, stopped))
                .map_err(|reason| refused(&self.root, reason.into()))?;
        let thread = std::thread::Builder::new()
            .name("osync-feed".to_owned())
            .spawn(move || driver.run())
            .map_err(|error| refused(&self.root, error.into()))?;
        self.running = Some(Running { fences, stop, thread });
        Ok(())
    }

    fn fence(&mut self, cookie: u64) -> Result<(), FeedError> {
        let running = self.running.as_ref().ok_or(FeedError::Ended)?;
        if running.thread.is_finished() {
            return Err(FeedError::Ended);
        }
        lock(&running.fences).send(cookie).map_err(|error| refused(&self.root, error.into()))
    }

    fn stop(&mut self) {
        if let Some(Running { stop, thread, .. }) = self.running.take() {
            drop(stop);
            if thread.join().is_err() {
                log::error!("the thread of the inotify feed panicked");
            }
        }
    }
}

impl Drop for InotifyFeed {
    fn drop(&mut self) {
        self.stop();
    }
}
