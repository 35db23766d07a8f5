//! Which directories are still to be watched, and what to report once they are.
//!
//! A walk begins at its top and grows by what is listed below; it is over when everything found is
//! watched and listed. Many walks are under way at once: each batch takes a share of every one, the
//! oldest first, so that a new directory does not wait for the walk through the whole tree.
//!
//! Invariant, after [`Walks::end`]: every active walk has something left to do.

use std::collections::BTreeMap;

use crate::model::change::Change;
use crate::model::rel_path::RelPath;

/// Walks under way, by age.
#[derive(Debug, Default)]
pub(super) struct Walks {
    active: BTreeMap<u64, Walk>,
    begun: u64,
}

#[derive(Debug)]
struct Walk {
    todo: Vec<RelPath>,
    then: Change,
}

/// One directory to watch and list, and the walk it belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Step {
    /// The directory.
    pub(super) path: RelPath,
    serial: u64,
}

impl Walks {
    /// Begins a walk at `top`; `then` is to be reported when all of it is watched.
    pub(super) fn begin(&mut self, top: RelPath, then: Change) {
        let todo = vec![top];
        self.active.insert(self.begun, Walk { todo, then });
        self.begun += 1;
    }

    /// Takes up to `limit` directories.
    pub(super) fn take(&mut self, limit: usize) -> Vec<Step> {
        let share = (limit / self.active.len().max(1)).max(1);
        let mut steps = Vec::with_capacity(limit);
        for (&serial, walk) in &mut self.active {
            let share = share.min(limit - steps.len());
            let rest = walk.todo.len().saturating_sub(share);
            steps.extend(walk.todo.drain(rest..).map(|path| Step { path, serial }));
            if steps.len() == limit {
                break;
            }
        }
        steps
    }

    /// Adds the directories found below `step`, emptying `found`.
    pub(super) fn extend(&mut self, step: &Step, found: &mut Vec<RelPath>) {
        if let Some(walk) = self.active.get_mut(&step.serial) {
            walk.todo.append(found);
        }
    }

    /// Ends the walks that have nothing left to do; returns what to report, oldest walk first.
    pub(super) fn end(&mut self) -> Vec<Change> {
        let mut reports = Vec::new();
        self.active.retain(|_, walk| {
            let is_under_way = !walk.todo.is_empty();
            if !is_under_way {
                reports.push(std::mem::replace(&mut walk.then, Change::Ready));
            }
            is_under_way
        });
        reports
    }

    /// Takes everything that is left to do; the walks end with the next [`Walks::end`].
    pub(super) fn abandon(&mut self) -> Vec<RelPath> {
        self.active.values_mut().flat_map(|walk| walk.todo.drain(..)).collect()
    }

    /// A point in time: see [`Walks::is_past`].
    pub(super) fn now(&self) -> u64 {
        self.begun
    }

    /// Whether every walk that had begun at `moment` has ended.
    pub(super) fn is_past(&self, moment: u64) -> bool {
        self.active.first_key_value().is_none_or(|(&oldest, _)| oldest >= moment)
    }

    /// Whether nothing is under way.
    pub(super) fn is_empty(&self) -> bool {
        self.active.is_empty()
    }

    /// Forgets all walks.
    pub(super) fn clear(&mut self) {
        self.active.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> RelPath {
        RelPath::new(text.as_bytes()).unwrap()
    }

    fn subtree(text: &str) -> Change {
        Change::Subtree { path: path(text) }
    }

    #[test]
    fn a_walk_ends_when_everything_found_is_done() {
        let mut walks = Walks::default();
        walks.begin(path("a"), subtree("a"));
        let moment = walks.now();

        let steps = walks.take(10);
        walks.extend(&steps[0], &mut vec![path("a/b")]);
        assert_eq!(walks.end(), []);
        assert!(!walks.is_past(moment));

        assert_eq!(walks.take(10)[0].path, path("a/b"));
        assert_eq!(walks.end(), [subtree("a")]);
        assert!(walks.is_past(moment));
        assert!(walks.is_empty());
    }

    #[test]
    fn a_long_walk_shares_each_batch_with_a_short_one() {
        let mut walks = Walks::default();
        walks.begin(path("a"), subtree("a"));
        let steps = walks.take(1);
        walks.extend(&steps[0], &mut (0..100).map(|i| path(&format!("a/{i}"))).collect());
        walks.begin(path("new"), subtree("new"));

        let steps = walks.take(10);

        assert_eq!(steps.len(), 6);
        assert_eq!(steps[5].path, path("new"));
        assert_eq!(walks.end(), [subtree("new")]);
    }
}
