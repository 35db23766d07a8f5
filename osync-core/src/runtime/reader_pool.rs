//! Threads that read the source, live jobs first.

use std::sync::Arc;
use std::time::Instant;

use crossbeam_channel::{Receiver, Sender, bounded, never};

use crate::ports::source::Source;
use crate::protocol::source::job::{Done, Job};
use crate::queue::mark::Lane;
use crate::runtime::JOBS_MAX;
use crate::runtime::content::OpenFile;
use crate::runtime::read;
use crate::runtime::sharing::{Member, Party};
use crate::runtime::waiting::Waiting;
use crate::runtime::worker::Worker;
use crate::wire::packing::Packer;

/// A job on its way to a reader, with the file it goes on reading.
#[derive(Debug)]
pub struct Order {
    /// Who waits for it.
    pub party: Arc<Party>,
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
    /// Who waits for it: at least one.
    pub members: Vec<Member>,
    /// The party they were.
    pub party: Arc<Party>,
    /// How urgent it was.
    pub lane: Lane,
    /// What was read.
    pub job: Arc<Job>,
    /// What was found.
    pub done: Done,
    /// The open file, if there is more to read.
    pub open: Option<Box<OpenFile>>,
}

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
        let waiting = Arc::new(Waiting::default());
        let mut workers = Vec::with_capacity(readers);
        for index in 0..readers {
            let (source, waiting) = (Arc::clone(source), Arc::clone(&waiting));
            let (live, backlog) = (live_orders.clone(), backlog_orders.clone());
            let results = results.clone();
            workers.push(Worker::start(&format!("reader-{index}"), move || {
                serve(source.as_ref(), &waiting, live, backlog, &results);
            })?);
        }
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

fn serve(
    source: &dyn Source,
    waiting: &Waiting,
    mut live: Receiver<Order>,
    mut backlog: Receiver<Order>,
    results: &Sender<Result>,
) {
    let mut packer = Packer::default();
    let (mut is_live_over, mut is_backlog_over) = (false, false);
    while !(is_live_over && is_backlog_over) {
        let order = crossbeam_channel::select_biased! {
            recv(live) -> order => order.map_err(|_| (is_live_over, live) = (true, never())),
            recv(backlog) -> order => order.map_err(|_| (is_backlog_over, backlog) = (true, never())),
        };
        let Ok(Order { party, lane, job, pack_level, mut open }) = order else { continue };
        let members = party.close();
        let mut done = read::perform(source, waiting, &job, &mut open, Instant::now);
        if let Some(level) = pack_level {
            done.payloads().into_iter().for_each(|payload| packer.pack(payload, level));
        }
        if results.send(Result { members, party, lane, job, done, open }).is_err() {
            return;
        }
    }
}
