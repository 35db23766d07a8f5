//! Rules of open files and of stamps.

use std::time::{Duration, Instant};

use crate::model::attributes::{Attribute, Attributes, Class};
use crate::model::metadata::{Kind, Stamp};
use crate::model::name::Name;
use crate::model::timestamp::Timestamp;
use crate::testing::conformance::source::{
    PLAIN, SourceFixture, list_all, look, open, read_all, rel,
};

/// How long the clock behind stamps may stand still.
const CLOCK_STEP_MAX: Duration = Duration::from_secs(5);

pub(super) fn only_regular_files_open(fixture: &dyn SourceFixture) {
    fixture.mkdir(b"d");
    fixture.fifo(b"pipe");
    fixture.write(b"file", b"x");

    for path in [&b""[..], b"d", b"pipe", b"none"] {
        assert!(open(fixture, path).is_none(), "{} is no file", rel(path));
    }
    assert!(open(fixture, b"file").is_some());
}

pub(super) fn ranges_are_read_as_asked(fixture: &dyn SourceFixture) {
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
    assert_eq!(metadata.kind, Kind::File { size_bytes: 400_000 });
    let mut empty = open(fixture, b"empty").expect("the file is there");
    assert_eq!(read_all(empty.as_mut(), 0), [0_u8; 0]);
}

pub(super) fn bytes_are_appended_as_asked(fixture: &dyn SourceFixture) {
    fixture.write(b"file", b"0123456789");
    let mut file = open(fixture, b"file").expect("the file is there");
    let mut bytes = b"before ".to_vec();

    assert_eq!(file.append_to(&mut bytes, 2, 3).expect(PLAIN), 3);
    assert_eq!(bytes, b"before 234", "no more than asked for, behind what was there");
    assert_eq!(file.append_to(&mut bytes, 8, 100).expect(PLAIN), 2);
    assert_eq!(bytes, b"before 23489", "the end of the file cuts it short");
    assert_eq!(file.append_to(&mut bytes, 0, 0).expect(PLAIN), 0);
    assert_eq!(file.append_to(&mut bytes, 10, 1).expect(PLAIN), 0);
    assert_eq!(bytes, b"before 23489", "nothing is nothing");
}

pub(super) fn a_directory_tells_of_its_names_what_the_source_tells(fixture: &dyn SourceFixture) {
    let source = fixture.source();
    fixture.mkdir(b"d");
    fixture.mkdir(b"d/directory");
    fixture.write(b"d/file", b"content");
    fixture.symlink(b"d/link", b"file");
    fixture.fifo(b"d/pipe");
    let directory = source.directory(&rel(b"d")).expect(PLAIN).expect("it is there");

    for text in ["directory", "file", "link", "pipe", "none"] {
        let name = Name::new(text.as_bytes()).expect("a name");
        let path = rel(&[b"d/", text.as_bytes()].concat());
        let told = directory.metadata(&name).expect(PLAIN);
        assert_eq!(told, source.metadata(&path).expect(PLAIN), "{path}");
    }
    let name = Name::new(*b"file").expect("a name");
    let mut file = directory.open(&name).expect(PLAIN).expect("the file is there");
    assert_eq!(directory.metadata(&name).expect(PLAIN), Some(file.metadata().expect(PLAIN)));
    assert_eq!(read_all(file.as_mut(), 0), b"content");
    fixture.remove(b"d/file");
    assert_eq!(directory.metadata(&name).expect(PLAIN), None, "it is looked at anew");
    assert!(directory.open(&name).expect(PLAIN).is_none());
    for path in [&b"none"[..], b"none/below", b"d/link", b"d/pipe"] {
        let Some(none) = source.directory(&rel(path)).expect(PLAIN) else { continue };
        assert_eq!(none.metadata(&name).expect(PLAIN), None, "nothing lies below {}", rel(path));
    }
}

pub(super) fn everything_but_zeros_is_data(fixture: &dyn SourceFixture) {
    let mut content = vec![0; 300_000];
    content[100_000..100_100].fill(7);
    content[250_000..250_003].fill(8);
    fixture.write(b"file", &content);
    fixture.write(b"empty", b"");
    let mut file = open(fixture, b"file").expect("the file is there");

    let mut rebuilt = vec![0; content.len()];
    let mut at = 0;
    while let Some(data) = file.next_data(at).expect(PLAIN) {
        assert!(data.start >= at && data.end > data.start, "ranges ascend");
        let end = data.end.min(content.len() as u64);
        if data.start >= end {
            break;
        }
        let (from, to) = (usize::try_from(data.start), usize::try_from(end));
        let (from, to) = (from.expect("small"), to.expect("small"));
        assert_eq!(file.read_at(data.start, &mut rebuilt[from..to]).expect(PLAIN), to - from);
        at = end;
    }

    assert!(rebuilt == content, "what is no data reads as zeros");
    let mut empty = open(fixture, b"empty").expect("the file is there");
    let data = empty.next_data(0).expect(PLAIN);
    assert!(data.is_none_or(|data| data.start == 0), "an empty file has no hole");
}

pub(super) fn an_open_file_outlives_its_name(fixture: &dyn SourceFixture) {
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
    assert_ne!(now.object, before.1.object, "another object has the name now");
}

pub(super) fn stamps_move_with_every_change(fixture: &dyn SourceFixture) {
    fixture.write(b"file", b"one");
    let first = stamp(fixture);
    assert_eq!(first, stamp(fixture), "a stamp holds still while its entry does");

    let written = moved(fixture, first, || fixture.write(b"file", b"two"));
    let changed = moved(fixture, written, || fixture.chmod(b"file", 0o600));
    let early = Timestamp::default();
    let dated = moved(fixture, changed, || fixture.set_modified(b"file", early));
    if fixture.set_attribute(b"file", b"user.a", b"1") {
        moved(fixture, stamp(fixture), || assert!(fixture.set_attribute(b"file", b"user.a", b"2")));
    }
    assert_eq!(dated.object, first.object, "one object all along");
}

pub(super) fn attributes_are_told_in_full_and_listed_as_digests(fixture: &dyn SourceFixture) {
    fixture.mkdir(b"d");
    fixture.write(b"d/file", b"x");
    fixture.symlink(b"d/link", b"file");
    fixture.fifo(b"d/pipe");
    let long = vec![7; 1_000];
    let all: [(&[u8], &[u8]); 3] =
        [(b"user.long", &long), (b"user.empty", b""), (b"trusted.t", b"\x00\xff")];

    for path in [&b"d"[..], b"d/file", b"d/link", b"d/pipe"] {
        let set = all.iter().filter(|(name, value)| {
            let class = Class::of(name).expect("replicated");
            fixture.set_attribute(path, name, value)
                && fixture.source().fidelity().attributes.contains(class)
        });
        let set = set.map(|&(name, value)| Attribute { name: name.into(), value: value.into() });
        let wanted = Attributes::new(set.collect());

        let (found, _) = look(fixture, path).expect("it is there");
        assert_eq!(found.attributes.full(), wanted.full(), "{}", path.escape_ascii());
        if let Some(mut file) = open(fixture, path) {
            let (found, _) = file.metadata().expect(PLAIN);
            assert_eq!(found.attributes.full(), wanted.full(), "an open file tells them too");
        }
        let listed = list_all(fixture, b"d", 9);
        let entry = listed.iter().find(|(name, _)| path.ends_with(name.as_bytes()));
        if let Some((_, metadata)) = entry.filter(|_| path != b"d") {
            assert_eq!(metadata.attributes, wanted);
            assert!(metadata.attributes.full().is_empty(), "a listing has digests only");
        }
    }
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
