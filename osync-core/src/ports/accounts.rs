//! Who the users and groups of a machine are, and which of them a source has told of.

use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{PoisonError, RwLock};

use crate::model::account::{Account, AccountKind, each_account};
use crate::model::metadata::Metadata;

/// The users and groups of one machine.
///
/// Called from readers and writers; may take as long as a directory service takes.
pub trait Accounts: std::fmt::Debug + Send + Sync {
    /// The name of number `id`; `None` if it has none, or nobody can tell at present.
    fn name(&self, kind: AccountKind, id: u32) -> Option<Box<[u8]>>;

    /// The number of `name`; `None` as with [`Accounts::name`].
    fn id(&self, kind: AccountKind, name: &[u8]) -> Option<u32>;
}

/// The accounts that metadata has spoken of so far, those without a name left out.
///
/// A source adds to it before it tells the metadata; whoever passes that on can tell the names before.
#[derive(Debug, Default)]
pub struct Roster {
    /// The last user and group without a list that were seen: most entries have the same as the one before.
    recent: AtomicU64,
    seen: RwLock<HashSet<(AccountKind, u32)>>,
    named: RwLock<Vec<Account>>,
}

impl Roster {
    /// Takes what `metadata` speaks of; who is new is asked for among `accounts`.
    pub fn note(&self, metadata: &Metadata, accounts: &dyn Accounts) {
        let pair = u64::from(metadata.uid) << 32 | u64::from(metadata.gid);
        let has_lists = !metadata.attributes.full().is_empty();
        if !has_lists && self.recent.load(Ordering::Acquire) == pair {
            return;
        }
        let mut fresh = Vec::new();
        {
            let seen = self.seen.read().unwrap_or_else(PoisonError::into_inner);
            if seen.len() < Account::COUNT_MAX {
                each_account(metadata, |kind, id| {
                    if id != 0 && !seen.contains(&(kind, id)) {
                        fresh.push((kind, id));
                    }
                });
            }
        }
        for (kind, id) in fresh {
            // Before it counts as seen, so that who finds it there knows that it has been told.
            let name = accounts.name(kind, id);
            let account = name.and_then(|name| Account::new(kind, id, &name));
            let mut seen = self.seen.write().unwrap_or_else(PoisonError::into_inner);
            if seen.len() < Account::COUNT_MAX && !seen.contains(&(kind, id)) {
                let mut named = self.named.write().unwrap_or_else(PoisonError::into_inner);
                named.extend(account);
                seen.insert((kind, id));
            }
        }
        self.recent.store(pair, Ordering::Release);
    }

    /// The accounts from the `from`-th on.
    #[must_use]
    pub fn named_from(&self, from: usize) -> Vec<Account> {
        let named = self.named.read().unwrap_or_else(PoisonError::into_inner);
        named.get(from..).unwrap_or_default().to_vec()
    }
}
