//! Which directories a sink has just made.

use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::model::rel_path::RelPath;

/// So many are remembered; the others are filled like any directory.
const DIRECTORIES_MAX: usize = 4_096;

/// Directories that were made here and in which nothing has been put, nor their own metadata set.
#[derive(Debug, Default)]
pub(super) struct NewDirectories {
    paths: Mutex<HashSet<RelPath>>,
}

impl NewDirectories {
    fn paths(&self) -> MutexGuard<'_, HashSet<RelPath>> {
        self.paths.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The directory at `path` was made.
    pub(super) fn insert(&self, path: &RelPath) {
        let mut paths = self.paths();
        if paths.len() < DIRECTORIES_MAX {
            paths.insert(path.clone());
        }
    }

    /// Whether the directory at `path` is one; it is none any more.
    pub(super) fn take(&self, path: &RelPath) -> bool {
        self.paths().remove(path)
    }

    /// Something was moved: paths may mean other directories now.
    pub(super) fn forget_all(&self) {
        self.paths().clear();
    }
}
