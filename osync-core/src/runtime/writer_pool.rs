//! Threads that write the sink. One directory stays on one writer, so what concerns it is done in the
//! order in which it arrived and writers do not contend for it.
//!
//! A live change arrives behind whatever was in flight, and most of that waits here. So what is done at once goes
//! before what takes its time: not before anything about its own directory, and not for ever.

use std::collections::VecDeque;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use crossbeam_channel::{Receiver, Sender, bounded};

use crate::ports::counters::Counters;
use crate::ports::sink::Sink;
use crate::protocol::sink::task::{Action, Finished, Task, Ticket};
use crate::runtime::TASKS_MAX;
use crate::runtime::delta_write::Bases;
use crate::runtime::worker::Worker;
use crate::runtime::write::{self, Staging};

/// Orders that one may go before, in a row.
const PASSED_MAX: usize = 64;
/// What is done at once puts so few bytes,
const QUICK_BYTES_MAX: u64 = 64 * 1024;
/// of so few names: bytes of their items.
const QUICK_ITEMS_BYTES_MAX: u32 = 512;

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
    let mut queue = Queue::default();
    while let Some(order) = queue.next(orders) {
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

/// What a writer has to do.
#[derive(Default)]
struct Queue {
    orders: VecDeque<Order>,
    /// How many went before the first.
    passed: usize,
}

impl Queue {
    /// The next one of them and of those that `arrive`, which is waited for; none once there will be no more.
    fn next(&mut self, arrive: &Receiver<Order>) -> Option<Order> {
        if self.orders.is_empty() {
            self.orders.push_back(arrive.recv().ok()?);
        }
        let room = TASKS_MAX.saturating_sub(self.orders.len());
        self.orders.extend(arrive.try_iter().take(room));
        let index = if self.passed < PASSED_MAX { self.first_quick() } else { 0 };
        self.passed = if index == 0 { 0 } else { self.passed + 1 };
        self.orders.remove(index)
    }

    /// Where the first is that is done at once, if it may be; otherwise the first of all.
    fn first_quick(&self) -> usize {
        let mut passed = Vec::new();
        for (index, order) in self.orders.iter().enumerate().take(PASSED_MAX) {
            match order {
                Order::Do(task) if is_quick(task) && !passed.contains(&&task.directory) => {
                    return index;
                }
                Order::Do(task) => passed.push(&task.directory),
                // What came before it belongs to another session.
                Order::Clear => break,
            }
        }
        0
    }
}

fn is_quick(task: &Task) -> bool {
    if let Action::Put { payload, items_bytes, .. } = &task.action {
        return payload.len_bytes() <= QUICK_BYTES_MAX && *items_bytes <= QUICK_ITEMS_BYTES_MAX;
    }
    matches!(task.action, Action::Rename { .. })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::rel_path::RelPath;
    use crate::model::work_id::WorkId;
    use crate::wire::packing::Payload;

    fn put(directory: &str, number: u64, bytes: usize) -> Order {
        let action = Action::Put {
            work: WorkId(number),
            payload: Payload::from(vec![0; bytes]),
            items_bytes: 50,
            own_bytes: 0,
        };
        let ticket = Ticket { epoch: 1, sequence: number, bytes: 0, is_awaited: false };
        let directory = RelPath::new(directory.as_bytes()).unwrap();
        Order::Do(Box::new(Task { directory, ticket, action }))
    }

    /// In which order a writer does these.
    fn done(orders: Vec<Order>) -> Vec<u64> {
        let (sender, arrive) = bounded(TASKS_MAX);
        for order in orders {
            sender.send(order).unwrap();
        }
        drop(sender);
        let mut queue = Queue::default();
        let number = |order| match order {
            Order::Do(task) => task.ticket.sequence,
            Order::Clear => 0,
        };
        std::iter::from_fn(|| queue.next(&arrive)).map(number).collect()
    }

    #[test]
    fn what_is_done_at_once_goes_before_what_takes_its_time_elsewhere() {
        let large = 1 << 20;

        let order = done(vec![
            put("a", 1, large),
            put("b", 2, large),
            put("b", 3, 10),
            put("live", 4, 10),
            put("live", 5, 10),
            Order::Clear,
            put("live", 6, 10),
        ]);

        assert_eq!(order, [4, 5, 1, 2, 3, 0, 6]);
    }

    #[test]
    fn nothing_waits_for_ever() {
        let large = put("a", 1, 1 << 20);
        let small = (2..1_000).map(|number| put("live", number, 10));

        let order = done([large].into_iter().chain(small).collect());

        let before = order.iter().position(|&number| number == 1).unwrap();
        assert_eq!(before, PASSED_MAX);
    }
}
