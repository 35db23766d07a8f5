//! A feed for file systems that tell of no changes, NFS above all: it says now and then that anything may differ.
//!
//! Every such report makes the engine compare the whole tree, which costs a listing of every directory and sends only
//! what differs. A fence cannot know what happened before it, so it is answered by such a report as well.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded, select_biased};

use crate::adapters::feed::refused;
use crate::model::change::Change;
use crate::model::rel_path::RelPath;
use crate::ports::change_feed::{ChangeFeed, FeedError, Reporter, Stopped};

/// A [`ChangeFeed`] that looks at nothing and reports everything as [`Change::Lost`] at intervals.
#[derive(Debug)]
pub struct PollFeed {
    root: PathBuf,
    interval: Duration,
    running: Option<Running>,
}

#[derive(Debug)]
struct Running {
    cookies: Arc<Mutex<VecDeque<u64>>>,
    /// Full while a cookie waits.
    wake: Sender<()>,
    stop: Sender<Infallible>,
    thread: JoinHandle<()>,
}

impl PollFeed {
    /// A minute.
    pub const INTERVAL_SECONDS_DEFAULT: u64 = 60;

    /// A feed for the tree at `root`, which is reported every `interval`, counted from the last report.
    #[must_use]
    pub fn new(root: &Path, interval: Duration) -> Self {
        Self { root: root.to_path_buf(), interval, running: None }
    }
}

impl ChangeFeed for PollFeed {
    fn start(&mut self, reporter: Reporter) -> Result<(), FeedError> {
        let cookies = Arc::<Mutex<VecDeque<u64>>>::default();
        let (stop, stopped) = bounded(0);
        let (wake, woken) = bounded(1);
        let interval = self.interval;
        let waiting = Arc::clone(&cookies);
        let thread = std::thread::Builder::new()
            .name("osync-feed".to_owned())
            .spawn(move || {
                // Ends with `Stopped` from either side; both are as good.
                let _stopped = run(&reporter, &stopped, &woken, &waiting, interval);
            })
            .map_err(|error| refused(&self.root, error.into()))?;
        self.running = Some(Running { cookies, wake, stop, thread });
        Ok(())
    }

    fn fence(&mut self, cookie: u64) -> Result<(), FeedError> {
        let running = self.running.as_ref().ok_or(FeedError::Ended)?;
        if running.thread.is_finished() {
            return Err(FeedError::Ended);
        }
        lock(&running.cookies).push_back(cookie);
        // If it is full the thread is about to wake anyway.
        let _is_awake = running.wake.try_send(());
        Ok(())
    }

    fn stop(&mut self) {
        if let Some(Running { stop, thread, .. }) = self.running.take() {
            drop(stop);
            if thread.join().is_err() {
                log::error!("the thread of the polling feed panicked");
            }
        }
    }
}

impl Drop for PollFeed {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Reports until nobody wants reports any more.
fn run(
    reporter: &Reporter,
    stop: &Receiver<Infallible>,
    wake: &Receiver<()>,
    cookies: &Mutex<VecDeque<u64>>,
    interval: Duration,
) -> Result<(), Stopped> {
    reporter.report_unless(stop, Change::Ready)?;
    let mut reported_at = Instant::now();
    loop {
        select_biased! {
            recv(stop) -> _ => return Err(Stopped),
            recv(wake) -> _ => {}
            default(interval.saturating_sub(reported_at.elapsed())) => {}
        }
        // Taken before the report, so that it covers what happened before each of them was asked for.
        let fenced = std::mem::take(&mut *lock(cookies));
        let reason =
            "this feed sees no changes and has everything compared at intervals".to_owned();
        reported_at = Instant::now();
        reporter.report_unless(stop, Change::Lost { scope: RelPath::root(), reason })?;
        for cookie in fenced {
            reporter.report_unless(stop, Change::Fence { cookie })?;
        }
    }
}

/// Locks the cookies. Each use is one call, so a panic elsewhere leaves them whole.
fn lock(cookies: &Mutex<VecDeque<u64>>) -> MutexGuard<'_, VecDeque<u64>> {
    cookies.lock().unwrap_or_else(PoisonError::into_inner)
}
