//! Payloads of a `Put`: contents, items and the directory's own metadata, their lengths first.

#![no_main]

use libfuzzer_sys::fuzz_target;
use osync_core::testing::decoding;

fuzz_target!(|bytes: &[u8]| {
    let Some((lengths, payload)) = bytes.split_first_chunk::<4>() else { return };
    let [items_low, items_high, own_low, own_high] = *lengths;
    let items_bytes = u16::from_le_bytes([items_low, items_high]);
    let own_bytes = u16::from_le_bytes([own_low, own_high]);
    decoding::check_put(payload, items_bytes.into(), own_bytes.into());
});
