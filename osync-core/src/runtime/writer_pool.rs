//! Threads that write the sink. One directory stays on one writer, so what concerns it is done in the
//! order in which it arrived and writers do not contend for it.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use crossbeam_channel::{Receiver, Sender, bounded};

use crate::ports::counters::Counters;
use crate::ports::sink::Sink;
use crate::protocol::sink::task::{Finished, Task, Ticket};
use crate::runtime::TASKS_MAX;
use crate::runtime::delta_write::Bases;
use crate::runtime::worker::Worker;
use crate::runtime::write::{self, Staging};

enum Order {
    Do(Box<Task>),
    /// The session is over: files that were arriving are forgotten.
    Clear,
}

/// The writers. Dropping the pool lets them finish what they have, and joins them.
#[derive(Debug)]
pub struct WriterPool {
    orders: Vec<Sender<Order>>,
    workers: Vec<Worker>,
}

impl WriterPool {
    /// Starts `writers` threads; results arrive at the receiver.
    ///
    /// # Errors
    /// What the operating system says when it has no thread to give.
    pub fn start(
        sink: &Arc<dyn Sink>,
        writers: usize,
        counters: &Arc<Counters>,
    ) -> std::io::Result<(Self, Receiver<(Ticket, Finished)>)> {
        let (results, receiver) = bounded(writers * TASKS_MAX);
        let bases = Bases::default();
        let mut pool = Self { orders: Vec::new(), workers: Vec::new() };
        for index in 0..writers {
            let (sender, orders) = bounded(TASKS_MAX);
            let (sink, counters) = (Arc::clone(sink), Arc::clone(counters));
            let results = results.clone();
            let staging = Staging::new(bases.clone());
            pool.workers.push(Worker::start(&format!("writer-{index}"), move || {
                serve(sink.as_ref(), staging, &orders, &results, &counters);
            })?);
            pool.orders.push(sender);
        }
        Ok((pool, receiver))
    }

    /// Hands a task to the writer of its directory.
    pub fn order(&self, task: Task) {
        let mut hasher = DefaultHasher::new();
        task.directory.as_bytes().hash(&mut hasher);
        // Another writer reads the old version while this one writes the new.
        let place = hasher.finish().wrapping_add(u64::from(task.action.is_aside()));
        let index = usize::try_from(place % self.orders.len() as u64).unwrap_or(0);
        if self.orders[index].send(Order::Do(Box::new(task))).is_err() {
            log::error!("a writer is gone");
        }
    }

    /// Forgets files that were arriving in chunks.
    pub fn clear(&self) {
        for orders in &self.orders {
            if orders.send(Order::Clear).is_err() {
                log::error!("a writer is gone");
            }
        }
    }
}

impl Drop for WriterPool {
    fn drop(&mut self) {
        self.orders.clear();
        self.workers.clear();
    }
}

fn serve(
    sink: &dyn Sink,
    mut staging: Staging,
    orders: &Receiver<Order>,
    results: &Sender<(Ticket, Finished)>,
    counters: &Counters,
) {
    for order in orders {
        match order {
            Order::Do(task) => {
                let Task { directory, ticket, action } = *task;
                let finished = write::perform(sink, &directory, action, &mut staging, counters);
                if results.send((ticket, finished)).is_err() {
                    return;
                }
            }
            Order::Clear => staging.clear(),
        }
    }
}
