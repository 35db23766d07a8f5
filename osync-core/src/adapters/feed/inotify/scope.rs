//! How much of the tree is of interest: all of it, or what a filter does not leave out.

use std::sync::Arc;

use crate::adapters::filters::{Filter, filtered};
use crate::model::rel_path::RelPath;
use crate::ports::change_feed::Reporter;

/// What is watched and reported. By default everything.
#[derive(Debug, Clone, Default)]
pub(super) struct Scope(Option<Arc<Filter>>);

impl Scope {
    /// What `filter` does not leave out.
    pub(super) fn of(filter: Arc<Filter>) -> Self {
        Self(Some(filter))
    }

    /// `reporter`, of what is of interest only.
    pub(super) fn limit(&self, reporter: Reporter) -> Reporter {
        match &self.0 {
            Some(filter) => filtered(reporter, filter),
            None => reporter,
        }
    }

    /// Whether the directory at `path` need not be watched.
    pub(super) fn skips(&self, path: &RelPath) -> bool {
        self.0.as_ref().is_some_and(|filter| filter.skips_directory(path))
    }

    /// The directory in which something else is of interest since `path` changed, if there is one.
    pub(super) fn renewed_by(&self, path: &RelPath) -> Option<RelPath> {
        let filter = self.0.as_ref()?;
        filter.ruled_by(path).inspect(|directory| filter.forget(directory))
    }
}
