//! Bytes that nobody would send by mistake: every decoder takes them or refuses them, and never panics.
//!
//! `fuzz/` does the same for as long as one likes, led by coverage.

use bytes::Bytes;
use osync_core::model::metadata::Kind;
use osync_core::testing::{decoding, strategies};
use osync_core::wire::encode;
use osync_core::wire::message::{Closing, Envelope};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::Index;

/// One thing done to bytes.
#[derive(Debug, Clone)]
enum Mutation {
    Set(Index, u8),
    /// A length of more than memory holds, where a length may be.
    Long(Index, [u8; 9]),
    Insert(Index, Vec<u8>),
    Remove(Index, Index),
    Truncate(Index),
    Repeat(Index, Index),
}

impl Mutation {
    fn apply(&self, bytes: &mut Vec<u8>) {
        let within = |one: &Index, other: &Index, length: usize| {
            let (one, other) = (one.index(length + 1), other.index(length + 1));
            one.min(other)..one.max(other)
        };
        let length = bytes.len();
        match self {
            Self::Set(at, byte) if length > 0 => bytes[at.index(length)] = *byte,
            Self::Long(at, number) if length > 0 => {
                let at = at.index(length);
                drop(bytes.splice(at..=at, *number));
            }
            Self::Set(..) | Self::Long(..) => {}
            Self::Insert(at, more) => {
                let at = at.index(length + 1);
                drop(bytes.splice(at..at, more.iter().copied()));
            }
            Self::Remove(one, other) => drop(bytes.drain(within(one, other, length))),
            Self::Truncate(at) => bytes.truncate(at.index(length + 1)),
            Self::Repeat(one, other) => {
                let again = bytes[within(one, other, length)].to_vec();
                bytes.extend(again);
            }
        }
    }
}

fn mutations() -> impl Strategy<Value = Vec<Mutation>> {
    // Bincode's mark of a number of eight bytes, then the number.
    let long = prop_oneof![Just(u64::MAX), Just(1_u64 << 40), Just(1_u64 << 32), Just(1_u64 << 24)]
        .prop_map(|number: u64| {
            let mut bytes = [253; 9];
            bytes[1..].copy_from_slice(&number.to_le_bytes());
            bytes
        });
    let mutation = prop_oneof![
        4 => (any::<Index>(), any::<u8>()).prop_map(|(at, byte)| Mutation::Set(at, byte)),
        2 => (any::<Index>(), long).prop_map(|(at, number)| Mutation::Long(at, number)),
        1 => (any::<Index>(), vec(any::<u8>(), 1..9)).prop_map(|(at, more)| Mutation::Insert(at, more)),
        1 => any::<(Index, Index)>().prop_map(|(one, other)| Mutation::Remove(one, other)),
        1 => any::<Index>().prop_map(Mutation::Truncate),
        1 => any::<(Index, Index)>().prop_map(|(one, other)| Mutation::Repeat(one, other)),
    ];
    vec(mutation, 0..4)
}

fn mutated(bytes: &[u8], mutations: &[Mutation]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for mutation in mutations {
        mutation.apply(&mut bytes);
    }
    bytes
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_024))]

    #[test]
    fn any_bytes_are_refused_or_come_back_the_same(
        bytes in vec(any::<u8>(), 0..96),
        items_bytes in any::<u32>(),
        own_bytes in 0..96_u32,
    ) {
        decoding::check_header(&bytes);
        decoding::check_closing(&bytes);
        decoding::check_entries(&bytes);
        for items_bytes in [items_bytes, items_bytes % 96] {
            decoding::check_put(&bytes, items_bytes, own_bytes);
        }
    }

    #[test]
    fn damaged_headers_are_refused_or_come_back_the_same(
        message in strategies::message(),
        numbers in any::<(u64, u64)>(),
        mutations in mutations(),
    ) {
        let envelope = Envelope { session: numbers.0, sequence: numbers.1, message };
        let frame = encode::frame(&envelope, Bytes::new());
        decoding::check_header(&mutated(&frame.header, &mutations));
        decoding::check_header(&mutated(&frame.header[6..], &mutations));
    }

    #[test]
    fn damaged_payloads_are_refused_or_come_back_the_same(
        items in vec(strategies::item(), 0..6),
        entries in strategies::listing(),
        own in option::of(strategies::metadata(Just(Kind::Directory))),
        metadata in strategies::metadata(Just(Kind::File { size_bytes: 7 })),
        mutations in mutations(),
    ) {
        let mut payload = Vec::new();
        let items_bytes = encode::append_items(&items, &mut payload);
        let (payload, own_bytes) = encode::with_own(Bytes::from(payload), own.as_ref());
        let damaged = mutated(&payload, &mutations);
        decoding::check_put(&damaged, items_bytes, own_bytes);
        // The header would say what the payload is.
        let longer = damaged.len().saturating_sub(payload.len());
        decoding::check_put(&damaged, items_bytes + u32::try_from(longer).unwrap(), own_bytes);

        let closing = encode::closing(&Closing { metadata, own });
        decoding::check_closing(&mutated(&closing, &mutations));
        decoding::check_entries(&mutated(&encode::entries(&entries), &mutations));
    }
}
