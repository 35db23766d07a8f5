//! Files that were extended at the sink in place: what was there before is yet to be proven.
//!
//! Only samples have told that such a file had grown and nothing else. Once it has settled, the whole is
//! compared; until then it is not in sync, and its time at the sink is not the source's, so that another
//! session would find it too.
//!
//! After a calm that is done at once. Of a file that goes on growing proofs would take all the time there is,
//! so each is paid for with a time without one; a few may be owed.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use crate::model::need::Need;
use crate::model::rel_path::RelPath;
use crate::model::work_id::WorkId;
use crate::protocol::source::transfer::{Output, Transfer};
use crate::protocol::source::work::{What, Work};
use crate::queue::mark::{Extent, Lane, Mark, Urgency};
use crate::queue::mark_set::entry_path;

/// How long a file that is still open has to be quiet before it is proven.
const QUIET: Duration = Duration::from_millis(500);
/// A proof is paid for with so long a time, at the least.
const PRICE_MIN: Duration = Duration::from_millis(500);
/// For each so many bytes of it a second more: proving takes a twentieth of the time at the most.
const BYTES_PER_SECOND: u64 = 128 * 1024 * 1024;
/// Proofs of one file that may be owed.
const OWED_PROOFS_MAX: u32 = 4;
/// Files that wait; further ones are proven at once.
const FILES_MAX: usize = 4_096;

/// Files that wait for their proof.
#[derive(Debug, Default)]
pub(super) struct Grown {
    files: BTreeMap<RelPath, Wait>,
    /// By when the proofs of a file will have been paid for.
    paid_at: HashMap<RelPath, Instant>,
}

#[derive(Debug, Clone, Copy)]
struct Wait {
    born: Instant,
    size_bytes: u64,
    /// When it shall be marked; none once it has been.
    due_at: Option<Instant>,
}

impl Grown {
    /// The file at `path` has grown to `size_bytes` at the sink; nobody writes to it now if it `is_settled`.
    fn insert(
        &mut self,
        path: &RelPath,
        size_bytes: u64,
        born: Instant,
        is_settled: bool,
        now: Instant,
    ) {
        if self.files.len() >= FILES_MAX {
            self.files.retain(|_, wait| wait.due_at.is_some());
        }
        let due_at = if self.files.len() < FILES_MAX {
            let quiet = if is_settled { Duration::ZERO } else { QUIET };
            (now + quiet).max(self.affordable_at(path, size_bytes, now))
        } else {
            now
        };
        let wait = Wait { born, size_bytes, due_at: Some(due_at) };
        self.files.insert(path.clone(), wait);
    }

    /// When the next proof of `path` would not leave too many owed.
    fn affordable_at(&self, path: &RelPath, size_bytes: u64, now: Instant) -> Instant {
        let owed_max = price(size_bytes) * (OWED_PROOFS_MAX - 1);
        let paid_at = self.paid_at.get(path).copied();
        paid_at.and_then(|paid_at| paid_at.checked_sub(owed_max)).map_or(now, |at| at.max(now))
    }

    /// A proof of `path` begins.
    fn charge(&mut self, path: &RelPath, size_bytes: u64, now: Instant) {
        if self.paid_at.len() >= FILES_MAX {
            self.paid_at.retain(|_, paid_at| *paid_at > now);
        }
        let paid_at = self.paid_at.entry(path.clone()).or_insert(now);
        *paid_at = (*paid_at).max(now) + price(size_bytes);
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
        if let Some(paid_at) = self.paid_at.remove(from) {
            self.paid_at.insert(to.clone(), paid_at);
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

    /// Whether the proof of `path` has begun.
    pub(super) fn is_proven_now(&self, path: &RelPath) -> bool {
        self.files.get(path).is_some_and(|wait| wait.due_at.is_none())
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
        let is_settled = !self.writing.contains(path);
        self.grown.insert(path, size_bytes, born, is_settled, now);
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
        let is_settled = !self.writing.contains(path);
        self.grown.insert(path, wait.size_bytes, now, is_settled, now);
        true
    }

    /// Lets a change go before the proof `id` of the same file; `false` if it is none, or has found the file
    /// to differ and is mending it.
    pub(super) fn put_proof_off(
        &mut self,
        id: WorkId,
        now: Instant,
        out: &mut Vec<Output>,
    ) -> bool {
        let Some(Work { lane: Lane::Backlog, what, .. }) = self.flight.works.get(&id) else {
            return false;
        };
        let What::Large { directory, name, is_begun, is_over, .. } = what else { return false };
        let path = entry_path(directory, name);
        let Some(wait) = self.grown.files.get(&path).copied() else { return false };
        if *is_begun || *is_over {
            return true;
        }
        self.abort_large(id, now, out);
        // Instead of the mark: begun again at once, it would be in the way again.
        let mut born = wait.born;
        match self.backlog.marks.take(&path) {
            Some(Mark { extent: Extent::Entry(_), born: marked, .. }) => born = born.min(marked),
            Some(mark) => {
                self.mark(Lane::Backlog, &path, mark.extent, Urgency::Now, mark.born, now);
            }
            None => {}
        }
        let is_settled = !self.writing.contains(&path);
        self.grown.insert(&path, wait.size_bytes, born, is_settled, now);
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
            self.grown.charge(&path, wait.size_bytes, now);
            let extent = Extent::Entry(Need::Content);
            self.mark(Lane::Backlog, &path, extent, Urgency::Now, wait.born, now);
        }
    }
}

/// What a proof of `size_bytes` has to be paid for with.
fn price(size_bytes: u64) -> Duration {
    PRICE_MIN + Duration::from_secs(size_bytes / BYTES_PER_SECOND)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE_BYTES: u64 = 1024 * 1024 * 1024;

    /// When proofs begin of a file that grows every `every`, for `seconds`, from the first growth on.
    fn proofs(every: Duration, is_settled: bool, seconds: u64) -> Vec<Duration> {
        let path = RelPath::new(b"log").unwrap();
        let mut grown = Grown::default();
        let start = Instant::now();
        let (mut now, mut grows_at, mut begun) = (start, start, Vec::new());
        while now < start + Duration::from_secs(seconds) {
            if now >= grows_at {
                grown.insert(&path, SIZE_BYTES, now, is_settled, now);
                grows_at = now + every;
            }
            if grown.next_due().is_some_and(|due_at| due_at <= now) {
                grown.files.remove(&path);
                grown.charge(&path, SIZE_BYTES, now);
                begun.push(now - start);
            }
            now += Duration::from_millis(10);
        }
        begun
    }

    #[test]
    fn after_a_calm_a_file_is_proven_at_once_and_while_it_is_open_soon() {
        let seldom = Duration::from_mins(1);

        assert_eq!(proofs(seldom, true, 10), [Duration::ZERO]);
        assert_eq!(proofs(seldom, false, 10), [QUIET]);
        assert_eq!(proofs(seldom, true, 600).len(), 10);
    }

    #[test]
    fn proofs_of_a_file_that_goes_on_growing_take_a_bounded_share_of_the_time() {
        for every in [Duration::from_millis(10), Duration::from_secs(1), Duration::from_secs(5)] {
            let begun = proofs(every, true, 600);

            let bound = OWED_PROOFS_MAX as usize + 600_000 / 8_500 + 1;
            assert!(begun.len() <= bound, "{} proofs, {every:?}", begun.len());
            let late = begun.iter().filter(|at| at.as_secs() >= 300).count();
            assert!(late <= 300_000 / 8_500 + 1, "{late} proofs, {every:?}");
        }
        // What is open and never quiet waits for somebody to ask.
        assert!(proofs(Duration::from_millis(100), false, 600).is_empty());
    }
}
