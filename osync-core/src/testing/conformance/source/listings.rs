//! Rules of listings: pages, their order, and a tree that changes between them.

use crate::model::metadata::Kind;
use crate::model::name::Name;
use crate::model::rel_path::RelPath;
use crate::testing::conformance::source::{PLAIN, SourceFixture, list_all, rel};

pub(super) fn pages_come_in_bytewise_order(fixture: &dyn SourceFixture) {
    let mut names: Vec<Vec<u8>> = (0..23).map(|n| format!("n{n}").into_bytes()).collect();
    names.extend([&b"-"[..], b"N", b"\x80", b"n-", b"n"].map(<[u8]>::to_vec));
    fixture.mkdir(b"d");
    fixture.mkdir(b"empty");
    for name in &names {
        fixture.write(&[&b"d/"[..], name].concat(), b"");
    }
    names.sort();

    for limit in [1, 2, 7, names.len() - 1, names.len(), names.len() + 1] {
        let listed: Vec<Vec<u8>> = list_all(fixture, b"d", limit)
            .iter()
            .map(|(name, _)| name.as_bytes().to_vec())
            .collect();
        assert_eq!(listed, names, "pages of {limit} give every name once, in order");
    }
    let after = Name::new(*b"n1~").expect("a name");
    let page = fixture.source().list(&rel(b"d"), Some(&after), 1);
    let page = page.expect(PLAIN).expect("the directory is there");
    assert_eq!(page.entries[0].name.as_bytes(), b"n2", "`after` need not be a name that is there");
    let last = Name::new(vec![0xff; 255]).expect("a name");
    let page = fixture.source().list(&rel(b"d"), Some(&last), 1);
    let page = page.expect(PLAIN).expect("the directory is there");
    assert!(page.entries.is_empty() && !page.has_more, "nothing follows the last");
    assert_eq!(list_all(fixture, b"empty", 1), []);
}

pub(super) fn names_tell_what_a_listing_tells(fixture: &dyn SourceFixture) {
    fixture.mkdir(b"d");
    fixture.mkdir(b"d/a-directory");
    fixture.write(b"d/b-file", b"x");
    fixture.symlink(b"d/c-link", b"a-directory");
    fixture.fifo(b"d/d-pipe");
    fixture.mkdir(b"d/e-directory");

    let mut named = Vec::new();
    loop {
        let after = named.last().map(|(name, _): &(Name, bool)| name.clone());
        let page = fixture.source().names(&rel(b"d"), after.as_ref(), 2);
        let page = page.expect(PLAIN).expect("the directory is there");
        assert!(page.names.len() <= 2, "a page keeps to its limit");
        named.extend(page.names);
        if !page.has_more {
            break;
        }
    }

    let listed: Vec<(Name, bool)> = list_all(fixture, b"d", 9)
        .into_iter()
        .map(|(name, metadata)| (name, metadata.kind.is_directory()))
        .collect();
    assert_eq!(named, listed, "names and listings agree");
    for path in [&b"none"[..], b"d/b-file", b"d/c-link"] {
        let page = fixture.source().names(&rel(path), None, 1).expect(PLAIN);
        assert_eq!(page, None, "only directories have names in them");
    }
}

pub(super) fn pages_go_on_while_the_directory_changes(fixture: &dyn SourceFixture) {
    for name in ["a", "b", "c", "d", "e"] {
        fixture.write(name.as_bytes(), b"");
    }

    let first = fixture.source().list(&RelPath::root(), None, 2);
    let first = first.expect(PLAIN).expect("the root is there");
    assert!(first.has_more);
    fixture.remove(b"b");
    fixture.remove(b"c");
    fixture.write(b"d", b"grown");
    let after = first.entries.last().map(|entry| entry.name.clone());
    let rest = fixture.source().list(&RelPath::root(), after.as_ref(), 9);
    let rest = rest.expect(PLAIN).expect("the root is there");

    let names: Vec<_> = rest.entries.iter().map(|e| e.name.as_bytes()).collect();
    assert_eq!(names, [b"d", b"e"], "what vanished between pages is left out");
    assert_eq!(
        rest.entries[0].metadata.kind,
        Kind::File { size_bytes: 5 },
        "a page tells what lies there now"
    );
    fixture.write(b"a0", b"");
    let again: Vec<_> = list_all(fixture, b"", 2);
    let names: Vec<_> = again.iter().map(|(name, _)| name.as_bytes()).collect();
    assert_eq!(names, [&b"a"[..], b"a0", b"d", b"e"], "a listing from the start sees every name");
}

pub(super) fn interleaved_listings_do_not_mix(fixture: &dyn SourceFixture) {
    for directory in [b"x", b"y"] {
        fixture.mkdir(directory);
        for n in 0..5 {
            let path = [&directory[..], format!("/{n}").as_bytes()].concat();
            fixture.write(&path, directory);
        }
    }
    fixture.write(b"y/9", b"");

    let mut listed = [Vec::new(), Vec::new()];
    let mut after: [Option<Name>; 2] = [None, None];
    for _ in 0..6 {
        for (turn, directory) in [b"x", b"y"].into_iter().enumerate() {
            let page = fixture.source().list(&rel(directory), after[turn].as_ref(), 1);
            let page = page.expect(PLAIN).expect("both are there");
            if let Some(entry) = page.entries.into_iter().next() {
                listed[turn].push(entry.name.as_bytes().to_vec());
                after[turn] = Some(entry.name);
            }
        }
    }

    assert_eq!(listed[0], [b"0", b"1", b"2", b"3", b"4"]);
    assert_eq!(listed[1], [b"0", b"1", b"2", b"3", b"4", b"9"]);
}
