//! The users and groups of this machine, as its system libraries know them: local ones and those of directory services.

use nix::unistd::{Gid, Group, Uid, User};

use crate::model::account::AccountKind;
use crate::ports::accounts::Accounts;

/// What `getpwuid_r`, `getgrgid_r` and their like say. What cannot be told at present counts as having no name.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemAccounts;

impl Accounts for SystemAccounts {
    fn name(&self, kind: AccountKind, id: u32) -> Option<Box<[u8]>> {
        let name = match kind {
            AccountKind::User => User::from_uid(Uid::from_raw(id)).ok()??.name,
            AccountKind::Group => Group::from_gid(Gid::from_raw(id)).ok()??.name,
        };
        // One that is not UTF-8 is told with replacements: it is not the name.
        let is_exact = !name.contains(char::REPLACEMENT_CHARACTER);
        is_exact.then(|| name.into_bytes().into())
    }

    fn id(&self, kind: AccountKind, name: &[u8]) -> Option<u32> {
        let name = std::str::from_utf8(name).ok()?;
        Some(match kind {
            AccountKind::User => User::from_name(name).ok()??.uid.as_raw(),
            AccountKind::Group => Group::from_name(name).ok()??.gid.as_raw(),
        })
    }
}
