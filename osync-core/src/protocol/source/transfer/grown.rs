//! Files that were extended at the sink in place: what was there before is yet to be proven.
//!
//! Only samples have told that such a file had grown and nothing else. Once it has settled, the whole is
//! compared; until then it is not in sync, and its time at the sink is not the source's, so that another
//! session would find it too.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::model::need::Need;
use crate::model::rel_path::RelPath;
use crate::protocol::source::transfer::Transfer;
use crate::queue::mark::{Extent, Lane, Urgency};

/// How long a file has to be settled before it is proven, at the least.
const QUIET_MIN: Duration = Duration::from_millis(500);
/// For each so many bytes of it a second longer: proving takes a twentieth of the time at the most.
const BYTES_PER_SECOND: u64 = 128 * 1024 * 1024;
/// Files that wait; further ones are proven at once.
const FILES_MAX: usize = 4_096;

/// Files that wait for their proof.
#[derive(Debug, Default)]
pub(super) struct Grown {
    files: BTreeMap<RelPath, Wait>,
}

#[derive(Debug, Clone, Copy)]
struct Wait {
    born: Instant,
    size_bytes: u64,
    /// When it shall be marked; none once it has been.
    due_at: Option<Instant>,
}

impl Grown {
    /// The file at `path` has grown to `size_bytes` at the sink.
    fn insert(&mut self, path: &RelPath, size_bytes: u64, born: Instant, now: Instant) {
        if self.files.len() >= FILES_MAX {
            self.files.retain(|_, wait| wait.due_at.is_some());
        }
        let seconds = Duration::from_secs(size_bytes / BYTES_PER_SECOND);
        let quiet = if self.files.len() < FILES_MAX { QUIET_MIN + seconds } else { Duration::ZERO };
        let wait = Wait { born, size_bytes, due_at: Some(now + quiet) };
        self.files.insert(path.clone(), wait);
    }

    /// What lay at or below `from` lies at `to` now.
    pub(super) fn rebase(&mut self, from: &RelPath, to: &RelPath) {
        let moved: Vec<RelPath> =
            self.files.keys().filter(|path| path.is_within(from)).cloned().collect();
        for path in moved {
            if let Some(wait) = self.files.remove(&path)
                && let Ok(Some(path)) = path.rebased(from, to)
            {
                self.files.insert(path, wait);
            }
        }
    }

    pub(super) fn is_open_since(&self, at: Instant) -> bool {
        self.files.values().any(|wait| wait.due_at.is_some() && wait.born <= at)
    }

    pub(super) fn next_due(&self) -> Option<Instant> {
        self.files.values().filter_map(|wait| wait.due_at).min()
    }

    pub(super) fn contains(&self, path: &RelPath) -> bool {
        self.files.contains_key(path)
    }
}

impl Transfer {
    /// A file has been extended.
    pub(super) fn on_grown(
        &mut self,
        path: &RelPath,
        size_bytes: u64,
        born: Instant,
        now: Instant,
    ) {
        self.grown.insert(path, size_bytes, born, now);
    }

    /// A file has arrived by another way.
    pub(super) fn on_proven(&mut self, path: &RelPath) {
        self.grown.files.remove(path);
    }

    /// Whether a file that went on growing while it was proven is left until it has settled.
    pub(super) fn proves_later(&mut self, lane: Lane, path: &RelPath, now: Instant) -> bool {
        let Some(wait) = self.grown.files.get(path).copied().filter(|_| lane == Lane::Backlog)
        else {
            return false;
        };
        // What had happened when it was read is there, as far as anybody knows.
        self.grown.insert(path, wait.size_bytes, now, now);
        true
    }

    /// Marks the files that have settled, and those that somebody waits for.
    pub(super) fn prove_due(&mut self, now: Instant) {
        if self.grown.files.is_empty() {
            return;
        }
        let asked_at = self.asked_at();
        let is_due = |wait: &Wait| {
            let is_asked = asked_at.is_some_and(|asked_at| wait.born <= asked_at);
            wait.due_at.is_some_and(|due_at| due_at <= now || is_asked)
        };
        let due: Vec<(RelPath, Wait)> = self
            .grown
            .files
            .iter()
            .filter(|(_, wait)| is_due(wait))
            .map(|(path, wait)| (path.clone(), *wait))
            .collect();
        for (path, wait) in due {
            self.grown.files.insert(path.clone(), Wait { due_at: None, ..wait });
            let extent = Extent::Entry(Need::Content);
            self.mark(Lane::Backlog, &path, extent, Urgency::Now, wait.born, now);
        }
    }
}
