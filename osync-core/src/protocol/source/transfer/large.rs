//! Files that travel in chunks, interleaved with everything else.

use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::model::name::Name;
use crate::model::need::Need;
use crate::model::rel_path::RelPath;
use crate::model::work_id::WorkId;
use crate::ports::counters::Counters;
use crate::ports::monitor::Event;
use crate::protocol::source::job::{FileEnd, Job, Piece};
use crate::protocol::source::transfer::{Output, Transfer};
use crate::protocol::source::work::What;
use crate::queue::agenda::Large;
use crate::queue::mark::{Extent, Lane, Urgency};
use crate::wire::encode;
use crate::wire::message::{Closing, Message};

/// After so long a time in which a file changed whenever it was read, it is sent as it is, and again later.
const UNSTEADY_MAX: Duration = Duration::from_secs(2);
/// How long a file that changed while it was read is left alone, the first time; then twice as long.
const UNSTEADY_WAIT: Duration = Duration::from_millis(100);
/// And at the most.
const UNSTEADY_WAIT_MAX: Duration = Duration::from_secs(1);
/// Files whose unsteadiness is remembered.
const UNSTEADY_FILES_MAX: usize = 4_096;

/// A file that changed whenever it was read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Unsteady {
    attempts: u32,
    since: Instant,
}

impl Unsteady {
    fn wait(self) -> Duration {
        UNSTEADY_WAIT.saturating_mul(1 << self.attempts.min(6)).min(UNSTEADY_WAIT_MAX)
    }
}

impl Transfer {
    /// Has the next chunk of a large file read, of each in turn.
    pub(super) fn read_large(&mut self, lane: Lane, out: &mut Vec<Output>) -> bool {
        let chunk_bytes_max = self.chunk_bytes_max();
        let Some(id) = self.ready_larges[lane as usize].pop_front() else { return false };
        let Some(What::Large { directory, name, offset_bytes, .. }) =
            self.flight.works.get(&id).map(|work| &work.what)
        else {
            return true;
        };
        let job = Job::Read {
            path: crate::queue::mark_set::entry_path(directory, name),
            offset_bytes: *offset_bytes,
            chunk_bytes_max: usize::try_from(chunk_bytes_max).unwrap_or(usize::MAX),
        };
        self.read(id, job, chunk_bytes_max, out);
        true
    }

    /// Sends a chunk, and what ends the file if it was the last.
    pub(super) fn on_piece(
        &mut self,
        id: WorkId,
        piece: Piece,
        now: Instant,
        out: &mut Vec<Output>,
    ) {
        let Some(work) = self.flight.works.get_mut(&id) else { return };
        let (lane, born) = (work.lane, work.born);
        let What::Large { directory, name, offset_bytes, is_open, is_over, is_aborted, is_inexact } =
            &mut work.what
        else {
            return;
        };
        if *is_over {
            return;
        }
        let path = crate::queue::mark_set::entry_path(directory, name);
        let directory = directory.clone();
        let offset = *offset_bytes;
        *offset_bytes += piece.chunk.len() as u64;
        let is_first = !std::mem::replace(is_open, true);
        let is_unsteady = piece.end.as_ref().is_some_and(|end| !end.is_steady);
        let is_long_so = self
            .unsteady
            .get(&path)
            .is_some_and(|unsteady| now.saturating_duration_since(unsteady.since) >= UNSTEADY_MAX);
        let gives_up = is_unsteady && !is_long_so;
        *is_over = piece.end.is_some();
        *is_aborted = gives_up;
        *is_inexact = is_unsteady;
        if is_first {
            let size_bytes = piece.size_bytes;
            self.send_data(
                Message::Open { work: id, path: path.clone(), size_bytes },
                Bytes::new(),
                now,
                out,
            );
        }
        if !piece.chunk.is_empty() && !gives_up {
            self.send_data(
                Message::Chunk { work: id, offset_bytes: offset },
                piece.chunk,
                now,
                out,
            );
        }
        match piece.end {
            None => self.ready_larges[lane as usize].push_back(id),
            Some(_) if gives_up => {
                self.send_data(Message::Abort { work: id }, Bytes::new(), now, out);
            }
            Some(end) => {
                let FileEnd { metadata, is_steady: _, digest, own, own_read_at } = end;
                let own = self.flight.claims.newest_own(&directory, own_read_at, own);
                let payload = encode::closing(&Closing { metadata, own });
                self.send_data(Message::Close { work: id, digest }, payload, now, out);
            }
        }
        if is_unsteady {
            // What was sent as it is holds everything that had happened when it was read.
            let born = if gives_up { born } else { now };
            self.wait_for_quiet(lane, &path, born, now);
        }
    }

    /// The sink has confirmed a file that was sent as it is.
    pub(super) fn on_inexact(&mut self, path: &RelPath, now: Instant, out: &mut Vec<Output>) {
        let retry_in = self.unsteady.get(path).map_or(UNSTEADY_WAIT, |unsteady| unsteady.wait());
        Counters::add(&self.counters.inexact, 1);
        let is_new = self.problems.add_inexact(path, now + retry_in);
        Counters::add(&self.counters.problems, u64::from(is_new));
        if is_new {
            let problem = self.problems.at(path, now);
            out.extend(problem.map(|problem| Output::Event(Event::Problem(problem))));
        }
    }

    /// Marks a file that changed while it was read for another look, later each time; returns whether
    /// it has been so for long.
    fn wait_for_quiet(&mut self, lane: Lane, path: &RelPath, born: Instant, now: Instant) -> bool {
        if self.unsteady.len() >= UNSTEADY_FILES_MAX {
            self.unsteady.clear();
        }
        let fresh = Unsteady { attempts: 0, since: now };
        let unsteady = self.unsteady.entry(path.clone()).or_insert(fresh);
        let wait = unsteady.wait();
        unsteady.attempts += 1;
        let is_long_so = now.saturating_duration_since(unsteady.since) >= UNSTEADY_MAX;
        let urgency = Urgency::At(now + wait);
        self.mark(lane, path, Extent::Entry(Need::Content), urgency, born, now);
        is_long_so
    }

    /// Looks again soon at a small file that changed while it was read. One that goes on changing
    /// travels as large files do, which in the end are sent as they are.
    pub(super) fn on_unsteady(
        &mut self,
        lane: Lane,
        directory: &RelPath,
        name: Name,
        born: Instant,
        now: Instant,
    ) {
        let path = crate::queue::mark_set::entry_path(directory, &name);
        if self.wait_for_quiet(lane, &path, born, now) {
            self.queue_large(lane, Large { directory: directory.clone(), name, born }, now);
        }
    }

    /// Gives up a large file on its way, marking it again; other work is left alone.
    pub(super) fn abort_large(&mut self, id: WorkId, now: Instant, out: &mut Vec<Output>) {
        let Some(work) = self.flight.works.get_mut(&id) else { return };
        let (lane, born) = (work.lane, work.born);
        let What::Large { directory, name, is_open, is_over, is_aborted, .. } = &mut work.what
        else {
            return;
        };
        if *is_over {
            return;
        }
        (*is_over, *is_aborted) = (true, true);
        let (directory, name, is_open) = (directory.clone(), name.clone(), *is_open);
        self.ready_larges[lane as usize].retain(|ready| *ready != id);
        self.mark_entry(lane, &directory, &name, Urgency::Now, born, now);
        if is_open {
            self.send_data(Message::Abort { work: id }, Bytes::new(), now, out);
        } else {
            self.end(id, now, out);
        }
    }
}
