//! What a sink may look like: judged after every single task.
//!
//! * A file at the sink has a content that the source once had at its path, or at a path from which
//!   that one was renamed.
//! * A path vanishes at the sink only if the source has been without it since it was read for the sink.
//! * Once the sink is told that it is in sync, whatever held still since it asked is the same.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::time::Instant;

use osync_core::model::rel_path::RelPath;
use osync_core::testing::mem_tree::MemTree;

use crate::oracle::{Oracle, Shape, fingerprint, shape_of, within};

/// What one sink has.
#[derive(Debug, Default)]
pub(crate) struct Held {
    /// What lies there now, and when it was read at the source.
    since: BTreeMap<RelPath, Instant>,
    /// Fingerprints of what it had before the beginning, or after a power cut.
    given: BTreeMap<RelPath, HashSet<u64>>,
}

impl Held {
    /// Takes what a sink held before the beginning, or after a power cut, as given.
    pub(crate) fn begin_with(&mut self, sink: &MemTree, now: Instant) {
        self.since.clear();
        for (path, (_, content)) in sink.snapshot().iter().filter(|(path, _)| !path.is_root()) {
            self.given.entry(path.clone()).or_default().insert(fingerprint(content));
            self.since.insert(path.clone(), now);
        }
    }

    /// Judges what lies at and above `paths` of the sink by now; what is new there was read at `read_at`.
    pub(crate) fn judge(
        &mut self,
        oracle: &Oracle,
        paths: impl IntoIterator<Item = RelPath>,
        sink: &MemTree,
        read_at: Option<Instant>,
    ) -> Result<(), String> {
        let mut all = BTreeSet::new();
        for path in paths {
            let mut next = Some(path);
            while let Some(path) = next.filter(|path| !path.is_root() && !all.contains(path)) {
                next = path.parent();
                all.insert(path);
            }
        }
        // Ascending: what lies above comes first.
        all.iter().try_for_each(|path| self.judge_at(oracle, path, sink, read_at))
    }

    fn judge_at(
        &mut self,
        oracle: &Oracle,
        path: &RelPath,
        sink: &MemTree,
        read_at: Option<Instant>,
    ) -> Result<(), String> {
        let found = sink.look(path.as_bytes());
        let shape = found.as_ref().map(shape_of);
        let vanished: Vec<RelPath> = match shape {
            Some(Shape::Directory) => Vec::new(),
            Some(Shape::File | Shape::Other) => self.paths_below(path),
            None => {
                let mut all = self.paths_below(path);
                all.extend(self.since.contains_key(path).then(|| path.clone()));
                all
            }
        };
        for path in vanished {
            self.judge_removal(oracle, &path)?;
        }
        if let Some(read_at) = read_at.filter(|_| found.is_some()) {
            self.since.entry(path.clone()).or_insert(read_at);
        }
        if shape == Some(Shape::File) {
            let content = sink.held_content(path.as_bytes()).unwrap_or_default();
            oracle.judge_content(path, &content, &self.given)?;
        }
        Ok(())
    }

    /// Judges a rename that the sink has done: what was moved is as old as it was.
    pub(crate) fn judge_rename(
        &mut self,
        oracle: &Oracle,
        from: &RelPath,
        to: &RelPath,
        sink: &MemTree,
    ) -> Result<(), String> {
        let rebased = |path: &RelPath| path.rebased(from, to).expect("short paths");
        let moved = self.since.iter().filter_map(|(path, since)| Some((rebased(path)?, *since)));
        let moved: Vec<(RelPath, Instant)> = moved.collect();
        self.judge(oracle, [from.clone()], sink, None)?;
        for (path, since) in &moved {
            self.since.entry(path.clone()).or_insert(*since);
        }
        self.judge(oracle, moved.into_iter().map(|(path, _)| path), sink, None)
    }

    fn judge_removal(&mut self, oracle: &Oracle, path: &RelPath) -> Result<(), String> {
        let Some(since) = self.since.remove(path) else {
            return Ok(());
        };
        match oracle.since(path) {
            Some(present) if present < since => {
                Err(format!("{path} vanished at the sink and never did at the source"))
            }
            Some(_) | None => Ok(()),
        }
    }

    fn paths_below(&self, path: &RelPath) -> Vec<RelPath> {
        within(&self.since, path).filter(|other| *other != path).cloned().collect()
    }
}
