//! Names that go, move, or turn out to be none.

use std::ops::Bound;

use crate::model::metadata::Metadata;
use crate::model::name::Name;
use crate::model::need::Need;
use crate::model::rel_path::RelPath;
use crate::queue::links::thing::Standing;
use crate::queue::links::{Links, THING_BYTES, name_bytes};

/// What a listing has at a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    /// A directory.
    Directory,
    /// Something that has no other name.
    Single,
    /// Something that has others, or may have.
    Other,
}

impl Found {
    /// What lies where there is this `metadata`.
    #[must_use]
    pub fn of(metadata: &Metadata) -> Self {
        match (metadata.kind.is_directory(), metadata.is_linked()) {
            (true, _) => Self::Directory,
            (false, true) => Self::Other,
            (false, false) => Self::Single,
        }
    }

    /// What is known where nothing was looked at but whether there is a directory.
    #[must_use]
    pub fn named(is_directory: bool) -> Self {
        if is_directory { Self::Directory } else { Self::Other }
    }
}

impl Links {
    /// `path` is no name of anything any more.
    pub fn forget(&mut self, path: &RelPath) {
        let Some(object) = self.objects.remove(path) else { return };
        self.bytes -= name_bytes(path);
        let Some(thing) = self.things.get_mut(&object) else { return };
        thing.remove(path);
        thing.names_seen = thing.names_seen.saturating_sub(1);
        thing.is_shrinking = true;
        let remaining = thing.leader().or_else(|| thing.names().next());
        let need = if thing.reports.are_open() { Need::Content } else { Need::Metadata };
        self.doubtful.extend(remaining.map(|name| (name.clone(), need)));
        match (thing.len(), thing.names_seen) {
            (0, _) => self.drop_thing(object),
            (1, 0 | 1) => self.recent.push_back(object),
            _ => {}
        }
    }

    /// `path` is a name of something else: what follows it on its way may find that there.
    pub(super) fn replaced(&mut self, path: &RelPath) {
        if let Some(thing) = self.thing_of(path) {
            thing.lose_followers();
        }
        self.forget(path);
    }

    /// Neither `path` nor anything below it is a name of anything any more.
    pub fn forget_within(&mut self, path: &RelPath) {
        for name in self.within(path) {
            self.forget(&name);
        }
    }

    /// The names below `path`.
    #[must_use]
    pub fn below(&self, path: &RelPath) -> Vec<RelPath> {
        let mut below = self.within(path);
        below.retain(|name| name != path);
        below
    }

    /// What lay at and below `from` lies at `to`, in place of what was there; the sink may not have it so yet.
    pub fn rebase(&mut self, from: &RelPath, to: &RelPath) {
        if self.objects.is_empty() {
            return;
        }
        for name in self.within(to) {
            self.replaced(&name);
        }
        for name in self.within(from) {
            let Ok(Some(moved)) = name.rebased(from, to) else {
                self.forget(&name);
                continue;
            };
            let Some(object) = self.objects.remove(&name) else { continue };
            self.bytes = self.bytes - name_bytes(&name) + name_bytes(&moved);
            if let Some(thing) = self.things.get_mut(&object) {
                thing.remove(&name);
                thing.set(&moved, Standing::Unknown);
            }
            self.objects.insert(moved, object);
        }
    }

    /// The names in the part of `directory` above `after` up to `until` that are none: a listing has no such entry, or
    /// one that is no directory and has nothing below it, or one that has no other name. `listed` tells of an entry, if
    /// there is one.
    #[must_use]
    pub fn missing(
        &self,
        directory: &RelPath,
        after: Option<&Name>,
        until: Option<&Name>,
        listed: impl Fn(&[u8]) -> Option<Found>,
    ) -> Vec<RelPath> {
        let mut missing = Vec::new();
        let mut start = directory.as_bytes().to_vec();
        if !start.is_empty() {
            start.push(b'/');
        }
        let prefix_bytes = start.len();
        let prefix = start.clone();
        while let Some((path, _)) =
            self.objects.range::<[u8], _>((Bound::Included(&start[..]), Bound::Unbounded)).next()
            && path.as_bytes().starts_with(&prefix)
        {
            let rest = &path.as_bytes()[prefix_bytes..];
            let length = rest.iter().position(|&byte| byte == b'/');
            let name = &rest[..length.unwrap_or(rest.len())];
            if until.is_some_and(|until| name > until.as_bytes()) && length.is_none() {
                break;
            }
            let is_in_part = after.is_none_or(|after| name > after.as_bytes())
                && until.is_none_or(|until| name <= until.as_bytes());
            let is_there = match listed(name) {
                Some(Found::Directory) => true,
                Some(Found::Single) => length.is_none() && !self.is_linked(path),
                Some(Found::Other) => length.is_none(),
                None => false,
            };
            if is_in_part && !is_there {
                missing.push(path.clone());
            }
            start.truncate(prefix_bytes);
            if length.is_some() && (is_there || !is_in_part) {
                // Nothing below it is of interest.
                start.extend_from_slice(name);
                start.push(b'0');
            } else {
                start.extend_from_slice(rest);
                start.push(0);
            }
        }
        missing
    }

    /// The names that are to be looked at once more, and what for, since the last call.
    pub fn take_doubtful(&mut self) -> Vec<(RelPath, Need)> {
        let mut doubtful = std::mem::take(&mut self.doubtful);
        doubtful.retain(|(name, _)| self.objects.contains_key(name));
        doubtful
    }

    /// Forgets the names of `object` other than `path`: nobody need look at that once more because of them.
    pub(super) fn keep_only(&mut self, path: &RelPath, object: u64, others: &[RelPath]) {
        let doubtful_before = self.doubtful.len();
        for name in others {
            self.forget(name);
        }
        self.doubtful.truncate(doubtful_before);
        debug_assert!(self.objects.get(path) == Some(&object), "it is still a name of that");
        if let Some(thing) = self.things.get_mut(&object) {
            thing.names_seen = 1;
        }
    }

    /// The names at and below `path`.
    pub(super) fn within(&self, path: &RelPath) -> Vec<RelPath> {
        let from = (Bound::Included(path.as_bytes()), Bound::Unbounded);
        let names = self.objects.range::<[u8], _>(from).map(|(name, _)| name);
        // Between a directory and what is in it lie its namesakes with a longer name.
        let end = [path.as_bytes(), b"0"].concat();
        let names = names.take_while(|name| path.is_root() || name.as_bytes() < &end[..]);
        names.filter(|name| name.is_within(path)).cloned().collect()
    }

    pub(super) fn drop_single(&mut self, object: u64) {
        let Some(thing) = self.things.get(&object).filter(|thing| thing.names_seen <= 1) else {
            return;
        };
        let names: Vec<RelPath> = thing.names().cloned().collect();
        for name in &names {
            self.forget(name);
        }
    }

    fn drop_thing(&mut self, object: u64) {
        let was_incomplete = self.incomplete.remove(&object);
        if let Some(thing) = self.things.remove(&object) {
            self.bytes -= THING_BYTES;
            // Through the name that is gone others may have been changed.
            self.is_one_lost |= was_incomplete && thing.names_seen > 0 && thing.searched.is_none();
        }
    }
}
