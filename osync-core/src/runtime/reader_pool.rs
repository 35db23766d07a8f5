//! Threads that read the source, live jobs first: as many as there should be, and more while the storage is slow.

use std::sync::Arc;
use std::time::Instant;

use crossbeam_channel::{Receiver, Sender, bounded};

use crate::ports::source::Source;
use crate::protocol::source::job::{Done, Job};
use crate::queue::mark::Lane;
use crate::runtime::JOBS_MAX;
use crate::runtime::content::OpenFile;
use crate::runtime::read;
use crate::runtime::sharing::Ticket;
use crate::runtime::waiting::Waiting;
use crate::runtime::worker::Worker;
use crate::wire::packing::Packer;

/// A job on its way to a reader, with the file it goes on reading.
#[derive(Debug)]
pub struct Order {
    /// The reading, for those who wait for it.
    pub ticket: Arc<Ticket>,
    /// How urgent.
    pub lane: Lane,
    /// What to read.
    pub job: Arc<Job>,
    /// At which level to compress what is read; none: not at all.
    pub pack_level: Option<i32>,
    /// The open file of this piece of work.
    pub open: Option<Box<OpenFile>>,
}

/// A job that is done.
#[derive(Debug)]
pub struct Result {
    /// The reading, for those who wait for it.
    pub ticket: Arc<Ticket>,
    /// What was read.
    pub job: Arc<Job>,
    /// What was found.
    pub done: Done,
    /// The open file, if there is more to read.
    pub open: Option<Box<OpenFile>>,
}

/// Helpers of all readers, where the storage keeps them waiting.
const HELPERS_MAX: usize = 14;

/// The readers. Dropping the pool ends and joins them.
#[derive(Debug)]
pub struct ReaderPool {
    live: Option<Sender<Order>>,
    backlog: Option<Sender<Order>>,
    workers: Vec<Worker>,
}

impl ReaderPool {
    /// Starts `readers` threads; results arrive at the receiver.
    ///
    /// # Errors
    /// What the operating system says when it has no thread to give.
    pub fn start(
        source: &Arc<dyn Source>,
        readers: usize,
    ) -> std::io::Result<(Self, Receiver<Result>)> {
        let (live, live_orders) = bounded(JOBS_MAX);
        let (backlog, backlog_orders) = bounded(JOBS_MAX);
        let (results, receiver) = bounded(2 * JOBS_MAX);
        let desk = Desk {
            source: Arc::clone(source),
            waiting: Arc::default(),
            live: live_orders,
            backlog: backlog_orders,
            results,
        };
        let helpers_max = HELPERS_MAX / readers.max(1);
        let start = |index| {
            let desk = desk.clone();
            Worker::start(&format!("reader-{index}"), move || desk.serve(helpers_max))
        };
        let workers = (0..readers).map(start).collect::<std::io::Result<_>>()?;
        Ok((Self { live: Some(live), backlog: Some(backlog), workers }, receiver))
    }

    /// Hands an order to the next free reader.
    pub fn order(&self, order: Order) {
        let orders = match order.lane {
            Lane::Live => &self.live,
            Lane::Backlog => &self.backlog,
        };
        // It can only fail once all readers have panicked; joining them will tell.
        if orders.as_ref().is_some_and(|orders| orders.send(order).is_err()) {
            log::error!("no reader is left");
        }
    }
}

impl Drop for ReaderPool {
    fn drop(&mut self) {
        (self.live, self.backlog) = (None, None);
        self.workers.clear();
    }
}

/// What every reader works with.
#[derive(Clone)]
struct Desk {
    source: Arc<dyn Source>,
    waiting: Arc<Waiting>,
    live: Receiver<Order>,
    backlog: Receiver<Order>,
    results: Sender<Result>,
}

impl Desk {
    /// Serves until there are no more orders; with up to `helpers_max` helpers where that is worth it.
    fn serve(self, helpers_max: usize) {
        let mut packer = Packer::default();
        let mut helpers = Vec::new();
        while let Some(order) = self.next() {
            if helpers.len() < helpers_max && self.needs_help() {
                let desk = self.clone();
                let name = format!("helper-{}", helpers.len());
                match Worker::start(&name, move || desk.help()) {
                    Ok(helper) => helpers.push(helper),
                    Err(error) => log::debug!("no thread for another reader: {error}"),
                }
            }
            if !self.carry_out(order, &mut packer) {
                return;
            }
            helpers.retain(|helper| !helper.is_finished());
        }
    }

    /// Serves while the storage is slow.
    fn help(self) {
        let mut packer = Packer::default();
        while let Some(order) = self.next() {
            if !self.carry_out(order, &mut packer) || !self.waiting.calls_for_readers() {
                return;
            }
        }
    }

    fn needs_help(&self) -> bool {
        !(self.backlog.is_empty() && self.live.is_empty()) && self.waiting.calls_for_readers()
    }

    /// The next order; none once nobody is left to give one.
    fn next(&self) -> Option<Order> {
        // Both end together.
        crossbeam_channel::select_biased! {
            recv(self.live) -> order => order.ok(),
            recv(self.backlog) -> order => order.ok(),
        }
    }

    /// Reads what was ordered; `false` once nobody waits for results.
    fn carry_out(&self, order: Order, packer: &mut Packer) -> bool {
        let Order { ticket, lane: _, job, pack_level, mut open } = order;
        ticket.begin(Instant::now());
        let read =
            || read::perform(self.source.as_ref(), &self.waiting, &job, &mut open, Instant::now);
        let mut done = self.waiting.busy(read);
        if let Some(level) = pack_level {
            done.payloads().into_iter().for_each(|payload| packer.pack(payload, level));
        }
        self.results.send(Result { ticket, job, done, open }).is_ok()
    }
}
