//! Pieces of work in flight: begun, and not yet confirmed by the sink.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Instant;

use crate::model::digest::Digest;
use crate::model::metadata::Entry;
use crate::model::name::Name;
use crate::model::need::Need;
use crate::model::rel_path::RelPath;
use crate::model::work_id::WorkId;
use crate::protocol::source::confirmed::Confirmed;
use crate::protocol::source::course::Course;
use crate::queue::agenda::Visit;
use crate::queue::claims::Claims;
use crate::queue::mark::Lane;

/// One piece of work in flight.
#[derive(Debug)]
pub struct Work {
    /// Its lane.
    pub lane: Lane,
    /// Since when what it mends may differ.
    pub born: Instant,
    /// What it is.
    pub what: What,
    /// A job for it is out.
    pub is_reading: bool,
    /// Its directory has been listed since it began to be read: what was read may be older than that.
    pub is_overtaken: bool,
    /// What it reads was moved away since it began: where its names lie now, and of what, others know better.
    pub is_moved: bool,
    /// What the job's result is thought to take of the window, in bytes.
    pub reserved_bytes: u64,
}

/// What a piece of work is.
#[derive(Debug)]
pub enum What {
    /// Names of one directory; once sent, exactly those in the message, in its order.
    Names {
        /// The directory.
        directory: RelPath,
        /// The names, and what of each.
        names: Vec<(Name, Need)>,
        /// Bytes of content sent, and how many files and removals.
        sent: Sent,
        /// Whether those that are missing may be removed.
        may_remove: bool,
    },
    /// Part of a directory under comparison.
    Page {
        /// The visit.
        visit: Visit,
        /// What the source has there, once it has been listed.
        page: Option<Page>,
    },
    /// A file in chunks.
    Large {
        /// The directory.
        directory: RelPath,
        /// Its name there.
        name: Name,
        /// Bytes sent.
        offset_bytes: u64,
        /// The sink has been told of it.
        is_open: bool,
        /// It has been closed or aborted; the sink has yet to confirm.
        is_over: bool,
        /// It was aborted: to be looked at again.
        is_aborted: bool,
        /// It was sent as it is, though it changed while it was read.
        is_inexact: bool,
        /// How it gets there.
        course: Course,
        /// The sink has been told to begin a new version.
        is_begun: bool,
    },
    /// A rename.
    Rename {
        /// Where it lay.
        from: RelPath,
        /// Where it lies.
        to: RelPath,
        /// Whether it is a directory.
        is_directory: bool,
    },
}

impl What {
    /// Whether the sink says when it has been aborted: only then may it have written something.
    #[must_use]
    pub fn is_abort_confirmed(&self) -> bool {
        let Self::Large { is_begun, course, .. } = self else { return true };
        *is_begun || matches!(course, Course::Growing)
    }

    /// Whether any of it is at or below `path`.
    fn is_within(&self, path: &RelPath) -> bool {
        let is_within = |directory: &RelPath, name: &Name| {
            directory.is_within(path) || directory.join(name).is_ok_and(|entry| entry == *path)
        };
        match self {
            Self::Names { directory, names, .. } => {
                directory.is_within(path)
                    || names.iter().any(|(name, _)| is_within(directory, name))
            }
            Self::Page { visit, .. } => visit.directory.is_within(path),
            Self::Large { directory, name, .. } => is_within(directory, name),
            Self::Rename { from, to, .. } => from.is_within(path) || to.is_within(path),
        }
    }
}

/// Totals of a message of names.
#[derive(Debug, Default, Clone, Copy)]
#[expect(missing_docs, reason = "as the totals in TransferReport")]
pub struct Sent {
    pub files: u64,
    pub content_bytes: u64,
    pub removed: u64,
}

/// The source's side of a comparison.
#[derive(Debug)]
pub struct Page {
    /// Its entries.
    pub entries: Vec<Entry>,
    /// The last name, unless the directory ends here.
    pub until: Option<Name>,
    /// The directory's own metadata, where the part is the first.
    pub own: Option<crate::model::metadata::Metadata>,
    /// Listing digest.
    pub digest: Digest,
    /// Files that must be proven at the sink, whatever its answer.
    pub suspects: Vec<Name>,
    /// Entries that the sink asked for: directories among them it does not have as such.
    pub wanted: HashSet<usize>,
}

/// All work of one sink in flight, with the names it claims and the marks that wait for it.
#[derive(Debug, Default)]
pub struct InFlight {
    /// The pieces by number.
    pub works: BTreeMap<WorkId, Work>,
    /// The names they claim.
    pub claims: Claims,
    /// What was confirmed, and how much of it is durable.
    pub confirmed: Confirmed,
    parked: HashMap<WorkId, HashSet<RelPath>>,
    last: u64,
}

impl InFlight {
    /// A number that was never used.
    pub fn next_id(&mut self) -> WorkId {
        self.last += 1;
        WorkId(self.last)
    }

    /// The number that was given last.
    #[must_use]
    pub fn newest_id(&self) -> WorkId {
        WorkId(self.last)
    }

    /// How many entries a confirmation of `id` is of, if it has no failures.
    #[must_use]
    pub fn entries_of(&self, id: WorkId) -> u64 {
        match self.works.get(&id).map(|work| &work.what) {
            Some(What::Names { names, .. }) => names.len() as u64,
            Some(What::Large { is_aborted: false, .. }) => 1,
            Some(What::Large { .. } | What::Page { .. } | What::Rename { .. }) | None => 0,
        }
    }

    /// Remembers that the mark at `path` waits for `work`.
    pub fn park(&mut self, work: WorkId, path: RelPath) {
        self.parked.entry(work).or_default().insert(path);
    }

    /// Takes out `work`, its claims, and the paths whose marks waited for it.
    pub fn end(&mut self, id: WorkId) -> Option<(Work, HashSet<RelPath>)> {
        let work = self.works.remove(&id)?;
        match &work.what {
            What::Names { directory, .. } | What::Large { directory, .. } => {
                self.claims.end(id, directory);
            }
            What::Rename { from, to, .. } => {
                for path in [from, to] {
                    if let Some(parent) = path.parent() {
                        self.claims.end(id, &parent);
                    }
                }
            }
            What::Page { .. } => {}
        }
        Some((work, self.take_parked(id)))
    }

    /// Lane and age of the work at and below `path`.
    #[must_use]
    pub fn within(&self, path: &RelPath) -> Vec<(Lane, Instant)> {
        let works = self.works.values().filter(|work| work.what.is_within(path));
        works.map(|work| (work.lane, work.born)).collect()
    }

    /// What lay at `path` lies elsewhere.
    pub fn moved(&mut self, path: &RelPath) {
        for work in self.works.values_mut() {
            // A large file is read piece by piece.
            let is_read = work.is_reading || matches!(work.what, What::Large { .. });
            work.is_moved |= is_read && work.what.is_within(path);
        }
    }

    /// The marks that waited for a name `work` no longer claims.
    pub fn take_parked(&mut self, id: WorkId) -> HashSet<RelPath> {
        self.parked.remove(&id).unwrap_or_default()
    }

    /// Since when the oldest piece of `lane` has been there.
    #[must_use]
    pub fn oldest_born(&self, lane: Lane) -> Option<Instant> {
        self.works.values().filter(|work| work.lane == lane).map(|work| work.born).min()
    }
}
