//! What one lane still has to do: marks, directories being looked into, names to send.
//!
//! Everything here came out of a mark and can become one again: a visit is a mark with a place in the
//! directory, a parcel is a handful of names whose difference is known. So an agenda loses nothing
//! when a session ends.

use std::collections::VecDeque;
use std::time::Instant;

use crate::model::name::Name;
use crate::model::need::Need;
use crate::model::rel_path::RelPath;
use crate::queue::larges::{Large, Larges};
use crate::queue::mark::{Distrust, Extent, Urgency};
use crate::queue::mark_set::MarkSet;

/// Parcels that may wait while further directories are looked into.
const PARCELS_MAX: usize = 64;
/// Names in them. What waits is found to differ once more by a comparison that begins meanwhile, and then
/// sent twice.
const NAMES_MAX: usize = 8 * 1024;

/// A directory to look into, from some name on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Visit {
    /// The directory.
    pub directory: RelPath,
    /// The last name already dealt with.
    pub after: Option<Name>,
    /// Whether the directories in it are visited too.
    pub is_deep: bool,
    /// The sink has nothing here: send without comparing.
    pub is_push: bool,
    /// Since when something may differ here.
    pub born: Instant,
    /// As of the mark it was.
    pub distrust: Distrust,
}

impl Visit {
    /// Whether `path`, or something below it, is looked at by this.
    #[must_use]
    pub fn concerns(&self, path: &RelPath) -> bool {
        let is_seen = if self.is_deep {
            path.is_within(&self.directory)
        } else {
            path.parent().is_some_and(|parent| parent == self.directory)
        };
        is_seen || self.directory.is_within(path)
    }
}

/// Whether one of `names` in `directory`, or the directory itself, is `path` or lies below or above it.
#[must_use]
pub fn concerns<'a>(
    directory: &RelPath,
    names: impl IntoIterator<Item = &'a Name>,
    path: &RelPath,
) -> bool {
    if directory.is_within(path) {
        return true;
    }
    let Some(next) = path.below(directory) else { return false };
    names.into_iter().any(|name| name.as_bytes() == next)
}

/// Names of one directory whose present state is to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parcel {
    /// The directory. Its own metadata is sent with them.
    pub directory: RelPath,
    /// The names, what of each, and how many bytes of content that is thought to be.
    pub names: VecDeque<(Name, Need, u64)>,
    /// Whether those that are missing may be removed at the sink, rather than held.
    pub may_remove: bool,
    /// Since when they may differ.
    pub born: Instant,
}

/// The work of one lane.
#[derive(Debug)]
pub struct Agenda {
    /// What may differ.
    pub marks: MarkSet,
    /// Directories being looked into; the last goes first, so that the depth of the tree bounds them.
    pub visits: Vec<Visit>,
    /// Names to send.
    pub parcels: VecDeque<Parcel>,
    /// Files to send in chunks.
    pub larges: Larges,
}

impl Agenda {
    /// An empty agenda whose marks use about `marks_bytes_max` bytes.
    #[must_use]
    pub fn new(marks_bytes_max: usize) -> Self {
        Self {
            marks: MarkSet::new(marks_bytes_max),
            visits: Vec::new(),
            parcels: VecDeque::new(),
            larges: Larges::default(),
        }
    }

    /// Marks, visits and names together.
    #[must_use]
    pub fn len(&self) -> usize {
        self.marks.len() + self.visits.len() + self.names_len() + self.larges.len()
    }

    /// Whether nothing is left to do.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.marks.is_empty() && self.has_only_marks()
    }

    /// Whether nothing but marks is left.
    #[must_use]
    pub fn has_only_marks(&self) -> bool {
        self.visits.is_empty() && self.parcels.is_empty() && self.larges.is_empty()
    }

    /// How many names wait in parcels; an empty parcel, which carries a directory's own metadata, counts as one.
    #[must_use]
    pub fn names_len(&self) -> usize {
        self.parcels.iter().map(|parcel| parcel.names.len().max(1)).sum()
    }

    /// Whether no further directory is to be looked into before some of the names are sent.
    #[must_use]
    pub fn has_enough_to_send(&self) -> bool {
        self.parcels.len() >= PARCELS_MAX || self.names_len() >= NAMES_MAX
    }

    /// Since when the oldest piece of work has been there.
    #[must_use]
    pub fn oldest_born(&self) -> Option<Instant> {
        let visits = self.visits.iter().map(|visit| visit.born);
        let parcels = self.parcels.iter().map(|parcel| parcel.born);
        let larges = self.larges.iter().map(|large| large.born);
        visits.chain(parcels).chain(larges).chain(self.marks.oldest_born()).min()
    }

    /// Since when the oldest piece of work has been there that concerns `path`, or what lies below it and is no
    /// mark: a rename would move away from it.
    #[must_use]
    pub fn born_at(&self, path: &RelPath) -> Option<Instant> {
        let visits = self.visits.iter().filter(|visit| visit.concerns(path));
        let is_named = |parcel: &&Parcel| {
            concerns(&parcel.directory, parcel.names.iter().map(|(name, _, _)| name), path)
        };
        let parcels = self.parcels.iter().filter(is_named);
        let larges = self.larges.iter();
        let larges = larges.filter(|large| concerns(&large.directory, [&large.name], path));
        let borns = visits.map(|visit| visit.born).chain(parcels.map(|parcel| parcel.born));
        borns.chain(larges.map(|large| large.born)).chain(self.marks.born_at(path)).min()
    }

    /// What that waits would see at `path` that differs, though size and time do not.
    #[must_use]
    pub fn distrust_of(&self, path: &RelPath) -> Distrust {
        let place = path.split();
        let is_named = |directory: &RelPath, name: &Name| {
            place.as_ref().is_some_and(|(parent, last)| parent == directory && last == name)
        };
        let names = |parcel: &Parcel| {
            let of =
                |(name, need, _): &_| *need == Need::Content && is_named(&parcel.directory, name);
            parcel.names.iter().any(of)
        };
        let is_sent = self.parcels.iter().any(names)
            || place.as_ref().is_some_and(|(parent, last)| self.larges.contains(parent, last));
        let sent = if is_sent { Distrust::Edits } else { Distrust::Nothing };
        let visits = self.visits.iter().filter(|visit| path.is_within(&visit.directory));
        let seen = visits.map(|visit| visit.distrust);
        seen.chain([sent, self.marks.distrust_of(path)]).max().unwrap_or_default()
    }

    /// Turns everything at or below `path` that is not a mark back into marks; what was known to differ is distrusted
    /// so much at least.
    pub fn withdraw(&mut self, path: &RelPath, distrust: Distrust, now: Instant) {
        for visit in self.visits.extract_if(.., |visit| visit.directory.is_within(path)) {
            let extent = if visit.is_deep { Extent::Subtree } else { Extent::Directory };
            self.marks.insert(&visit.directory, extent, Urgency::Now, visit.born, now);
            self.marks.distrust(&visit.directory, visit.distrust);
        }
        let mut kept = VecDeque::new();
        for parcel in self.parcels.drain(..) {
            if parcel.directory.is_within(path) {
                self.marks.insert(
                    &parcel.directory,
                    Extent::Directory,
                    Urgency::Now,
                    parcel.born,
                    now,
                );
                self.marks.distrust(&parcel.directory, distrust);
            } else {
                kept.push_back(parcel);
            }
        }
        self.parcels = kept;
        for Large { directory, born, .. } in self.larges.take_within(path) {
            self.marks.insert(&directory, Extent::Directory, Urgency::Now, born, now);
            self.marks.distrust(&directory, distrust);
        }
    }
}
