//! The parts of the tree that could not be watched, tried again from time to time.
//!
//! Their number is bounded: where there are too many, the deepest give way to the directory above them,
//! which covers more than it must.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::model::rel_path::RelPath;

/// Parts told apart at most.
const SCOPES_MAX: usize = 64;

/// Parts that are not watched, each with the reason.
#[derive(Debug)]
pub(super) struct Unwatched {
    retry_after: Duration,
    scopes: BTreeMap<RelPath, String>,
    announced: Vec<RelPath>,
    retry_at: Option<Instant>,
}

impl Unwatched {
    /// Nothing yet; whatever comes is tried again after `retry_after`.
    pub(super) fn new(retry_after: Duration) -> Self {
        Self { retry_after, scopes: BTreeMap::new(), announced: Vec::new(), retry_at: None }
    }

    /// Adds a part.
    pub(super) fn add(&mut self, scope: RelPath, reason: String) {
        self.scopes.insert(scope, reason);
    }

    /// Puts parts together; returns those nobody has been told about yet, and plans the next try.
    pub(super) fn settle(&mut self, now: Instant) -> Vec<(RelPath, String)> {
        if self.scopes.is_empty() {
            return Vec::new();
        }
        self.retry_at.get_or_insert(now + self.retry_after);
        while self.scopes.len() > SCOPES_MAX {
            self.lift_deepest();
        }
        let announced = &self.announced;
        let news: Vec<_> = self
            .scopes
            .iter()
            .filter(|(scope, _)| !announced.iter().any(|known| scope.is_within(known)))
            .map(|(scope, reason)| (scope.clone(), reason.clone()))
            .collect();
        self.announced.extend(news.iter().map(|(scope, _)| scope.clone()));
        news
    }

    /// Takes all parts out, if it is time to try them again.
    pub(super) fn take_due(&mut self, now: Instant) -> Vec<(RelPath, String)> {
        if self.retry_at.is_none_or(|retry_at| now < retry_at) {
            return Vec::new();
        }
        self.retry_at = None;
        std::mem::take(&mut self.scopes).into_iter().collect()
    }

    /// When to try again.
    pub(super) fn next_retry(&self) -> Option<Instant> {
        self.retry_at
    }

    /// Forgets all parts, because everything is walked anew.
    pub(super) fn clear(&mut self) {
        self.scopes.clear();
        self.retry_at = None;
    }

    fn lift_deepest(&mut self) {
        let depth = |scope: &RelPath| scope.components().count();
        let deepest = self.scopes.keys().map(depth).max().unwrap_or_default();
        for (scope, reason) in std::mem::take(&mut self.scopes) {
            let scope = match scope.parent() {
                Some(parent) if depth(&scope) == deepest => parent,
                _ => scope,
            };
            self.scopes.insert(scope, reason);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RETRY_AFTER: Duration = Duration::from_mins(1);

    fn path(text: &str) -> RelPath {
        RelPath::new(text.as_bytes()).unwrap()
    }

    #[test]
    fn too_many_parts_become_the_directory_above_them() {
        let mut unwatched = Unwatched::new(RETRY_AFTER);
        for index in 0..1_000 {
            unwatched.add(path(&format!("a/b/{index}")), "limit".to_owned());
        }
        unwatched.add(path("c"), "limit".to_owned());

        let news = unwatched.settle(Instant::now());

        let limit = "limit".to_owned();
        assert_eq!(news, [(path("a/b"), limit.clone()), (path("c"), limit)]);
    }

    #[test]
    fn a_part_is_announced_once_and_tried_again_later() {
        let mut unwatched = Unwatched::new(RETRY_AFTER);
        let now = Instant::now();
        let later = now + RETRY_AFTER;
        unwatched.add(path("a"), "limit".to_owned());

        assert_eq!(unwatched.settle(now).len(), 1);
        assert_eq!(unwatched.settle(now).len(), 0);
        assert_eq!(unwatched.take_due(now).len(), 0);
        assert_eq!(unwatched.take_due(later), [(path("a"), "limit".to_owned())]);

        unwatched.add(path("a/b"), "limit".to_owned());
        assert_eq!(unwatched.settle(later).len(), 0);
        assert!(unwatched.next_retry() > Some(later));
    }
}
