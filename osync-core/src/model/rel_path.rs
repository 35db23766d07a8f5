//! Where an entry lies inside the replicated tree.

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::model::name::{Name, NameError};

/// Longer paths are shown with their middle cut out, in bytes.
const SHOWN_BYTES_MAX: usize = 300;

/// A path inside the replicated tree, relative to its root.
///
/// Holds bytes rather than `str`, because POSIX file names need not be UTF-8. The root itself is the
/// empty path; every other value is components that are [`Name`]s, separated by single `/`, of
/// [`RelPath::BYTES_MAX`] bytes at most. Ordering is bytewise: everything inside a directory is
/// contiguous, from `directory/` up to but not including `directory0`. Cloning is cheap.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RelPath(Arc<[u8]>);

/// Why bytes are not a [`RelPath`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RelPathError {
    /// Longer than [`RelPath::BYTES_MAX`].
    #[error("a path has at most {max} bytes, this has {bytes}", max = RelPath::BYTES_MAX)]
    Length {
        /// How many bytes were given.
        bytes: usize,
    },
    /// A component that is no name: absolute paths, doubled and trailing `/` show up here.
    #[error("component {index} is not a name")]
    Component {
        /// Which component, from 0.
        index: usize,
        /// What is wrong with it.
        source: NameError,
    },
}

impl RelPath {
    /// The longest path, in bytes: 2,000 levels of 30 bytes, far more than `PATH_MAX`.
    pub const BYTES_MAX: usize = 65_535;

    /// The root of the tree: the empty path.
    #[must_use]
    pub fn root() -> Self {
        Self(Arc::from(&[][..]))
    }

    /// Checks `bytes` and makes them a path; the empty slice is the root.
    ///
    /// # Errors
    /// [`RelPathError`] says which rule of [`RelPath`] the bytes break.
    pub fn new(bytes: &[u8]) -> Result<Self, RelPathError> {
        if bytes.len() > Self::BYTES_MAX {
            return Err(RelPathError::Length { bytes: bytes.len() });
        }
        if !bytes.is_empty() {
            for (index, component) in bytes.split(|&byte| byte == b'/').enumerate() {
                Name::check(component)
                    .map_err(|source| RelPathError::Component { index, source })?;
            }
        }
        Ok(Self(Arc::from(bytes)))
    }

    /// Whether this is the root of the tree.
    #[must_use]
    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// The bytes of the path, components separated by `/`; empty for the root.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The path of the entry `name` of this directory.
    ///
    /// # Errors
    /// [`RelPathError::Length`] if the result is longer than [`RelPath::BYTES_MAX`].
    pub fn join(&self, name: &Name) -> Result<Self, RelPathError> {
        if self.is_root() {
            return Ok(Self(Arc::from(name.as_bytes())));
        }
        let bytes = self.0.len() + 1 + name.as_bytes().len();
        if bytes > Self::BYTES_MAX {
            return Err(RelPathError::Length { bytes });
        }
        let mut joined = Vec::with_capacity(bytes);
        joined.extend_from_slice(&self.0);
        joined.push(b'/');
        joined.extend_from_slice(name.as_bytes());
        Ok(Self(Arc::from(joined)))
    }

    /// The directory this entry lies in and its name there; `None` for the root.
    #[must_use]
    #[expect(clippy::missing_panics_doc, reason = "every component is a name")]
    pub fn split(&self) -> Option<(Self, Name)> {
        let (parent, name) = self.halves()?;
        let name = Name::new(name).expect("components were checked when the path was made");
        Some((Self(Arc::from(parent)), name))
    }

    /// The directory this entry lies in; `None` for the root.
    #[must_use]
    pub fn parent(&self) -> Option<Self> {
        self.halves().map(|(parent, _)| Self(Arc::from(parent)))
    }

    /// What lies before the last `/` and behind it.
    fn halves(&self) -> Option<(&[u8], &[u8])> {
        let slash = self.0.iter().rposition(|&byte| byte == b'/');
        let name = slash.map_or(0, |slash| slash + 1);
        (!self.is_root()).then(|| (&self.0[..slash.unwrap_or(0)], &self.0[name..]))
    }

    /// The components from the root downwards; none for the root.
    pub fn components(&self) -> impl Iterator<Item = &[u8]> {
        self.0.split(|&byte| byte == b'/').filter(|component| !component.is_empty())
    }

    /// Whether this path is `ancestor` or lies anywhere below it.
    #[must_use]
    pub fn is_within(&self, ancestor: &Self) -> bool {
        ancestor.is_root()
            || (self.0.starts_with(&ancestor.0)
                && matches!(self.0.get(ancestor.0.len()), None | Some(b'/')))
    }

    /// The first component of this path below `ancestor`; `None` if it is not below it.
    #[must_use]
    pub fn below(&self, ancestor: &Self) -> Option<&[u8]> {
        let is_below = self.is_within(ancestor) && self != ancestor;
        let skipped = ancestor.components().count();
        is_below.then(|| self.components().nth(skipped)).flatten()
    }

    /// This path with its leading `from` replaced by `to`; `None` if it is not within `from`.
    ///
    /// # Errors
    /// [`RelPathError::Length`] if the result is longer than [`RelPath::BYTES_MAX`].
    pub fn rebased(&self, from: &Self, to: &Self) -> Result<Option<Self>, RelPathError> {
        if !self.is_within(from) {
            return Ok(None);
        }
        let rest = &self.0[from.0.len()..];
        let rest = rest.strip_prefix(b"/").unwrap_or(rest);
        let mut bytes = to.0.to_vec();
        if !bytes.is_empty() && !rest.is_empty() {
            bytes.push(b'/');
        }
        bytes.extend_from_slice(rest);
        if bytes.len() > Self::BYTES_MAX {
            return Err(RelPathError::Length { bytes: bytes.len() });
        }
        Ok(Some(Self(Arc::from(bytes))))
    }
}

impl Borrow<[u8]> for RelPath {
    fn borrow(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Display for RelPath {
    /// Escapes everything but printable ASCII, so that a path cannot drive a terminal, and cuts the
    /// middle out of a long one. The root is `.`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = &*self.0;
        match bytes.len() {
            0 => f.write_str("."),
            1..=SHOWN_BYTES_MAX => write!(f, "{}", bytes.escape_ascii()),
            length => {
                let (head, tail) =
                    (&bytes[..SHOWN_BYTES_MAX / 2], &bytes[length - SHOWN_BYTES_MAX / 2..]);
                write!(f, "{}...{} ({length} bytes)", head.escape_ascii(), tail.escape_ascii())
            }
        }
    }
}

impl fmt::Debug for RelPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RelPath({self})")
    }
}

impl Serialize for RelPath {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for RelPath {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let bytes: &'de [u8] = serde_bytes::deserialize(deserializer)?;
        Self::new(bytes).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(bytes: &str) -> RelPath {
        RelPath::new(bytes.as_bytes()).unwrap()
    }

    #[test]
    fn paths_that_leave_the_tree_are_refused() {
        for bytes in ["/etc", "a//b", "a/", "../a", "a/../b", "a/./b", "a\0b"] {
            assert!(RelPath::new(bytes.as_bytes()).is_err(), "{bytes:?}");
        }
        assert!(RelPath::new(&vec![b'a'; RelPath::BYTES_MAX + 1]).is_err());
    }

    #[test]
    fn within_counts_whole_components() {
        assert!(path("a/b").is_within(&path("a")));
        assert!(path("a").is_within(&path("a")));
        assert!(path("a").is_within(&RelPath::root()));
        assert!(!path("ab").is_within(&path("a")));
        assert!(!path("a").is_within(&path("a/b")));
    }

    #[test]
    fn split_and_join_are_inverse() {
        for text in ["a", "a/b", "a/b/c d"] {
            let (parent, name) = path(text).split().unwrap();
            assert_eq!(parent.join(&name), Ok(path(text)));
        }
        assert_eq!(RelPath::root().split(), None);
    }

    #[test]
    fn rebasing_moves_what_lies_within() {
        assert_eq!(path("a/b/c").rebased(&path("a"), &path("x/y")), Ok(Some(path("x/y/b/c"))));
        assert_eq!(path("a").rebased(&path("a"), &path("x")), Ok(Some(path("x"))));
        assert_eq!(path("ab").rebased(&path("a"), &path("x")), Ok(None));
        assert_eq!(path("a").rebased(&RelPath::root(), &path("x")), Ok(Some(path("x/a"))));
    }

    #[test]
    fn display_cuts_the_middle_out_of_a_long_path() {
        let shown =
            RelPath::new(&[b"a".repeat(255), b"b".repeat(255)].join(&b'/')).unwrap().to_string();
        assert_eq!(shown, format!("{}...{} (511 bytes)", "a".repeat(150), "b".repeat(150)));
    }

    #[test]
    fn display_escapes_control_characters() {
        assert_eq!(RelPath::new(b"a\x1b[31m\n\xff").unwrap().to_string(), r"a\x1b[31m\n\xff");
    }
}
