//! Extended attributes and access lists of one entry.
//!
//! They travel in full where an entry is sent, and as one short digest for each class where entries are
//! only compared. Two values are equal if their digests are, so both forms compare with each other.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use crate::model::digest::Digest;

/// Labels that the kernel or a security module makes for itself at either end.
const LABELS: [&[u8]; 3] = [b"security.selinux", b"security.ima", b"security.evm"];

/// What an attribute is for, in the order of the names: which of them an end can read or set differs by class.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Class {
    /// `security.*`, file capabilities among them; labels of security modules are left out.
    Security,
    /// POSIX access lists, as the kernel encodes them.
    Access,
    /// `trusted.*`: the superuser's.
    Trusted,
    /// `user.*`.
    User,
}

impl Class {
    /// Every class.
    pub const ALL: [Self; 4] = [Self::Security, Self::Access, Self::Trusted, Self::User];
    /// Permissions of an entry by user and group.
    pub const ACCESS: &'static [u8] = b"system.posix_acl_access";
    /// What is given to entries made in a directory.
    pub const DEFAULT: &'static [u8] = b"system.posix_acl_default";

    /// The class of the attribute called `name`; `None` if such are not replicated.
    #[must_use]
    pub fn of(name: &[u8]) -> Option<Self> {
        if name == Self::ACCESS || name == Self::DEFAULT {
            Some(Self::Access)
        } else if name.starts_with(b"user.") {
            Some(Self::User)
        } else if name.starts_with(b"trusted.") {
            Some(Self::Trusted)
        } else if name.starts_with(b"security.") && !LABELS.contains(&name) {
            Some(Self::Security)
        } else {
            None
        }
    }
}

/// A set of [`Class`]es.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Classes(u8);

impl Classes {
    /// Every class.
    pub const ALL: Self = Self(0b1111);
    /// None.
    pub const NONE: Self = Self(0);

    /// This set and `class`.
    #[must_use]
    pub fn with(self, class: Class) -> Self {
        Self(self.0 | 1 << class as u8)
    }

    /// This set but for `class`.
    #[must_use]
    pub fn without(self, class: Class) -> Self {
        Self(self.0 & !(1 << class as u8))
    }

    /// The classes in both sets.
    #[must_use]
    pub fn common(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Whether `class` is in the set.
    #[must_use]
    pub fn contains(self, class: Class) -> bool {
        self.0 & (1 << class as u8) != 0
    }
}

/// One extended attribute.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Attribute {
    /// Its name with its class: 1 to [`Attribute::NAME_BYTES_MAX`] bytes, without NUL.
    #[serde(with = "serde_bytes")]
    pub name: Box<[u8]>,
    /// Its value: up to [`Attribute::VALUE_BYTES_MAX`] bytes.
    #[serde(with = "serde_bytes")]
    pub value: Box<[u8]>,
}

impl Attribute {
    /// The longest name, in bytes; Linux has no longer ones.
    pub const NAME_BYTES_MAX: usize = 255;
    /// The longest value, in bytes; Linux has no longer ones.
    pub const VALUE_BYTES_MAX: usize = 64 * 1024;
}

/// The extended attributes and access lists of one entry.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub enum Attributes {
    /// There are none.
    #[default]
    None,
    /// Some, known by the digests of their classes: ascending, each once.
    Digests(Box<[(Class, Digest)]>),
    /// Some, in full: ascending by name, each once.
    Full(Box<[Attribute]>),
}

impl Attributes {
    /// The most one entry may have, names and values together, in bytes.
    pub const BYTES_MAX: usize = 1024 * 1024;

    /// These attributes, of which each name is given once, in any order.
    #[must_use]
    pub fn new(mut attributes: Vec<Attribute>) -> Self {
        if attributes.is_empty() {
            return Self::None;
        }
        attributes.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        Self::Full(attributes.into())
    }

    /// What equals no attributes that can be read: those of an entry whose attributes cannot.
    #[must_use]
    pub fn unreadable() -> Self {
        Self::Digests(Class::ALL.map(|class| (class, Digest::of(b"unreadable"))).into())
    }

    /// The attributes, as far as they are known in full.
    #[must_use]
    pub fn full(&self) -> &[Attribute] {
        match self {
            Self::Full(attributes) => attributes,
            Self::None | Self::Digests(_) => &[],
        }
    }

    /// Names and values together, in bytes, as far as they are known in full.
    #[must_use]
    pub fn len_bytes(&self) -> usize {
        self.full().iter().map(|attribute| attribute.name.len() + attribute.value.len()).sum()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_none(&self) -> bool {
        matches!(self, Self::None)
    }

    /// The digest of each class of which there are attributes, ascending by class.
    #[must_use]
    pub fn digests(&self) -> Cow<'_, [(Class, Digest)]> {
        match self {
            Self::None => Cow::Borrowed(&[]),
            Self::Digests(digests) => Cow::Borrowed(digests),
            Self::Full(attributes) => {
                let of = |attribute: &Attribute| Class::of(&attribute.name);
                let classes = attributes.chunk_by(|a, b| of(a) == of(b));
                let digests = classes.filter_map(|same| Some((of(same.first()?)?, digest(same))));
                Cow::Owned(digests.collect())
            }
        }
    }

    /// These, known by digests only.
    #[must_use]
    pub fn digested(&self) -> Self {
        Self::of_digests(self.digests().into_owned())
    }

    /// These, but for what `classes` leaves out.
    #[must_use]
    pub fn masked(&self, classes: Classes) -> Self {
        match self {
            Self::None => Self::None,
            Self::Digests(digests) => {
                let mut kept = digests.to_vec();
                kept.retain(|(class, _)| classes.contains(*class));
                Self::of_digests(kept)
            }
            Self::Full(attributes) => {
                let is_kept = |attribute: &Attribute| {
                    Class::of(&attribute.name).is_some_and(|class| classes.contains(class))
                };
                Self::new(attributes.iter().filter(|a| is_kept(a)).cloned().collect())
            }
        }
    }

    fn of_digests(digests: Vec<(Class, Digest)>) -> Self {
        if digests.is_empty() { Self::None } else { Self::Digests(digests.into()) }
    }
}

impl PartialEq for Attributes {
    fn eq(&self, other: &Self) -> bool {
        self.digests() == other.digests()
    }
}

impl Eq for Attributes {}

impl std::hash::Hash for Attributes {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.digests().hash(state);
    }
}

/// Of attributes in the order of their names, in a form that has one reading only.
fn digest(attributes: &[Attribute]) -> Digest {
    let mut bytes = Vec::new();
    for Attribute { name, value } in attributes {
        bytes.extend_from_slice(&(name.len() as u64).to_le_bytes());
        bytes.extend_from_slice(name);
        bytes.extend_from_slice(&(value.len() as u64).to_le_bytes());
        bytes.extend_from_slice(value);
    }
    Digest::of(&bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attribute(name: &str, value: &str) -> Attribute {
        Attribute { name: name.as_bytes().into(), value: value.as_bytes().into() }
    }

    #[test]
    fn both_forms_are_equal_and_every_detail_counts() {
        let some = [attribute("user.b", "1"), attribute("security.capability", "x")];
        let full = Attributes::new(some.to_vec());

        assert_eq!(full, full.digested());
        assert_ne!(full, Attributes::None);
        assert_ne!(full, Attributes::unreadable());
        for other in [attribute("user.a", "1"), attribute("user.b", "2"), attribute("user.b1", "")]
        {
            assert_ne!(full, Attributes::new(vec![other, some[1].clone()]));
        }
    }

    #[test]
    fn a_class_that_is_left_out_does_not_count() {
        let mixed = vec![attribute("user.a", "1"), attribute("trusted.t", "2")];
        let user = Attributes::new(vec![attribute("user.a", "1")]);
        let all_but_trusted = Classes::ALL.without(Class::Trusted);

        assert_eq!(Attributes::new(mixed.clone()).masked(all_but_trusted), user);
        assert_eq!(Attributes::new(mixed).digested().masked(all_but_trusted), user);
        assert!(user.masked(Classes::NONE).is_none());
    }

    #[test]
    fn labels_and_what_only_one_system_knows_have_no_class() {
        for name in
            ["security.selinux", "security.ima", "system.nfs4_acl", "btrfs.compression", "x"]
        {
            assert_eq!(Class::of(name.as_bytes()), None, "{name}");
        }
        assert_eq!(Class::of(b"security.capability"), Some(Class::Security));
        assert_eq!(Class::of(Class::DEFAULT), Some(Class::Access));
    }
}
