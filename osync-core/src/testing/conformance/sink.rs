//! What every [`Sink`] must do.
//!
//! [`check`] runs every rule on a fresh fixture and panics with the sentence that is broken.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use crate::model::metadata::{Kind, Metadata};
use crate::model::name::Name;
use crate::model::rel_path::RelPath;
use crate::model::timestamp::Timestamp;
use crate::ports::sink::{Sink, SinkError};
use crate::testing::conformance::{deep_directory, odd_names};

/// A sink that starts empty, and the eyes that see what lies behind it.
pub trait SinkFixture: Sync {
    /// The sink under test.
    fn sink(&self) -> &dyn Sink;
    /// The content of a regular file as any reader of the tree sees it; `None` if there is none.
    fn content(&self, path: &RelPath) -> Option<Vec<u8>>;
    /// Every path in the tree, temporaries and the root (the empty path) included.
    fn paths(&self) -> Vec<RelPath>;
}

/// Checks every rule, each on a fixture of its own.
///
/// # Panics
/// With the rule that is broken.
pub fn check<F: SinkFixture>(mut make: impl FnMut() -> F) {
    let rules: [fn(&dyn SinkFixture); 14] = [
        files_get_content_metadata_and_parents,
        every_kind_replaces_every_kind,
        a_directory_that_exists_stays_as_it_is,
        staged_versions_are_invisible_until_committed,
        a_dropped_version_leaves_nothing,
        set_metadata_changes_what_it_was_told_of_only,
        removal_takes_everything_below,
        a_rename_moves_everything_in_one_step,
        a_refused_rename_changes_nothing,
        listings_keep_to_their_range,
        symbolic_links_are_never_followed,
        nothing_is_written_below_what_is_no_directory,
        odd_names_and_long_paths_are_kept,
        readers_see_the_old_or_the_new,
    ];
    for rule in rules {
        let fixture = make();
        rule(&fixture);
    }
}

fn files_get_content_metadata_and_parents(fixture: &dyn SinkFixture) {
    let sink = fixture.sink();
    let large: Vec<u8> = (0..150_000_u32).flat_map(u32::to_le_bytes).collect();
    for (path, content) in [("f", &b""[..]), ("a/b/c/g", b"small"), ("a/b/h", &large)] {
        let metadata = file(sink, content.len());
        sink.write_file(&rel(path), &metadata, content)
            .expect(PLAIN);

        assert_eq!(fixture.content(&rel(path)).as_deref(), Some(content));
        assert_is(sink, path, &metadata);
    }
    assert_eq!(
        settled(fixture),
        ["", "a", "a/b", "a/b/c", "a/b/c/g", "a/b/h", "f"].map(rel)
    );
}

/// The sorts of things that can lie at a path, and how a sink is asked for each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sort {
    Absent,
    File,
    Staged,
    Directory,
    Symlink,
    Fifo,
}

const SORTS: [Sort; 6] = [
    Sort::Absent,
    Sort::File,
    Sort::Staged,
    Sort::Directory,
    Sort::Symlink,
    Sort::Fifo,
];

/// Puts one of `sort` at `path`, and returns what should lie there then.
fn put(sink: &dyn Sink, path: &str, sort: Sort) -> Option<Metadata> {
    let path = rel(path);
    let metadata = match sort {
        Sort::Absent => {
            sink.remove(&path).expect(PLAIN);
            return None;
        }
        Sort::File => {
            let metadata = file(sink, 5);
            sink.write_file(&path, &metadata, b"whole").expect(PLAIN);
            metadata
        }
        Sort::Staged => {
            let metadata = file(sink, 6);
            let mut staged = sink.stage(&path, 6).expect(PLAIN);
            staged.append(b"pie").expect(PLAIN);
            staged.append(b"ces").expect(PLAIN);
            staged.commit(&metadata).expect(PLAIN);
            metadata
        }
        Sort::Directory => {
            sink.make_directory(&path).expect(PLAIN);
            sink.metadata(&path).expect(PLAIN).expect("it was made")
        }
        Sort::Symlink => {
            let target = (*b"no/such").into();
            let metadata = of_kind(sink, Kind::Symlink { target });
            sink.make_special(&path, &metadata).expect(PLAIN);
            metadata
        }
        Sort::Fifo => {
            let metadata = of_kind(sink, Kind::Fifo);
            sink.make_special(&path, &metadata).expect(PLAIN);
            metadata
        }
    };
    Some(metadata)
}

fn every_kind_replaces_every_kind(fixture: &dyn SinkFixture) {
    let sink = fixture.sink();
    sink.make_directory(&rel("d")).expect(PLAIN);
    for before in SORTS {
        for after in SORTS {
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
                Sort::Absent | Sort::Directory | Sort::Symlink | Sort::Fifo => {
                    assert_eq!(content, None);
                }
            }
            put(sink, "d/x", Sort::Absent);
        }
    }
    assert_eq!(settled(fixture), ["", "d"].map(rel));
}

fn a_directory_that_exists_stays_as_it_is(fixture: &dyn SinkFixture) {
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

fn staged_versions_are_invisible_until_committed(fixture: &dyn SinkFixture) {
    let sink = fixture.sink();
    put(sink, "d/old", Sort::File);
    let content: Vec<u8> = (0..200_000_u32).flat_map(u32::to_le_bytes).collect();
    for path in ["d/new", "d/old"] {
        let before = fixture.content(&rel(path));
        let mut staged = sink.stage(&rel(path), content.len() as u64).expect(PLAIN);
        for piece in content.chunks(99_999) {
            staged.append(piece).expect(PLAIN);
            assert_eq!(
                fixture.content(&rel(path)),
                before,
                "nothing shows before commit"
            );
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
    assert_eq!(
        settled(fixture),
        ["", "d", "d/new", "d/old", "e", "e/empty"].map(rel)
    );
}

fn a_dropped_version_leaves_nothing(fixture: &dyn SinkFixture) {
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

fn set_metadata_changes_what_it_was_told_of_only(fixture: &dyn SinkFixture) {
    let sink = fixture.sink();
    let later = Timestamp {
        seconds: -2,
        nanoseconds: 500_000_000,
    };
    for sort in [Sort::File, Sort::Directory, Sort::Symlink, Sort::Fifo] {
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
        assert!(
            matches!(refused, Err(SinkError::Stale { .. })),
            "{refused:?}"
        );
    }
    let root = of_kind(sink, Kind::Directory);
    sink.set_metadata(&RelPath::root(), &root).expect(PLAIN);
    assert_eq!(settled(fixture), [""].map(rel));
    assert_is(sink, "", &root);
}

/// One of every kind that is not `kind`.
fn other_kinds(kind: &Kind) -> Vec<Kind> {
    let target = (*b"elsewhere").into();
    let all = [
        Kind::File { size_bytes: 77 },
        Kind::Directory,
        Kind::Symlink { target },
        Kind::Fifo,
    ];
    all.into_iter().filter(|other| other != kind).collect()
}

fn removal_takes_everything_below(fixture: &dyn SinkFixture) {
    let sink = fixture.sink();
    put(sink, "keep/file", Sort::File);
    let target = (*b"keep").into();
    let link = of_kind(sink, Kind::Symlink { target });
    sink.make_special(&rel("link"), &link).expect(PLAIN);
    sink.make_special(&rel("tree/link"), &link).expect(PLAIN);
    put(sink, "tree/a/b/file", Sort::Staged);
    put(sink, "tree/a/pipe", Sort::Fifo);
    put(sink, "tree/empty", Sort::Directory);

    for path in ["link", "tree/empty", "tree/a/pipe", "tree"] {
        assert!(sink.remove(&rel(path)).expect(PLAIN), "{path} was there");
        assert_eq!(sink.metadata(&rel(path)).expect(PLAIN), None);
        assert!(!sink.remove(&rel(path)).expect(PLAIN), "{path} is gone");
    }
    assert!(!sink.remove(&rel("keep/file/below")).expect(PLAIN));
    assert!(!sink.remove(&rel("none/below")).expect(PLAIN));
    assert!(sink.remove(&RelPath::root()).is_err(), "never the root");
    assert_eq!(settled(fixture), ["", "keep", "keep/file"].map(rel));
}

fn a_rename_moves_everything_in_one_step(fixture: &dyn SinkFixture) {
    let sink = fixture.sink();
    put(sink, "tree/a/file", Sort::File);
    put(sink, "tree/pipe", Sort::Fifo);
    put(sink, "empty", Sort::Directory);
    put(sink, "f", Sort::Staged);
    put(sink, "d/g", Sort::File);
    let moved = sink.metadata(&rel("tree")).expect(PLAIN);

    sink.rename(&rel("tree"), &rel("d/new")).expect(PLAIN);
    assert_eq!(sink.metadata(&rel("d/new")).expect(PLAIN), moved);
    // What was known of the old name must not be taken for the new one, nor the other way round.
    put(sink, "tree/a/other", Sort::Staged);
    put(sink, "d/new/a/third", Sort::File);
    sink.rename(&rel("d/new"), &rel("empty")).expect(PLAIN);
    sink.rename(&rel("f"), &rel("d/g")).expect(PLAIN);
    sink.rename(&rel("d/g"), &rel("d/g")).expect(PLAIN);

    assert_eq!(
        fixture.content(&rel("d/g")).as_deref(),
        Some(&b"pieces"[..])
    );
    let below = ["empty/a/file", "empty/a/third", "empty/pipe"];
    let mut wanted: Vec<_> = ["", "d", "d/g", "empty", "empty/a"].map(rel).to_vec();
    wanted.extend(below.map(rel));
    wanted.extend(["tree", "tree/a", "tree/a/other"].map(rel));
    wanted.sort();
    assert_eq!(settled(fixture), wanted);
}

fn a_refused_rename_changes_nothing(fixture: &dyn SinkFixture) {
    let sink = fixture.sink();
    put(sink, "d/e/file", Sort::File);
    put(sink, "full/file", Sort::File);
    let before = settled(fixture);

    for (from, to, why) in [
        ("none", "x", "nothing lies there"),
        ("d/none", "x", "nothing lies there"),
        ("d", "none/x", "no directory above the new name"),
        ("d", "full/file/x", "no directory above the new name"),
        ("d", "d/e/x", "nothing moves into itself"),
        ("d", "full", "a directory with entries stays"),
        ("", "x", "the root stays"),
        ("d", "", "the root stays"),
    ] {
        assert!(
            sink.rename(&rel(from), &rel(to)).is_err(),
            "{from} to {to}: {why}"
        );
    }

    assert_eq!(settled(fixture), before);
}

fn listings_keep_to_their_range(fixture: &dyn SinkFixture) {
    let sink = fixture.sink();
    let all = ["-", "a", "a-", "b", "c"];
    for name in all {
        put(sink, &format!("d/{name}"), Sort::File);
    }
    put(sink, "empty", Sort::Directory);
    let list = |after: Option<&str>, until: Option<&str>| -> Vec<String> {
        let [after, until] = [after, until].map(|name| name.map(as_name));
        let entries = sink.list(&rel("d"), after.as_ref(), until.as_ref());
        let entries = entries.expect(PLAIN).expect("the directory is there");
        entries.iter().map(|e| e.name.to_string()).collect()
    };

    assert_eq!(list(None, None), all);
    assert_eq!(list(Some("a"), None), ["a-", "b", "c"]);
    assert_eq!(list(None, Some("a-")), ["-", "a", "a-"]);
    assert_eq!(list(Some("a"), Some("b")), ["a-", "b"]);
    assert_eq!(list(Some("a0"), Some("bb")), ["b"]);
    assert_eq!(list(Some("b"), Some("b")), [""; 0]);
    assert_eq!(list(Some("c"), Some("a")), [""; 0]);
    for entry in sink
        .list(&rel("d"), None, None)
        .expect(PLAIN)
        .expect("there")
    {
        let path = rel("d").join(&entry.name).expect("short");
        let alone = sink.metadata(&path).expect(PLAIN);
        assert_eq!(
            Some(entry.metadata),
            alone,
            "a listing tells what metadata tells"
        );
    }
    let names = |path: &str| sink.list(&rel(path), None, None).expect(PLAIN);
    assert_eq!(names("empty"), Some(Vec::new()));
    assert_eq!(names("none"), None);
    assert_eq!(names("d/a"), None, "only directories have listings");
}

fn symbolic_links_are_never_followed(fixture: &dyn SinkFixture) {
    let sink = fixture.sink();
    put(sink, "d/e/file", Sort::File);
    let target = (*b"d").into();
    let link = of_kind(sink, Kind::Symlink { target });
    sink.make_special(&rel("link"), &link).expect(PLAIN);
    let before = settled(fixture);

    assert_eq!(sink.metadata(&rel("link/e")).expect(PLAIN), None);
    assert_eq!(sink.list(&rel("link"), None, None).expect(PLAIN), None);
    assert_eq!(sink.list(&rel("link/e"), None, None).expect(PLAIN), None);
    assert!(!sink.remove(&rel("link/e")).expect(PLAIN));
    assert!(!sink.remove(&rel("link/e/file")).expect(PLAIN));
    assert!(sink.rename(&rel("link/e"), &rel("x")).is_err());
    assert!(sink.rename(&rel("d/e"), &rel("link/x")).is_err());
    let refused = sink.set_metadata(&rel("link/e/file"), &file(sink, 5));
    assert!(
        matches!(refused, Err(SinkError::Stale { .. })),
        "{refused:?}"
    );
    assert_refuses_names_below(sink, "link");
    assert_refuses_names_below(sink, "link/e");

    assert_eq!(settled(fixture), before);
    assert_is(sink, "link", &link);
}

fn nothing_is_written_below_what_is_no_directory(fixture: &dyn SinkFixture) {
    let sink = fixture.sink();
    put(sink, "file", Sort::File);
    put(sink, "pipe", Sort::Fifo);
    let before = settled(fixture);

    for path in ["file", "pipe"] {
        assert_eq!(
            sink.metadata(&rel(&format!("{path}/x"))).expect(PLAIN),
            None
        );
        assert_refuses_names_below(sink, path);
    }

    assert_eq!(settled(fixture), before);
    assert_eq!(
        fixture.content(&rel("file")).as_deref(),
        Some(&b"whole"[..])
    );
}

fn assert_refuses_names_below(sink: &dyn Sink, path: &str) {
    let below = rel(&format!("{path}/new"));
    assert!(sink.write_file(&below, &file(sink, 1), b"x").is_err());
    let staged = sink.stage(&below, 0);
    assert!(
        staged
            .and_then(|staged| staged.commit(&file(sink, 0)))
            .is_err(),
        "nothing is staged below {path}"
    );
    assert!(sink.make_directory(&below).is_err());
    assert!(
        sink.make_special(&below, &of_kind(sink, Kind::Fifo))
            .is_err()
    );
}

fn odd_names_and_long_paths_are_kept(fixture: &dyn SinkFixture) {
    let sink = fixture.sink();
    let mut wanted = vec![RelPath::root(), rel("d")];
    for name in odd_names() {
        let path = rel_bytes(&[&b"d/"[..], &name].concat());
        let metadata = file(sink, name.len());
        sink.write_file(&path, &metadata, &name).expect(PLAIN);
        sink.write_file(&path, &metadata, &name).expect(PLAIN);
        assert_eq!(fixture.content(&path), Some(name));
        wanted.push(path);
    }
    let bottom = rel_bytes(&[&deep_directory()[..], b"/file"].concat());
    sink.write_file(&bottom, &file(sink, 4), b"deep")
        .expect(PLAIN);
    sink.write_file(&bottom, &file(sink, 4), b"DEEP")
        .expect(PLAIN);
    assert_eq!(
        sink.metadata(&bottom).expect(PLAIN).map(|found| found.kind),
        Some(Kind::File { size_bytes: 4 })
    );
    let above = bottom.parent().expect("it has one");
    let listed = sink.list(&above, None, None).expect(PLAIN);
    assert_eq!(listed.map(|entries| entries.len()), Some(1));

    let top = rel_bytes(&[b'a'; 250]);
    assert!(sink.remove(&top).expect(PLAIN));
    wanted.sort();
    assert_eq!(settled(fixture), wanted);
}

fn readers_see_the_old_or_the_new(fixture: &dyn SinkFixture) {
    const ROUNDS: u8 = 200;
    let sink = fixture.sink();
    let version = |round: u8| vec![round; 3_000 + usize::from(round)];
    let path = rel("d/file");
    let metadata = |round| file(sink, version(round).len());
    sink.write_file(&path, &metadata(0), &version(0))
        .expect(PLAIN);
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
                sink.write_file(&path, &metadata(round), &whole)
                    .expect(PLAIN);
            } else {
                let mut staged = sink.stage(&path, whole.len() as u64).expect(PLAIN);
                whole
                    .chunks(1_000)
                    .for_each(|piece| staged.append(piece).expect(PLAIN));
                staged.commit(&metadata(round)).expect(PLAIN);
            }
        }
        is_done.store(true, Ordering::Release);
    });

    assert_eq!(fixture.content(&path), Some(version(ROUNDS - 1)));
    assert_eq!(settled(fixture), ["", "d", "d/file"].map(rel));
}

/// What a call says that has no reason to fail.
const PLAIN: &str = "nothing is in the way of this call";

fn rel(path: &str) -> RelPath {
    rel_bytes(path.as_bytes())
}

fn rel_bytes(path: &[u8]) -> RelPath {
    RelPath::new(path).expect("rules use valid paths")
}

fn as_name(name: &str) -> Name {
    Name::new(name.as_bytes()).expect("rules use valid names")
}

/// Metadata of `kind` that no file system gives by itself, of the owner the root has.
fn of_kind(sink: &dyn Sink, kind: Kind) -> Metadata {
    let root = sink.metadata(&RelPath::root()).expect(PLAIN);
    let root = root.expect("the root is there");
    Metadata {
        kind,
        modified: Timestamp {
            seconds: 1_234_567_890,
            nanoseconds: 123_456_789,
        },
        mode: 0o640,
        uid: root.uid,
        gid: root.gid,
    }
}

fn file(sink: &dyn Sink, bytes: usize) -> Metadata {
    let size_bytes = bytes as u64;
    of_kind(sink, Kind::File { size_bytes })
}

fn assert_is(sink: &dyn Sink, path: &str, wanted: &Metadata) {
    let found = sink.metadata(&rel(path)).expect(PLAIN);
    assert_eq!(
        found.map(|found| sink.fidelity().masked(&found)),
        Some(sink.fidelity().masked(wanted)),
        "metadata of {path}"
    );
}

/// Every path there is once nothing is left to be done.
fn settled(fixture: &dyn SinkFixture) -> Vec<RelPath> {
    fixture.sink().tidy();
    let mut paths = fixture.paths();
    paths.sort();
    paths
}
