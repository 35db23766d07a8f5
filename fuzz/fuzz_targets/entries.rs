//! Payloads of a `Listing`.

#![no_main]

use libfuzzer_sys::fuzz_target;
use osync_core::testing::decoding;

fuzz_target!(|bytes: &[u8]| decoding::check_entries(bytes));
