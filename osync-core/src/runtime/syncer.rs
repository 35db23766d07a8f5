//! The thread that syncs the sink, so that nothing else waits for it.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use crossbeam_channel::{Receiver, Sender, bounded};

use crate::ports::counters::Counters;
use crate::ports::sink::Sink;
use crate::runtime::look::chain;
use crate::runtime::worker::Worker;
use crate::wire::encode;

/// Whether everything that was written before is durable now, or one line that says why it may be lost.
pub type Synced = Result<bool, String>;

/// The thread. Dropping it lets it finish, and joins it.
#[derive(Debug)]
pub struct Syncer {
    orders: Option<Sender<bool>>,
    worker: Option<Worker>,
}

impl Syncer {
    /// Starts the thread; results arrive at the receiver.
    ///
    /// # Errors
    /// What the operating system says when it has no thread to give.
    pub fn start(
        sink: &Arc<dyn Sink>,
        counters: &Arc<Counters>,
    ) -> std::io::Result<(Self, Receiver<Synced>)> {
        let (results, receiver) = bounded(1);
        let (orders, order_receiver) = bounded(1);
        let (sink, counters) = (Arc::clone(sink), Arc::clone(counters));
        let worker = Worker::start("sync", move || {
            for is_settled in order_receiver {
                if results.send(sync(sink.as_ref(), is_settled, &counters)).is_err() {
                    return;
                }
            }
        })?;
        Ok((Self { orders: Some(orders), worker: Some(worker) }, receiver))
    }

    /// Syncs the sink once, which `is_settled`; not before the result of the last time is there.
    pub fn order(&self, is_settled: bool) {
        if self.orders.as_ref().is_none_or(|orders| orders.send(is_settled).is_err()) {
            log::error!("the thread that syncs is gone");
        }
    }
}

impl Drop for Syncer {
    fn drop(&mut self) {
        drop(self.orders.take());
        drop(self.worker.take());
    }
}

fn sync(sink: &dyn Sink, is_settled: bool, counters: &Counters) -> Synced {
    // An entry is counted when it has been written.
    let entries = counters.entries.load(Ordering::Acquire);
    let is_durable = sink.sync(is_settled).map_err(|error| encode::text(&chain(&error)))?;
    if is_durable {
        counters.durable_entries.fetch_max(entries, Ordering::Relaxed);
    }
    Ok(is_durable)
}
