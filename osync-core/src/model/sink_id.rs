//! The name a sink keeps across reconnects.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize};

/// What a sink calls itself: 1 to [`SinkId::BYTES_MAX`] bytes of printable UTF-8.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct SinkId(String);

/// The text is empty, too long or holds control characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a sink name has 1 to {max} bytes without control characters", max = SinkId::BYTES_MAX)]
pub struct SinkIdError;

impl SinkId {
    /// The longest name, in bytes.
    pub const BYTES_MAX: usize = 255;

    /// Checks `text` and makes it a name.
    ///
    /// # Errors
    /// [`SinkIdError`] if it is empty, longer than [`SinkId::BYTES_MAX`] or holds control characters.
    pub fn new(text: impl Into<String>) -> Result<Self, SinkIdError> {
        let text = text.into();
        let fits = (1..=Self::BYTES_MAX).contains(&text.len());
        if fits && !text.chars().any(char::is_control) { Ok(Self(text)) } else { Err(SinkIdError) }
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SinkId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for SinkId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::new(<&str>::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}
