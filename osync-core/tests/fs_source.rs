//! What a directory as a source does beyond the rules of the port: its root, and what it leaves out.

#![expect(clippy::unwrap_used, reason = "a failing helper fails its test")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;

use osync_core::adapters::fs::source::DirectorySource;
use osync_core::model::metadata::Kind;
use osync_core::model::name::Name;
use osync_core::model::nodes::Nodes;
use osync_core::model::rel_path::RelPath;
use osync_core::ports::source::{Source, SourceError};
use tempfile::TempDir;

fn rel(path: &str) -> RelPath {
    RelPath::new(path.as_bytes()).unwrap()
}

fn names(source: &DirectorySource, directory: &str) -> Vec<String> {
    let page = source.list(&rel(directory), None, 100).unwrap().unwrap();
    page.entries.iter().map(|e| e.name.to_string()).collect()
}

#[test]
fn a_lost_root_is_never_an_empty_one() {
    let directory = TempDir::new().unwrap();
    let root = directory.path().join("root");
    fs::create_dir_all(root.join("d")).unwrap();
    let source = DirectorySource::open(&root).unwrap();
    let elsewhere = root.with_file_name("elsewhere");
    let assert_lost = || {
        for path in ["", "none", "none/below"] {
            let lost = [
                source.metadata(&rel(path)).map(|_| ()),
                source.list(&rel(path), None, 9).map(|_| ()),
            ];
            for result in lost {
                assert!(matches!(result, Err(SourceError::RootLost { .. })), "{result:?}");
            }
        }
        let name = Name::new(*b"none").unwrap();
        for path in ["", "none"] {
            let directory = source.directory(&rel(path));
            let looked = directory.and_then(|found| found.unwrap().metadata(&name));
            assert!(matches!(looked, Err(SourceError::RootLost { .. })), "{looked:?}");
        }
        let opened = source.open(&rel("none")).map(|_| ());
        assert!(matches!(opened, Err(SourceError::RootLost { .. })), "{opened:?}");
    };

    fs::rename(&root, &elsewhere).unwrap();
    assert_lost();
    fs::create_dir(&root).unwrap();
    assert_lost();
    fs::remove_dir(&root).unwrap();
    fs::rename(&elsewhere, &root).unwrap();
    assert_eq!(names(&source, ""), ["d"], "it is found again");
    fs::remove_dir_all(&root).unwrap();
    assert_lost();
}

#[test]
fn sockets_and_the_private_directory_of_a_sink_are_left_out() {
    let directory = TempDir::new().unwrap();
    let root = directory.path();
    fs::create_dir_all(root.join(".osync/x")).unwrap();
    fs::create_dir_all(root.join("d/.osync")).unwrap();
    let _socket = UnixListener::bind(root.join("d/socket")).unwrap();
    let source = DirectorySource::open(root).unwrap();

    assert_eq!(names(&source, ""), ["d"]);
    assert_eq!(names(&source, "d"), [".osync"], "reserved at the root only");
    for path in [".osync", ".osync/x", "d/socket"] {
        assert_eq!(source.metadata(&rel(path)).unwrap(), None);
        assert!(source.open(&rel(path)).unwrap().is_none());
        assert_eq!(source.list(&rel(path), None, 1).unwrap(), None);
    }
}

#[test]
fn sockets_are_told_of_with_leave() {
    let directory = TempDir::new().unwrap();
    let root = directory.path();
    let _socket = UnixListener::bind(root.join("socket")).unwrap();
    let source = DirectorySource::open(root).unwrap().with_devices();

    assert_eq!(source.fidelity().nodes, Nodes::ALL);
    let (metadata, _) = source.metadata(&rel("socket")).unwrap().unwrap();
    assert_eq!(metadata.kind, Kind::Socket);
    let page = source.list(&RelPath::root(), None, 9).unwrap().unwrap();
    assert_eq!(page.entries[0].metadata, metadata);
    let names = source.names(&RelPath::root(), None, 9).unwrap().unwrap().names;
    assert_eq!(names, [(Name::new(*b"socket").unwrap(), false)]);
    let held = source.directory(&RelPath::root()).unwrap().unwrap();
    assert_eq!(held.metadata(&names[0].0).unwrap().unwrap().0, metadata);
    assert!(source.open(&rel("socket")).unwrap().is_none());
}

#[test]
fn pages_of_a_replaced_directory_are_of_the_new_one() {
    let directory = TempDir::new().unwrap();
    let root = directory.path();
    for name in ["old/a", "old/b", "new/a", "new/c"] {
        fs::create_dir_all(root.join(name)).unwrap();
    }
    let source = DirectorySource::open(root).unwrap();
    let first = source.list(&rel("old"), None, 1).unwrap().unwrap();
    assert!(first.has_more);

    fs::remove_dir_all(root.join("old")).unwrap();
    fs::rename(root.join("new"), root.join("old")).unwrap();
    let after = Name::new(*b"a").unwrap();
    let second = source.list(&rel("old"), Some(&after), 9).unwrap().unwrap();

    let names: Vec<_> = second.entries.iter().map(|e| e.name.as_bytes()).collect();
    assert_eq!(names, [b"c"]);
}

#[test]
fn what_may_not_be_read_is_an_error_and_not_absent() {
    if rustix::process::geteuid().is_root() {
        // Nothing is refused to the superuser.
        return;
    }
    let directory = TempDir::new().unwrap();
    let locked = directory.path().join("locked");
    fs::create_dir(&locked).unwrap();
    fs::write(locked.join("f"), "x").unwrap();
    let source = DirectorySource::open(directory.path()).unwrap();

    fs::set_permissions(locked.join("f"), fs::Permissions::from_mode(0o000)).unwrap();
    assert!(source.open(&rel("locked/f")).is_err());
    for mode in [0o400, 0o000] {
        fs::set_permissions(&locked, fs::Permissions::from_mode(mode)).unwrap();
        assert!(source.list(&rel("locked"), None, 9).is_err(), "mode {mode:o}");
        assert!(source.metadata(&rel("locked/f")).is_err(), "mode {mode:o}");
    }
    fs::set_permissions(&locked, fs::Permissions::from_mode(0o700)).unwrap();
}
