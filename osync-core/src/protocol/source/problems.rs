//! Paths that could not be replicated, and when they are tried again.

use std::collections::BTreeMap;
use std::time::Duration;

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
            let wait = RETRY_MIN.saturating_mul(1 << (*attempts).min(6)).min(RETRY_MAX);
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
