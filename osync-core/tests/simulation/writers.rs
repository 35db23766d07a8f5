//! The two writers of a sink: the tasks of one directory are done in order by one of them, and what each of them does
//! is judged at once.

use std::collections::VecDeque;
use std::hash::{DefaultHasher, Hash, Hasher};

use osync_core::protocol::sink::task::{Action, Finished, Task, Ticket};
use osync_core::runtime::delta_write::Bases;
use osync_core::runtime::write::{self, Staging};
use osync_core::wire::message::Message;

use crate::actions::line;
use crate::event::Event;
use crate::promises::Left;
use crate::world::World;

#[derive(Debug)]
pub(crate) enum Order {
    /// Of that session.
    Do(u64, Box<Task>),
    Clear,
}

#[derive(Debug)]
pub(crate) struct Writer {
    pub(crate) orders: VecDeque<Order>,
    staging: Staging,
    is_busy: bool,
}

/// A task's result on the way back.
#[derive(Debug)]
pub(crate) struct Written {
    sink: usize,
    incarnation: u64,
    index: usize,
    ticket: Ticket,
    finished: Finished,
}

impl World {
    /// A writer does the next thing it was ordered to.
    pub(crate) fn on_writing(&mut self, sink: usize, incarnation: u64, index: usize) {
        if incarnation != self.sinks[sink].incarnation {
            return;
        }
        let writer = &mut self.sinks[sink].writers[index];
        writer.is_busy = false;
        let (session, task) = loop {
            match writer.orders.pop_front() {
                Some(Order::Clear) => writer.staging.clear(),
                Some(Order::Do(session, task)) => break (session, *task),
                None => return,
            }
        };
        let Task { directory, ticket, action } = task;
        let affected = self.affected(sink, &directory, &action);
        let read_at = match &action {
            Action::Put { work, .. } | Action::Close { work, .. } => {
                self.source.read_at.get(&(session, *work)).copied()
            }
            _ => None,
        };
        self.trace(|| format!("writer {sink}.{index} in {directory}: {}", line(&action)));
        let (put_by, extended) = match &action {
            // The directory itself, which comes last, is not put there.
            Action::Put { work, .. } => (Some((*work, affected.len() - 1)), None),
            Action::Close { work, .. } => (Some((*work, affected.len())), None),
            Action::Chunk { work, .. } => (None, self.sinks[sink].larges.get(work).cloned()),
            _ => (None, None),
        };
        let renamed = match &action {
            Action::Rename { from, to, .. } => Some((from.clone(), to.clone())),
            _ => None,
        };
        let side = &mut self.sinks[sink];
        let writer = &mut side.writers[index];
        let finished =
            write::perform(&side.tree, &directory, action, &mut writer.staging, &side.counters);
        writer.is_busy = true;
        let is_done = matches!(&finished.replies[..],
            [Message::Applied { failures, .. }] if failures.is_empty());
        if let Some((work, count)) = put_by {
            side.promises.did(work, &affected[..count], &side.tree);
            // It may have been made in place of a file, by its own metadata.
            if side.tree.look(directory.as_bytes()).is_some_and(|it| it.kind.is_directory()) {
                side.promises.disturbed(&directory, Left::Directory);
            }
        }
        if let Some(path) = extended {
            side.promises.disturbed(&path, Left::Extended);
        }
        if let Some((from, to)) = renamed.filter(|_| is_done) {
            side.promises.disturbed(&from, Left::Moved);
            side.promises.disturbed(&to, Left::Moved);
            let judged = side.held.judge_rename(&self.oracle, &from, &to, &side.tree);
            self.expect(judged);
        }
        let side = &mut self.sinks[sink];
        let judged = side.held.judge(&self.oracle, affected, &side.tree, read_at);
        let at = self.now + self.random.delay(side.write_micros);
        self.expect(judged);
        let written = Written { sink, incarnation, index, ticket, finished };
        self.schedule(at, Event::Written(Box::new(written)));
    }

    pub(crate) fn on_written(&mut self, written: Written) {
        let Written { sink, incarnation, index, ticket, finished } = written;
        if incarnation != self.sinks[sink].incarnation {
            return;
        }
        self.trace(|| format!("writer {sink}.{index}: {finished:?}"));
        self.sinks[sink].writers[index].is_busy = false;
        self.drive_writer(sink, index);
        self.with_sink(sink, incarnation, |machine, now, out| {
            machine.on_finished(ticket, finished, now, out);
        });
    }

    /// Has the writer begin, some time from now, if it has something to do.
    pub(crate) fn drive_writer(&mut self, sink: usize, index: usize) {
        let side = &mut self.sinks[sink];
        let (incarnation, write_micros) = (side.incarnation, side.write_micros);
        let writer = &mut side.writers[index];
        if writer.is_busy || writer.orders.is_empty() {
            return;
        }
        writer.is_busy = true;
        let at = self.now + self.random.delay(write_micros);
        self.schedule(at, Event::Writing { sink, incarnation, index });
    }
}

/// As the runtime chooses it.
pub(crate) fn writer_of(task: &Task) -> usize {
    let mut hasher = DefaultHasher::new();
    task.directory.as_bytes().hash(&mut hasher);
    usize::from((hasher.finish() % 2 == 1) != task.action.is_aside())
}

pub(crate) fn writers() -> [Writer; 2] {
    let bases = Bases::default();
    [(); 2].map(|()| Writer {
        orders: VecDeque::new(),
        staging: Staging::new(bases.clone()),
        is_busy: false,
    })
}
