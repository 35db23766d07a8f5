//! Paths that could not be replicated, and when they are tried again.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::time::Duration;

use crate::model::name::Name;
use crate::model::rel_path::RelPath;

/// Wait after a first failure.
const RETRY_MIN: Duration = Duration::from_secs(1);
/// Wait after many.
const RETRY_MAX: Duration = Duration::from_mins(1);
/// Paths remembered one by one; beyond it they are still retried, each time as if for the first time.
const PATHS_MAX: usize = 10_000;

/// The problems of one sink.
#[derive(Debug, Default)]
pub struct Problems {
    attempts: BTreeMap<RelPath, u32>,
}

impl Problems {
    /// Records a failure at `path`; returns how long to wait, and whether it is the first there.
    pub fn add(&mut self, path: &RelPath) -> (Duration, bool) {
        if let Some(attempts) = self.attempts.get_mut(path) {
            *attempts = attempts.saturating_add(1);
            let wait = RETRY_MIN
                .saturating_mul(1 << (*attempts).min(6))
                .min(RETRY_MAX);
            return (wait, false);
        }
        if self.attempts.len() < PATHS_MAX {
            self.attempts.insert(path.clone(), 0);
        }
        (RETRY_MIN, true)
    }

    /// Forgets the problem at `path`, if there is one: it is replicated now.
    pub fn solved(&mut self, path: &RelPath) -> bool {
        !self.attempts.is_empty() && self.attempts.remove(path).is_some()
    }

    /// Forgets the problems below `path`: there is nothing below it any more.
    pub fn void_below(&mut self, path: &RelPath) {
        if !self.attempts.is_empty() {
            for below in self.below(path) {
                self.attempts.remove(&below);
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
            let is_in_part = after.is_none_or(|after| name > *after)
                && until.is_none_or(|until| name <= *until);
            if is_in_part && !is_directory(&name) {
                self.attempts.remove(&path);
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
        let below = self.attempts.range::<[u8], _>(from).map(|(other, _)| other);
        below.take_while(|other| other.is_within(path)).cloned().collect()
    }

    /// Whether there is a problem at `path`.
    #[must_use]
    pub fn contains(&self, path: &RelPath) -> bool {
        self.attempts.contains_key(path)
    }

    /// How many paths have one.
    #[must_use]
    pub fn len(&self) -> usize {
        self.attempts.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.attempts.is_empty()
    }
}
