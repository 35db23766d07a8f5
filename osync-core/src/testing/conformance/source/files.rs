//! Rules of open files and of stamps.

use std::time::{Duration, Instant};

use crate::model::metadata::{Kind, Stamp};
use crate::model::timestamp::Timestamp;
use crate::testing::conformance::source::{PLAIN, SourceFixture, look, open, read_all, rel};

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
