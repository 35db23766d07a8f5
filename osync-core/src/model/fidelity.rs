//! Which metadata both ends agreed to keep.

use serde::{Deserialize, Serialize};

use crate::model::attributes::{Attributes, Classes};
use crate::model::metadata::{Kind, Metadata};
use crate::model::nodes::Nodes;
use crate::model::timestamp::Timestamp;

/// The set-user-id and set-group-id bits.
const MODE_SPECIAL: u32 = 0o6000;

/// How owner and group are kept. Each can do what those before it can.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Owner {
    /// Not at all.
    Dropped,
    /// By number.
    Numbered,
    /// By name where both ends know one, else by number.
    Named,
}

/// What a sink can hold of an entry's metadata.
///
/// Each end states its own at registration; [`Fidelity::common`] of the two holds for the session,
/// for comparing and for applying, so that what cannot be kept is neither missed nor sent again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Fidelity {
    /// How owner and group are kept.
    pub owner: Owner,
    /// The set-user-id and set-group-id bits are kept.
    pub set_id: bool,
    /// Which extended attributes and access lists are kept.
    pub attributes: Classes,
    /// Names of one thing stay names of one thing: hard links.
    pub links: bool,
    /// Which kinds of entry are kept that need leave.
    pub nodes: Nodes,
}

impl Fidelity {
    /// Everything an entry can carry.
    pub const FULL: Self = Self {
        owner: Owner::Named,
        set_id: true,
        attributes: Classes::ALL,
        links: true,
        nodes: Nodes::ALL,
    };

    /// What both `self` and `other` can keep.
    #[must_use]
    pub fn common(self, other: Self) -> Self {
        Self {
            owner: self.owner.min(other.owner),
            set_id: self.set_id && other.set_id,
            attributes: self.attributes.common(other.attributes),
            links: self.links && other.links,
            nodes: self.nodes.common(other.nodes),
        }
    }

    /// `metadata` with everything outside this fidelity set to zero, so that equal results mean "nothing to do".
    ///
    /// The number of names is left out always: the ends may rightly differ in it, see [`Fidelity::tells_shared`].
    #[must_use]
    pub fn masked(self, metadata: &Metadata) -> Metadata {
        let mut masked = Metadata { names: 1, ..metadata.clone() };
        if self.owner == Owner::Dropped {
            (masked.uid, masked.gid) = (0, 0);
        }
        if !self.set_id {
            masked.mode &= !MODE_SPECIAL;
        }
        if matches!(masked.kind, Kind::Symlink { .. }) {
            masked.mode = 0;
        }
        masked.attributes = masked.attributes.masked(self.attributes);
        masked
    }

    /// Whether the entry counts as one that shares its content with other names.
    ///
    /// How many there are is not compared: names outside the tree are names too, and the other end has none of them.
    #[must_use]
    pub fn tells_shared(self, metadata: &Metadata) -> bool {
        self.links && metadata.is_linked() && !metadata.kind.is_directory()
    }

    /// As [`Fidelity::masked`], for an entry seen in the listing of the directory above it.
    ///
    /// A directory's own metadata belongs to its own listing, so here only its kind remains.
    #[must_use]
    pub fn masked_in_listing(self, metadata: &Metadata) -> Metadata {
        if metadata.kind.is_directory() {
            return Metadata {
                kind: Kind::Directory,
                modified: Timestamp::default(),
                mode: 0,
                uid: 0,
                gid: 0,
                attributes: Attributes::None,
                names: 1,
            };
        }
        self.masked(metadata)
    }
}
