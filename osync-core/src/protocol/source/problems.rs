//! Paths that could not be replicated, and when they are tried again.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::time::{Duration, Instant};

use crate::model::name::Name;
use crate::model::need::Need;
use crate::model::rel_path::RelPath;
use crate::ports::monitor::Problem;

/// Wait after a first failure.
const RETRY_MIN: Duration = Duration::from_secs(1);
/// Wait after many.
const RETRY_MAX: Duration = Duration::from_mins(1);
/// Paths remembered one by one; beyond it they are still retried, each time as if for the first time.
const PATHS_MAX: usize = 10_000;
/// Why a file is at the sink as it may never have been at the source.
const INEXACT_CAUSE: &str = "it never held still: sent as it was read, until it can be read whole";
/// Problems named to the sink.
const NAMED_MAX: usize = 20;
/// The longest path named to the sink, in bytes: twenty of them fit a header.
const NAMED_BYTES_MAX: usize = 4_096;

/// What keeps more than single paths from being replicated: a problem of the root.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Halt {
    /// The source is not there.
    Source,
    /// Nothing is left at the source, and the sink has something.
    Emptied,
    /// More is to be removed than may be.
    TooMany,
    /// The sink's target is full, may not be written or is not there.
    Target,
}

/// The problems of one sink.
#[derive(Debug, Default)]
pub struct Problems {
    /// What has halted, why, and since when.
    halts: BTreeMap<Halt, (String, Instant)>,
    troubles: BTreeMap<RelPath, Trouble>,
    /// How many of them are files that are there inexactly.
    inexact: usize,
    /// How many of them are due to the target, and told as one problem.
    of_target: usize,
    /// Moves with every problem that is new, other or gone.
    changes: u64,
}

/// What is known of one path.
#[derive(Debug)]
struct Trouble {
    attempts: u32,
    cause: String,
    retry_at: Instant,
    is_inexact: bool,
    is_of_target: bool,
}

impl Trouble {
    fn told(&self, path: &RelPath, now: Instant) -> Problem {
        Problem {
            path: path.clone(),
            cause: self.cause.clone(),
            retry_in: self.retry_at.saturating_duration_since(now),
            is_inexact: self.is_inexact,
        }
    }
}

impl Problems {
    /// Records a failure at `path`; returns how long to wait, and whether it is the first there.
    ///
    /// Only what fails again when its time has come waits longer the next time: a directory is touched with
    /// every change in it, and a hundred of them in a moment say no more than one.
    pub fn add(&mut self, path: &RelPath, cause: &str, now: Instant) -> (Duration, bool) {
        let known = self.troubles.get(path).filter(|trouble| !trouble.is_inexact);
        let (attempts, retry_at) = match known {
            Some(trouble) if now < trouble.retry_at => (trouble.attempts, trouble.retry_at),
            known => {
                let attempts = known.map_or(0, |trouble| trouble.attempts.saturating_add(1));
                let wait = RETRY_MIN.saturating_mul(1 << attempts.min(6)).min(RETRY_MAX);
                (attempts, now + wait)
            }
        };
        let cause = cause.to_owned();
        let trouble = Trouble { attempts, cause, retry_at, is_inexact: false, is_of_target: false };
        (retry_at.saturating_duration_since(now), self.insert(path, trouble))
    }

    /// Records that the sink has at `path` what the source may never have had; it is sent again at
    /// `retry_at`. Returns whether that is new.
    pub fn add_inexact(&mut self, path: &RelPath, retry_at: Instant) -> bool {
        let cause = INEXACT_CAUSE.to_owned();
        let trouble =
            Trouble { attempts: 0, cause, retry_at, is_inexact: true, is_of_target: false };
        self.insert(path, trouble)
    }

    /// Records that `path` has to wait for the target, until `retry_at`. It is told of by [`Halt::Target`].
    pub fn add_of_target(&mut self, path: &RelPath, retry_at: Instant) {
        let cause = String::new();
        let trouble =
            Trouble { attempts: 0, cause, retry_at, is_inexact: false, is_of_target: true };
        self.insert(path, trouble);
    }

    /// Whether a path waits for the target.
    #[must_use]
    pub fn has_of_target(&self) -> bool {
        self.of_target > 0
    }

    /// Records that `halt` holds, and why; returns whether that is new.
    pub fn halt(&mut self, halt: Halt, cause: &str, now: Instant) -> bool {
        let known = self.halts.get(&halt);
        let since = known.map_or(now, |(_, since)| *since);
        let is_new = known.is_none();
        self.changes += u64::from(known.is_none_or(|(known, _)| known != cause));
        self.halts.insert(halt, (cause.to_owned(), since));
        is_new
    }

    /// Records that `halt` holds no more; returns why it did, if it did.
    pub fn resume(&mut self, halt: Halt) -> Option<String> {
        let (cause, _) = self.halts.remove(&halt)?;
        self.changes += 1;
        Some(cause)
    }

    /// Since when there has been a halt that keeps everything from going on.
    #[must_use]
    pub fn halted_since(&self) -> Option<Instant> {
        let halts = [Halt::Source, Halt::Target].into_iter();
        halts.filter_map(|halt| self.halts.get(&halt)).map(|(_, since)| *since).min()
    }

    /// Whether removals wait for somebody to do something about them.
    #[must_use]
    pub fn holds_removals(&self) -> bool {
        self.halts.contains_key(&Halt::Emptied) || self.halts.contains_key(&Halt::TooMany)
    }

    fn insert(&mut self, path: &RelPath, trouble: Trouble) -> bool {
        let known = self.troubles.get(path);
        let is_new = known.is_none_or(|known| known.is_inexact != trouble.is_inexact);
        let is_other = known.is_none_or(|known| known.cause != trouble.cause);
        self.changes += u64::from(is_new || is_other);
        if known.is_some() || self.troubles.len() < PATHS_MAX {
            self.forget(path);
            self.inexact += usize::from(trouble.is_inexact);
            self.of_target += usize::from(trouble.is_of_target);
            self.troubles.insert(path.clone(), trouble);
        }
        is_new
    }

    fn forget(&mut self, path: &RelPath) -> bool {
        let Some(trouble) = self.troubles.remove(path) else { return false };
        self.inexact -= usize::from(trouble.is_inexact);
        self.of_target -= usize::from(trouble.is_of_target);
        true
    }

    /// The first `limit` problems, as of `now`.
    #[must_use]
    pub fn list(&self, limit: usize, now: Instant) -> Vec<Problem> {
        let halted = self.halts.values().map(|(cause, _)| Problem {
            path: RelPath::root(),
            cause: cause.clone(),
            retry_in: RETRY_MIN,
            is_inexact: false,
        });
        let troubles = self.troubles.iter().filter(|(_, trouble)| !trouble.is_of_target);
        let troubles = troubles.map(|(path, trouble)| trouble.told(path, now));
        halted.chain(troubles).take(limit).collect()
    }

    /// The problem at `path`, as of `now`.
    #[must_use]
    pub fn at(&self, path: &RelPath, now: Instant) -> Option<Problem> {
        self.troubles.get(path).map(|trouble| trouble.told(path, now))
    }

    /// The first few problems, for the sink to name: path and cause.
    #[must_use]
    pub fn named(&self) -> Vec<(RelPath, String)> {
        let short = self.troubles.iter().filter(|(path, trouble)| {
            path.as_bytes().len() <= NAMED_BYTES_MAX && !trouble.is_of_target
        });
        let halted = self.halts.values().map(|(cause, _)| (RelPath::root(), cause.clone()));
        let troubles = short.map(|(path, trouble)| (path.clone(), trouble.cause.clone()));
        halted.chain(troubles).take(NAMED_MAX).collect()
    }

    /// Forgets the problem at `path`, if there is one: `need` of it is replicated now.
    pub fn solved(&mut self, path: &RelPath, need: Need) -> bool {
        // New metadata makes no content whole; a directory has none.
        let is_still = |trouble: &Trouble| trouble.is_inexact && need == Need::Metadata;
        if self.troubles.is_empty() || self.troubles.get(path).is_some_and(is_still) {
            return false;
        }
        let was_there = self.forget(path);
        self.changes += u64::from(was_there);
        was_there
    }

    /// Forgets the problems below `path`: there is nothing below it any more.
    pub fn void_below(&mut self, path: &RelPath) {
        if !self.troubles.is_empty() {
            for below in self.below(path) {
                self.changes += u64::from(self.forget(&below));
            }
        }
    }

    /// Forgets what a comparison has answered: the problems at and below the names of `directory` in
    /// the part from `after` to `until`, unless the name `is_directory`, which is compared by itself.
    ///
    /// What still fails is a problem again in a moment.
    pub fn compared(
        &mut self,
        directory: &RelPath,
        after: Option<&Name>,
        until: Option<&Name>,
        is_directory: impl Fn(&Name) -> bool,
    ) {
        let prefix_bytes = if directory.is_root() { 0 } else { directory.as_bytes().len() + 1 };
        for path in self.below(directory) {
            let first = path.as_bytes()[prefix_bytes..].split(|&byte| byte == b'/').next();
            let Some(Ok(name)) = first.map(Name::new) else { continue };
            let is_in_part =
                after.is_none_or(|after| name > *after) && until.is_none_or(|until| name <= *until);
            let is_inexact = self.troubles.get(&path).is_some_and(|trouble| trouble.is_inexact);
            if is_in_part && !is_inexact && !is_directory(&name) {
                self.changes += u64::from(self.forget(&path));
            }
        }
    }

    /// The paths below `path` that have a problem.
    fn below(&self, path: &RelPath) -> Vec<RelPath> {
        let mut start = path.as_bytes().to_vec();
        if !start.is_empty() {
            start.push(b'/');
        }
        let from = (Bound::Excluded(&start[..]), Bound::Unbounded);
        let below = self.troubles.range::<[u8], _>(from).map(|(other, _)| other);
        below.take_while(|other| other.is_within(path)).cloned().collect()
    }

    /// Whether there is a problem at `path`.
    #[must_use]
    pub fn contains(&self, path: &RelPath) -> bool {
        self.troubles.contains_key(path)
    }

    /// How many of the paths are files whose content at the sink is inexact.
    #[must_use]
    pub fn inexact(&self) -> usize {
        self.inexact
    }

    /// A number that moves whenever there is something new to tell.
    #[must_use]
    pub fn changes(&self) -> u64 {
        self.changes
    }

    /// How many paths have one.
    #[must_use]
    pub fn len(&self) -> usize {
        self.troubles.len() - self.of_target + self.halts.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.troubles.is_empty() && self.halts.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> RelPath {
        RelPath::new(text.as_bytes()).unwrap()
    }

    #[test]
    fn what_is_inexact_is_a_problem_until_its_content_got_through() {
        let mut problems = Problems::default();
        let now = Instant::now();
        assert!(problems.add_inexact(&path("log"), now + RETRY_MIN));
        assert!(!problems.add_inexact(&path("log"), now + RETRY_MIN), "known already");

        // Neither its metadata nor a comparison says anything of its content.
        assert!(!problems.solved(&path("log"), Need::Metadata));
        problems.compared(&RelPath::root(), None, None, |_| false);
        assert_eq!((problems.len(), problems.inexact()), (1, 1));
        let listed = problems.list(10, now).remove(0);
        assert_eq!((listed.is_inexact, listed.retry_in), (true, RETRY_MIN));

        assert!(problems.solved(&path("log"), Need::Content));
        assert_eq!((problems.len(), problems.inexact()), (0, 0));
    }

    #[test]
    fn every_change_is_worth_telling_and_a_repetition_is_not() {
        let mut problems = Problems::default();
        let now = Instant::now();
        let mut told = problems.changes();
        let mut is_news = |problems: &Problems| {
            std::mem::replace(&mut told, problems.changes()) != problems.changes()
        };

        assert_eq!(problems.add(&path("a"), "no", now), (RETRY_MIN, true));
        assert!(is_news(&problems));
        assert_eq!(problems.add(&path("a"), "no", now + RETRY_MIN), (2 * RETRY_MIN, false));
        assert!(!is_news(&problems));
        problems.add(&path("a"), "other", now);
        assert!(is_news(&problems));
        problems.void_below(&RelPath::root());
        assert!(is_news(&problems));
        assert!(problems.is_empty());
    }

    #[test]
    fn what_fails_before_its_time_waits_no_longer() {
        let mut problems = Problems::default();
        let (now, half) = (Instant::now(), RETRY_MIN / 2);
        assert_eq!(problems.add(&path("a"), "no", now), (RETRY_MIN, true));

        for _ in 0..9 {
            assert_eq!(problems.add(&path("a"), "no", now + half), (half, false));
        }

        assert_eq!(problems.add(&path("a"), "no", now + RETRY_MIN), (2 * RETRY_MIN, false));
    }
}
