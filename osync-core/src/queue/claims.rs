//! Which names have work in flight.
//!
//! Work on a name is exclusive: nothing else touches that name, or anything below it, until the sink has
//! confirmed. So what is in flight never overlaps, the sink may do it in any order across directories,
//! and a name is always brought to the state that was read last. The one exception is making a
//! directory, which destroys nothing: work inside it may follow at once.
//!
//! What is on its way as a further name of something follows a name that must stay as it is until then. Any number may
//! follow one, and nobody may change it meanwhile.
//!
//! While work in a directory is in flight the newest metadata read of the directory itself is kept
//! here, so that whichever message about it goes last carries the latest.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Bound;
use std::time::Instant;

use crate::model::metadata::Metadata;
use crate::model::name::Name;
use crate::model::rel_path::RelPath;
use crate::model::work_id::WorkId;

/// How a name is claimed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Claim {
    /// The name shall become a directory if it is not one; what is below is free.
    Make,
    /// The name and everything below.
    Exclusive,
}

/// All claims of one sink's work in flight.
#[derive(Debug, Default)]
pub struct Claims {
    directories: BTreeMap<RelPath, Directory>,
    /// Names that are followed, and by which work.
    followed: BTreeMap<RelPath, BTreeSet<WorkId>>,
    /// The same by work.
    follows: HashMap<WorkId, Vec<RelPath>>,
}

#[derive(Debug, Default)]
struct Directory {
    works: BTreeSet<WorkId>,
    names: HashMap<Name, (WorkId, Claim)>,
    own: Option<(Instant, Metadata)>,
}

impl Claims {
    /// The work because of which nothing may begin in `directory` at all.
    #[must_use]
    pub fn conflict_above(&self, directory: &RelPath) -> Option<WorkId> {
        let bytes = directory.as_bytes();
        let mut end = bytes.len();
        while end > 0 {
            let slash = bytes[..end].iter().rposition(|&byte| byte == b'/');
            let (parent, name) = match slash {
                Some(slash) => (&bytes[..slash], &bytes[slash + 1..end]),
                None => (&bytes[..0], &bytes[..end]),
            };
            if let Some(held) = self.directories.get(parent)
                && let Some((work, Claim::Exclusive)) = held.names.get(name)
            {
                return Some(*work);
            }
            end = slash.unwrap_or(0);
        }
        None
    }

    /// The work because of which `name` of `directory` may not be claimed, [`Claims::conflict_above`] aside.
    #[must_use]
    pub fn conflict_at(&self, directory: &RelPath, name: &Name, claim: Claim) -> Option<WorkId> {
        if let Some((work, _)) =
            self.directories.get(directory).and_then(|held| held.names.get(name))
        {
            return Some(*work);
        }
        if !self.followed.is_empty()
            && let Some(work) = self.follower_of(directory, name, claim)
        {
            return Some(work);
        }
        if claim == Claim::Make || self.directories.is_empty() {
            return None;
        }
        // Told without making a path: of most directories nothing below is in flight.
        let behind = (Bound::Excluded(directory.as_bytes()), Bound::Unbounded);
        let next = self.directories.range::<[u8], _>(behind).next();
        if !next.is_some_and(|(path, _)| path.as_bytes().starts_with(directory.as_bytes())) {
            return None;
        }
        let mut start = directory.as_bytes().to_vec();
        if !start.is_empty() {
            start.push(b'/');
        }
        start.extend_from_slice(name.as_bytes());
        if let Some(held) = self.directories.get(&start[..]) {
            return held.works.first().copied();
        }
        let mut end = start.clone();
        start.push(b'/');
        end.push(b'0');
        self.directories
            .range::<[u8], _>((Bound::Included(&start[..]), Bound::Excluded(&end[..])))
            .find_map(|(_, held)| held.works.first().copied())
    }

    /// The work because of which nothing may follow the name `to`.
    #[must_use]
    pub fn conflict_of_follower(&self, to: &RelPath) -> Option<WorkId> {
        let (directory, name) = to.split()?;
        self.conflict_above(&directory).or_else(|| {
            let held = self.directories.get(&directory)?;
            held.names.get(&name).map(|(work, _)| *work)
        })
    }

    /// The work that follows `name` of `directory` or, if that is to be destroyed, something below.
    fn follower_of(&self, directory: &RelPath, name: &Name, claim: Claim) -> Option<WorkId> {
        let path = directory.join(name).ok()?;
        let at = (Bound::Included(path.as_bytes()), Bound::Unbounded);
        let mut at_and_behind = self.followed.range::<[u8], _>(at);
        let (_, works) = if claim == Claim::Make {
            at_and_behind.next().filter(|(followed, _)| **followed == path)
        } else {
            // Between a name and what is below it lie its namesakes with a longer one.
            let mut near = at_and_behind
                .take_while(|(followed, _)| followed.as_bytes().starts_with(path.as_bytes()));
            near.find(|(followed, _)| followed.is_within(&path))
        }?;
        works.first().copied()
    }

    /// Whether work on `directory`, or at or below it, is in flight.
    #[must_use]
    pub fn is_busy(&self, directory: &RelPath) -> bool {
        directory.split().is_none_or(|(parent, name)| {
            self.conflict_at(&parent, &name, Claim::Exclusive).is_some()
        })
    }

    /// The names of `directory` in or below which work is in flight.
    #[must_use]
    pub fn busy_below(&self, directory: &RelPath) -> BTreeSet<Name> {
        let behind = (Bound::Excluded(directory.as_bytes()), Bound::Unbounded);
        let paths = self.directories.range::<[u8], _>(behind).map(|(path, _)| path);
        // Between a directory and what is in it lie its namesakes with a longer name.
        let near = paths.take_while(|path| path.as_bytes().starts_with(directory.as_bytes()));
        near.filter_map(|path| Name::new(path.below(directory)?).ok()).collect()
    }

    /// The work in flight in `directory` itself.
    pub fn works_in(&self, directory: &RelPath) -> impl Iterator<Item = WorkId> + '_ {
        self.directories.get(directory).into_iter().flat_map(|held| held.works.iter().copied())
    }

    /// Records that `work` is in flight in `directory`; names are claimed one by one.
    pub fn begin(&mut self, work: WorkId, directory: &RelPath) {
        self.directories.entry(directory.clone()).or_default().works.insert(work);
    }

    /// Claims `name` for `work`, which has begun in `directory` and has no conflict.
    pub fn claim(&mut self, work: WorkId, directory: &RelPath, name: &Name, claim: Claim) {
        if let Some(held) = self.directories.get_mut(directory) {
            held.names.insert(name.clone(), (work, claim));
        }
    }

    /// `work` follows the name `to`, which has no conflict.
    pub fn follow(&mut self, work: WorkId, to: &RelPath) {
        if self.followed.entry(to.clone()).or_default().insert(work) {
            self.follows.entry(work).or_default().push(to.clone());
        }
    }

    /// Turns the exclusive claim on `name` into one that leaves what is below free.
    pub fn relax(&mut self, work: WorkId, directory: &RelPath, name: &Name) {
        self.claim(work, directory, name, Claim::Make);
    }

    /// Gives up the claim on `name`.
    pub fn release(&mut self, directory: &RelPath, name: &Name) {
        if let Some(held) = self.directories.get_mut(directory) {
            held.names.remove(name);
        }
    }

    /// Ends `work` in `directory` with all its claims there, and with what it follows.
    pub fn end(&mut self, work: WorkId, directory: &RelPath) {
        for to in self.follows.remove(&work).unwrap_or_default() {
            if let Some(works) = self.followed.get_mut(&to) {
                works.remove(&work);
                if works.is_empty() {
                    self.followed.remove(&to);
                }
            }
        }
        let Some(held) = self.directories.get_mut(directory) else { return };
        held.works.remove(&work);
        if held.works.is_empty() {
            self.directories.remove(directory);
        } else {
            held.names.retain(|_, (holder, _)| *holder != work);
        }
    }

    /// Notes `own`, read of `directory` at `read_at`; returns the newest that is known.
    pub fn newest_own(
        &mut self,
        directory: &RelPath,
        read_at: Instant,
        own: Option<Metadata>,
    ) -> Option<Metadata> {
        let Some(held) = self.directories.get_mut(directory) else { return own };
        if let Some(own) = own
            && held.own.as_ref().is_none_or(|(known_at, _)| *known_at <= read_at)
        {
            held.own = Some((read_at, own));
        }
        held.own.as_ref().map(|(_, own)| own.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> RelPath {
        RelPath::new(text.as_bytes()).unwrap()
    }

    fn name(text: &str) -> Name {
        Name::new(text.as_bytes()).unwrap()
    }

    #[test]
    fn exclusive_claims_exclude_everything_at_and_below() {
        let mut claims = Claims::default();
        claims.begin(WorkId(1), &path("a"));
        claims.claim(WorkId(1), &path("a"), &name("b"), Claim::Exclusive);

        assert_eq!(claims.conflict_at(&path("a"), &name("b"), Claim::Make), Some(WorkId(1)));
        assert_eq!(claims.conflict_at(&path("a"), &name("c"), Claim::Exclusive), None);
        assert_eq!(claims.conflict_above(&path("a/b")), Some(WorkId(1)));
        assert_eq!(claims.conflict_above(&path("a/b/c/d")), Some(WorkId(1)));
        assert_eq!(claims.conflict_above(&path("a")), None);
    }

    #[test]
    fn work_below_keeps_a_name_from_being_destroyed() {
        let mut claims = Claims::default();
        claims.begin(WorkId(1), &path("a/b/c"));

        assert_eq!(
            claims.conflict_at(&RelPath::root(), &name("a"), Claim::Exclusive),
            Some(WorkId(1))
        );
        assert_eq!(claims.conflict_at(&path("a/b"), &name("c"), Claim::Exclusive), Some(WorkId(1)));
        assert_eq!(claims.conflict_at(&path("a/b"), &name("c"), Claim::Make), None);
        assert_eq!(claims.conflict_at(&path("a"), &name("b-"), Claim::Exclusive), None);
        assert!(claims.is_busy(&path("a")) && claims.is_busy(&path("a/b/c")));
        assert_eq!(claims.busy_below(&RelPath::root()), BTreeSet::from([name("a")]));
        assert_eq!(claims.busy_below(&path("a/b")), BTreeSet::from([name("c")]));
        assert_eq!(claims.busy_below(&path("a/b/c")), BTreeSet::new());
        assert!(!claims.is_busy(&path("a/b-")) && !claims.is_busy(&path("a/b/c/d")));

        claims.end(WorkId(1), &path("a/b/c"));
        assert_eq!(claims.conflict_at(&RelPath::root(), &name("a"), Claim::Exclusive), None);
    }

    #[test]
    fn what_is_followed_stays_as_it_is_and_may_be_followed_by_more() {
        let mut claims = Claims::default();
        let followed = path("a/b");
        for work in [WorkId(1), WorkId(2)] {
            assert_eq!(claims.conflict_of_follower(&followed), None);
            claims.begin(work, &path("c"));
            claims.follow(work, &followed);
        }

        for (place, last) in [(path("a"), "b"), (RelPath::root(), "a")] {
            let conflict = claims.conflict_at(&place, &name(last), Claim::Exclusive);
            assert_eq!(conflict, Some(WorkId(1)), "{last}");
        }
        assert_eq!(claims.conflict_at(&path("a"), &name("b"), Claim::Make), Some(WorkId(1)));
        assert_eq!(claims.conflict_at(&RelPath::root(), &name("a"), Claim::Make), None);
        assert_eq!(claims.conflict_at(&path("a"), &name("b-"), Claim::Exclusive), None);

        claims.end(WorkId(1), &path("c"));
        let conflict = claims.conflict_at(&path("a"), &name("b"), Claim::Exclusive);
        assert_eq!(conflict, Some(WorkId(2)));
        claims.end(WorkId(2), &path("c"));
        assert_eq!(claims.conflict_at(&path("a"), &name("b"), Claim::Exclusive), None);
        claims.begin(WorkId(3), &path("a"));
        claims.claim(WorkId(3), &path("a"), &name("b"), Claim::Exclusive);
        assert_eq!(claims.conflict_of_follower(&followed), Some(WorkId(3)));
    }

    #[test]
    fn making_a_directory_leaves_its_inside_free() {
        let mut claims = Claims::default();
        claims.begin(WorkId(1), &RelPath::root());
        claims.claim(WorkId(1), &RelPath::root(), &name("a"), Claim::Make);

        assert_eq!(claims.conflict_above(&path("a")), None);
        assert_eq!(
            claims.conflict_at(&RelPath::root(), &name("a"), Claim::Exclusive),
            Some(WorkId(1))
        );
    }
}
