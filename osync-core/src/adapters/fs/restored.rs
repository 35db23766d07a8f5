//! Who is told of times that were changed for a moment and put back.

use std::sync::{PoisonError, RwLock};

use crate::model::rel_path::RelPath;
use crate::ports::sink::TellRestored;

/// The listeners.
#[derive(Default)]
pub(super) struct Restored(RwLock<Vec<TellRestored>>);

impl std::fmt::Debug for Restored {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Restored").finish_non_exhaustive()
    }
}

impl Restored {
    /// Takes one more.
    pub(super) fn listen(&self, tell: TellRestored) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).push(tell);
    }

    /// The time of `directory` has been put back.
    pub(super) fn tell(&self, directory: &RelPath) {
        let listeners = self.0.read().unwrap_or_else(PoisonError::into_inner);
        listeners.iter().for_each(|tell| tell(directory));
    }
}
