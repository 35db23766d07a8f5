//! The unguessable name of one registration.

use std::fmt;

use serde::{Deserialize, Serialize};

/// 16 random bytes, fresh for every registration.
///
/// The sink's data connection uses [`SessionId::routing_id`] as its routing id, once: nobody can guess it,
/// keep it or steal it, and a broken data connection is only ever made again by a new registration.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SessionId([u8; 16]);

impl SessionId {
    /// Makes an id of 16 bytes that must come from a cryptographic random source.
    #[must_use]
    pub fn from_random(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The id as a routing id: `S` and the 16 bytes (ZeroMQ reserves a leading NUL).
    #[must_use]
    pub fn routing_id(&self) -> [u8; 17] {
        let mut id = [b'S'; 17];
        id[1..].copy_from_slice(&self.0);
        id
    }

    /// The first eight bytes: tells a session's messages from those of the one before it.
    #[must_use]
    #[expect(clippy::missing_panics_doc, reason = "the length is in the type")]
    pub fn tag(&self) -> u64 {
        let (first, _) = self.0.split_first_chunk().expect("16 bytes begin with 8");
        u64::from_le_bytes(*first)
    }

    /// The id whose [`SessionId::routing_id`] is `bytes`; `None` if they are not one.
    #[must_use]
    pub fn from_routing_id(bytes: &[u8]) -> Option<Self> {
        let (&first, rest) = bytes.split_first()?;
        if first == b'S' { rest.try_into().ok().map(Self) } else { None }
    }
}

impl fmt::Debug for SessionId {
    /// The first four bytes only: the whole is a secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SessionId(")?;
        self.0[..4].iter().try_for_each(|byte| write!(f, "{byte:02x}"))?;
        f.write_str("..)")
    }
}
