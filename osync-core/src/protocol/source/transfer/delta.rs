//! Large files of which the sink has an older version.
//!
//! ```text
//! Inquire -> Basis: none            -> sent whole (large.rs)
//!                   a beginning     -> Extend, Chunk .., Close       and proven later (grown.rs)
//!                   anything else   -> Sign -> Sums, several at once
//!                                      Open, Copy and Chunk .., Close with the proof
//!                                      or Close alone, if it is the same
//! ```
//!
//! The sink signs its version while the readers search the file for what has been signed, and copies what
//! they have found.

use std::collections::VecDeque;
use std::time::Instant;

use bytes::Bytes;

use crate::compare::delta::sums::{self, Key, SUM_BYTES};
use crate::model::rel_path::RelPath;
use crate::model::session_id::SessionId;
use crate::model::work_id::WorkId;
use crate::options::{Delta, SourceOptions};
use crate::protocol::source::course::{Course, Matching, Paths};
use crate::protocol::source::job::{Job, Matched, Step, Weighed};
use crate::protocol::source::transfer::{Breach, Output, Transfer};
use crate::protocol::source::work::What;
use crate::queue::mark::Lane;
use crate::queue::mark_set::entry_path;
use crate::wire::SUMS_BYTES_MAX;
use crate::wire::message::{Basis, Message};
use crate::wire::packing::Payload;

/// Bytes of the sink's version in one request for sums: a few milliseconds of its time.
const SIGN_BYTES: u64 = 4 * 1024 * 1024;
/// Requests for sums of one file on their way.
const SIGNS_AHEAD: u32 = 8;
/// Copies of one file on their way: each is up to 8 MiB of the sink's time.
const COPIES_AHEAD: usize = 4;
/// What a job that searches is thought to take of the window, in bytes.
const SEARCH_BYTES: u64 = 16 * 1024;
/// A link is fast if its window is at least so many bytes.
const FAST_WINDOW_BYTES: u64 = 1024 * 1024;

/// What is remembered of deltas.
#[derive(Debug)]
pub(super) struct Deltas {
    seed: Key,
    mode: Delta,
    extend_bytes_min: Option<u64>,
    /// Files of which a delta has failed: sent whole the next time.
    failed: Paths,
    /// Files that were not only grown when it seemed so.
    rewritten: Paths,
    /// Searches that wait for copies to be done.
    stalled: Vec<WorkId>,
}

impl Deltas {
    pub(super) fn new(session: &SessionId, options: &SourceOptions) -> Self {
        Self {
            seed: blake3::derive_key("osync keys of deltas", &session.routing_id()),
            mode: options.delta,
            extend_bytes_min: options.extend_bytes_min,
            failed: Paths::default(),
            rewritten: Paths::default(),
            stalled: Vec::new(),
        }
    }

    /// Nobody can foresee it who does not know the session.
    fn key(&self, work: WorkId) -> Key {
        *blake3::keyed_hash(&self.seed, &work.0.to_le_bytes()).as_bytes()
    }

    /// `work` is over.
    pub(super) fn forget(&mut self, work: WorkId) {
        self.stalled.retain(|stalled| *stalled != work);
    }
}

/// How a large file went, for what is remembered of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    Whole,
    Grown,
    Delta,
}

impl Way {
    pub(super) fn of(course: &Course) -> Self {
        match course {
            Course::Growing => Self::Grown,
            Course::Matching(_) => Self::Delta,
            Course::Whole | Course::Asked | Course::Weighing(_) => Self::Whole,
        }
    }
}

impl Transfer {
    /// Asks the sink which version of a large file it has; `false` if that is not worth while.
    pub(super) fn inquire(&mut self, id: WorkId, now: Instant, out: &mut Vec<Output>) -> bool {
        let Some(What::Large { directory, name, is_open, course, .. }) =
            self.flight.works.get_mut(&id).map(|work| &mut work.what)
        else {
            return false;
        };
        let path = entry_path(directory, name);
        // A version that is the same would stay what it is, with the names it has.
        let must_replace = self.links.must_replace(&path);
        if self.deltas.mode == Delta::Off || self.deltas.failed.contains(&path) || must_replace {
            return false;
        }
        (*is_open, *course) = (true, Course::Asked);
        let key = self.deltas.key(id);
        self.send_data(Message::Inquire { work: id, path, key }, Bytes::new(), now, out);
        true
    }

    /// The sink's answer to that.
    pub(super) fn on_basis(
        &mut self,
        id: WorkId,
        basis: Option<Basis>,
        now: Instant,
        out: &mut Vec<Output>,
    ) -> Result<(), Breach> {
        // One that has ended may have been asked about before.
        let Some(work) = self.flight.works.get_mut(&id) else { return Ok(()) };
        let lane = work.lane;
        let What::Large { directory, name, course, is_over, .. } = &mut work.what else {
            return Err(Breach("a version of what is no large file"));
        };
        if *is_over {
            return Ok(());
        }
        match course {
            Course::Asked => {
                let basis = basis.filter(|basis| sums::block_bytes(basis.size_bytes).is_some());
                *course = basis.map_or(Course::Whole, Course::Weighing);
                self.ready_larges[lane as usize].push_back(id);
            }
            Course::Matching(_) if basis.is_none() => {
                log::debug!("{name:?} cannot be built upon any more");
                self.deltas.failed.insert(&entry_path(directory, name));
                self.abort_large(id, now, out);
            }
            Course::Matching(_) | Course::Whole | Course::Weighing(_) | Course::Growing => {
                return Err(Breach("a version that was not asked for"));
            }
        }
        Ok(())
    }

    /// What is to be read next of a large file, and how much of the window that may take.
    pub(super) fn large_job(&mut self, id: WorkId, chunk_bytes_max: usize) -> Option<(Job, u64)> {
        let key = self.deltas.key(id);
        let is_fast = self.data.window().size_bytes() >= FAST_WINDOW_BYTES;
        let consumed = self.data.consumed();
        let work = self.flight.works.get_mut(&id)?;
        let lane = work.lane;
        let What::Large { directory, name, offset_bytes, course, .. } = &mut work.what else {
            return None;
        };
        let path = entry_path(directory, name);
        let chunk_bytes = chunk_bytes_max as u64;
        match course {
            Course::Asked => None,
            Course::Whole => {
                let job = Job::Read { path, offset_bytes: *offset_bytes, chunk_bytes_max };
                Some((job, chunk_bytes))
            }
            Course::Growing => Some((Job::Tail { path, chunk_bytes_max }, chunk_bytes)),
            Course::Weighing(basis) => {
                let block_bytes = sums::block_bytes(basis.size_bytes)?;
                let is_long = self.deltas.extend_bytes_min.is_some_and(|m| basis.size_bytes >= m);
                let may_extend = is_long
                    && lane == Lane::Live
                    && !basis.is_shared
                    && !self.links.is_linked(&path)
                    && !self.deltas.rewritten.contains(&path);
                let basis = basis.clone();
                let holds_back = lane == Lane::Backlog;
                let job = Job::Weigh { path, basis, key, block_bytes, may_extend, holds_back };
                Some((job, SEARCH_BYTES))
            }
            Course::Matching(matching) => {
                matching.copies.retain(|&sequence| sequence > consumed);
                if matching.copies.len() >= COPIES_AHEAD {
                    self.deltas.stalled.push(id);
                    return None;
                }
                let sums = std::mem::take(&mut matching.sums);
                let gives_up = self.deltas.mode == Delta::Auto && is_fast;
                Some((Job::Match { path, sums, chunk_bytes_max, gives_up }, SEARCH_BYTES))
            }
        }
    }

    /// Lets searches go on that have waited for the sink.
    pub(super) fn resume_copies(&mut self) {
        for id in std::mem::take(&mut self.deltas.stalled) {
            if let Some(work) = self.flight.works.get(&id) {
                self.ready_larges[work.lane as usize].push_back(id);
            }
        }
    }

    /// Begins what the sink's version allows.
    pub(super) fn on_weighed(
        &mut self,
        id: WorkId,
        weighed: Weighed,
        now: Instant,
        out: &mut Vec<Output>,
    ) {
        if self.is_left_to_writer(id, weighed.size_bytes, now, out) {
            return;
        }
        let Some(work) = self.flight.works.get_mut(&id) else { return };
        let lane = work.lane;
        // It may have been given up meanwhile.
        let What::Large { course, offset_bytes, is_over: false, .. } = &mut work.what else {
            return;
        };
        let Course::Weighing(Basis { size_bytes, .. }) = *course else { return };
        if weighed.has_holes || weighed.has_grown {
            *course = if weighed.has_holes { Course::Whole } else { Course::Growing };
            self.ready_larges[lane as usize].push_back(id);
            if weighed.has_grown {
                *offset_bytes = size_bytes;
                self.send_data(Message::Extend { work: id, size_bytes }, Bytes::new(), now, out);
            }
            return;
        }
        let Some(block_bytes) = sums::block_bytes(size_bytes) else { return };
        *course = Course::Matching(Box::new(Matching {
            basis_bytes: size_bytes,
            block_bytes,
            size_bytes: weighed.size_bytes,
            asked: 0,
            known: 0,
            sums: Vec::new(),
            is_waiting: true,
            copies: VecDeque::new(),
        }));
        self.ask_sums(id, now, out);
    }

    /// Keeps some requests for sums on their way.
    fn ask_sums(&mut self, id: WorkId, now: Instant, out: &mut Vec<Output>) {
        while let Some(What::Large { course: Course::Matching(matching), .. }) =
            self.flight.works.get_mut(&id).map(|work| &mut work.what)
        {
            let block_bytes = matching.block_bytes;
            let most = u32::try_from(SIGN_BYTES / u64::from(block_bytes)).unwrap_or(u32::MAX);
            let most = most.clamp(1, (SUMS_BYTES_MAX / SUM_BYTES).try_into().unwrap_or(u32::MAX));
            let first = matching.asked;
            let count = most.min(matching.blocks() - first);
            if count == 0 || first - matching.known >= SIGNS_AHEAD * most {
                return;
            }
            matching.asked += count;
            let message = Message::Sign { work: id, block_bytes, first, count };
            self.send_data(message, Bytes::new(), now, out);
        }
    }

    /// Takes sums that were asked for.
    pub(super) fn on_sums(
        &mut self,
        id: WorkId,
        sums: &[u8],
        now: Instant,
        out: &mut Vec<Output>,
    ) -> Result<(), Breach> {
        // Sums come from another writer than the confirmation, and may be late.
        let Some(work) = self.flight.works.get_mut(&id) else { return Ok(()) };
        let lane = work.lane;
        let What::Large { course: Course::Matching(matching), is_over, .. } = &mut work.what else {
            return Err(Breach("sums that were not asked for"));
        };
        let count = u32::try_from(sums.len() / SUM_BYTES).unwrap_or(u32::MAX);
        if count == 0 || count > matching.asked - matching.known {
            return Err(Breach("sums that were not asked for"));
        }
        matching.known += count;
        if *is_over {
            return Ok(());
        }
        matching.sums.extend_from_slice(sums);
        if std::mem::take(&mut matching.is_waiting) {
            self.ready_larges[lane as usize].push_back(id);
        }
        self.ask_sums(id, now, out);
        Ok(())
    }

    /// Sends what has been found.
    pub(super) fn on_matched(
        &mut self,
        id: WorkId,
        matched: Matched,
        now: Instant,
        out: &mut Vec<Output>,
    ) {
        let Matched { steps, wants_sums, is_same, end } = matched;
        let Some(work) = self.flight.works.get_mut(&id) else { return };
        let lane = work.lane;
        let What::Large {
            directory,
            name,
            is_over: false,
            is_begun,
            course: Course::Matching(matching),
            ..
        } = &mut work.what
        else {
            return;
        };
        let path = entry_path(directory, name);
        // A search that held back and found the same has said nothing, and nothing is begun.
        let begins = !steps.is_empty() || end.is_some() && !is_same;
        if begins && !std::mem::replace(is_begun, true) {
            let size_bytes = matching.size_bytes;
            let message =
                Message::Open { work: id, path: path.clone(), size_bytes, from_basis: true };
            self.send_data(message, Bytes::new(), now, out);
        }
        for step in steps {
            self.send_step(id, step, now, out);
        }
        if let Some(end) = end {
            if !end.is_steady && self.unsteady.contains_key(&path) && !self.grown.contains(&path) {
                // The second time: sent whole, one that only grows is caught at one moment.
                self.deltas.failed.insert(&path);
            }
            if !is_same && end.is_steady && self.grown.contains(&path) {
                log::info!("{path} has not only grown: it is not extended in place any more");
                self.deltas.rewritten.insert(&path);
            }
            self.conclude(id, end, now, out);
            return;
        }
        let Some(What::Large { course: Course::Matching(matching), .. }) =
            self.flight.works.get_mut(&id).map(|work| &mut work.what)
        else {
            return;
        };
        matching.is_waiting = wants_sums && matching.sums.is_empty();
        if !matching.is_waiting {
            self.ready_larges[lane as usize].push_back(id);
        }
    }

    fn send_step(&mut self, id: WorkId, step: Step, now: Instant, out: &mut Vec<Output>) {
        let Some(What::Large { offset_bytes, course: Course::Matching(matching), .. }) =
            self.flight.works.get_mut(&id).map(|work| &mut work.what)
        else {
            return;
        };
        let offset = *offset_bytes;
        match step {
            Step::Copy { first, count } => {
                *offset_bytes += matching.bytes_of(first, count);
                matching.copies.push_back(self.data.sent() + 1);
                let message = Message::Copy { work: id, offset_bytes: offset, first, count };
                self.send_data(message, Bytes::new(), now, out);
            }
            Step::Literal(payload) => {
                *offset_bytes += payload.len_bytes();
                let Payload { bytes, unpacked_bytes } = payload;
                let message = Message::Chunk { work: id, offset_bytes: offset, unpacked_bytes };
                self.send_data(message, bytes, now, out);
            }
        }
    }

    /// Remembers how a large file went, once the sink has said so.
    pub(super) fn on_arrived(
        &mut self,
        path: &RelPath,
        way: Way,
        size_bytes: u64,
        is_done: bool,
        born: Instant,
        now: Instant,
    ) {
        match (way, is_done) {
            (Way::Grown, true) => self.on_grown(path, size_bytes, born, now),
            (Way::Grown, false) => self.deltas.rewritten.insert(path),
            (Way::Delta, false) => self.deltas.failed.insert(path),
            (Way::Whole | Way::Delta, true) => {
                self.deltas.failed.remove(path);
                self.on_proven(path);
            }
            (Way::Whole, false) => {}
        }
    }
}
