//! Where directories have been listed lately for any sink, and what was read there is kept for the others.
//!
//! Sinks do not keep step: the fastest is soon so far ahead that nothing of what was read for it is kept by the time
//! the others come. So each first goes where something is kept, and looks for directories of its own after that.
//! Nobody waits for anybody.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::model::rel_path::RelPath;

/// The directories, in the order in which they were listed.
#[derive(Debug, Default)]
pub struct Lately(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    places: VecDeque<RelPath>,
    /// How many there were before them.
    gone: u64,
    sinks: usize,
}

impl Lately {
    /// So many sinks want something.
    pub fn use_sinks(&self, sinks: usize) {
        self.state().sinks = sinks;
    }

    /// Whether there are several sinks.
    pub fn is_common(&self) -> bool {
        self.state().sinks > 1
    }

    /// `directory` was listed.
    pub fn push(&self, directory: RelPath) {
        self.state().places.push_back(directory);
    }

    /// What was read in the oldest is kept no longer.
    pub fn pop(&self) {
        let mut state = self.state();
        state.gone += u64::from(state.places.pop_front().is_some());
    }

    /// The directory with the number `seen`, and the number of the next. Who has missed some goes on in the middle:
    /// the oldest would be gone when it comes to their files.
    pub fn next(&self, seen: u64) -> Option<(RelPath, u64)> {
        let state = self.state();
        let index = match seen.checked_sub(state.gone) {
            Some(index) => usize::try_from(index).ok()?,
            None => state.places.len() / 2,
        };
        let place = state.places.get(index)?.clone();
        Some((place, state.gone + index as u64 + 1))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
