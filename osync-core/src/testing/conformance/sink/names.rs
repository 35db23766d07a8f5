//! Rules of where a sink puts it: removing, renaming, listing, and staying inside the tree.

use crate::model::metadata::Kind;
use crate::model::name::Name;
use crate::model::rel_path::RelPath;
use crate::ports::sink::{Sink, SinkError};
use crate::testing::conformance::sink::{
    PLAIN, SinkFixture, Sort, assert_is, file, of_kind, put, rel, rel_bytes, settled,
};
use crate::testing::conformance::{deep_directory, odd_names};

pub(super) fn removal_takes_everything_below(fixture: &dyn SinkFixture) {
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

pub(super) fn a_rename_moves_everything_in_one_step(fixture: &dyn SinkFixture) {
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

    assert_eq!(fixture.content(&rel("d/g")).as_deref(), Some(&b"pieces"[..]));
    let below = ["empty/a/file", "empty/a/third", "empty/pipe"];
    let mut wanted: Vec<_> = ["", "d", "d/g", "empty", "empty/a"].map(rel).to_vec();
    wanted.extend(below.map(rel));
    wanted.extend(["tree", "tree/a", "tree/a/other"].map(rel));
    wanted.sort();
    assert_eq!(settled(fixture), wanted);
}

pub(super) fn a_refused_rename_changes_nothing(fixture: &dyn SinkFixture) {
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
        assert!(sink.rename(&rel(from), &rel(to)).is_err(), "{from} to {to}: {why}");
    }

    assert_eq!(settled(fixture), before);
}

pub(super) fn listings_keep_to_their_range(fixture: &dyn SinkFixture) {
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
    for entry in sink.list(&rel("d"), None, None).expect(PLAIN).expect("there") {
        let path = rel("d").join(&entry.name).expect("short");
        let alone = sink.metadata(&path).expect(PLAIN);
        assert_eq!(Some(entry.metadata), alone, "a listing tells what metadata tells");
    }
    let names = |path: &str| sink.list(&rel(path), None, None).expect(PLAIN);
    assert_eq!(names("empty"), Some(Vec::new()));
    assert_eq!(names("none"), None);
    assert_eq!(names("d/a"), None, "only directories have listings");
}

pub(super) fn symbolic_links_are_never_followed(fixture: &dyn SinkFixture) {
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
    assert!(matches!(refused, Err(SinkError::Stale { .. })), "{refused:?}");
    assert_refuses_names_below(sink, "link");
    assert_refuses_names_below(sink, "link/e");

    assert_eq!(settled(fixture), before);
    assert_is(sink, "link", &link);
}

pub(super) fn nothing_is_written_below_what_is_no_directory(fixture: &dyn SinkFixture) {
    let sink = fixture.sink();
    put(sink, "file", Sort::File);
    put(sink, "pipe", Sort::Fifo);
    let before = settled(fixture);

    for path in ["file", "pipe"] {
        assert_eq!(sink.metadata(&rel(&format!("{path}/x"))).expect(PLAIN), None);
        assert_refuses_names_below(sink, path);
    }

    assert_eq!(settled(fixture), before);
    assert_eq!(fixture.content(&rel("file")).as_deref(), Some(&b"whole"[..]));
}

fn assert_refuses_names_below(sink: &dyn Sink, path: &str) {
    let below = rel(&format!("{path}/new"));
    assert!(sink.write_file(&below, &file(sink, 1), b"x").is_err());
    let staged = sink.stage(&below, 0);
    assert!(
        staged.and_then(|staged| staged.commit(&file(sink, 0))).is_err(),
        "nothing is staged below {path}"
    );
    assert!(sink.make_directory(&below).is_err());
    assert!(sink.make_special(&below, &of_kind(sink, Kind::Fifo)).is_err());
}

pub(super) fn odd_names_and_long_paths_are_kept(fixture: &dyn SinkFixture) {
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
    sink.write_file(&bottom, &file(sink, 4), b"deep").expect(PLAIN);
    sink.write_file(&bottom, &file(sink, 4), b"DEEP").expect(PLAIN);
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

fn as_name(name: &str) -> Name {
    Name::new(name.as_bytes()).expect("rules use valid names")
}
