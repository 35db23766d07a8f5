//! Numbers of users and groups of the source, and those of the same names at the sink.
//!
//! The sink tells of what it has by the source's numbers, so that both ends agree about what is equal. A number without
//! a name that both ends know stays as it is. Where two numbers of the source come to one at the sink, what has it is
//! told as the least of them; [`OwnerMap::told`] says of each number of the source as which one it comes back.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use crate::model::account::{AccountKind, renumbered};
use crate::model::metadata::Metadata;

/// What a number of the sink's is told as that no number of the source's comes to: the number that nobody has.
const NOBODY: u32 = u32::MAX;

/// Which numbers of the source are which at the sink.
#[derive(Debug, Default)]
pub struct OwnerMap {
    users: Numbers,
    groups: Numbers,
}

#[derive(Debug, Default)]
struct Numbers {
    to_local: BTreeMap<u32, u32>,
    to_source: BTreeMap<u32, BTreeSet<u32>>,
}

impl Numbers {
    fn local(&self, id: u32) -> u32 {
        self.to_local.get(&id).copied().unwrap_or(id)
    }

    fn source(&self, id: u32) -> u32 {
        let known = self.to_source.get(&id).and_then(BTreeSet::first).copied();
        // What stays as it is counts as well.
        let same = (self.local(id) == id).then_some(id);
        known.into_iter().chain(same).min().unwrap_or(NOBODY)
    }

    fn insert(&mut self, source: u32, local: u32) {
        if let Some(before) = self.to_local.insert(source, local)
            && let Some(sources) = self.to_source.get_mut(&before)
        {
            sources.remove(&source);
        }
        self.to_source.entry(local).or_default().insert(source);
    }
}

impl OwnerMap {
    /// The source's `source` has a name that the sink's `local` has. The superuser stays himself and nobody else
    /// becomes him.
    pub fn insert(&mut self, kind: AccountKind, source: u32, local: u32) {
        if ![source, local].iter().any(|&id| id == 0 || id == NOBODY) {
            self.numbers_mut(kind).insert(source, local);
        }
    }

    /// The sink's number for the source's `id`.
    #[must_use]
    pub fn local(&self, kind: AccountKind, id: u32) -> u32 {
        self.numbers(kind).local(id)
    }

    /// The source's number for the sink's `id`.
    #[must_use]
    pub fn source(&self, kind: AccountKind, id: u32) -> u32 {
        self.numbers(kind).source(id)
    }

    /// As which number the source's `id` comes back from the sink.
    #[must_use]
    pub fn told(&self, kind: AccountKind, id: u32) -> u32 {
        self.source(kind, self.local(kind, id))
    }

    /// `metadata` of the source as the sink has to set it.
    #[must_use]
    pub fn localised(&self, metadata: &Metadata) -> Metadata {
        let attributes = match renumbered(&metadata.attributes, |kind, id| self.local(kind, id)) {
            Cow::Borrowed(same) => same.clone(),
            Cow::Owned(other) => other,
        };
        let (uid, gid) = (metadata.uid, metadata.gid);
        Metadata {
            uid: self.local(AccountKind::User, uid),
            gid: self.local(AccountKind::Group, gid),
            attributes,
            ..metadata.clone()
        }
    }

    fn numbers(&self, kind: AccountKind) -> &Numbers {
        match kind {
            AccountKind::User => &self.users,
            AccountKind::Group => &self.groups,
        }
    }

    fn numbers_mut(&mut self, kind: AccountKind) -> &mut Numbers {
        match kind {
            AccountKind::User => &mut self.users,
            AccountKind::Group => &mut self.groups,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const USER: AccountKind = AccountKind::User;

    #[test]
    fn what_has_a_name_at_both_ends_gets_the_number_of_there() {
        let mut map = OwnerMap::default();
        map.insert(USER, 1_000, 1_001);

        assert_eq!((map.local(USER, 1_000), map.local(USER, 5)), (1_001, 5));
        assert_eq!((map.source(USER, 1_001), map.source(USER, 5)), (1_000, 5));
        assert_eq!(map.local(AccountKind::Group, 1_000), 1_000, "groups have numbers of their own");
        assert_eq!(map.source(USER, 1_000), NOBODY, "no file of the source comes to have it");
    }

    #[test]
    fn names_may_swap_numbers() {
        let mut map = OwnerMap::default();
        map.insert(USER, 1, 2);
        map.insert(USER, 2, 1);

        for id in [1, 2, 3] {
            assert_eq!(map.told(USER, id), id);
        }
    }

    #[test]
    fn two_that_come_to_one_are_told_as_the_least() {
        let mut map = OwnerMap::default();
        map.insert(USER, 7, 9);
        map.insert(USER, 8, 9);

        assert_eq!([7, 8, 9].map(|id| map.local(USER, id)), [9; 3]);
        assert_eq!([7, 8, 9].map(|id| map.told(USER, id)), [7; 3]);
    }

    #[test]
    fn nobody_becomes_the_superuser_and_a_new_name_takes_the_place_of_the_old() {
        let mut map = OwnerMap::default();
        map.insert(USER, 1_000, 0);
        map.insert(USER, 0, 1_000);
        assert_eq!((map.local(USER, 1_000), map.local(USER, 0)), (1_000, 0));

        map.insert(USER, 5, 6);
        map.insert(USER, 5, 7);
        assert_eq!((map.local(USER, 5), map.source(USER, 6), map.source(USER, 7)), (7, 6, 5));
    }
}
