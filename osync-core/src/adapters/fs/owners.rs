//! Owners by name: what a sink has belongs to the users and groups of the source's names, not of its numbers.
//!
//! Who has a name here is asked again in every session, when it is needed first. Who nobody can tell of at present stays
//! who he was.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, PoisonError, RwLock};

use crate::model::account::{Account, AccountKind, renumbered};
use crate::model::attributes::Attributes;
use crate::model::metadata::Metadata;
use crate::model::owner_map::OwnerMap;
use crate::ports::accounts::Accounts;

/// A source may have been followed by others, with accounts of their own.
const NAMES_MAX: usize = 2 * Account::COUNT_MAX;

/// Translates between the numbers of the source and those of this machine.
#[derive(Debug)]
pub(super) struct Owners {
    accounts: Arc<dyn Accounts>,
    known: RwLock<Known>,
}

#[derive(Debug, Default)]
struct Known {
    map: OwnerMap,
    /// Told by the source: [`NAMES_MAX`] at the most, those beyond go by number.
    names: BTreeMap<(AccountKind, u32), Box<[u8]>>,
    /// Those of them that have not been asked for here.
    fresh: BTreeSet<(AccountKind, u32)>,
}

impl Owners {
    pub(super) fn new(accounts: Arc<dyn Accounts>) -> Self {
        Self { accounts, known: RwLock::default() }
    }

    /// Takes names that the source tells; who they are here is asked when it is needed.
    pub(super) fn learn(&self, accounts: &[Account]) {
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        for Account { kind, id, name } in accounts {
            let key = (*kind, *id);
            if known.names.len() < NAMES_MAX || known.names.contains_key(&key) {
                known.names.insert(key, name.clone());
                known.fresh.insert(key);
            }
        }
    }

    /// `metadata` of the source, with this machine's numbers.
    pub(super) fn localised(&self, metadata: &Metadata) -> Metadata {
        self.with_map(|map| map.localised(metadata))
    }

    /// Gives `metadata` of this machine the source's numbers, access lists aside.
    pub(super) fn tell(&self, metadata: &mut Metadata) {
        self.with_map(|map| {
            metadata.uid = map.source(AccountKind::User, metadata.uid);
            metadata.gid = map.source(AccountKind::Group, metadata.gid);
        });
    }

    /// As [`Owners::tell`], for access lists.
    pub(super) fn told(&self, attributes: Attributes) -> Attributes {
        let told =
            self.with_map(|map| match renumbered(&attributes, |kind, id| map.source(kind, id)) {
                Cow::Borrowed(_) => None,
                Cow::Owned(told) => Some(told),
            });
        told.unwrap_or(attributes)
    }

    /// Gives `metadata` of the source the numbers as which its own come back from here.
    pub(super) fn settle(&self, metadata: &mut Metadata) {
        self.with_map(|map| {
            metadata.uid = map.told(AccountKind::User, metadata.uid);
            metadata.gid = map.told(AccountKind::Group, metadata.gid);
        });
    }

    fn with_map<T>(&self, with: impl FnOnce(&OwnerMap) -> T) -> T {
        {
            let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
            if known.fresh.is_empty() {
                return with(&known.map);
            }
        }
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        let Known { map, names, fresh } = &mut *known;
        for (kind, id) in std::mem::take(fresh) {
            let name = names.get(&(kind, id));
            if let Some(local) = name.and_then(|name| self.accounts.id(kind, name)) {
                map.insert(kind, id, local);
            }
        }
        with(map)
    }
}
