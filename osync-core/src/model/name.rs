//! One component of a path, checked once.
//!
//! A [`Name`] can be handed to the operating system relative to a directory descriptor without any
//! further thought: it cannot climb, descend or end early.

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The name of one entry of a directory, in bytes.
///
/// 1 to [`Name::BYTES_MAX`] bytes, without `/` and NUL, and neither `.` nor `..`. POSIX names need not
/// be UTF-8, so this is bytes and not `str`. Ordering is bytewise. Clones share the bytes.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(Arc<[u8]>);

/// Why bytes are not a [`Name`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NameError {
    /// No bytes at all, or more than [`Name::BYTES_MAX`].
    #[error("a name has 1 to {max} bytes, this has {bytes}", max = Name::BYTES_MAX)]
    Length {
        /// How many bytes were given.
        bytes: usize,
    },
    /// A `/` or a NUL.
    #[error("a name holds neither '/' nor NUL")]
    Separator,
    /// `.` or `..`, which name another directory.
    #[error("'.' and '..' are not names")]
    Dots,
}

impl Name {
    /// The longest name Linux file systems hold, in bytes.
    pub const BYTES_MAX: usize = 255;

    /// Checks `bytes` and makes them a name.
    ///
    /// # Errors
    /// [`NameError`] says which rule of [`Name`] the bytes break.
    pub fn new(bytes: impl Into<Arc<[u8]>>) -> Result<Self, NameError> {
        let bytes = bytes.into();
        Self::check(&bytes)?;
        Ok(Self(bytes))
    }

    /// Checks `bytes` without copying them.
    ///
    /// # Errors
    /// As [`Name::new`].
    pub fn check(bytes: &[u8]) -> Result<(), NameError> {
        if bytes.is_empty() || bytes.len() > Self::BYTES_MAX {
            return Err(NameError::Length { bytes: bytes.len() });
        }
        if bytes.iter().any(|&byte| byte == b'/' || byte == 0) {
            return Err(NameError::Separator);
        }
        if bytes == b"." || bytes == b".." {
            return Err(NameError::Dots);
        }
        Ok(())
    }

    /// The bytes of the name.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl Borrow<[u8]> for Name {
    fn borrow(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Display for Name {
    /// Escapes everything but printable ASCII, so that a name cannot drive a terminal.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.escape_ascii())
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Name({self})")
    }
}

impl Serialize for Name {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let bytes: &'de [u8] = serde_bytes::deserialize(deserializer)?;
        Self::new(bytes).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_climb_descend_or_end_early_are_refused() {
        assert_eq!(Name::new(*b""), Err(NameError::Length { bytes: 0 }));
        assert_eq!(Name::new(vec![b'a'; 256]), Err(NameError::Length { bytes: 256 }));
        assert_eq!(Name::new(*b"a/b"), Err(NameError::Separator));
        assert_eq!(Name::new(*b"a\0"), Err(NameError::Separator));
        assert_eq!(Name::new(*b"."), Err(NameError::Dots));
        assert_eq!(Name::new(*b".."), Err(NameError::Dots));
    }

    #[test]
    fn odd_but_legal_names_are_kept_byte_for_byte() {
        for bytes in [&b"..."[..], b"\xff\xfe", b"new\nline", b"-rf", &[b'a'; 255]] {
            assert_eq!(Name::new(bytes).map(|name| name.as_bytes().to_vec()), Ok(bytes.to_vec()));
        }
    }
}
