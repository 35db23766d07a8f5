//! What must hold of any bytes that are decoded, whoever sent them: shared by property tests and fuzzing.
//!
//! Nothing panics; what decodes comes back the same when it is encoded and decoded again, so no two
//! parts of the program can understand one message differently; and no more values come out than bytes
//! went in, so memory is bounded by the length of the frame.

use bytes::Bytes;

use crate::model::frame::Frame;
use crate::wire::{MAGIC, VERSION, decode, encode};

/// Any header, and any bytes behind the magic and version of one.
///
/// # Panics
/// If a message that decodes does not come back the same.
pub fn check_header(bytes: &[u8]) {
    let prefixed = [&MAGIC[..], &VERSION.to_le_bytes(), bytes].concat();
    for header in [bytes, &prefixed[..]] {
        for payload in [&b""[..], b"p"] {
            check_frame(header, payload);
        }
    }
}

fn check_frame(header: &[u8], payload: &'static [u8]) {
    let payload = Bytes::from_static(payload);
    let frame = Frame { header: Bytes::copy_from_slice(header), payload: payload.clone() };
    if let Ok(envelope) = decode::envelope(&frame) {
        assert_eq!(decode::envelope(&encode::frame(&envelope, payload)), Ok(envelope));
    }
}

/// Any payload of a `Put`, whose header says anything about its parts.
///
/// # Panics
/// If items that decode do not come back the same, or their contents do not tile the payload.
pub fn check_put(payload: &[u8], items_bytes: u32, own_bytes: u32) {
    let Ok(put) = decode::put(payload, items_bytes, own_bytes) else { return };
    assert!(put.items.len() <= payload.len());
    let mut contents_bytes = 0;
    for (_, range) in &put.items {
        assert_eq!(range.start, contents_bytes);
        contents_bytes = range.end;
    }
    let mut again = payload[..contents_bytes].to_vec();
    let items: Vec<_> = put.items.iter().map(|(item, _)| item.clone()).collect();
    let items_bytes = encode::append_items(&items, &mut again);
    let (again, own_bytes) = encode::with_own(Bytes::from(again), put.own.as_ref());
    assert_eq!(decode::put(&again, items_bytes, own_bytes), Ok(put));
}

/// Any payload of a `Close`.
///
/// # Panics
/// If what decodes does not come back the same.
pub fn check_closing(payload: &[u8]) {
    if let Ok(closing) = decode::closing(payload) {
        assert_eq!(decode::closing(&encode::closing(&closing)), Ok(closing));
    }
}

/// Any payload of a `Listing`.
///
/// # Panics
/// If entries that decode do not come back the same.
pub fn check_entries(payload: &[u8]) {
    if let Ok(entries) = decode::entries(payload) {
        assert!(entries.len() <= payload.len());
        assert_eq!(decode::entries(&encode::entries(&entries)), Ok(entries));
    }
}
