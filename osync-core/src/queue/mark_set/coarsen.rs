//! Detail is given up where the marks of one lane take more memory than they may.
//!
//! Invariant: whatever was covered still is.

use std::collections::BTreeSet;
use std::time::Instant;

use crate::model::rel_path::RelPath;
use crate::queue::mark::{Extent, Urgency};
use crate::queue::mark_set::MarkSet;

impl MarkSet {
    /// Gives up detail until a quarter of the budget is free: fullest directories first, then the
    /// deepest levels.
    pub(super) fn coarsen(&mut self, now: Instant) {
        let target_bytes = self.bytes_max / 4 * 3;
        let mut fullest: Vec<(u32, RelPath)> = self
            .entries
            .iter()
            .filter(|&(_, &count)| count > 1)
            .map(|(path, &count)| (count, path.clone()))
            .collect();
        fullest.sort_unstable();
        while self.bytes > target_bytes
            && let Some((_, directory)) = fullest.pop()
        {
            self.insert_coarse(&directory, Extent::Directory, now);
        }
        while self.bytes > target_bytes {
            let depth_of = |path: &RelPath| path.components().count();
            let Some(depth) = self.marks.keys().map(depth_of).max().filter(|&depth| depth > 0)
            else {
                break;
            };
            let deepest: BTreeSet<RelPath> = self
                .marks
                .keys()
                .filter(|path| depth_of(path) == depth)
                .filter_map(RelPath::parent)
                .collect();
            for parent in deepest {
                self.insert_coarse(&parent, Extent::Subtree, now);
            }
        }
        log::debug!("marks coarsened to {} in {} bytes", self.marks.len(), self.bytes);
    }

    fn insert_coarse(&mut self, path: &RelPath, extent: Extent, now: Instant) {
        if self.covering_above(path, extent).is_none() {
            self.place(path, extent, Urgency::Now, now, now);
        }
    }
}
