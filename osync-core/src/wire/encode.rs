//! Messages to bytes.

use bytes::Bytes;
use serde::Serialize;

use crate::model::frame::Frame;
use crate::model::metadata::{Entry, Metadata};
use crate::wire::message::{Closing, Envelope, Item};
use crate::wire::{MAGIC, TEXT_BYTES_MAX, VERSION};

/// What a directory's own metadata takes, in bytes, as a rule.
const OWN_BYTES: usize = 128;

/// The frame of `envelope` with `payload`.
#[must_use]
pub fn frame(envelope: &Envelope, payload: Bytes) -> Frame {
    let mut header = Vec::with_capacity(64);
    header.extend_from_slice(&MAGIC);
    header.extend_from_slice(&VERSION.to_le_bytes());
    append(envelope, &mut header);
    Frame { header: Bytes::from(header), payload }
}

/// Appends the encoded `items` to `payload`; returns how many bytes that took.
#[must_use]
pub fn append_items(items: &[Item], payload: &mut Vec<u8>) -> u32 {
    let before = payload.len();
    append(items, payload);
    u32::try_from(payload.len() - before).unwrap_or(u32::MAX)
}

/// `payload` with `own` at its end; and how many bytes that took.
#[must_use]
pub fn with_own(payload: Bytes, own: Option<&Metadata>) -> (Bytes, u32) {
    let Some(own) = own else { return (payload, 0) };
    let before = payload.len();
    // Nobody else has it as a rule, and who made it left room.
    let mut longer = if payload.is_unique() {
        Vec::from(payload)
    } else {
        let mut copy = Vec::with_capacity(before + OWN_BYTES);
        copy.extend_from_slice(&payload);
        copy
    };
    append(own, &mut longer);
    let own_bytes = u32::try_from(longer.len() - before).unwrap_or(u32::MAX);
    (Bytes::from(longer), own_bytes)
}

/// The payload of a `Close`.
#[must_use]
pub fn closing(closing: &Closing) -> Bytes {
    let mut payload = Vec::with_capacity(128);
    append(closing, &mut payload);
    Bytes::from(payload)
}

/// The payload of a listing.
#[must_use]
pub fn entries(entries: &[Entry]) -> Bytes {
    let mut payload = Vec::with_capacity(entries.len() * 64);
    append(entries, &mut payload);
    Bytes::from(payload)
}

/// `text` cut to what a message may carry, at a character boundary.
#[must_use]
pub fn text(text: &str) -> String {
    text[..text.floor_char_boundary(TEXT_BYTES_MAX)].to_owned()
}

fn append<T: Serialize + ?Sized>(value: &T, bytes: &mut Vec<u8>) {
    bincode::serde::encode_into_std_write(value, bytes, bincode::config::standard())
        .expect("writing to memory does not fail and every wire type has a length");
}
