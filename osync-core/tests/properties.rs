//! What holds for every value: coarsening, comparing, encoding.

use std::time::{Duration, Instant};

use bytes::Bytes;
use osync_core::compare::diff::{Difference, diff};
use osync_core::compare::listing;
use osync_core::model::attributes::{Attribute, Attributes};
use osync_core::model::fidelity::Fidelity;
use osync_core::model::metadata::{Entry, Kind, Metadata};
use osync_core::model::name::Name;
use osync_core::model::need::Need;
use osync_core::model::rel_path::RelPath;
use osync_core::model::timestamp::Timestamp;
use osync_core::queue::mark::{Distrust, Extent, Urgency};
use osync_core::queue::mark_set::MarkSet;
use osync_core::testing::strategies;
use osync_core::wire::message::{Closing, Envelope};
use osync_core::wire::{decode, encode};
use proptest::prelude::*;

/// Small enough that a few dozen marks coarsen.
const BUDGET_BYTES: usize = 8 * 1024;

fn extent() -> impl Strategy<Value = Extent> {
    prop_oneof![
        6 => strategies::need().prop_map(Extent::Entry),
        1 => Just(Extent::Directory),
        1 => Just(Extent::Subtree),
    ]
}

/// Whether a taken mark says that what `extent` of `path` covers may differ.
fn covers(taken: &(RelPath, Extent), path: &RelPath, extent: Extent) -> bool {
    let (at, held) = taken;
    match held {
        Extent::Subtree => path.is_within(at),
        Extent::Directory => {
            at == path && extent != Extent::Subtree
                || path.parent().as_ref() == Some(at) && matches!(extent, Extent::Entry(_))
        }
        Extent::Entry(need) => {
            at == path && matches!(extent, Extent::Entry(asked) if asked <= *need)
        }
    }
}

#[test]
fn attributes_are_refused_in_the_wrong_form_out_of_order_and_of_no_class() {
    let file = |names: &[&str], is_digested: bool| {
        let attribute = |name: &&str| Attribute { name: name.as_bytes().into(), value: [1].into() };
        let full = Attributes::Full(names.iter().map(attribute).collect());
        let attributes = if is_digested { full.digested() } else { full };
        let (modified, kind) = (Timestamp::default(), Kind::File { size_bytes: 0 });
        Metadata { kind, modified, mode: 0, uid: 0, gid: 0, attributes, names: 1 }
    };
    let closes = |metadata: &Metadata| {
        let closing = Closing { metadata: metadata.clone(), own: None };
        decode::closing(&encode::closing(&closing)).is_ok()
    };
    let lists = |metadata: &Metadata| {
        let entry = Entry { name: Name::new(*b"f").unwrap(), metadata: metadata.clone() };
        decode::entries(&encode::entries(&[entry])).is_ok()
    };
    let good = file(&["trusted.a", "user.a"], false);
    let digested = file(&["trusted.a", "user.a"], true);

    assert!(closes(&good) && lists(&digested));
    assert!(!closes(&digested), "what is to be set comes in full");
    assert!(!lists(&good), "what is compared comes as digests");
    for names in [
        &["user.a", "user.a"][..],
        &["user.b", "user.a"],
        &["security.selinux"],
        &["system.other"],
        &["user.\0"],
        &[],
        &[&["user."; 52].concat()],
    ] {
        assert!(!closes(&file(names, false)), "{names:?}");
    }
}

proptest! {
    #[test]
    fn coarsening_never_uncovers_and_stays_within_the_budget(
        marks in prop::collection::vec((strategies::rel_path(), extent()), 1..200),
    ) {
        let now = Instant::now();
        let mut set = MarkSet::new(BUDGET_BYTES);
        for (path, extent) in &marks {
            set.insert(path, *extent, Urgency::Now, now, now);
            prop_assert!(set.covers(path));
            prop_assert!(set.used_bytes() <= BUDGET_BYTES || set.len() == 1);
        }

        let later = now + Duration::from_secs(1);
        let mut taken = Vec::new();
        let mut doubted = Vec::new();
        while let Some(mark) = set.pop_due(later) {
            if mark.distrust > Distrust::Nothing || mark.extent == Extent::Entry(Need::Content) {
                doubted.push((mark.path.clone(), mark.extent));
            }
            taken.push((mark.path, mark.extent));
        }

        prop_assert!(set.is_empty() && set.used_bytes() == 0);
        for (path, extent) in &marks {
            prop_assert!(
                taken.iter().any(|mark| covers(mark, path, *extent)),
                "{path:?} {extent:?} is uncovered by {taken:?}"
            );
            // A mark at the path itself finds out that it is no directory, and then looks at the content.
            let is_own = taken.iter().any(|(at, _)| at == path);
            let is_content = *extent == Extent::Entry(Need::Content);
            prop_assert!(
                !is_content || is_own || doubted.iter().any(|mark| covers(mark, path, *extent)),
                "nobody doubts the content of {path:?}: {doubted:?}"
            );
        }
    }

    #[test]
    fn a_parked_mark_is_neither_taken_nor_lost(
        marks in prop::collection::vec((strategies::rel_path(), extent()), 1..20),
    ) {
        let now = Instant::now();
        let mut set = MarkSet::new(1 << 20);
        for (path, extent) in &marks {
            set.insert(path, *extent, Urgency::Now, now, now);
        }
        let mut parked = Vec::new();
        while let Some(mark) = set.pop_due(now) {
            set.park(&mark, now);
            parked.push(mark);
        }
        prop_assert_eq!(set.next_due(), None);

        for mark in &parked {
            set.unpark(&mark.path, now);
        }
        let mut again = Vec::new();
        while let Some(mark) = set.pop_due(now) {
            again.push(mark);
        }
        again.sort_by(|one, other| one.path.cmp(&other.path));
        parked.sort_by(|one, other| one.path.cmp(&other.path));
        prop_assert_eq!(again, parked);
    }

    #[test]
    fn a_difference_applied_gives_the_source(
        source in strategies::listing(),
        sink in strategies::listing(),
    ) {
        let difference = diff(&source, &sink, Fidelity::FULL);

        let mut names: std::collections::BTreeMap<_, _> =
            sink.into_iter().map(|entry| (entry.name, entry.metadata)).collect();
        for name in &difference.extra {
            prop_assert!(names.remove(name).is_some());
        }
        for (index, need) in &difference.wanted {
            let Entry { name, metadata } = source[*index as usize].clone();
            // What is told to keep its content has it.
            if *need == Need::Metadata {
                prop_assert_eq!(&names[&name].kind, &metadata.kind);
            }
            names.insert(name, metadata);
        }
        let result: Vec<Entry> =
            names.into_iter().map(|(name, metadata)| Entry { name, metadata }).collect();
        let digest = |entries: &[Entry]| listing::digest(None, entries, Fidelity::FULL);
        prop_assert_eq!(digest(&result), digest(&source));
        prop_assert_eq!(diff(&source, &result, Fidelity::FULL), Difference::default());
    }

    #[test]
    fn what_is_decoded_is_what_was_encoded(
        session in any::<u64>(),
        sequence in any::<u64>(),
        message in strategies::message(),
    ) {
        let envelope = Envelope { session, sequence, message };
        let frame = encode::frame(&envelope, Bytes::new());
        prop_assert_eq!(decode::envelope(&frame), Ok(envelope));
    }

    #[test]
    fn items_and_entries_come_back_and_nothing_else_does(
        items in prop::collection::vec(strategies::item(), 0..9),
        entries in strategies::listing(),
        own in prop::option::of(strategies::metadata(Just(Kind::Directory))),
        metadata in strategies::metadata(Just(Kind::File { size_bytes: 7 })),
    ) {
        let mut payload = Vec::new();
        let items_bytes = encode::append_items(&items, &mut payload);
        let (payload, own_bytes) = encode::with_own(Bytes::from(payload), own.as_ref());
        let put = decode::put(&payload, items_bytes, own_bytes).unwrap();
        prop_assert_eq!(put.items.into_iter().map(|(item, _)| item).collect::<Vec<_>>(), items);
        prop_assert_eq!(&put.own, &own);
        prop_assert!(decode::put(&payload[1..], items_bytes, own_bytes).is_err());

        let closing = Closing { metadata, own };
        prop_assert_eq!(decode::closing(&encode::closing(&closing)), Ok(closing));

        let payload = encode::entries(&entries);
        prop_assert_eq!(decode::entries(&payload), Ok(entries));
        let longer = [&payload[..], &[0]].concat();
        prop_assert!(decode::entries(&longer).is_err());
    }
}
