//! Whether content was reported to have changed that nobody has read since.
//!
//! A report marks the name it is of. Where that mark is taken up by one of a directory, or the name goes before it is
//! looked at, the other names would still seem to have the right content if size and time were put back. So reports are
//! counted for each thing, until its content is read by work that began after the last of them. The report that a name
//! has gone is taken back once it is found to be gone: one that remains was of something else.

use crate::model::rel_path::RelPath;
use crate::model::work_id::WorkId;
use crate::queue::links::Links;

/// Reports of one thing.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reports {
    count: u32,
    /// Work with a greater number begins after the last of them.
    newest_work: WorkId,
}

impl Reports {
    pub(super) const NONE: Self = Self { count: 0, newest_work: WorkId(0) };

    /// Whether content was reported to have changed that has not been read since.
    pub(super) fn are_open(self) -> bool {
        self.count > 0
    }

    /// `work` has read the content.
    pub(super) fn read_by(&mut self, work: WorkId) {
        if work > self.newest_work {
            self.count = 0;
        }
    }
}

impl Links {
    /// Content or existence of `path` was reported to have changed, while `newest_work` was the latest to have begun.
    pub fn reported(&mut self, path: &RelPath, newest_work: WorkId) {
        if let Some(thing) = self.thing_of(path) {
            let count = thing.reports.count.saturating_add(1);
            thing.reports = Reports { count, newest_work };
        }
    }

    /// A look found nothing at `path`: that is what one of the reports was of.
    pub fn missed(&mut self, path: &RelPath) {
        if let Some(thing) = self.thing_of(path) {
            thing.reports.count = thing.reports.count.saturating_sub(1);
        }
    }
}
