//! Large files that somebody is writing.
//!
//! What of them is sent before they are whole is sent for nothing, as a rule: in a moment they are closed, or
//! moved over an older version of which most could have been kept. So a file that is still open, and that
//! the sink does not have or that was begun anew, is left alone while it changes: as long as sending it
//! takes, about, and a few times that at the most.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::model::change::Touch;
use crate::model::rel_path::RelPath;
use crate::model::work_id::WorkId;
use crate::protocol::source::course::Course;
use crate::protocol::source::transfer::{Output, Transfer};
use crate::protocol::source::work::{What, Work};
use crate::queue::mark::{Lane, Urgency};
use crate::queue::mark_set::entry_path;

/// How long such a file has to be quiet, at the least.
const QUIET_MIN: Duration = Duration::from_millis(150);
/// And at the most.
const QUIET_MAX: Duration = Duration::from_secs(1);
/// For each so many bytes of it a second: about what a fast link takes.
const BYTES_PER_SECOND: u64 = 1024 * 1024 * 1024;
/// One that is never quiet is left alone for so long, and [`PATIENCE_QUIETS`] times its quiet.
const PATIENCE: Duration = Duration::from_secs(1);
/// See [`PATIENCE`].
const PATIENCE_QUIETS: u32 = 4;
/// Files remembered; all are forgotten when there are more.
const FILES_MAX: usize = 4_096;

/// The files that are open to be written to, as far as the feed has told.
#[derive(Debug, Default)]
pub(super) struct Writing {
    files: HashMap<RelPath, Written>,
}

#[derive(Debug)]
struct Written {
    touched_at: Instant,
    /// It has been left alone long enough, until it is closed and opened again.
    is_let_go: bool,
    held: Option<Held>,
}

/// A file that is left alone.
#[derive(Debug, Clone, Copy)]
struct Held {
    since: Instant,
    looked_at: Instant,
    size_bytes: u64,
}

impl Held {
    fn quiet(&self) -> Duration {
        let nanoseconds =
            u128::from(self.size_bytes) * 1_000_000_000 / u128::from(BYTES_PER_SECOND);
        let quiet = Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(u64::MAX));
        quiet.clamp(QUIET_MIN, QUIET_MAX)
    }
}

impl Writing {
    /// The feed has told of `path`. Returns when it shall be looked at, if it is left alone.
    pub(super) fn hear(&mut self, path: &RelPath, touch: Touch, now: Instant) -> Option<Instant> {
        match touch {
            Touch::Metadata => None,
            Touch::Settled => {
                self.files.remove(path);
                None
            }
            Touch::Writing => {
                if let Some(written) = self.files.get_mut(path) {
                    written.touched_at = now;
                    return written.held.map(|held| now + held.quiet());
                }
                if self.files.len() >= FILES_MAX {
                    self.files.clear();
                }
                let written = Written { touched_at: now, is_let_go: false, held: None };
                self.files.insert(path.clone(), written);
                None
            }
        }
    }

    /// Whether `path` is open to be written to.
    pub(super) fn contains(&self, path: &RelPath) -> bool {
        self.files.contains_key(path)
    }

    /// Nothing is written at `path` any more.
    pub(super) fn forget(&mut self, path: &RelPath) {
        self.files.remove(path);
    }

    /// Until when the file at `path`, of `size_bytes` now, is to be left alone.
    fn hold(&mut self, path: &RelPath, size_bytes: u64, now: Instant) -> Option<Instant> {
        let written = self.files.get_mut(path).filter(|written| !written.is_let_go)?;
        let before = written.held.take();
        let since = before.map_or(now, |held| held.since);
        let held = Held { since, looked_at: now, size_bytes };
        if let Some(before) = before {
            let quiet_since = before.looked_at.max(written.touched_at);
            let is_quiet = before.size_bytes == size_bytes
                && now.saturating_duration_since(quiet_since) >= held.quiet();
            let patience = PATIENCE + held.quiet() * PATIENCE_QUIETS;
            // Once for each time it is opened: otherwise it might be so for ever.
            written.is_let_go = is_quiet || now.saturating_duration_since(since) >= patience;
            if written.is_let_go {
                return None;
            }
        }
        written.held = Some(held);
        Some(now + held.quiet())
    }
}

impl Transfer {
    /// Gives `id` up for a moment if it is a file that somebody is still writing, of `size_bytes` by now, and
    /// nothing of it has been sent; returns whether it did.
    pub(super) fn is_left_to_writer(
        &mut self,
        id: WorkId,
        size_bytes: u64,
        now: Instant,
        out: &mut Vec<Output>,
    ) -> bool {
        let Some(Work { lane: Lane::Live, what, .. }) = self.flight.works.get(&id) else {
            return false;
        };
        let What::Large { directory, name, course, is_begun: false, is_over: false, .. } = what
        else {
            return false;
        };
        let may_wait = match course {
            Course::Whole => true,
            Course::Weighing(basis) => size_bytes < basis.size_bytes,
            Course::Asked | Course::Growing | Course::Matching(_) => false,
        };
        let path = entry_path(directory, name);
        let until = if may_wait { self.writing.hold(&path, size_bytes, now) } else { None };
        let Some(until) = until else { return false };
        self.give_up_large(Lane::Live, Urgency::At(until), id, now, out);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1024 * 1024;

    fn path() -> RelPath {
        RelPath::new(b"new").unwrap()
    }

    /// How long a file that grows by `bytes_per_ms` is left alone, looked at whenever that is due.
    fn left_alone(bytes_per_ms: u64, touches: bool) -> Duration {
        let mut writing = Writing::default();
        let start = Instant::now();
        writing.hear(&path(), Touch::Writing, start);
        let mut now = start;
        loop {
            let millis = u64::try_from((now - start).as_millis()).unwrap();
            let Some(until) = writing.hold(&path(), millis * bytes_per_ms, now) else {
                return now - start;
            };
            now = until;
            if touches {
                assert!(writing.hear(&path(), Touch::Writing, now) > Some(now));
            }
        }
    }

    #[test]
    fn a_file_is_left_alone_while_it_grows_and_not_for_ever() {
        let fast = left_alone(512 * 1024, true);
        let slow = left_alone(10, true);
        // One call writes it all, and nothing is told of it meanwhile.
        let silent = left_alone(512 * 1024, false);

        assert!(fast > Duration::from_secs(2) && fast < Duration::from_secs(6), "{fast:?}");
        assert!(slow < Duration::from_secs(2), "{slow:?}");
        assert!(silent > Duration::from_secs(2), "{silent:?}");
    }

    #[test]
    fn a_file_that_is_open_and_quiet_is_sent_soon() {
        let mut writing = Writing::default();
        let start = Instant::now();
        writing.hear(&path(), Touch::Writing, start);

        let until = writing.hold(&path(), 100 * MIB, start).unwrap();

        assert!(until - start < Duration::from_millis(200));
        assert_eq!(writing.hold(&path(), 100 * MIB, until), None);
        // It is asked about more than once on its way.
        assert_eq!(writing.hold(&path(), 100 * MIB, until), None);
        writing.hear(&path(), Touch::Writing, until);
        assert_eq!(writing.hold(&path(), 101 * MIB, until), None);
    }

    #[test]
    fn a_file_that_is_closed_or_was_given_long_enough_is_not_left_alone() {
        let mut writing = Writing::default();
        let start = Instant::now();
        assert_eq!(writing.hold(&path(), MIB, start), None);

        writing.hear(&path(), Touch::Writing, start);
        writing.hear(&path(), Touch::Settled, start);
        assert_eq!(writing.hold(&path(), MIB, start), None);

        writing.hear(&path(), Touch::Writing, start);
        let late = start + Duration::from_mins(1);
        assert!(writing.hold(&path(), MIB, start).is_some());
        assert_eq!(writing.hold(&path(), 2 * MIB, late), None);
        assert_eq!(writing.hold(&path(), 3 * MIB, late), None);
    }
}
