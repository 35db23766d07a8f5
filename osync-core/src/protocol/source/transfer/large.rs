//! Files that travel in chunks, interleaved with everything else.

use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::model::metadata::Sighting;
use crate::model::name::Name;
use crate::model::need::Need;
use crate::model::rel_path::RelPath;
use crate::model::work_id::WorkId;
use crate::ports::counters::Counters;
use crate::ports::monitor::Event;
use crate::protocol::source::course::Course;
use crate::protocol::source::job::{FileEnd, Piece};
use crate::protocol::source::transfer::{Output, Transfer};
use crate::protocol::source::work::What;
use crate::queue::claims::Claim;
use crate::queue::larges::Large;
use crate::queue::mark::{Distrust, Extent, Lane, Mark, Urgency};
use crate::wire::encode;
use crate::wire::message::{Closing, Message};
use crate::wire::packing::Payload;

/// Large files on their way at once, by lane.
const LARGES_MAX: [usize; 2] = [4, 4];
/// After so long a time in which a file changed whenever it was read, it is sent as it is, and again later.
const UNSTEADY_MAX: Duration = Duration::from_secs(2);
/// How long a file that changed while it was read is left alone, the first time; then twice as long.
const UNSTEADY_WAIT: Duration = Duration::from_millis(100);
/// How long one that was given up for something else lets that go first.
const GIVEN_UP_WAIT: Duration = Duration::from_millis(20);
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
    /// Begins the next large file, if not enough are on their way.
    pub(super) fn start_large(&mut self, lane: Lane, now: Instant, out: &mut Vec<Output>) -> bool {
        if self.larges[lane as usize] >= LARGES_MAX[lane as usize] {
            return false;
        }
        let Some(large) = self.agenda(lane).larges.pop() else { return false };
        let Large { directory, name, born } = large;
        let claims = &self.flight.claims;
        let blocker = claims
            .conflict_above(&directory)
            .or_else(|| claims.conflict_at(&directory, &name, Claim::Exclusive));
        if let Some(blocker) = blocker {
            let path = crate::queue::mark_set::entry_path(&directory, &name);
            let extent = Extent::Entry(Need::Content);
            let distrust = Distrust::Nothing;
            let mark = Mark { path: path.clone(), extent, born, distrust };
            self.agenda(lane).marks.park(&mark, now);
            self.flight.park(blocker, path);
            return true;
        }
        let what = What::Large {
            directory: directory.clone(),
            name: name.clone(),
            offset_bytes: 0,
            is_open: false,
            is_over: false,
            is_aborted: false,
            is_inexact: false,
            course: Course::Whole,
            is_begun: false,
        };
        let id = self.begin(lane, born, what);
        self.flight.claims.begin(id, &directory);
        self.flight.claims.claim(id, &directory, &name, Claim::Exclusive);
        self.larges[lane as usize] += 1;
        if !self.inquire(id, now, out) {
            self.ready_larges[lane as usize].push_back(id);
        }
        true
    }

    /// Has the next chunk of a large file read, of each in turn.
    pub(super) fn read_large(&mut self, lane: Lane, out: &mut Vec<Output>) -> bool {
        let chunk_bytes_max = self.chunk_bytes_max();
        let Some(id) = self.ready_larges[lane as usize].pop_front() else { return false };
        let chunk_bytes_max = usize::try_from(chunk_bytes_max).unwrap_or(usize::MAX);
        if let Some((job, reserved_bytes)) = self.large_job(id, chunk_bytes_max) {
            self.read(id, job, reserved_bytes, out);
        }
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
        if self.is_left_to_writer(id, piece.size_bytes, now, out) {
            return;
        }
        let Some(work) = self.flight.works.get_mut(&id) else { return };
        let What::Large {
            directory, name, offset_bytes, is_open, is_over, course, is_begun, ..
        } = &mut work.what
        else {
            return;
        };
        if *is_over {
            return;
        }
        let path = crate::queue::mark_set::entry_path(directory, name);
        let offset = piece.offset_bytes;
        *offset_bytes = offset + piece.chunk.len_bytes();
        *is_open = true;
        let begins = matches!(course, Course::Whole) && !std::mem::replace(is_begun, true);
        let lane = work.lane;
        let gives_up = self.gives_up(&path, piece.end.as_ref(), now);
        if begins {
            let size_bytes = piece.size_bytes;
            self.send_data(
                Message::Open { work: id, path, size_bytes, from_basis: false },
                Bytes::new(),
                now,
                out,
            );
        }
        let Payload { bytes, unpacked_bytes } = piece.chunk;
        if !bytes.is_empty() && !gives_up {
            let message = Message::Chunk { work: id, offset_bytes: offset, unpacked_bytes };
            self.send_data(message, bytes, now, out);
        }
        match piece.end {
            None => self.ready_larges[lane as usize].push_back(id),
            Some(end) => self.conclude(id, end, now, out),
        }
    }

    /// Whether a file whose reading has ended is not sent, because it changed meanwhile.
    fn gives_up(&self, path: &RelPath, end: Option<&FileEnd>, now: Instant) -> bool {
        let is_long_so = self
            .unsteady
            .get(path)
            .is_some_and(|unsteady| now.saturating_duration_since(unsteady.since) >= UNSTEADY_MAX);
        end.is_some_and(|end| !end.is_steady) && !is_long_so
    }

    /// Sends what ends a file that has been read: it becomes visible, or is forgotten and read again.
    pub(super) fn conclude(
        &mut self,
        id: WorkId,
        end: FileEnd,
        now: Instant,
        out: &mut Vec<Output>,
    ) {
        let Some(work) = self.flight.works.get(&id) else { return };
        let (lane, born, is_overtaken) = (work.lane, work.born, work.is_overtaken);
        let is_moved = work.is_moved;
        let is_confirmed = work.what.is_abort_confirmed();
        let What::Large { directory, name, .. } = &work.what else { return };
        let path = crate::queue::mark_set::entry_path(directory, name);
        let directory = directory.clone();
        let gives_up = self.gives_up(&path, Some(&end), now);
        let FileEnd { metadata, stamp, is_steady, digest, own, own_read_at } = end;
        if !gives_up && !is_moved {
            let seen = Sighting { metadata: metadata.digested(), stamp };
            self.note(lane, &path, &seen, Need::Content, born, now);
            self.note_whole(id, lane, &path, &seen, born, now);
            self.mark_doubtful(Some(id), lane, born, now);
        }
        if let Some(What::Large { is_over, is_aborted, is_inexact, .. }) =
            self.flight.works.get_mut(&id).map(|work| &mut work.what)
        {
            (*is_over, *is_aborted, *is_inexact) = (true, gives_up, !is_steady);
        }
        let (message, payload) = if gives_up {
            (Message::Abort { work: id }, Bytes::new())
        } else {
            let own = self.flight.claims.newest_own(&directory, own_read_at, own);
            let payload = encode::closing(&Closing { metadata, own });
            (Message::Close { work: id, digest }, payload)
        };
        self.send_data(message, payload, now, out);
        if is_overtaken {
            self.mark(lane, &path, Extent::Entry(Need::Metadata), Urgency::Now, born, now);
        }
        if !is_steady && !self.proves_later(lane, &path, now) {
            // What was sent as it is holds everything that had happened when it was read.
            let born = if gives_up { born } else { now };
            self.wait_for_quiet(lane, &path, born, now);
        }
        if gives_up && !is_confirmed {
            self.end(id, now, out);
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
            self.queue_large(lane, directory, name, born, now);
        }
    }

    /// Gives up a large file on its way, marking it again; other work is left alone.
    pub(super) fn abort_large(&mut self, id: WorkId, now: Instant, out: &mut Vec<Output>) {
        if let Some(work) = self.flight.works.get(&id) {
            self.give_up_large(work.lane, Urgency::Now, id, now, out);
        }
    }

    /// As [`Transfer::abort_large`], marking it in `marks_lane`, and behind what it is given up for.
    pub(super) fn abort_large_into(
        &mut self,
        marks_lane: Lane,
        id: WorkId,
        now: Instant,
        out: &mut Vec<Output>,
    ) {
        self.give_up_large(marks_lane, Urgency::At(now + GIVEN_UP_WAIT), id, now, out);
    }

    /// Gives up a large file on its way, and marks it in `marks_lane`.
    pub(super) fn give_up_large(
        &mut self,
        marks_lane: Lane,
        urgency: Urgency,
        id: WorkId,
        now: Instant,
        out: &mut Vec<Output>,
    ) {
        let Some(work) = self.flight.works.get_mut(&id) else { return };
        let (lane, born) = (work.lane, work.born);
        let is_confirmed = work.what.is_abort_confirmed();
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
        let path = crate::queue::mark_set::entry_path(&directory, &name);
        self.mark(marks_lane, &path, Extent::Entry(Need::Content), urgency, born, now);
        if is_open {
            self.send_data(Message::Abort { work: id }, Bytes::new(), now, out);
        }
        if !is_confirmed {
            self.end(id, now, out);
        }
    }
}
