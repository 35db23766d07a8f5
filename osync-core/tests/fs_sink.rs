//! What a directory as a sink does beyond the rules of the port: `.osync`, the root, and attackers.

#![expect(clippy::unwrap_used, reason = "a failing helper fails its test")]

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use osync_core::adapters::fs::sink::DirectorySink;
use osync_core::model::attributes::Attributes;
use osync_core::model::metadata::{Kind, Metadata};
use osync_core::model::rel_path::RelPath;
use osync_core::model::timestamp::Timestamp;
use osync_core::ports::sink::{Sink, SinkError};
use rustix::fs::{CWD, RenameFlags, renameat_with};
use tempfile::TempDir;

const DEADLINE: Duration = Duration::from_secs(20);

struct Target {
    sink: DirectorySink,
    root: PathBuf,
    /// A directory beside the root, which no test may see touched.
    outside: PathBuf,
    _directory: TempDir,
}

fn target() -> Target {
    let directory = TempDir::new().unwrap();
    let root = directory.path().join("root");
    let outside = directory.path().join("outside");
    fs::create_dir(&outside).unwrap();
    Target { sink: DirectorySink::open(&root).unwrap(), root, outside, _directory: directory }
}

fn rel(path: &str) -> RelPath {
    RelPath::new(path.as_bytes()).unwrap()
}

fn metadata(kind: Kind, mode: u32) -> Metadata {
    Metadata {
        kind,
        modified: Timestamp { seconds: 1_234_567_890, nanoseconds: 123_456_789 },
        mode,
        uid: rustix::process::geteuid().as_raw(),
        gid: rustix::process::getegid().as_raw(),
        attributes: Attributes::None,
        names: 1,
    }
}

fn file(content: &[u8]) -> Metadata {
    let size_bytes = content.len() as u64;
    metadata(Kind::File { size_bytes }, 0o644)
}

fn write(sink: &DirectorySink, path: &str, content: &[u8]) -> Result<(), SinkError> {
    sink.write_file(&rel(path), &file(content), content)
}

fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !is_so() {
        assert!(Instant::now() < deadline, "{what}");
        thread::yield_now();
    }
}

#[test]
fn a_link_swapped_in_for_a_known_directory_leads_nowhere() {
    let Target { _directory, sink, root, outside } = target();
    write(&sink, "d/e/a", b"x").unwrap();
    fs::rename(root.join("d"), root.join("moved")).unwrap();
    symlink(&outside, root.join("d")).unwrap();
    fs::create_dir(outside.join("e")).unwrap();

    let _either_is_fine = write(&sink, "d/e/b", b"x");
    assert_eq!(sink.list(&rel("d"), None, None).unwrap(), None);
    write(&sink, "d/e/c", b"x").unwrap_err();

    assert_eq!(names(&outside), ["e"]);
    assert_eq!(names(&outside.join("e")), [""; 0]);
    assert!(!root.join("moved/e/c").exists(), "a listing ends all trust below");
}

#[test]
fn a_directory_moved_by_others_is_noticed_within_moments() {
    let Target { _directory, sink, root, .. } = target();
    write(&sink, "d/a", b"x").unwrap();
    fs::rename(root.join("d"), root.join("moved")).unwrap();

    wait_until("the directory is made anew where it was", || {
        write(&sink, "d/b", b"x").unwrap();
        root.join("d/b").exists()
    });
}

#[test]
fn a_directory_replaced_by_others_is_noticed_once_it_is_listed() {
    let Target { _directory, sink, root, .. } = target();
    write(&sink, "d/e/a", b"x").unwrap();
    fs::rename(root.join("d"), root.join("moved")).unwrap();
    fs::create_dir_all(root.join("d/e")).unwrap();

    assert_eq!(sink.list(&rel("d/e"), None, None).unwrap().map(|entries| entries.len()), Some(0));
    write(&sink, "d/e/b", b"x").unwrap();

    assert_eq!([names(&root.join("d/e")), names(&root.join("moved/e"))], [["b"], ["a"]]);
}

#[test]
fn swapping_links_in_all_the_time_never_changes_anything_outside() {
    let Target { _directory, sink, root, outside } = target();
    fs::create_dir(outside.join("e")).unwrap();
    fs::write(outside.join("e/f"), "precious").unwrap();
    let before = [&outside, &outside.join("e"), &outside.join("e/f")]
        .map(|path| fs::metadata(path).unwrap().ctime_nsec());
    write(&sink, "d/e/f", b"x").unwrap();
    symlink(&outside, root.join("link")).unwrap();
    let is_done = AtomicBool::new(false);

    thread::scope(|scope| {
        scope.spawn(|| {
            let (d, link) = (root.join("d"), root.join("link"));
            while !is_done.load(Ordering::Relaxed) {
                let _lost_race = renameat_with(CWD, &d, CWD, &link, RenameFlags::EXCHANGE);
            }
        });
        let directory = metadata(Kind::Directory, 0o700);
        let until = Instant::now() + Duration::from_millis(500);
        while Instant::now() < until {
            // Any of these may fail; none may succeed outside.
            drop(sink.list(&rel("d/e"), None, None));
            drop(write(&sink, "d/e/g", b"evil"));
            drop(sink.set_metadata(&rel("d/e/f"), &file(b"precious")));
            drop(sink.set_metadata(&rel("d/e"), &directory));
            drop(sink.rename(&rel("d/e/g"), &rel("d/e/h")));
            drop(sink.remove(&rel("d/e/f")));
            drop(sink.make_directory(&rel("d/e/sub/sub")));
            drop(sink.remove(&rel("d/e/sub")));
        }
        is_done.store(true, Ordering::Relaxed);
    });

    let after = [&outside, &outside.join("e"), &outside.join("e/f")]
        .map(|path| fs::metadata(path).unwrap().ctime_nsec());
    assert_eq!(before, after);
    assert_eq!(names(&outside.join("e")), ["f"]);
}

#[test]
fn a_lost_root_is_said_to_be_lost() {
    let Target { _directory, sink, root, .. } = target();
    write(&sink, "d/a", b"x").unwrap();
    let elsewhere = root.with_file_name("elsewhere");
    fs::rename(&root, &elsewhere).unwrap();

    let is_lost = |error: &SinkError| matches!(error, SinkError::RootLost { .. });
    assert!(is_lost(&sink.remove(&rel("d/a")).unwrap_err()));
    assert!(is_lost(&sink.metadata(&rel("none")).unwrap_err()));
    assert!(is_lost(&sink.list(&rel("none"), None, None).unwrap_err()));
    assert!(is_lost(&sink.rename(&rel("d"), &rel("e")).unwrap_err()));
    fs::create_dir(&root).unwrap();
    assert!(is_lost(&sink.remove(&rel("d")).unwrap_err()), "another is no substitute");
    wait_until("writing stops", || write(&sink, "d/b", b"x").is_err_and(|error| is_lost(&error)));
    assert_eq!(names(&root), [""; 0]);

    fs::remove_dir(&root).unwrap();
    fs::rename(&elsewhere, &root).unwrap();
    write(&sink, "d/c", b"x").unwrap();
    assert!(sink.remove(&rel("d")).unwrap());
}

#[test]
fn what_a_killed_process_left_is_deleted() {
    let directory = TempDir::new().unwrap();
    let root = directory.path();
    let private = root.join(".osync");
    fs::create_dir_all(private.join("d7/a/b/c")).unwrap();
    fs::create_dir_all(private.join("t8/x/y")).unwrap();
    fs::create_dir_all(private.join("odd")).unwrap();
    fs::write(private.join("d7/a/b/c/f"), "x").unwrap();
    fs::write(private.join("t9"), "half a file").unwrap();
    symlink("/", private.join("d7/a/link")).unwrap();
    fs::create_dir(root.join("d")).unwrap();
    fs::write(root.join("d/kept"), "x").unwrap();
    let before = fs::metadata(root).unwrap().modified().unwrap();

    let sink = DirectorySink::open(root).unwrap();
    write(&sink, "d/kept", b"replaced").unwrap();
    sink.tidy();

    assert_eq!(names(root), ["d"]);
    assert_eq!(fs::metadata(root).unwrap().modified().unwrap(), before);
}

#[test]
fn using_the_private_directory_leaves_the_time_of_the_root_alone() {
    let Target { _directory, sink, root, .. } = target();
    let wanted = metadata(Kind::Directory, 0o750);
    write(&sink, "d/f", b"old").unwrap();
    sink.set_metadata(&RelPath::root(), &wanted).unwrap();
    let is_as_wanted = || sink.metadata(&RelPath::root()).unwrap() == Some(wanted.clone());

    write(&sink, "d/f", b"new").unwrap();
    assert!(root.join(".osync").exists(), "a replacement needs it");
    assert!(is_as_wanted());
    assert_eq!(sink.list(&RelPath::root(), None, None).unwrap().unwrap().len(), 1);
    wait_until("it goes when it is idle", || !root.join(".osync").exists());
    assert!(is_as_wanted());

    write(&sink, "d/f", b"newer").unwrap();
    sink.tidy();
    assert_eq!(names(&root), ["d"]);
    assert!(is_as_wanted());

    write(&sink, "d/f", b"newest").unwrap();
    drop(sink);
    assert_eq!(names(&root), ["d"]);
}

#[test]
fn the_private_directory_is_no_part_of_the_tree() {
    let Target { _directory, sink, root, .. } = target();
    fs::create_dir_all(root.join(".osync/x")).unwrap();

    for path in [".osync", ".osync/x"] {
        assert_eq!(sink.metadata(&rel(path)).unwrap(), None);
        assert_eq!(sink.list(&rel(path), None, None).unwrap(), None);
        write(&sink, path, b"x").unwrap_err();
        sink.make_directory(&rel(path)).unwrap_err();
        sink.rename(&rel("d"), &rel(path)).unwrap_err();
        sink.remove(&rel(path)).unwrap_err();
    }
    write(&sink, "d/.osync", b"a name like any other").unwrap();
    assert_eq!(sink.list(&RelPath::root(), None, None).unwrap().unwrap().len(), 1);
}

#[test]
fn a_large_tree_is_gone_at_once_and_deleted_soon() {
    let Target { _directory, sink, root, .. } = target();
    let mut path = "top".to_owned();
    for level in 0..100 {
        path.push_str("/deeper");
        write(&sink, &format!("{path}-file{level}"), b"x").unwrap();
        write(&sink, &format!("{path}/file"), b"x").unwrap();
    }
    symlink(root.with_file_name("outside"), root.join("top/link")).unwrap();

    assert!(sink.remove(&rel("top")).unwrap());

    assert!(!root.join("top").exists());
    wait_until("it is deleted", || !root.join(".osync").exists());
    assert_eq!(names(&root), [""; 0]);
}

#[test]
fn what_nobody_gave_leave_for_is_listed_and_neither_changed_nor_linked() {
    let Target { _directory, sink, root, .. } = target();
    let _socket = UnixListener::bind(root.join("socket")).unwrap();

    let entries = sink.list(&RelPath::root(), None, None).unwrap().unwrap();

    assert_eq!(entries[0].metadata.kind, Kind::Socket);
    let wanted = Metadata { names: 2, ..metadata(Kind::Socket, 0) };
    sink.set_metadata(&rel("socket"), &wanted).unwrap_err();
    sink.link(&rel("other"), &rel("socket"), &wanted).unwrap_err();
    sink.make_special(&rel("other"), &wanted).unwrap_err();
    sink.tidy();
    assert_eq!(names(&root), ["socket"]);
    sink.make_special(&rel("socket"), &metadata(Kind::Fifo, 0o600)).unwrap();
    sink.tidy();
    assert_eq!(names(&root), ["socket"]);
}

#[test]
fn writers_in_different_directories_do_not_disturb_each_other() {
    let Target { _directory, sink, root, .. } = target();
    thread::scope(|scope| {
        for writer in 0..4 {
            let sink = &sink;
            scope.spawn(move || {
                for n in 0..300 {
                    write(sink, &format!("w{writer}/{}/f{}", n % 7, n % 50), b"x").unwrap();
                    if n % 50 == 49 {
                        assert!(sink.remove(&rel(&format!("w{writer}/0"))).unwrap());
                    }
                }
                write(sink, &format!("w{writer}/0/last"), b"x").unwrap();
            });
        }
    });
    sink.tidy();

    assert_eq!(names(&root), ["w0", "w1", "w2", "w3"]);
    for writer in 0..4 {
        let directory = root.join(format!("w{writer}"));
        assert_eq!(names(&directory), ["0", "1", "2", "3", "4", "5", "6"]);
        assert_eq!(names(&directory.join("0")), ["last"]);
    }
}

#[test]
fn directories_that_refuse_their_owner_are_worked_in_all_the_same() {
    if rustix::process::geteuid().is_root() {
        // Nothing is refused to the superuser.
        return;
    }
    let Target { _directory, sink, root, .. } = target();
    write(&sink, "a/b/c/f", b"x").unwrap();
    for path in ["a/b/c", "a/b", "a"] {
        let locked = metadata(Kind::Directory, 0o000);
        sink.set_metadata(&rel(path), &locked).unwrap();
    }
    drop(sink);
    let sink = DirectorySink::open(&root).unwrap();

    write(&sink, "a/b/c/g", b"x").unwrap();
    write(&sink, "a/b/c/f", b"y").unwrap();
    let listed = sink.list(&rel("a/b/c"), None, None).unwrap();
    assert_eq!(listed.unwrap().len(), 2);
    sink.rename(&rel("a/b/c"), &rel("a/c")).unwrap();
    assert!(sink.remove(&rel("a/c/g")).unwrap());
    let mode = |path: &str| sink.metadata(&rel(path)).unwrap().unwrap().mode;
    assert_eq!([mode("a"), mode("a/b"), mode("a/c")], [0; 3], "closed again");
    write(&sink, "a/c", b"in place of a directory").unwrap();
    assert!(sink.remove(&rel("a")).unwrap());
    sink.tidy();

    assert_eq!(names(&root), [""; 0]);
    fs::set_permissions(&root, fs::Permissions::from_mode(0o755)).unwrap();
}
