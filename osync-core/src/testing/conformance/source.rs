//! What every [`Source`] must do.
//!
//! [`check`] runs every rule on a fresh fixture and panics with the sentence that is broken. Rules that
//! concern time wait with a deadline: a file system's clock may stand still for some milliseconds.

use std::time::{Duration, Instant};

use crate::model::metadata::{Kind, Metadata, Stamp};
use crate::model::name::Name;
use crate::model::rel_path::RelPath;
use crate::model::timestamp::Timestamp;
use crate::ports::source::{Source, SourceFile};
use crate::testing::conformance::{deep_directory, odd_names};

/// How long the clock behind stamps may stand still.
const CLOCK_STEP_MAX: Duration = Duration::from_secs(5);

/// A source that starts empty, and the hands that change what lies behind it.
///
/// Everything here succeeds or panics. Paths are bytes with `/`; directories above them exist.
pub trait SourceFixture {
    /// The source under test.
    fn source(&self) -> &dyn Source;
    /// Makes a file, or truncates and writes it in place.
    fn write(&self, path: &[u8], content: &[u8]);
    /// Makes a directory.
    fn mkdir(&self, path: &[u8]);
    /// Makes a symbolic link.
    fn symlink(&self, path: &[u8], target: &[u8]);
    /// Makes a named pipe. Nobody ever opens its other end, so opening it would hang.
    fn fifo(&self, path: &[u8]);
    /// Removes a file, link or pipe.
    fn remove(&self, path: &[u8]);
    /// Moves an entry, over a file if one is there.
    fn rename(&self, from: &[u8], to: &[u8]);
    /// Sets the mode.
    fn chmod(&self, path: &[u8], mode: u32);
    /// Sets the modification time, of a link itself.
    fn set_modified(&self, path: &[u8], modified: Timestamp);
}

/// Checks every rule, each on a fixture of its own.
///
/// # Panics
/// With the rule that is broken.
pub fn check<F: SourceFixture>(mut make: impl FnMut() -> F) {
    let rules: [fn(&dyn SourceFixture); 11] = [
        metadata_tells_every_kind,
        what_is_not_there_is_none,
        symbolic_links_are_never_followed,
        pages_come_in_bytewise_order,
        pages_go_on_while_the_directory_changes,
        interleaved_listings_do_not_mix,
        only_regular_files_open,
        ranges_are_read_as_asked,
        an_open_file_outlives_its_name,
        stamps_move_with_every_change,
        odd_names_and_long_paths_are_kept,
    ];
    for rule in rules {
        rule(&make());
    }
}

fn metadata_tells_every_kind(fixture: &dyn SourceFixture) {
    let modified = Timestamp {
        seconds: 1_234_567_890,
        nanoseconds: 123_456_789,
    };
    fixture.mkdir(b"d");
    fixture.write(b"d/file", b"12345");
    fixture.symlink(b"d/link", b"no/such/target");
    fixture.fifo(b"d/pipe");
    fixture.chmod(b"d/file", 0o604);
    for path in [&b"d/file"[..], b"d/link", b"d/pipe", b"d"] {
        fixture.set_modified(path, modified);
    }

    let kind = |path: &[u8]| look(fixture, path).map(|(metadata, _)| metadata.kind);
    assert_eq!(kind(b""), Some(Kind::Directory), "the root is a directory");
    assert_eq!(kind(b"d"), Some(Kind::Directory));
    assert_eq!(kind(b"d/file"), Some(Kind::File { size_bytes: 5 }));
    let target = (*b"no/such/target").into();
    assert_eq!(
        kind(b"d/link"),
        Some(Kind::Symlink { target }),
        "a symbolic link is told as it is, its target is data"
    );
    assert_eq!(kind(b"d/pipe"), Some(Kind::Fifo));
    let (file, _) = look(fixture, b"d/file").expect("the file is there");
    assert_eq!(file.mode, 0o604, "permission bits alone make the mode");
    for path in [&b"d/file"[..], b"d/link", b"d/pipe", b"d"] {
        let (metadata, stamp) = look(fixture, path).expect("all are there");
        assert_eq!(metadata.modified, modified, "times have nanoseconds");
        assert!(!stamp.unlinked, "what has a name is not unlinked");
    }
    let listed = list_all(fixture, b"d", 10);
    for (name, metadata) in listed {
        let path = [&b"d/"[..], name.as_bytes()].concat();
        let alone = look(fixture, &path).map(|(metadata, _)| metadata);
        assert_eq!(Some(metadata), alone, "a listing tells what metadata tells");
    }
}

fn what_is_not_there_is_none(fixture: &dyn SourceFixture) {
    fixture.write(b"file", b"x");
    fixture.fifo(b"pipe");

    for path in [&b"none"[..], b"none/below", b"file/below", b"pipe/below"] {
        assert_none_at(fixture, path);
    }
    for path in [&b"file"[..], b"pipe"] {
        let page = fixture.source().list(&rel(path), None, 1);
        assert_eq!(page.expect(PLAIN), None, "only directories have listings");
    }
}

fn symbolic_links_are_never_followed(fixture: &dyn SourceFixture) {
    fixture.mkdir(b"d");
    fixture.mkdir(b"d/e");
    fixture.write(b"d/e/file", b"x");
    fixture.symlink(b"to-d", b"d");
    fixture.symlink(b"to-file", b"d/e/file");
    fixture.symlink(b"d/up", b"..");

    for path in [
        &b"to-d/e"[..],
        b"to-d/e/file",
        b"d/up/d",
        b"d/up/d/e/file",
        b"to-file/x",
    ] {
        assert_none_at(fixture, path);
    }
    for path in [&b"to-d"[..], b"d/up", b"to-file"] {
        let page = fixture.source().list(&rel(path), None, 1);
        assert_eq!(
            page.expect(PLAIN),
            None,
            "a link to a directory has no listing"
        );
        assert!(open(fixture, path).is_none(), "a link is not opened");
    }
}

fn pages_come_in_bytewise_order(fixture: &dyn SourceFixture) {
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
        assert_eq!(
            listed, names,
            "pages of {limit} give every name once, in order"
        );
    }
    let after = Name::new(*b"n1~").expect("a name");
    let page = fixture.source().list(&rel(b"d"), Some(&after), 1);
    let page = page.expect(PLAIN).expect("the directory is there");
    assert_eq!(
        page.entries[0].name.as_bytes(),
        b"n2",
        "`after` need not be a name that is there"
    );
    let last = Name::new(vec![0xff; 255]).expect("a name");
    let page = fixture.source().list(&rel(b"d"), Some(&last), 1);
    let page = page.expect(PLAIN).expect("the directory is there");
    assert!(
        page.entries.is_empty() && !page.has_more,
        "nothing follows the last"
    );
    assert_eq!(list_all(fixture, b"empty", 1), []);
}

fn pages_go_on_while_the_directory_changes(fixture: &dyn SourceFixture) {
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
    assert_eq!(
        names,
        [b"d", b"e"],
        "what vanished between pages is left out"
    );
    assert_eq!(
        rest.entries[0].metadata.kind,
        Kind::File { size_bytes: 5 },
        "a page tells what lies there now"
    );
    fixture.write(b"a0", b"");
    let again: Vec<_> = list_all(fixture, b"", 2);
    let names: Vec<_> = again.iter().map(|(name, _)| name.as_bytes()).collect();
    assert_eq!(
        names,
        [&b"a"[..], b"a0", b"d", b"e"],
        "a listing from the start sees every name"
    );
}

fn interleaved_listings_do_not_mix(fixture: &dyn SourceFixture) {
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
            let page = fixture
                .source()
                .list(&rel(directory), after[turn].as_ref(), 1);
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

fn only_regular_files_open(fixture: &dyn SourceFixture) {
    fixture.mkdir(b"d");
    fixture.fifo(b"pipe");
    fixture.write(b"file", b"x");

    for path in [&b""[..], b"d", b"pipe", b"none"] {
        assert!(open(fixture, path).is_none(), "{} is no file", rel(path));
    }
    assert!(open(fixture, b"file").is_some());
}

fn ranges_are_read_as_asked(fixture: &dyn SourceFixture) {
    let content: Vec<u8> = (0..100_000_u32).flat_map(u32::to_le_bytes).collect();
    fixture.write(b"file", &content);
    fixture.write(b"empty", b"");

    let mut file = open(fixture, b"file").expect("the file is there");
    assert_eq!(read_all(file.as_mut(), 0), content);
    assert_eq!(read_all(file.as_mut(), 399_999), content[399_999..]);
    assert_eq!(read_all(file.as_mut(), 400_000), [0_u8; 0]);
    assert_eq!(
        read_all(file.as_mut(), 1 << 40),
        [0_u8; 0],
        "past the end there is nothing to read"
    );
    let (metadata, _) = file.metadata().expect(PLAIN);
    assert_eq!(
        metadata.kind,
        Kind::File {
            size_bytes: 400_000
        }
    );
    let mut empty = open(fixture, b"empty").expect("the file is there");
    assert_eq!(read_all(empty.as_mut(), 0), [0_u8; 0]);
}

fn an_open_file_outlives_its_name(fixture: &dyn SourceFixture) {
    fixture.write(b"removed", b"one");
    fixture.write(b"replaced", b"two");
    fixture.write(b"new", b"three!");
    let mut removed = open(fixture, b"removed").expect("the file is there");
    let mut replaced = open(fixture, b"replaced").expect("the file is there");
    let before = replaced.metadata().expect(PLAIN);
    assert_eq!(Some(&before), look(fixture, b"replaced").as_ref());

    fixture.remove(b"removed");
    fixture.rename(b"new", b"replaced");

    for (file, content) in [(&mut removed, b"one"), (&mut replaced, b"two")] {
        assert_eq!(read_all(file.as_mut(), 0), content);
        let (metadata, stamp) = file.metadata().expect(PLAIN);
        assert_eq!(metadata.kind, Kind::File { size_bytes: 3 });
        assert!(stamp.unlinked, "an open file without a name says so");
    }
    let (_, now) = look(fixture, b"replaced").expect("the name is taken");
    assert_ne!(
        now.object, before.1.object,
        "another object has the name now"
    );
}

fn stamps_move_with_every_change(fixture: &dyn SourceFixture) {
    fixture.write(b"file", b"one");
    let first = stamp(fixture);
    assert_eq!(
        first,
        stamp(fixture),
        "a stamp holds still while its entry does"
    );

    let written = moved(fixture, first, || fixture.write(b"file", b"two"));
    let changed = moved(fixture, written, || fixture.chmod(b"file", 0o600));
    let early = Timestamp::default();
    let dated = moved(fixture, changed, || fixture.set_modified(b"file", early));
    assert_eq!(dated.object, first.object, "one object all along");
}

/// Does `change` until the stamp is another than `before`.
fn moved(fixture: &dyn SourceFixture, before: Stamp, change: impl Fn()) -> Stamp {
    let deadline = Instant::now() + CLOCK_STEP_MAX;
    loop {
        change();
        let now = stamp(fixture);
        if now != before {
            return now;
        }
        assert!(Instant::now() < deadline, "a stamp moves with every change");
    }
}

fn stamp(fixture: &dyn SourceFixture) -> Stamp {
    look(fixture, b"file").expect("the file is there").1
}

fn odd_names_and_long_paths_are_kept(fixture: &dyn SourceFixture) {
    fixture.mkdir(b"d");
    for name in odd_names() {
        fixture.write(&[&b"d/"[..], &name].concat(), &name);
    }
    let deep = deep_directory();
    for (at, _) in deep.iter().enumerate().filter(|&(_, &byte)| byte == b'/') {
        fixture.mkdir(&deep[..at]);
    }
    fixture.mkdir(&deep);
    let bottom = [&deep[..], b"/file"].concat();
    fixture.write(&bottom, b"deep");

    let mut names = odd_names();
    names.sort();
    let listed: Vec<_> = list_all(fixture, b"d", 3)
        .into_iter()
        .map(|(name, _)| name.as_bytes().to_vec())
        .collect();
    assert_eq!(listed, names, "names are kept byte for byte");
    for name in names {
        let mut file = open(fixture, &[&b"d/"[..], &name].concat()).expect("it is there");
        assert_eq!(read_all(file.as_mut(), 0), name);
    }
    let mut file = open(fixture, &bottom).expect("paths may be longer than PATH_MAX");
    assert_eq!(read_all(file.as_mut(), 0), b"deep");
    assert_eq!(list_all(fixture, &deep, 9).len(), 1);
    assert!(look(fixture, &bottom).is_some());
    assert_none_at(fixture, &[&deep[..], b"/none"].concat());
}

/// What a call says that has no reason to fail.
const PLAIN: &str = "nothing is wrong with the tree, so the source can tell";

fn rel(path: &[u8]) -> RelPath {
    RelPath::new(path).expect("rules use valid paths")
}

fn look(fixture: &dyn SourceFixture, path: &[u8]) -> Option<(Metadata, Stamp)> {
    fixture.source().metadata(&rel(path)).expect(PLAIN)
}

fn open(fixture: &dyn SourceFixture, path: &[u8]) -> Option<Box<dyn SourceFile>> {
    fixture.source().open(&rel(path)).expect(PLAIN)
}

fn assert_none_at(fixture: &dyn SourceFixture, path: &[u8]) {
    let path_shown = rel(path);
    assert_eq!(look(fixture, path), None, "{path_shown} has no metadata");
    assert!(open(fixture, path).is_none(), "{path_shown} does not open");
    let page = fixture.source().list(&path_shown, None, 1).expect(PLAIN);
    assert_eq!(page, None, "{path_shown} has no listing");
}

fn list_all(fixture: &dyn SourceFixture, path: &[u8], limit: usize) -> Vec<(Name, Metadata)> {
    let mut entries: Vec<(Name, Metadata)> = Vec::new();
    loop {
        let after = entries.last().map(|(name, _)| name.clone());
        let page = fixture.source().list(&rel(path), after.as_ref(), limit);
        let page = page.expect(PLAIN).expect("the directory is there");
        assert!(page.entries.len() <= limit, "a page keeps to its limit");
        assert!(
            !(page.has_more && page.entries.is_empty()),
            "a page that is not the last moves on"
        );
        entries.extend(page.entries.into_iter().map(|e| (e.name, e.metadata)));
        if !page.has_more {
            return entries;
        }
    }
}

fn read_all(file: &mut dyn SourceFile, mut offset_bytes: u64) -> Vec<u8> {
    let mut content = Vec::new();
    let mut buffer = vec![0; 100_003];
    loop {
        let count = file.read_at(offset_bytes, &mut buffer).expect(PLAIN);
        if count == 0 {
            return content;
        }
        content.extend_from_slice(&buffer[..count]);
        offset_bytes += count as u64;
    }
}
