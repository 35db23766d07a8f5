//! Rules of what a sink puts at a path: content, metadata, and nothing in between.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use crate::model::attributes::{Attribute, Attributes};
use crate::model::metadata::{Kind, Metadata};
use crate::model::rel_path::RelPath;
use crate::model::timestamp::Timestamp;
use crate::ports::sink::SinkError;
use crate::testing::conformance::sink::{
    NULL, PLAIN, SinkFixture, Sort, assert_is, file, kinds, of_kind, put, rel, settled, sorts,
};

pub(super) fn files_get_content_metadata_and_parents(fixture: &dyn SinkFixture) {
    let sink = fixture.sink();
    let large: Vec<u8> = (0..150_000_u32).flat_map(u32::to_le_bytes).collect();
    for (path, content) in [("f", &b""[..]), ("a/b/c/g", b"small"), ("a/b/h", &large)] {
        let metadata = file(sink, content.len());
        sink.write_file(&rel(path), &metadata, content).expect(PLAIN);

        assert_eq!(fixture.content(&rel(path)).as_deref(), Some(content));
        assert_is(sink, path, &metadata);
    }
    assert_eq!(settled(fixture), ["", "a", "a/b", "a/b/c", "a/b/c/g", "a/b/h", "f"].map(rel));
}

pub(super) fn every_kind_replaces_every_kind(fixture: &dyn SinkFixture) {
    let sink = fixture.sink();
    sink.make_directory(&rel("d")).expect(PLAIN);
    for before in sorts(sink) {
        for after in sorts(sink) {
            put(sink, "d/x", before);
            if before == Sort::Directory {
                put(sink, "d/x/below/file", Sort::File);
            }

            let wanted = put(sink, "d/x", after);

            let found = sink.metadata(&rel("d/x")).expect(PLAIN);
            assert_eq!(
                found.map(|found| sink.fidelity().masked(&found)),
                wanted.map(|wanted| sink.fidelity().masked(&wanted)),
                "{after:?} in place of {before:?}"
            );
            let content = fixture.content(&rel("d/x"));
            match after {
                Sort::File => assert_eq!(content.as_deref(), Some(&b"whole"[..])),
                Sort::Staged => assert_eq!(content.as_deref(), Some(&b"pieces"[..])),
                Sort::Absent
                | Sort::Directory
                | Sort::Symlink
                | Sort::Fifo
                | Sort::Socket
                | Sort::Device => assert_eq!(content, None),
            }
            put(sink, "d/x", Sort::Absent);
        }
    }
    assert_eq!(settled(fixture), ["", "d"].map(rel));
}

pub(super) fn nothing_is_made_without_leave(fixture: &dyn SinkFixture) {
    let sink = fixture.sink();
    put(sink, "x", Sort::File);
    for kind in [Kind::Socket, NULL].into_iter().filter(|kind| !sink.fidelity().nodes.allow(kind)) {
        let refused = [
            sink.make_special(&rel("x"), &of_kind(sink, kind.clone())),
            sink.make_special(&rel("y"), &of_kind(sink, kind)),
        ];
        assert!(refused.iter().all(Result::is_err), "{refused:?}");
    }
    assert_eq!(fixture.content(&rel("x")).as_deref(), Some(&b"whole"[..]));
    assert_eq!(settled(fixture), ["", "x"].map(rel));
}

pub(super) fn a_directory_that_exists_stays_as_it_is(fixture: &dyn SinkFixture) {
    let sink = fixture.sink();

    assert!(sink.make_directory(&rel("a/b")).expect(PLAIN));
    put(sink, "a/b/f", Sort::File);
    let mut metadata = of_kind(sink, Kind::Directory);
    metadata.mode = 0o750;
    sink.set_metadata(&rel("a/b"), &metadata).expect(PLAIN);

    assert!(!sink.make_directory(&rel("a/b")).expect(PLAIN));
    assert!(!sink.make_directory(&RelPath::root()).expect(PLAIN));
    assert_is(sink, "a/b", &metadata);
    assert_eq!(settled(fixture), ["", "a", "a/b", "a/b/f"].map(rel));
}

pub(super) fn staged_versions_are_invisible_until_committed(fixture: &dyn SinkFixture) {
    let sink = fixture.sink();
    put(sink, "d/old", Sort::File);
    let content: Vec<u8> = (0..200_000_u32).flat_map(u32::to_le_bytes).collect();
    for path in ["d/new", "d/old"] {
        let before = fixture.content(&rel(path));
        let mut staged = sink.stage(&rel(path), content.len() as u64).expect(PLAIN);
        for piece in content.chunks(99_999) {
            staged.append(piece).expect(PLAIN);
            assert_eq!(fixture.content(&rel(path)), before, "nothing shows before commit");
        }
        let names = sink.list(&rel("d"), None, None).expect(PLAIN);
        let names = names.expect("it is there").len();
        assert_eq!(names, if path == "d/new" { 1 } else { 2 });

        let metadata = file(sink, content.len());
        staged.commit(&metadata).expect(PLAIN);

        assert_eq!(fixture.content(&rel(path)).as_ref(), Some(&content));
        assert_is(sink, path, &metadata);
    }
    let staged = sink.stage(&rel("e/empty"), 0).expect(PLAIN);
    staged.commit(&file(sink, 0)).expect(PLAIN);
    assert_eq!(settled(fixture), ["", "d", "d/new", "d/old", "e", "e/empty"].map(rel));
}

pub(super) fn a_dropped_version_leaves_nothing(fixture: &dyn SinkFixture) {
    let sink = fixture.sink();
    put(sink, "f", Sort::File);
    put(sink, "d", Sort::Directory);

    for path in ["f", "g", "d/h"] {
        let mut staged = sink.stage(&rel(path), 3).expect(PLAIN);
        staged.append(b"one").expect(PLAIN);
        drop(staged);
    }

    assert_eq!(fixture.content(&rel("f")).as_deref(), Some(&b"whole"[..]));
    assert_eq!(settled(fixture), ["", "d", "f"].map(rel));
}

pub(super) fn what_is_passed_over_is_a_hole(fixture: &dyn SinkFixture) {
    let sink = fixture.sink();
    put(sink, "f", Sort::File);
    let metadata = file(sink, 500_000);

    for data in [vec![100_000, 300_000], vec![0], vec![499_995], vec![]] {
        let mut wanted = vec![0; 500_000];
        let mut staged = sink.stage(&rel("f"), 500_000).expect(PLAIN);
        let mut end = 0;
        for offset in data {
            staged.skip((offset - end) as u64).expect(PLAIN);
            staged.append(b"bytes").expect(PLAIN);
            end = offset + 5;
            wanted[offset..end].copy_from_slice(b"bytes");
        }
        staged.skip((wanted.len() - end) as u64).expect(PLAIN);
        staged.commit(&metadata).expect(PLAIN);

        assert_eq!(fixture.content(&rel("f")), Some(wanted));
        assert_is(sink, "f", &metadata);
    }
}

pub(super) fn set_metadata_changes_what_it_was_told_of_only(fixture: &dyn SinkFixture) {
    let sink = fixture.sink();
    let later = Timestamp { seconds: -2, nanoseconds: 500_000_000 };
    for sort in kinds(sink) {
        let mut metadata = put(sink, "x", sort).expect("something was put");
        metadata.modified = later;
        metadata.mode = 0o701;

        sink.set_metadata(&rel("x"), &metadata).expect(PLAIN);
        assert_is(sink, "x", &metadata);

        for other in other_kinds(&metadata.kind) {
            let wrong = of_kind(sink, other);
            let refused = sink.set_metadata(&rel("x"), &wrong);
            assert!(
                matches!(&refused, Err(SinkError::Stale { .. })),
                "{refused:?}: something else lies there"
            );
            assert_is(sink, "x", &metadata);
        }
        put(sink, "x", Sort::Absent);
    }
    for path in ["none", "none/below"] {
        let refused = sink.set_metadata(&rel(path), &file(sink, 0));
        assert!(matches!(refused, Err(SinkError::Stale { .. })), "{refused:?}");
    }
    let root = of_kind(sink, Kind::Directory);
    sink.set_metadata(&RelPath::root(), &root).expect(PLAIN);
    assert_eq!(settled(fixture), [""].map(rel));
    assert_is(sink, "", &root);
}

pub(super) fn attributes_are_set_changed_and_removed(fixture: &dyn SinkFixture) {
    let sink = fixture.sink();
    for sort in kinds(sink) {
        let mut metadata = put(sink, "x", sort).expect("something was put");
        // Linux lets only files and directories have the user's.
        let is_plain = matches!(sort, Sort::File | Sort::Directory);
        let prefix = if is_plain { "user" } else { "trusted" };
        let attribute = |name: &str, value: &[u8]| Attribute {
            name: format!("{prefix}.{name}").into_bytes().into(),
            value: value.into(),
        };
        let long = vec![9; 2_000];
        for attributes in [
            vec![attribute("a", b"1"), attribute("b", b"")],
            vec![attribute("a", b"2"), attribute("c", &long)],
            vec![],
            vec![attribute("a", b"3")],
        ] {
            metadata.attributes = Attributes::new(attributes);
            sink.set_metadata(&rel("x"), &metadata).expect(PLAIN);
            assert_is(sink, "x", &metadata);
        }
        let unknown = Metadata { attributes: metadata.attributes.digested(), ..metadata.clone() };
        sink.set_metadata(&rel("x"), &unknown).expect(PLAIN);
        assert_is(sink, "x", &metadata);

        if sort == Sort::File {
            let version = file(sink, 3);
            sink.write_file(&rel("x"), &version, b"new").expect(PLAIN);
            assert_is(sink, "x", &version);
        }
        put(sink, "x", Sort::Absent);
    }
}

/// One of every kind that is not `kind`.
fn other_kinds(kind: &Kind) -> Vec<Kind> {
    let target = (*b"elsewhere").into();
    let all = [
        Kind::File { size_bytes: 77 },
        Kind::Directory,
        Kind::Symlink { target },
        Kind::Fifo,
        NULL,
    ];
    all.into_iter().filter(|other| other != kind).collect()
}

pub(super) fn readers_see_the_old_or_the_new(fixture: &dyn SinkFixture) {
    const ROUNDS: u8 = 200;
    let sink = fixture.sink();
    let version = |round: u8| vec![round; 3_000 + usize::from(round)];
    let path = rel("d/file");
    let metadata = |round| file(sink, version(round).len());
    sink.write_file(&path, &metadata(0), &version(0)).expect(PLAIN);
    let is_done = AtomicBool::new(false);

    thread::scope(|scope| {
        scope.spawn(|| {
            let mut newest = 0;
            while !is_done.load(Ordering::Acquire) {
                let seen = fixture.content(&path).expect("a version is always there");
                assert_eq!(seen, version(seen[0]), "a version is whole");
                assert!(seen[0] >= newest, "versions never go back");
                newest = seen[0];
            }
        });
        for round in 1..ROUNDS {
            let whole = version(round);
            if round % 2 == 0 {
                sink.write_file(&path, &metadata(round), &whole).expect(PLAIN);
            } else {
                let mut staged = sink.stage(&path, whole.len() as u64).expect(PLAIN);
                whole.chunks(1_000).for_each(|piece| staged.append(piece).expect(PLAIN));
                staged.commit(&metadata(round)).expect(PLAIN);
            }
        }
        is_done.store(true, Ordering::Release);
    });

    assert_eq!(fixture.content(&path), Some(version(ROUNDS - 1)));
    assert_eq!(settled(fixture), ["", "d", "d/file"].map(rel));
}
