//! The feed of a host that knows by itself what it writes.
//!
//! The host keeps a [`ChannelFeedHandle`] and says what it changed, after it changed it. Reports and
//! fences share one queue, which a thread carries to the engine in order:
//!
//! ```text
//! host --- report(change) --+
//!                           +--> queue --> osync-feed --> Reporter
//! engine - fence(cookie) ---+
//! ```
//!
//! A host waits while the queue is full; a fence never does, because the engine that asks for it may
//! be the one whose slowness filled the queue.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use crossbeam_channel::{Sender, bounded};

use crate::model::change::Change;
use crate::ports::change_feed::{ChangeFeed, FeedError, Reporter, Stopped};

/// 4,096 reports of a path each: about 1 MiB waits for the engine at most.
const QUEUE_CHANGES_MAX: usize = 4_096;

/// A [`ChangeFeed`] that reports what its [`ChannelFeedHandle`] is told.
#[derive(Debug)]
pub struct ChannelFeed {
    queue: Arc<Queue>,
    carrier: Option<Carrier>,
}

/// Tells the engine what the host changed. Cloneable, and usable from any thread.
#[derive(Debug, Clone)]
pub struct ChannelFeedHandle {
    queue: Arc<Queue>,
}

/// The thread that empties the queue; it ends when `stop` is dropped and the queue closed.
#[derive(Debug)]
struct Carrier {
    stop: Sender<Infallible>,
    thread: JoinHandle<()>,
}

#[derive(Debug, Default)]
struct Queue {
    waiting: Mutex<Waiting>,
    /// Something was put in, taken out, or the queue was closed.
    moved: Condvar,
}

#[derive(Debug, Default)]
struct Waiting {
    changes: VecDeque<Change>,
    is_closed: bool,
}

impl ChannelFeed {
    /// A feed and the first handle to it.
    ///
    /// What is reported before the feed is started waits for it.
    #[must_use]
    pub fn new() -> (Self, ChannelFeedHandle) {
        let queue = Arc::<Queue>::default();
        let handle = ChannelFeedHandle { queue: Arc::clone(&queue) };
        let carrier = None;
        (Self { queue, carrier }, handle)
    }
}

impl ChannelFeedHandle {
    /// Reports `change`, which has already happened; waits while the engine is far behind.
    ///
    /// [`Change::Ready`] and [`Change::Fence`] are the feed's own to say.
    ///
    /// # Errors
    /// [`Stopped`] once the feed has ended: nobody listens any more.
    pub fn report(&self, change: Change) -> Result<(), Stopped> {
        let queue = &*self.queue;
        let mut waiting = queue.lock();
        while waiting.changes.len() >= QUEUE_CHANGES_MAX && !waiting.is_closed {
            waiting = queue.moved.wait(waiting).unwrap_or_else(PoisonError::into_inner);
        }
        queue.put(waiting, change)
    }
}

impl ChangeFeed for ChannelFeed {
    fn start(&mut self, reporter: Reporter) -> Result<(), FeedError> {
        let (stop, stopped) = bounded(0);
        let queue = Arc::clone(&self.queue);
        queue.lock().changes.push_front(Change::Ready);
        let thread = std::thread::Builder::new()
            .name("osync-feed".to_owned())
            .spawn(move || {
                // Ends with `Stopped` from either side; both want the queue closed.
                while let Some(change) = queue.take() {
                    if reporter.report_unless(&stopped, change).is_err() {
                        break;
                    }
                }
                queue.close();
            })
            .map_err(|error| FeedError::Watch {
                what: "the channel feed".to_owned(),
                source: error.into(),
            })?;
        self.carrier = Some(Carrier { stop, thread });
        Ok(())
    }

    fn fence(&mut self, cookie: u64) -> Result<(), FeedError> {
        if self.carrier.is_none() {
            return Err(FeedError::Ended);
        }
        let queue = &*self.queue;
        queue.put(queue.lock(), Change::Fence { cookie }).map_err(|Stopped| FeedError::Ended)
    }

    fn stop(&mut self) {
        self.queue.close();
        if let Some(Carrier { stop, thread }) = self.carrier.take() {
            drop(stop);
            if thread.join().is_err() {
                log::error!("the channel feed's thread panicked");
            }
        }
    }
}

impl Drop for ChannelFeed {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        // Every change of the queue is one call, so a panic elsewhere leaves it whole.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn put(&self, mut waiting: MutexGuard<'_, Waiting>, change: Change) -> Result<(), Stopped> {
        if waiting.is_closed {
            return Err(Stopped);
        }
        waiting.changes.push_back(change);
        drop(waiting);
        self.moved.notify_all();
        Ok(())
    }

    /// The next change, as soon as there is one; `None` once the queue is closed.
    fn take(&self) -> Option<Change> {
        let mut waiting = self.lock();
        loop {
            if waiting.is_closed {
                return None;
            }
            if let Some(change) = waiting.changes.pop_front() {
                drop(waiting);
                self.moved.notify_all();
                return Some(change);
            }
            waiting = self.moved.wait(waiting).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn close(&self) {
        let mut waiting = self.lock();
        waiting.is_closed = true;
        waiting.changes.clear();
        drop(waiting);
        self.moved.notify_all();
    }
}
