//! Descriptors of the directories a sink works in, so that a small file costs no path look-up.
//!
//! A descriptor follows its directory when somebody moves it. The sink's own moves and removals
//! [`forget`] what they concern; what others do is noticed within [`TRUSTED_MAX`], or at once when the
//! directory is listed. Until then work goes where the directory went, never anywhere else.
//!
//! [`forget`]: Directories::forget

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::fstat;
use rustix::io::Result;
use rustix::process::{Resource, getrlimit};

use crate::adapters::fs::root::identity;
use crate::model::rel_path::RelPath;

/// How many descriptors are kept at most; a quarter of what the process may have, if that is less.
const DIRECTORY_CACHE_ENTRIES_MAX: usize = 256;

/// How long a descriptor is used before its path is looked up again.
const TRUSTED_MAX: Duration = Duration::from_secs(1);

/// The descriptors by path, shared by all writers.
#[derive(Debug)]
pub(super) struct Directories {
    kept: Mutex<Kept>,
    entries_max: usize,
}

#[derive(Debug, Default)]
struct Kept {
    by_path: HashMap<RelPath, Entry>,
    /// Counts uses, for telling which was used longest ago.
    uses: u64,
    /// Counts calls of `forget`: what was found before one is not kept after it.
    generation: u64,
}

#[derive(Debug)]
struct Entry {
    descriptor: Arc<OwnedFd>,
    found: Instant,
    used: u64,
}

impl Directories {
    pub(super) fn new() -> Self {
        let descriptors_max = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
        let quarter = usize::try_from(descriptors_max / 4).unwrap_or(usize::MAX);
        Self { kept: Mutex::default(), entries_max: quarter.clamp(1, DIRECTORY_CACHE_ENTRIES_MAX) }
    }

    /// The descriptor of the directory at `path`: from memory, if it is fresh there, or by `find`.
    pub(super) fn get(
        &self,
        path: &RelPath,
        find: impl FnOnce() -> Result<OwnedFd>,
    ) -> Result<Arc<OwnedFd>> {
        let mut kept = self.kept();
        kept.uses += 1;
        let used = kept.uses;
        if let Some(entry) = kept.by_path.get_mut(path)
            && entry.found.elapsed() < TRUSTED_MAX
        {
            entry.used = used;
            return Ok(Arc::clone(&entry.descriptor));
        }
        drop(kept);
        self.find(path, find)
    }

    /// The descriptor of the directory at `path` by `find`, correcting what was known of it.
    pub(super) fn find(
        &self,
        path: &RelPath,
        find: impl FnOnce() -> Result<OwnedFd>,
    ) -> Result<Arc<OwnedFd>> {
        let generation = self.kept().generation;
        let found = Instant::now();
        let descriptor = match find() {
            Ok(descriptor) => Arc::new(descriptor),
            Err(errno) => {
                self.forget(path);
                return Err(errno);
            }
        };
        let mut kept = self.kept();
        let known = kept.by_path.get(path);
        if known.is_some_and(|entry| is_other(&entry.descriptor, descriptor.as_fd())) {
            kept.forget(path);
        } else if kept.generation == generation {
            kept.make_room(self.entries_max);
            let entry = Entry { descriptor: Arc::clone(&descriptor), found, used: kept.uses };
            kept.by_path.insert(path.clone(), entry);
        }
        Ok(descriptor)
    }

    /// `found` is the directory at `path`: what is known of it is forgotten if it was another one.
    pub(super) fn correct(&self, path: &RelPath, found: BorrowedFd<'_>) {
        let mut kept = self.kept();
        if kept.by_path.get(path).is_some_and(|entry| is_other(&entry.descriptor, found)) {
            kept.forget(path);
        }
    }

    /// Forgets what is known of `path` and everything below it.
    pub(super) fn forget(&self, path: &RelPath) {
        self.kept().forget(path);
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn is_other(known: &OwnedFd, found: BorrowedFd<'_>) -> bool {
    match (fstat(known), fstat(found)) {
        (Ok(known), Ok(found)) => identity(&known) != identity(&found),
        _ => true,
    }
}

impl Kept {
    fn forget(&mut self, path: &RelPath) {
        self.generation += 1;
        self.by_path.retain(|known, _| !known.is_within(path));
    }

    /// Gives up the half that was used longest ago, if there are `entries_max`: seldom, for it looks at all.
    fn make_room(&mut self, entries_max: usize) {
        if self.by_path.len() >= entries_max {
            let mut uses: Vec<u64> = self.by_path.values().map(|entry| entry.used).collect();
            let middle = uses.len() / 2;
            let (_, median, _) = uses.select_nth_unstable(middle);
            self.by_path.retain(|_, entry| entry.used > *median);
        }
    }
}
