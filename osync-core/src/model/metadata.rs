//! What is known of an entry besides its content.

use serde::{Deserialize, Serialize};

use crate::model::attributes::Attributes;
use crate::model::name::Name;
use crate::model::timestamp::Timestamp;

/// What an entry is, with what only that kind has.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Kind {
    /// A regular file.
    File {
        /// Its length in bytes.
        size_bytes: u64,
    },
    /// A directory.
    Directory,
    /// A symbolic link; never followed.
    Symlink {
        /// Where it points: 1 to 4,095 bytes, any but NUL. It is data and never looked up.
        #[serde(with = "serde_bytes")]
        target: Box<[u8]>,
    },
    /// A named pipe; never opened.
    Fifo,
    /// A socket: its name only, nobody listens there.
    Socket,
    /// A device of characters; never opened.
    CharacterDevice(Device),
    /// A device of blocks; never opened.
    BlockDevice(Device),
}

/// Which device a node stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Device {
    /// Its driver: [`Device::MAJOR_MAX`] at the most.
    pub major: u32,
    /// Which of the driver's: [`Device::MINOR_MAX`] at the most.
    pub minor: u32,
}

impl Device {
    /// Linux has 12 bits for it.
    pub const MAJOR_MAX: u32 = 0xfff;
    /// Linux has 20 bits for it.
    pub const MINOR_MAX: u32 = 0xf_ffff;
}

impl Kind {
    /// The longest target of a symbolic link, in bytes (`PATH_MAX` less the final NUL).
    pub const TARGET_BYTES_MAX: usize = 4_095;

    /// Length of a regular file in bytes; 0 for everything else.
    #[must_use]
    pub fn size_bytes(&self) -> u64 {
        if let Self::File { size_bytes } = self { *size_bytes } else { 0 }
    }

    /// Whether this is a directory.
    #[must_use]
    pub fn is_directory(&self) -> bool {
        matches!(self, Self::Directory)
    }

    /// Whether this is a regular file.
    #[must_use]
    pub fn is_file(&self) -> bool {
        matches!(self, Self::File { .. })
    }

    /// Whether `self` and `other` are the same sort of entry, whatever their size or target.
    #[must_use]
    pub fn is_same_sort(&self, other: &Self) -> bool {
        std::mem::discriminant(self) == std::mem::discriminant(other)
    }
}

/// Kind, time, permissions, owner, attributes and number of names of one entry.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Metadata {
    /// What it is.
    pub kind: Kind,
    /// Time of the last change of the content.
    pub modified: Timestamp,
    /// Permission, set-id and sticky bits: 12 bits, 0 to 0o7777. Of no meaning for symbolic links.
    pub mode: u32,
    /// Numeric owner.
    pub uid: u32,
    /// Numeric group.
    pub gid: u32,
    /// Extended attributes and access lists: in full where the entry itself was asked for, as digests in
    /// listings.
    pub attributes: Attributes,
    /// How many names it has in all, one or more: hard links. 1 for a directory.
    pub names: u32,
}

impl Metadata {
    /// This with the attributes as digests.
    #[must_use]
    pub fn digested(&self) -> Self {
        let Self { kind, modified, mode, uid, gid, attributes, names } = self;
        let (kind, attributes) = (kind.clone(), attributes.digested());
        Self {
            kind,
            modified: *modified,
            mode: *mode,
            uid: *uid,
            gid: *gid,
            attributes,
            names: *names,
        }
    }

    /// Whether other names stand for the same thing.
    #[must_use]
    pub fn is_linked(&self) -> bool {
        self.names > 1
    }

    /// Whether what `self` tells of needs no more than metadata to be what `wanted` tells of. With more names than
    /// that it would pass the change on to them.
    #[must_use]
    pub fn may_become(&self, wanted: &Self) -> bool {
        self.has_content_of(wanted) && self.names <= wanted.names
    }

    /// Whether what `self` tells of has the content that `other` tells of, as far as metadata can say.
    #[must_use]
    pub fn has_content_of(&self, other: &Self) -> bool {
        self.kind == other.kind && (!self.kind.is_file() || self.modified == other.modified)
    }
}

/// One name of a directory with its metadata.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Entry {
    /// Its name in the directory.
    pub name: Name,
    /// What lies there.
    pub metadata: Metadata,
}

/// Tells two states of one entry apart at the source; never sent anywhere.
///
/// Equal stamps taken before and after a read mean that the entry held still in between. A source
/// without such a notion gives a number that moves with every change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Stamp {
    /// Which object: the inode number on a file system.
    pub object: u64,
    /// When it last changed in any way: ctime on a file system.
    pub changed: Timestamp,
    /// Whether the object still has a name: false once an open file has been deleted.
    pub unlinked: bool,
}

/// One look at one entry of the source.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Sighting {
    /// What it was like.
    pub metadata: Metadata,
    /// Which state of which object that was.
    pub stamp: Stamp,
}

impl Sighting {
    /// This with the attributes as digests.
    #[must_use]
    pub fn digested(&self) -> Self {
        Self { metadata: self.metadata.digested(), stamp: self.stamp }
    }
}
