//! One message on its way.

use bytes::Bytes;

/// One message as bytes: a small header and a payload that may be large.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Frame {
    /// The encoded message, [`Frame::HEADER_BYTES_MAX`] at most.
    pub header: Bytes,
    /// Raw bytes that belong to it, [`Frame::PAYLOAD_BYTES_MAX`] at most.
    pub payload: Bytes,
}

impl Frame {
    /// The longest header: two of the longest paths and some.
    pub const HEADER_BYTES_MAX: usize = 192 * 1024;
    /// The longest payload.
    pub const PAYLOAD_BYTES_MAX: usize = 4 * 1024 * 1024;

    /// Header and payload together, in bytes.
    #[must_use]
    pub fn len_bytes(&self) -> usize {
        self.header.len() + self.payload.len()
    }
}
