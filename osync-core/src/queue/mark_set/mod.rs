//! The marks of one lane, within a budget of memory.
//!
//! A set never forgets that something may differ; it only forgets detail. Where a mark is covered by
//! one above it, it is dropped; where there are too many in one directory, or too many in all, they
//! coarsen: names into their directory, directories into the subtree above them. One that took up a name whose
//! content was reported to have changed distrusts edits, because a comparison goes by size and time.
//!
//! Invariants, after every call (tested as properties): whatever was covered still is, until taken
//! out; no mark is covered by another; memory is within the budget.

mod coarsen;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Bound;
use std::time::Instant;

use crate::model::name::Name;
use crate::model::need::Need;
use crate::model::rel_path::RelPath;
use crate::queue::mark::{Distrust, Extent, Mark, Urgency};

/// More marked names than this in one directory, and the directory is compared as a whole.
pub const ENTRIES_PER_DIRECTORY_MAX: u32 = 8_192;

/// What a mark costs besides its path, in bytes: measured nodes of the two trees, rounded up.
const MARK_BYTES: usize = 256;

/// What is lost when a mark of a name is taken up by one of a directory.
const CONTENT: Extent = Extent::Entry(Need::Content);

/// Marks that may be taken by age and by place.
#[derive(Debug)]
pub struct MarkSet {
    marks: BTreeMap<RelPath, Held>,
    order: BTreeSet<(Instant, u64, RelPath)>,
    /// How many `Entry` marks lie directly in a directory.
    entries: HashMap<RelPath, u32>,
    bytes: usize,
    bytes_max: usize,
    next_sequence: u64,
}

#[derive(Debug)]
struct Held {
    extent: Extent,
    born: Instant,
    /// `None` while parked: something in flight has to end first.
    due: Option<Instant>,
    /// Waits for quiet; becomes false as soon as something is to be looked at regardless.
    is_quiet_wait: bool,
    distrust: Distrust,
    /// Content was reported to have changed at this very path.
    is_content: bool,
    sequence: u64,
}

impl Held {
    fn mark(&self, path: &RelPath) -> Mark {
        let Self { extent, born, distrust, .. } = *self;
        Mark { path: path.clone(), extent, born, distrust }
    }
}

impl MarkSet {
    /// An empty set that uses about `bytes_max` bytes at the most.
    #[must_use]
    pub fn new(bytes_max: usize) -> Self {
        Self {
            marks: BTreeMap::new(),
            order: BTreeSet::new(),
            entries: HashMap::new(),
            bytes: 0,
            bytes_max: bytes_max.max(4 * MARK_BYTES),
            next_sequence: 0,
        }
    }

    /// How many marks there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.marks.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.marks.is_empty()
    }

    /// What the set occupies, in bytes, estimated.
    #[must_use]
    pub fn used_bytes(&self) -> usize {
        self.bytes
    }

    /// Marks `path`, which may differ since `born`.
    pub fn insert(
        &mut self,
        path: &RelPath,
        extent: Extent,
        urgency: Urgency,
        born: Instant,
        now: Instant,
    ) {
        if let Some(above) = self.covering_above(path, extent) {
            self.merge(&above, Extent::LEAST, urgency, born, now);
            if extent == CONTENT {
                self.distrust(&above, Distrust::Edits);
            }
            return;
        }
        self.place(path, extent, urgency, born, now);
        if let Some(parent) = path.parent()
            && self.entries.get(&parent).is_some_and(|&count| count > ENTRIES_PER_DIRECTORY_MAX)
        {
            self.insert(&parent, Extent::Directory, Urgency::Now, born, now);
        }
        if self.bytes > self.bytes_max {
            self.coarsen(now);
        }
    }

    /// Has the mark that covers `path`, if there is one, distrust so much at least.
    pub fn distrust(&mut self, path: &RelPath, distrust: Distrust) {
        let above =
            self.covering_above(path, Extent::LEAST).filter(|_| !self.marks.contains_key(path));
        if let Some(held) = self.marks.get_mut(above.as_ref().unwrap_or(path)) {
            held.distrust = held.distrust.max(distrust);
        }
    }

    /// What may differ at `path` of what looks the same: by a mark there or above.
    #[must_use]
    pub fn distrust_of(&self, path: &RelPath) -> Distrust {
        let above = self.covering_above(path, Extent::LEAST);
        let at = [Some(path), above.as_ref()].into_iter().flatten();
        at.map(|path| self.distrust_at(path)).max().unwrap_or_default()
    }

    fn distrust_at(&self, path: &RelPath) -> Distrust {
        self.marks.get(path).map_or(Distrust::Nothing, |held| {
            if held.is_content { held.distrust.max(Distrust::Edits) } else { held.distrust }
        })
    }

    /// Takes out the mark that has been due longest, if one is due at `now`.
    pub fn pop_due(&mut self, now: Instant) -> Option<Mark> {
        let (due, _, path) = self.order.first()?;
        if *due > now {
            return None;
        }
        let path = path.clone();
        self.take(&path)
    }

    /// The mark that [`MarkSet::pop_due`] would take.
    #[must_use]
    pub fn peek_due(&self, now: Instant) -> Option<(&RelPath, Extent)> {
        let (_, _, path) = self.order.first().filter(|(due, _, _)| *due <= now)?;
        Some((path, self.marks[path].extent))
    }

    /// When the next mark is due; `None` if all are parked or there are none.
    #[must_use]
    pub fn next_due(&self) -> Option<Instant> {
        self.order.first().map(|(due, _, _)| *due)
    }

    /// Puts `mark` back.
    pub fn put_back(&mut self, mark: &Mark, now: Instant) {
        self.insert(&mark.path, mark.extent, Urgency::Now, mark.born, now);
        self.distrust(&mark.path, mark.distrust);
    }

    /// Puts `mark` back, not to be taken before [`MarkSet::unpark`] is called for its path.
    pub fn park(&mut self, mark: &Mark, now: Instant) {
        self.put_back(mark, now);
        if let Some(held) = self.marks.get_mut(&mark.path)
            && let Some(due) = held.due.take()
        {
            self.order.remove(&(due, held.sequence, mark.path.clone()));
        }
    }

    /// Makes the mark at `path` due, if there is one.
    pub fn unpark(&mut self, path: &RelPath, now: Instant) {
        if let Some(held) = self.marks.get_mut(path)
            && held.due.is_none()
        {
            held.due = Some(now);
            self.order.insert((now, held.sequence, path.clone()));
        }
    }

    /// Makes the mark at `path` due, if there is one that is not parked.
    pub fn hasten(&mut self, path: &RelPath, now: Instant) {
        if let Some(held) = self.marks.get_mut(path)
            && let Some(due) = held.due.filter(|&due| due > now)
        {
            held.due = Some(now);
            self.order.remove(&(due, held.sequence, path.clone()));
            self.order.insert((now, held.sequence, path.clone()));
        }
    }

    /// Takes out the mark at exactly `path`.
    pub fn take(&mut self, path: &RelPath) -> Option<Mark> {
        let held = self.marks.remove(path)?;
        if let Some(due) = held.due {
            self.order.remove(&(due, held.sequence, path.clone()));
        }
        self.bytes -= MARK_BYTES + path.as_bytes().len();
        if matches!(held.extent, Extent::Entry(_)) {
            self.count_entry(path, -1);
        }
        Some(held.mark(path))
    }

    /// Moves the marks below `from` to the same places below `to`.
    pub fn rebase(&mut self, from: &RelPath, to: &RelPath, now: Instant) {
        for path in self.paths_below(from) {
            let distrust = self.distrust_at(&path);
            let Some(mark) = self.take(&path) else { continue };
            let moved = path.rebased(from, to).ok().flatten();
            // Too long a path cannot be marked by itself; the subtree it lies in can.
            let least = if moved.is_none() { Distrust::Edits } else { Distrust::Nothing };
            let distrust = distrust.max(least);
            let (path, extent) =
                moved.map_or((to.clone(), Extent::Subtree), |at| (at, mark.extent));
            self.put_back(&Mark { path, extent, distrust, ..mark }, now);
        }
    }

    /// Whether a mark says that the entry at `path` may differ.
    #[must_use]
    pub fn covers(&self, path: &RelPath) -> bool {
        self.marks.contains_key(path) || self.covering_above(path, Extent::LEAST).is_some()
    }

    /// Whether a mark says that content at `path` may differ.
    #[must_use]
    pub fn has_content_at(&self, path: &RelPath) -> bool {
        let is_content = |held: &Held| held.extent == Extent::Entry(Need::Content);
        self.marks.get(path).is_some_and(is_content)
    }

    /// Since when the oldest mark has been there that is at `path` or covers it from above.
    #[must_use]
    pub fn born_at(&self, path: &RelPath) -> Option<Instant> {
        let above = self.covering_above(path, Extent::LEAST);
        let at = [Some(path), above.as_ref()];
        at.into_iter().flatten().filter_map(|path| self.marks.get(path)).map(|held| held.born).min()
    }

    /// Since when the oldest mark has been there that is below `path`.
    #[must_use]
    pub fn born_below(&self, path: &RelPath) -> Option<Instant> {
        self.paths_below(path).iter().map(|below| self.marks[below].born).min()
    }

    /// Since when the oldest mark has been there.
    #[must_use]
    pub fn oldest_born(&self) -> Option<Instant> {
        self.marks.values().map(|held| held.born).min()
    }

    /// All marks, in bytewise order of their paths.
    pub fn iter(&self) -> impl Iterator<Item = Mark> + '_ {
        self.marks.iter().map(|(path, held)| held.mark(path))
    }

    /// The path of a mark above `path` that covers a mark of `extent` there.
    fn covering_above(&self, path: &RelPath, extent: Extent) -> Option<RelPath> {
        let bytes = path.as_bytes();
        let mut end = bytes.len();
        let mut is_parent = true;
        while end > 0 {
            end = bytes[..end].iter().rposition(|&byte| byte == b'/').unwrap_or(0);
            if let Some((above, held)) = self.marks.get_key_value(&bytes[..end]) {
                let covers = match held.extent {
                    Extent::Subtree => true,
                    Extent::Directory => is_parent && matches!(extent, Extent::Entry(_)),
                    Extent::Entry(_) => false,
                };
                if covers {
                    return Some(above.clone());
                }
            }
            is_parent = false;
        }
        None
    }

    /// Makes the mark at exactly `path`, or adds to it, in place of those below that it covers.
    fn place(
        &mut self,
        path: &RelPath,
        extent: Extent,
        urgency: Urgency,
        born: Instant,
        now: Instant,
    ) {
        let (mut oldest, mut distrust) = (born, Distrust::Nothing);
        let is_entry = matches!(extent, Extent::Entry(_));
        for below in if is_entry { Vec::new() } else { self.paths_below(path) } {
            let is_covered = extent == Extent::Subtree
                || (matches!(self.marks[&below].extent, Extent::Entry(_))
                    && below.parent().as_ref() == Some(path));
            if is_covered {
                distrust = distrust.max(self.distrust_at(&below));
                oldest = self.take(&below).map_or(oldest, |mark| oldest.min(mark.born));
            }
        }
        self.merge(path, extent, urgency, oldest, now);
        self.distrust(path, distrust);
    }

    /// Adds to the mark at exactly `path`, making it if need be.
    fn merge(
        &mut self,
        path: &RelPath,
        extent: Extent,
        urgency: Urgency,
        born: Instant,
        now: Instant,
    ) {
        let (due, is_quiet_wait) = match urgency {
            Urgency::Now => (now, false),
            Urgency::WhenQuiet => (now + Urgency::QUIET, true),
            Urgency::At(due) => (due, false),
        };
        if let Some(held) = self.marks.get_mut(path) {
            let was_entry = matches!(held.extent, Extent::Entry(_));
            held.extent = held.extent.max(extent);
            held.is_content |= extent == CONTENT;
            held.born = held.born.min(born);
            if let Some(old_due) = held.due {
                let new_due = if held.is_quiet_wait && is_quiet_wait {
                    due.min(held.born + Urgency::QUIET_MAX).max(old_due)
                } else {
                    due.min(old_due)
                };
                held.is_quiet_wait &= is_quiet_wait;
                held.due = Some(new_due);
                if new_due != old_due {
                    self.order.remove(&(old_due, held.sequence, path.clone()));
                    self.order.insert((new_due, held.sequence, path.clone()));
                }
            }
            if was_entry && !matches!(extent, Extent::Entry(_)) {
                self.count_entry(path, -1);
            }
            return;
        }
        let sequence = self.next_sequence;
        self.next_sequence += 1;
        let held = Held {
            extent,
            born,
            due: Some(due),
            is_quiet_wait,
            distrust: Distrust::Nothing,
            is_content: extent == CONTENT,
            sequence,
        };
        self.marks.insert(path.clone(), held);
        self.order.insert((due, sequence, path.clone()));
        self.bytes += MARK_BYTES + path.as_bytes().len();
        if matches!(extent, Extent::Entry(_)) {
            self.count_entry(path, 1);
        }
    }

    fn count_entry(&mut self, path: &RelPath, change: i32) {
        let Some(parent) = path.parent() else { return };
        let count = self.entries.entry(parent.clone()).or_default();
        *count = count.saturating_add_signed(change);
        if *count == 0 {
            self.entries.remove(&parent);
        }
    }

    /// The marked paths below `path`, itself excluded.
    fn paths_below(&self, path: &RelPath) -> Vec<RelPath> {
        if path.is_root() {
            return self.marks.keys().filter(|marked| !marked.is_root()).cloned().collect();
        }
        let start = [path.as_bytes(), b"/"].concat();
        let end = [path.as_bytes(), b"0"].concat();
        let range = (Bound::Included(&start[..]), Bound::Excluded(&end[..]));
        self.marks.range::<[u8], _>(range).map(|(marked, _)| marked.clone()).collect()
    }
}

/// The entry `name` of `directory` as a path; the directory itself where that would be too long.
#[must_use]
pub fn entry_path(directory: &RelPath, name: &Name) -> RelPath {
    directory.join(name).unwrap_or_else(|_| directory.clone())
}
