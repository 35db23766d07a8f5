//! Users and groups of a machine, by number and by name, and where metadata speaks of them.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use crate::model::attributes::{Attribute, Attributes, Class};
use crate::model::metadata::Metadata;

/// How a POSIX access list begins: its version, little endian.
const LIST_VERSION: [u8; 4] = [2, 0, 0, 0];
/// Bytes of one entry of a list: tag, permissions, number, little endian.
const ENTRY_BYTES: usize = 8;
/// The tag of an entry for a user by number.
const TAG_USER: u16 = 0x02;
/// The tag of an entry for a group by number.
const TAG_GROUP: u16 = 0x08;

/// What a number is one of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum AccountKind {
    /// Users.
    User,
    /// Groups.
    Group,
}

/// A user or a group of the source's machine.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Account {
    /// Which of the two.
    pub kind: AccountKind,
    /// The number; never 0, whose name is of no interest.
    pub id: u32,
    /// The name: 1 to [`Account::NAME_BYTES_MAX`] bytes, without NUL.
    #[serde(with = "serde_bytes")]
    pub name: Box<[u8]>,
}

impl Account {
    /// The longest name, in bytes: as long as Linux has any.
    pub const NAME_BYTES_MAX: usize = 256;
    /// As many are told at the most, users and groups together; what belongs to others goes by number.
    pub const COUNT_MAX: usize = 16 * 1024;

    /// An account, if its number and its name may be told.
    #[must_use]
    pub fn new(kind: AccountKind, id: u32, name: &[u8]) -> Option<Self> {
        let account = Self { kind, id, name: name.into() };
        account.is_valid().then_some(account)
    }

    /// Whether its number and its name may be told.
    #[must_use]
    pub fn is_valid(&self) -> bool {
        let has_name = (1..=Self::NAME_BYTES_MAX).contains(&self.name.len());
        has_name && !self.name.contains(&0) && self.id != 0 && self.id != u32::MAX
    }
}

/// Calls `each` with every number in `metadata`, in access lists as far as they are known in full.
pub fn each_account(metadata: &Metadata, mut each: impl FnMut(AccountKind, u32)) {
    each(AccountKind::User, metadata.uid);
    each(AccountKind::Group, metadata.gid);
    for attribute in lists(&metadata.attributes) {
        for (kind, _, id) in entries(&attribute.value) {
            each(kind, id);
        }
    }
}

/// `attributes` with every number in access lists replaced by what `to` makes of it; digests stay as they are, and so
/// does a list in a form that nobody knows.
pub fn renumbered(
    attributes: &Attributes,
    to: impl Fn(AccountKind, u32) -> u32,
) -> Cow<'_, Attributes> {
    if lists(attributes).next().is_none() {
        return Cow::Borrowed(attributes);
    }
    let all = attributes.full().iter().map(|Attribute { name, value }| {
        let mut value = value.clone();
        if Class::of(name) == Some(Class::Access) {
            let found: Vec<(AccountKind, usize, u32)> = entries(&value).collect();
            for (kind, at, id) in found {
                value[at..at + 4].copy_from_slice(&to(kind, id).to_le_bytes());
            }
        }
        Attribute { name: name.clone(), value }
    });
    Cow::Owned(Attributes::new(all.collect()))
}

fn lists(attributes: &Attributes) -> impl Iterator<Item = &Attribute> {
    let all = attributes.full().iter();
    all.filter(|attribute| Class::of(&attribute.name) == Some(Class::Access))
}

/// The entries of an access list that have a number: of what, where in `list`, and which.
fn entries(list: &[u8]) -> impl Iterator<Item = (AccountKind, usize, u32)> {
    let rest = list.strip_prefix(&LIST_VERSION).unwrap_or_default();
    let is_whole = rest.len().is_multiple_of(ENTRY_BYTES);
    let rest = if is_whole { rest } else { &[] };
    let entries = rest.chunks_exact(ENTRY_BYTES).enumerate();
    entries.filter_map(|(index, entry)| {
        let kind = match u16::from_le_bytes([entry[0], entry[1]]) {
            TAG_USER => AccountKind::User,
            TAG_GROUP => AccountKind::Group,
            _ => return None,
        };
        let id = u32::from_le_bytes([entry[4], entry[5], entry[6], entry[7]]);
        Some((kind, LIST_VERSION.len() + index * ENTRY_BYTES + 4, id))
    })
}

#[cfg(test)]
mod tests {
    use super::AccountKind::{Group, User};
    use super::*;
    use crate::model::metadata::Kind;
    use crate::model::timestamp::Timestamp;

    /// The owner, user 7, a group and the mask.
    const LIST: [u8; 36] = [
        2, 0, 0, 0, 1, 0, 6, 0, 255, 255, 255, 255, 2, 0, 4, 0, 7, 0, 0, 0, 8, 0, 4, 0, 8, 1, 0, 0,
        16, 0, 4, 0, 255, 255, 255, 255,
    ];

    fn with_list(list: &[u8]) -> Attributes {
        let list = Attribute { name: Class::ACCESS.into(), value: list.into() };
        let other = Attribute { name: (*b"user.list").into(), value: LIST.into() };
        Attributes::new(vec![list, other])
    }

    #[test]
    fn numbers_in_access_lists_are_found_and_replaced() {
        let attributes = with_list(&LIST);
        let kind = Kind::Directory;
        let modified = Timestamp::default();
        let metadata = Metadata { kind, modified, mode: 0, uid: 1, gid: 2, attributes, names: 1 };
        let mut found = Vec::new();
        each_account(&metadata, |kind, id| found.push((kind, id)));

        assert_eq!(found, [(User, 1), (Group, 2), (User, 7), (Group, 264)]);
        let moved =
            renumbered(
                &metadata.attributes,
                |kind, id| {
                    if kind == User { id + 0x0100_0000 } else { 9 }
                },
            );
        let mut wanted = LIST;
        wanted[16..20].copy_from_slice(&[7, 0, 0, 1]);
        wanted[24..28].copy_from_slice(&[9, 0, 0, 0]);
        assert_eq!(*moved, with_list(&wanted), "and nothing else");
    }

    #[test]
    fn a_list_in_no_known_form_stays_as_it_is() {
        let cut = &LIST[..LIST.len() - 1];
        let other = [&[3_u8][..], &LIST[1..]].concat();
        for list in [cut, &other, b""] {
            let attributes = with_list(list);
            assert_eq!(*renumbered(&attributes, |_, _| 1), attributes);
        }
    }

    #[test]
    fn names_that_cannot_be_are_refused() {
        let new = |id, name: &[u8]| Account::new(User, id, name);

        assert!(new(1, b"ann").is_some() && new(1, &[b'n'; 256]).is_some());
        for (id, name) in
            [(0, &b"root"[..]), (u32::MAX, b"x"), (1, b""), (1, b"a\0"), (1, &[b'n'; 257])]
        {
            assert_eq!(new(id, name), None);
        }
    }
}
