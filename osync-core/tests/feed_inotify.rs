//! What the inotify feed does beyond the contract of the port.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "feed/listener.rs"]
mod listener;

use std::ffi::OsStr;
use std::fs::{self, File, Permissions};
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use osync_core::adapters::feed::inotify::InotifyFeed;
use osync_core::model::change::{Change, Touch};
use rustix::fs::{CWD, Mode, OFlags};

use crate::listener::{Listener, entry, is_all_lost, subtree};

#[test]
fn reading_the_tree_makes_no_reports() {
    let root = tempfile::tempdir().unwrap();
    fs::create_dir_all(root.path().join("dir/sub")).unwrap();
    fs::write(root.path().join("dir/file"), "content").unwrap();
    std::os::unix::fs::symlink("target", root.path().join("link")).unwrap();
    let mut listener = Listener::start(root.path());
    listener.until_ready();

    for name in ["", "dir", "dir/sub"] {
        assert!(fs::read_dir(root.path().join(name)).is_ok_and(|list| list.flatten().count() < 3));
    }
    fs::read(root.path().join("dir/file")).unwrap();
    fs::read_link(root.path().join("link")).unwrap();

    assert_eq!(listener.fence(), []);
}

#[test]
fn reports_say_how_an_entry_was_touched() {
    let root = tempfile::tempdir().unwrap();
    let at = |name: &str| root.path().join(name);
    let mut listener = Listener::start(root.path());
    listener.until_ready();

    let mut file = File::create(at("file")).unwrap();
    assert_eq!(listener.fence(), [entry("file", Touch::Writing)]);
    file.write_all(b"content").unwrap();
    assert_eq!(listener.fence(), [entry("file", Touch::Writing)]);
    drop(file);
    assert_eq!(listener.fence(), [entry("file", Touch::Settled)]);
    fs::set_permissions(at("file"), Permissions::from_mode(0o600)).unwrap();
    assert_eq!(listener.fence(), [entry("file", Touch::Metadata)]);
    fs::remove_file(at("file")).unwrap();
    assert_eq!(listener.fence(), [entry("file", Touch::Settled)]);

    std::os::unix::fs::symlink("target", at("link")).unwrap();
    assert_eq!(listener.fence(), [entry("link", Touch::Settled)]);
    rustix::fs::mkfifoat(CWD, at("fifo"), Mode::RUSR).unwrap();
    assert_eq!(listener.fence(), [entry("fifo", Touch::Settled)]);
    fs::set_permissions(root.path(), Permissions::from_mode(0o700)).unwrap();
    assert_eq!(listener.fence(), [entry("", Touch::Metadata)]);
    fs::create_dir(at("dir")).unwrap();
    assert_eq!(listener.fence(), [subtree("dir")]);
}

#[test]
fn the_reserved_directory_is_left_out() {
    let root = tempfile::tempdir().unwrap();
    let at = |name: &str| root.path().join(name);
    fs::create_dir_all(at(".osync/old")).unwrap();
    let mut listener = Listener::start(root.path());
    listener.until_ready();

    fs::write(at(".osync/file"), "").unwrap();
    fs::create_dir(at(".osync/old/new")).unwrap();
    fs::remove_dir_all(at(".osync")).unwrap();
    fs::create_dir(at(".osync")).unwrap();
    assert_eq!(listener.fence(), []);

    fs::write(at(".osync/file"), "").unwrap();
    fs::rename(at(".osync/file"), at("file")).unwrap();
    fs::create_dir(at(".osync2")).unwrap();
    let expected = [entry("file", Touch::Settled), subtree(".osync2")];
    assert_eq!(listener.fence(), expected);
}

#[test]
fn names_are_bytes() {
    let root = tempfile::tempdir().unwrap();
    let names: [&[u8]; 4] = [b"\xff\xfe", b"new\nline", b"-rf *", &[b'n'; 255]];
    for name in names {
        fs::create_dir(root.path().join(OsStr::from_bytes(name))).unwrap();
    }
    let mut listener = Listener::start(root.path());
    listener.until_ready();

    for name in names {
        let inner = [name, b"/", name].concat();
        fs::create_dir(root.path().join(OsStr::from_bytes(&inner))).unwrap();
        assert_eq!(listener.fence(), [subtree(inner)]);
    }
}

#[test]
fn three_hundred_levels_are_watched() {
    let root = tempfile::tempdir().unwrap();
    let deep = vec!["deep"; 300].join("/");
    fs::create_dir_all(root.path().join(&deep)).unwrap();
    let mut listener = Listener::start(root.path());
    assert_eq!(listener.until_ready(), []);

    fs::create_dir(root.path().join(&deep).join("new")).unwrap();
    assert_eq!(listener.fence(), [subtree(format!("{deep}/new"))]);

    fs::rename(root.path().join("deep"), root.path().join("moved")).unwrap();
    listener.fence();
    let deep = deep.replacen("deep", "moved", 1);
    fs::create_dir(root.path().join(&deep).join("new/newer")).unwrap();
    assert_eq!(listener.fence(), [subtree(format!("{deep}/new/newer"))]);
}

#[test]
fn what_is_too_deep_to_name_is_reported_as_unwatched() {
    let root = tempfile::tempdir().unwrap();
    let name = "n".repeat(200);
    let mut at = File::open(root.path()).unwrap().into();
    for _ in 0..25 {
        rustix::fs::mkdirat(&at, &name, Mode::RWXU).unwrap();
        at = rustix::fs::openat(&at, &name, OFlags::DIRECTORY, Mode::empty()).unwrap();
    }

    let mut listener = Listener::start(root.path());
    let reports = listener.until_ready();

    let [Change::Unwatched { scope, .. }] = &reports[..] else {
        panic!("{reports:?}");
    };
    assert!(scope.components().count() > 15);
}

#[test]
fn changes_are_reported_while_the_tree_is_still_walked() {
    let root = tempfile::tempdir().unwrap();
    // A busy machine may give the writer no time during a short walk: then the walk is made longer.
    let is_seen = [2_000, 8_000, 32_000].into_iter().any(|directories| {
        for index in 0..directories {
            fs::create_dir_all(root.path().join(index.to_string())).unwrap();
        }
        is_reported_before_ready(root.path(), "live")
    });
    assert!(is_seen);
}

/// Whether a file that is written all the time is reported before its feed is ready.
fn is_reported_before_ready(root: &Path, name: &str) -> bool {
    let is_ready = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !is_ready.load(Ordering::SeqCst) {
                fs::write(root.join(name), "").unwrap();
                // The crate notify watches nothing new while events come faster than it reads them.
                std::thread::sleep(Duration::from_micros(100));
            }
        });
        let mut listener = Listener::start(root);
        let reports = listener.until_ready();
        is_ready.store(true, Ordering::SeqCst);
        reports.contains(&entry(name, Touch::Settled))
    })
}

#[test]
fn an_engine_that_stands_still_makes_a_loss_and_no_deaf_directory() {
    let root = tempfile::tempdir().unwrap();
    let mut listener = Listener::start_with(InotifyFeed::new(root.path()).unwrap(), 1_024);
    listener.until_ready();

    // Far more than the feed and the kernel hold, with nobody listening.
    for index in 0..40_000 {
        let name = root.path().join((index % 100).to_string());
        fs::write(&name, "").unwrap();
        fs::remove_file(&name).unwrap();
    }
    fs::create_dir_all(root.path().join("made/meanwhile")).unwrap();
    listener.until(is_all_lost);
    listener.fence();

    fs::create_dir(root.path().join("made/meanwhile/new")).unwrap();
    assert_eq!(listener.fence(), [subtree("made/meanwhile/new")]);
}

#[test]
fn a_root_that_is_moved_away_is_lost_until_it_is_back() {
    let parent = tempfile::tempdir().unwrap();
    let root = parent.path().join("root");
    let elsewhere = parent.path().join("elsewhere");
    fs::create_dir_all(root.join("dir")).unwrap();
    let mut listener = Listener::start(&root);
    listener.until_ready();

    fs::rename(&root, &elsewhere).unwrap();
    listener.until(is_all_lost);
    fs::rename(&elsewhere, &root).unwrap();
    listener.until(is_all_lost);

    fs::create_dir(root.join("dir/new")).unwrap();
    let reports = listener.fence();
    assert!(reports.contains(&subtree("dir/new")), "{reports:?}");
}

#[test]
fn a_directory_above_the_root_may_be_moved() {
    let parent = tempfile::tempdir().unwrap();
    let root = parent.path().join("above/root");
    fs::create_dir_all(&root).unwrap();
    // The path leads there all the same.
    let old = parent.path().join("above");
    let new = parent.path().join("new");
    let mut listener = Listener::start(&root);
    listener.until_ready();

    fs::rename(&old, &new).unwrap();
    std::os::unix::fs::symlink(&new, &old).unwrap();
    fs::create_dir_all(root.join("a/b")).unwrap();
    listener.fence();

    fs::create_dir(root.join("a/b/c")).unwrap();
    assert_eq!(listener.fence(), [subtree("a/b/c")]);
}

#[test]
fn what_a_mount_covers_and_what_it_uncovers_is_watched() {
    let root = tempfile::tempdir().unwrap();
    let point = root.path().join("mount");
    fs::create_dir_all(point.join("below")).unwrap();
    let mount = |program: &str, arguments: &[&str]| {
        let done = Command::new(program).args(arguments).arg(&point).output();
        done.is_ok_and(|output| output.status.success())
    };
    if !mount("mount", &["-t", "tmpfs", "osync-test"]) {
        eprintln!("skipped: cannot mount a tmpfs here");
        return;
    }
    fs::create_dir(point.join("above")).unwrap();
    let mut listener = Listener::start(root.path());
    listener.until_ready();

    assert!(mount("mount", &["-t", "tmpfs", "osync-test"]));
    listener.until(is_all_lost);
    listener.fence();
    fs::create_dir(point.join("new")).unwrap();
    assert_eq!(listener.fence(), [subtree("mount/new")]);
    for _ in 0..2 {
        assert!(mount("umount", &[]));
        listener.until(is_all_lost);
    }
    listener.fence();

    fs::create_dir(point.join("below/new")).unwrap();
    let reports = listener.fence();
    assert!(reports.contains(&subtree("mount/below/new")), "{reports:?}");
}

#[test]
fn only_directories_can_be_watched() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("file");
    fs::write(&file, "").unwrap();

    assert!(InotifyFeed::new(&directory.path().join("missing")).is_err());
    assert!(InotifyFeed::new(&file).is_err());
}
