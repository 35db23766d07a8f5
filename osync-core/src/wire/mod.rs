//! The bytes of the protocol; docs/wire-format.md describes them for other implementations.
//!
//! A frame is a header and a payload. The header begins with six fixed bytes, readable whatever the
//! version: the magic `OSYN` and the version as a little-endian `u16`. The rest is one [`Envelope`],
//! bincode in its standard configuration. The payload is raw bytes whose meaning the message gives.
//!
//! Everything decoded here comes from another machine. The length of the frame bounds what decoding
//! allocates, nothing nests, trailing bytes are refused, and what is returned has been validated.
//!
//! [`Envelope`]: message::Envelope

pub mod message;
pub mod encode;
pub mod decode;
pub mod packing;

/// First bytes of every header.
pub const MAGIC: [u8; 4] = *b"OSYN";

/// Version of the protocol. Messages are only ever added at the end of an enum; anything else is a new
/// version.
pub const VERSION: u16 = 2;

/// Most items of one `Put` and entries of one `Listing`.
pub const ITEMS_MAX: usize = 4_096;

/// Most accounts of one `Accounts`.
pub const ACCOUNTS_MAX: usize = 256;

/// Longest text in a message (refusals, causes), in bytes.
pub const TEXT_BYTES_MAX: usize = 512;

/// Most bytes of sums in one message: 4,096 blocks.
pub const SUMS_BYTES_MAX: usize = 32 * 1024;
