//! The first files of a directory that a sink has just made appear together with it.

#![expect(clippy::unwrap_used, reason = "a failing helper fails its test")]

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use osync_core::adapters::fs::sink::DirectorySink;
use osync_core::model::attributes::{Attribute, Attributes};
use osync_core::model::durability::Durability;
use osync_core::model::metadata::{Kind, Metadata};
use osync_core::model::rel_path::RelPath;
use osync_core::model::timestamp::Timestamp;
use osync_core::ports::sink::{NewFile, Sink, SinkError};
use tempfile::TempDir;

/// How many files a test writes at once: enough to be worth a directory.
const FILES: usize = 8;

struct Target {
    sink: DirectorySink,
    root: PathBuf,
    _directory: TempDir,
}

fn target() -> Target {
    let directory = TempDir::new().unwrap();
    let root = directory.path().join("root");
    Target { sink: DirectorySink::open(&root).unwrap(), root, _directory: directory }
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

/// Metadata of files that differ in their modes.
fn of_files(content: &[u8]) -> Vec<Metadata> {
    let kind = || Kind::File { size_bytes: content.len() as u64 };
    (0..FILES).map(|at| metadata(kind(), [0o644, 0o600, 0o4755, 0o444][at / 2])).collect()
}

/// Writes `directory/0` and so on; returns how each went.
fn fill(sink: &DirectorySink, directory: &str, content: &[u8]) -> Vec<Result<(), SinkError>> {
    let all = of_files(content);
    let file =
        |(at, metadata)| NewFile { path: rel(&format!("{directory}/{at}")), metadata, content };
    sink.write_files(&all.iter().enumerate().map(file).collect::<Vec<_>>())
}

/// Whether everything that [`fill`] has written is what it was to be.
fn assert_filled(target: &Target, directory: &str, content: &[u8]) {
    for (at, wanted) in of_files(content).iter().enumerate() {
        let path = target.root.join(directory).join(at.to_string());
        let shown = path.display();
        assert_eq!(fs::read(&path).unwrap(), content, "{shown}");
        let found = fs::metadata(&path).unwrap();
        let kept = if target.sink.fidelity().set_id { 0o7777 } else { 0o1777 };
        assert_eq!(found.mode() & 0o7777, wanted.mode & kept, "{shown}");
        assert_eq!((found.mtime(), found.mtime_nsec()), (1_234_567_890, 123_456_789), "{shown}");
        assert_eq!(
            target.sink.metadata(&rel(&format!("{directory}/{at}"))).unwrap().unwrap().attributes,
            Attributes::None
        );
    }
}

#[test]
fn files_of_a_new_directory_come_with_it() {
    let target = target();
    target.sink.make_directory(&rel("d")).unwrap();
    let before = fs::metadata(target.root.join("d")).unwrap().ino();

    assert!(fill(&target.sink, "d", b"content").iter().all(Result::is_ok));

    assert_ne!(fs::metadata(target.root.join("d")).unwrap().ino(), before, "it is not another one");
    assert_filled(&target, "d", b"content");
    // What follows goes to the directory that is there now.
    assert!(fill(&target.sink, "d", b"another").iter().all(Result::is_ok));
    assert_filled(&target, "d", b"another");
    target.sink.tidy();
    assert!(!target.root.join(".osync").exists());
}

#[test]
fn the_directory_above_keeps_its_time() {
    let target = target();
    for above in ["", "a"] {
        let below = if above.is_empty() { "d".to_owned() } else { format!("{above}/d") };
        target.sink.make_directory(&rel(&below)).unwrap();
        target.sink.set_metadata(&rel(above), &metadata(Kind::Directory, 0o755)).unwrap();

        assert!(fill(&target.sink, &below, b"content").iter().all(Result::is_ok));

        let found = fs::metadata(target.root.join(above)).unwrap();
        assert_eq!((found.mtime(), found.mtime_nsec()), (1_234_567_890, 123_456_789), "{above}");
    }
}

#[test]
fn what_lies_in_the_directory_already_stays() {
    let target = target();
    target.sink.make_directory(&rel("d")).unwrap();
    fs::write(target.root.join("d/foreign"), "foreign").unwrap();

    assert!(fill(&target.sink, "d", b"content").iter().all(Result::is_ok));

    assert_filled(&target, "d", b"content");
    assert_eq!(fs::read(target.root.join("d/foreign")).unwrap(), b"foreign");
    target.sink.tidy();
    assert!(!target.root.join(".osync").exists());
}

#[test]
fn a_directory_with_its_own_metadata_is_not_replaced() {
    let target = target();
    target.sink.make_directory(&rel("d")).unwrap();
    target.sink.set_metadata(&rel("d"), &metadata(Kind::Directory, 0o751)).unwrap();
    let before = fs::metadata(target.root.join("d")).unwrap().ino();

    assert!(fill(&target.sink, "d", b"content").iter().all(Result::is_ok));

    let after = fs::metadata(target.root.join("d")).unwrap();
    assert_eq!((after.ino(), after.mode() & 0o7777), (before, 0o751));
    assert_filled(&target, "d", b"content");
}

#[test]
fn a_directory_that_has_moved_since_is_not_replaced() {
    let target = target();
    target.sink.make_directory(&rel("a")).unwrap();
    target.sink.rename(&rel("a"), &rel("b")).unwrap();
    fs::create_dir(target.root.join("a")).unwrap();
    let before = fs::metadata(target.root.join("a")).unwrap().ino();

    assert!(fill(&target.sink, "a", b"content").iter().all(Result::is_ok));

    assert_eq!(fs::metadata(target.root.join("a")).unwrap().ino(), before);
}

#[test]
fn one_file_that_cannot_be_written_leaves_the_others() {
    let target = target();
    target.sink.make_directory(&rel("d")).unwrap();
    let mut all = of_files(b"content");
    // As no file can be that holds so little.
    all[3].kind = Kind::File { size_bytes: 1 };
    let name = |at| rel(&format!("d/{at}"));
    let file = |(at, metadata)| NewFile { path: name(at), metadata, content: b"content" };

    let results = target.sink.write_files(&all.iter().enumerate().map(file).collect::<Vec<_>>());

    let failed: Vec<usize> = (0..FILES).filter(|&at| results[at].is_err()).collect();
    assert_eq!(failed, [3]);
    assert_eq!(fs::read_dir(target.root.join("d")).unwrap().count(), FILES - 1);
}

#[test]
fn access_lists_of_the_directories_around_do_not_stick() {
    let target = target();
    // user::rwx, group::r-x, mask::rwx, other::r-x, and user 1 may do everything.
    let entry = |tag: u16, mode: u16, id: u32| {
        [&tag.to_le_bytes()[..], &mode.to_le_bytes()[..], &id.to_le_bytes()[..]].concat()
    };
    let none = u32::MAX;
    let list = [
        2_u32.to_le_bytes().to_vec(),
        entry(0x01, 7, none),
        entry(0x02, 7, 1),
        entry(0x04, 5, none),
        entry(0x10, 7, none),
        entry(0x20, 5, none),
    ];
    let default: Box<[u8]> = list.concat().into();
    let name: Box<[u8]> = (*b"system.posix_acl_default").into();
    let attributes = Attributes::new(vec![Attribute { name, value: default }]);
    let own = Metadata { attributes, ..metadata(Kind::Directory, 0o755) };
    if target.sink.set_metadata(&RelPath::root(), &own).is_err()
        || target.sink.metadata(&RelPath::root()).unwrap().unwrap().attributes == Attributes::None
    {
        eprintln!("SKIP: the file system of temporary files keeps no access lists");
        return;
    }
    target.sink.make_directory(&rel("d")).unwrap();
    target.sink.make_directory(&rel("e")).unwrap();
    target.sink.set_metadata(&rel("e"), &own).unwrap();

    for directory in ["d", "e"] {
        assert!(fill(&target.sink, directory, b"content").iter().all(Result::is_ok));
        assert_filled(&target, directory, b"content");
    }
}

#[test]
fn a_directory_that_has_its_group_from_the_one_above_is_not_replaced() {
    let target = target();
    let above = target.root.join("a");
    fs::create_dir(&above).unwrap();
    if std::os::unix::fs::chown(&above, None, Some(1)).is_err() {
        eprintln!("SKIP: only the superuser gives directories to any group");
        return;
    }
    fs::set_permissions(&above, fs::Permissions::from_mode(0o2755)).unwrap();
    target.sink.make_directory(&rel("a/d")).unwrap();
    let before = fs::metadata(above.join("d")).unwrap();

    assert!(fill(&target.sink, "a/d", b"content").iter().all(Result::is_ok));

    let after = fs::metadata(above.join("d")).unwrap();
    assert_eq!((after.ino(), after.gid()), (before.ino(), 1));
    assert_filled(&target, "a/d", b"content");
}

#[test]
fn durable_files_are_written_one_by_one() {
    let target = target();
    target.sink.set_durability(Durability::File);
    target.sink.make_directory(&rel("d")).unwrap();
    let before = fs::metadata(target.root.join("d")).unwrap().ino();

    assert!(fill(&target.sink, "d", b"content").iter().all(Result::is_ok));

    assert_eq!(fs::metadata(target.root.join("d")).unwrap().ino(), before);
    assert_filled(&target, "d", b"content");
}

#[test]
fn writers_of_what_lies_below_are_not_disturbed() {
    const ROUNDS: usize = 400;
    let target = target();
    let made = AtomicUsize::new(0);
    let sink = &target.sink;

    thread::scope(|scope| {
        scope.spawn(|| {
            for round in 0..ROUNDS {
                let directory = format!("d{round}");
                sink.make_directory(&rel(&directory)).unwrap();
                made.store(round + 1, Ordering::Release);
                assert!(fill(sink, &directory, b"content").iter().all(Result::is_ok));
            }
        });
        scope.spawn(|| {
            for round in 0..ROUNDS {
                while made.load(Ordering::Acquire) <= round {
                    std::hint::spin_loop();
                }
                // At all moments of the other's work.
                let (since, delay) =
                    (Instant::now(), Duration::from_micros(round as u64 * 7 % 300));
                while since.elapsed() < delay {
                    std::hint::spin_loop();
                }
                let path = rel(&format!("d{round}/sub/below"));
                let below = metadata(Kind::File { size_bytes: 5 }, 0o644);
                sink.write_file(&path, &below, b"below").unwrap();
            }
        });
    });

    for round in 0..ROUNDS {
        assert_filled(&target, &format!("d{round}"), b"content");
        assert!(target.root.join(format!("d{round}/sub/below")).exists(), "{round}");
    }
}

#[test]
fn a_directory_above_that_nobody_may_write_to_is_no_obstacle() {
    let target = target();
    target.sink.make_directory(&rel("d")).unwrap();
    fs::set_permissions(&target.root, fs::Permissions::from_mode(0o555)).unwrap();

    assert!(fill(&target.sink, "d", b"content").iter().all(Result::is_ok));

    assert_filled(&target, "d", b"content");
    fs::set_permissions(&target.root, fs::Permissions::from_mode(0o755)).unwrap();
}
