//! Sockets and device nodes: kinds of entry that are kept only with leave.

use serde::{Deserialize, Serialize};

use crate::model::metadata::Kind;

/// Which of them an end tells of or makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Nodes {
    /// Sockets.
    pub sockets: bool,
    /// Device nodes.
    pub devices: bool,
}

impl Nodes {
    /// Both.
    pub const ALL: Self = Self { sockets: true, devices: true };
    /// Neither.
    pub const NONE: Self = Self { sockets: false, devices: false };

    /// What both `self` and `other` have leave for.
    #[must_use]
    pub fn common(self, other: Self) -> Self {
        Self { sockets: self.sockets && other.sockets, devices: self.devices && other.devices }
    }

    /// Whether there may be an entry of this kind.
    #[must_use]
    pub fn allow(self, kind: &Kind) -> bool {
        match kind {
            Kind::File { .. } | Kind::Directory | Kind::Symlink { .. } | Kind::Fifo => true,
            Kind::Socket => self.sockets,
            Kind::CharacterDevice(_) | Kind::BlockDevice(_) => self.devices,
        }
    }
}
