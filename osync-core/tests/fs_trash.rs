//! What a directory with a trash removes or replaces is kept there, whole, and nothing goes without it.

#![expect(clippy::unwrap_used, reason = "a failing helper fails its test")]

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::thread;

use osync_core::adapters::fs::sink::DirectorySink;
use osync_core::model::attributes::Attributes;
use osync_core::model::metadata::{Kind, Metadata};
use osync_core::model::rel_path::RelPath;
use osync_core::model::timestamp::Timestamp;
use osync_core::ports::sink::{Sink, SinkError};
use tempfile::TempDir;

struct Target {
    sink: DirectorySink,
    root: PathBuf,
    trash: PathBuf,
    _directory: TempDir,
}

fn target() -> Target {
    let directory = TempDir::new().unwrap();
    let (root, trash) = (directory.path().join("root"), directory.path().join("trash"));
    let sink = DirectorySink::open(&root).unwrap().with_trash(&trash).unwrap();
    Target { sink, root, trash, _directory: directory }
}

fn rel(path: &str) -> RelPath {
    RelPath::new(path.as_bytes()).unwrap()
}

fn metadata(kind: Kind) -> Metadata {
    Metadata {
        kind,
        modified: Timestamp { seconds: 1_234_567_890, nanoseconds: 123_456_789 },
        mode: 0o644,
        uid: rustix::process::geteuid().as_raw(),
        gid: rustix::process::getegid().as_raw(),
        attributes: Attributes::None,
        names: 1,
    }
}

fn file(content: &str) -> Metadata {
    metadata(Kind::File { size_bytes: content.len() as u64 })
}

fn write(sink: &DirectorySink, path: &str, content: &str) {
    sink.write_file(&rel(path), &file(content), content.as_bytes()).unwrap();
}

/// What lies below `directory`: contents by path, of what is no file its kind.
fn below(directory: &Path) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut pending = vec![directory.to_owned()];
    while let Some(path) = pending.pop() {
        let metadata = path.symlink_metadata().unwrap();
        if metadata.is_dir() {
            pending.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        }
        let shown = path.strip_prefix(directory).unwrap().to_str().unwrap().to_owned();
        let what = match metadata.file_type() {
            file if file.is_file() => fs::read_to_string(&path).unwrap(),
            file if file.is_dir() => "directory".to_owned(),
            file if file.is_symlink() => "link".to_owned(),
            _ => "other".to_owned(),
        };
        found.insert(shown, what);
    }
    found.remove("");
    found
}

/// What is kept, whatever day it was put there, without directories.
fn kept(trash: &Path) -> BTreeMap<String, String> {
    let dates = fs::read_dir(trash).unwrap().map(|entry| entry.unwrap().path());
    let kept = dates.flat_map(|date| {
        let name = date.file_name().unwrap().to_str().unwrap();
        assert!(name.len() == 10 && name.starts_with("20"), "{name} is a date");
        below(&date)
    });
    kept.filter(|(_, what)| what != "directory").collect()
}

fn assert_kept(target: &Target, wanted: &[(&str, &str)]) {
    let wanted = wanted.iter().map(|&(path, what)| (path.to_owned(), what.to_owned()));
    assert_eq!(kept(&target.trash), wanted.collect());
}

#[test]
fn every_version_that_is_replaced_or_removed_is_kept() {
    let target = target();
    let sink = &target.sink;
    for content in ["1", "22", "333"] {
        write(sink, "a/b/f", content);
        write(sink, "a/b/other", "x");
    }
    let mut staged = sink.stage(&rel("a/b/f"), 4).unwrap();
    staged.append(b"4444").unwrap();
    staged.commit(&file("4444")).unwrap();
    assert!(sink.remove(&rel("a/b/f")).unwrap());
    assert!(!sink.remove(&rel("a/b/f")).unwrap());
    sink.tidy();

    assert_kept(
        &target,
        &[
            ("a/b/f", "1"),
            ("a/b/f~1~", "22"),
            ("a/b/f~2~", "333"),
            ("a/b/f~3~", "4444"),
            ("a/b/other", "x"),
            ("a/b/other~1~", "x"),
        ],
    );
    assert_eq!(below(&target.root).len(), 3);
}

#[test]
fn every_kind_is_kept_when_another_takes_its_place_and_directories_whole() {
    let target = target();
    let sink = &target.sink;
    write(sink, "d/in/f", "in");
    write(sink, "f", "file");
    let link = metadata(Kind::Symlink { target: (*b"no/such").into() });
    sink.make_special(&rel("l"), &link).unwrap();
    sink.make_special(&rel("p"), &metadata(Kind::Fifo)).unwrap();

    write(sink, "d", "in place of a directory");
    sink.make_directory(&rel("f")).unwrap();
    write(sink, "l", "in place of a link");
    assert!(sink.remove(&rel("p")).unwrap());
    write(sink, "f/deep/g", "g");
    assert!(sink.remove(&rel("f")).unwrap());
    sink.tidy();

    assert_kept(
        &target,
        &[("d/in/f", "in"), ("f", "file"), ("f~1~/deep/g", "g"), ("l", "link"), ("p", "other")],
    );
    let names: Vec<String> = below(&target.root).into_keys().collect();
    assert_eq!(names, ["d", "l"]);
}

#[test]
fn a_file_that_a_rename_replaces_is_kept_and_a_refused_rename_changes_nothing() {
    let target = target();
    let sink = &target.sink;
    write(sink, "d/new", "new");
    write(sink, "d/name", "old");
    write(sink, "full/in", "x");
    sink.make_directory(&rel("empty")).unwrap();

    sink.rename(&rel("d/new"), &rel("d/name")).unwrap();
    sink.rename(&rel("d/none"), &rel("d/name")).unwrap_err();
    sink.rename(&rel("d/name"), &rel("full")).unwrap_err();
    sink.rename(&rel("full"), &rel("d/name")).unwrap_err();
    sink.rename(&rel("full"), &rel("empty")).unwrap();
    sink.tidy();

    assert_kept(&target, &[("d/name", "old")]);
    let wanted = [("d", "directory"), ("d/name", "new"), ("empty", "directory"), ("empty/in", "x")];
    let wanted = wanted.map(|(path, what)| (path.to_owned(), what.to_owned()));
    assert_eq!(below(&target.root), wanted.into());
}

#[test]
fn what_was_a_file_makes_room_for_a_directory_in_the_trash_too() {
    let target = target();
    let sink = &target.sink;
    write(sink, "a", "file");
    assert!(sink.remove(&rel("a")).unwrap());
    write(sink, "a/x", "1");
    write(sink, "a/y", "2");
    assert!(sink.remove(&rel("a/x")).unwrap());
    assert!(sink.remove(&rel("a/y")).unwrap());
    assert!(sink.remove(&rel("a")).unwrap());
    sink.tidy();

    assert_kept(&target, &[("a", "file"), ("a~1~/x", "1"), ("a~1~/y", "2")]);
    assert!(below(&target.root).is_empty());
}

#[test]
fn a_link_in_the_trash_leads_nowhere() {
    let target = target();
    let outside = target.root.with_file_name("outside");
    fs::create_dir(&outside).unwrap();
    let sink = &target.sink;
    symlink(&outside, target.root.join("a")).unwrap();
    assert!(sink.remove(&rel("a")).unwrap());
    write(sink, "a/x", "1");
    assert!(sink.remove(&rel("a/x")).unwrap());

    assert_kept(&target, &[("a", "link"), ("a~1~/x", "1")]);
    assert!(below(&outside).is_empty());
}

#[test]
fn of_several_names_the_last_to_go_is_kept_whoever_takes_it() {
    let target = target();
    let sink = &target.sink;
    for round in 0..200 {
        let (a, b) = (format!("d{round}/a"), format!("e{round}/b"));
        write(sink, &a, "content");
        sink.link(&rel(&b), &rel(&a), &Metadata { names: 2, ..file("content") }).unwrap();

        // At the same moment, and one of the two by another version.
        thread::scope(|scope| {
            scope.spawn(|| sink.remove(&rel(&a)).unwrap());
            scope.spawn(|| write(sink, &b, "another"));
        });
    }
    sink.tidy();

    let kept = kept(&target.trash);
    assert_eq!(kept.len(), 200);
    assert!(kept.values().all(|content| content == "content"));
    let path = target.root.join("e7/b");
    assert_eq!(fs::metadata(path).unwrap().nlink(), 1, "no name in the trash counts");
}

#[test]
fn nobody_else_can_enter_the_trash() {
    let target = target();
    write(&target.sink, "secret/f", "1");
    write(&target.sink, "secret/f", "2");

    let mut directories = vec![target.trash.clone()];
    directories.extend(fs::read_dir(&target.trash).unwrap().map(|entry| entry.unwrap().path()));
    directories.push(directories[1].join("secret"));
    for directory in directories {
        let mode = fs::metadata(&directory).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700, "{}", directory.display());
    }
}

#[test]
fn without_a_trash_that_works_nothing_goes() {
    let target = target();
    let sink = &target.sink;
    write(sink, "f", "old");
    write(sink, "d/in", "x");
    fs::remove_dir(&target.trash).unwrap();

    let is_problem = |error: SinkError| !error.is_stale() && matches!(error, SinkError::Io { .. });
    assert!(is_problem(sink.remove(&rel("f")).unwrap_err()));
    assert!(is_problem(sink.remove(&rel("d")).unwrap_err()));
    assert!(is_problem(sink.write_file(&rel("f"), &file("new"), b"new").unwrap_err()));
    assert!(is_problem(sink.write_file(&rel("d"), &file("new"), b"new").unwrap_err()));
    write(sink, "new", "what takes no place is written");
    sink.tidy();

    let names: Vec<String> = below(&target.root).into_keys().collect();
    assert_eq!(names, ["d", "d/in", "f", "new"]);
    assert_eq!(below(&target.root)["f"], "old");
}

#[test]
fn a_directory_that_can_be_no_trash_is_refused() {
    let directory = TempDir::new().unwrap();
    let root = directory.path().join("root");
    fs::create_dir_all(root.join("d")).unwrap();
    fs::write(directory.path().join("file"), "x").unwrap();
    symlink("root/d", directory.path().join("link")).unwrap();
    let refused = |trash: &Path| {
        let error = DirectorySink::open(&root).unwrap().with_trash(trash).unwrap_err();
        assert!(matches!(error, SinkError::Trash { .. }), "{error}");
        error.to_string()
    };

    for inside in ["root", "root/d", "root/d/new", "link"] {
        assert!(refused(&directory.path().join(inside)).contains("in it"), "{inside}");
    }
    assert!(!root.join("d/new").exists(), "nothing is made that is refused");
    refused(&directory.path().join("file"));
    let memory = Path::new("/dev/shm");
    let is_other =
        fs::metadata(memory).is_ok_and(|memory| memory.dev() != fs::metadata(&root).unwrap().dev());
    match is_other.then(|| TempDir::new_in(memory)) {
        Some(Ok(elsewhere)) => {
            assert!(refused(elsewhere.path()).contains("another file system"));
            assert!(below(elsewhere.path()).is_empty());
        }
        Some(Err(_)) | None => println!("SKIP: no other file system to write to"),
    }

    let sink = DirectorySink::open(&root).unwrap();
    drop(sink.with_trash(directory.path()).unwrap());
    assert!(!root.join(".osync").exists());
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 3, "nothing is left of the trial");
}
