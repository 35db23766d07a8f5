//! Files that travel in chunks, interleaved with everything else.

use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::model::name::Name;
use crate::model::need::Need;
use crate::model::rel_path::RelPath;
use crate::model::work_id::WorkId;
use crate::protocol::source::job::{FileEnd, Job, Piece};
use crate::protocol::source::transfer::{Output, Transfer};
use crate::protocol::source::work::What;
use crate::queue::agenda::Large;
use crate::queue::mark::{Extent, Lane, Urgency};
use crate::wire::encode;
use crate::wire::message::{Closing, Message};

/// After so many readings during which a file changed, it is sent as it is, and again later.
const UNSTEADY_ATTEMPTS_MAX: u32 = 3;
/// How long a file that changed while it was read is left alone, the first time; then twice as long.
const UNSTEADY_WAIT: Duration = Duration::from_millis(100);
/// Files whose unsteadiness is remembered.
const UNSTEADY_FILES_MAX: usize = 4_096;

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
        let What::Large { directory, name, offset_bytes, is_open, is_over, is_aborted } =
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
        let attempts = self.unsteady.get(&path).copied().unwrap_or(0);
        let is_unsteady = piece.end.as_ref().is_some_and(|end| !end.is_steady);
        let gives_up = is_unsteady && attempts < UNSTEADY_ATTEMPTS_MAX;
        *is_over = piece.end.is_some();
        *is_aborted = gives_up;
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
                let FileEnd { metadata, is_steady, digest, own, own_read_at } = end;
                if !is_steady {
                    log::info!("{path} never holds still: sent as it is, and again later");
                }
                let own = self.flight.claims.newest_own(&directory, own_read_at, own);
                let payload = encode::closing(&Closing { metadata, own });
                self.send_data(Message::Close { work: id, digest }, payload, now, out);
            }
        }
        if is_unsteady {
            // What was sent as it is holds everything that had happened when it was read.
            let born = if gives_up { born } else { now };
            self.wait_for_quiet(lane, &path, attempts, born, now);
        }
    }

    /// Marks a file that changed while it was read for another look, later each time.
    fn wait_for_quiet(
        &mut self,
        lane: Lane,
        path: &RelPath,
        attempts: u32,
        born: Instant,
        now: Instant,
    ) {
        if self.unsteady.len() >= UNSTEADY_FILES_MAX {
            self.unsteady.clear();
        }
        self.unsteady.insert(path.clone(), attempts + 1);
        let urgency = Urgency::At(now + UNSTEADY_WAIT * (1 << attempts.min(6)));
        self.mark(lane, path, Extent::Entry(Need::Content), urgency, born, now);
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
        let attempts = self.unsteady.get(&path).copied().unwrap_or(0);
        self.wait_for_quiet(lane, &path, attempts, born, now);
        if attempts >= UNSTEADY_ATTEMPTS_MAX {
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
