//! What the fanotify feed does beyond the contract of the port.
//!
//! Each test has a file system of its own, and is skipped where this process may not mount one.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "feed/listener.rs"]
mod listener;
#[path = "feed/mounted.rs"]
mod mounted;

use std::fs::{self, File, Permissions};
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use osync_core::adapters::feed::auto;
use osync_core::adapters::feed::fanotify::FanotifyFeed;
use osync_core::model::change::{Change, Touch};
use rustix::fs::{CWD, Mode, OFlags};

use crate::listener::{Listener, entry, is_all_lost, moved_in, path, subtree};
use crate::mounted::Mounted;

const QUEUE_LIMIT: &str = "/proc/sys/fs/fanotify/max_queued_events";

/// A root on a file system of its own, and the name of a directory beside it.
struct Place {
    mounted: Mounted,
}

impl Place {
    /// `None`, and a word about it, where fanotify cannot be had.
    fn new() -> Option<Self> {
        Mounted::tmpfs().and_then(Self::on)
    }

    /// As [`Place::new`], on ext4.
    fn ext4() -> Option<Self> {
        Mounted::ext4().and_then(Self::on)
    }

    fn on(mounted: Mounted) -> Option<Self> {
        let place = Self { mounted };
        fs::create_dir_all(place.root()).unwrap();
        fs::create_dir_all(place.outside()).unwrap();
        FanotifyFeed::new(&place.root()).map_err(|error| eprintln!("skipped: {error:?}")).ok()?;
        Some(place)
    }

    fn root(&self) -> PathBuf {
        self.mounted.path().join("root")
    }

    fn outside(&self) -> PathBuf {
        self.mounted.path().join("outside")
    }

    fn listen(&self) -> Listener {
        Listener::start_with(FanotifyFeed::new(&self.root()).unwrap(), 64)
    }
}

#[test]
fn reports_say_how_an_entry_was_touched() {
    let Some(place) = Place::new() else { return };
    let at = |name: &str| place.root().join(name);
    let mut listener = place.listen();
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
    fs::set_permissions(place.root(), Permissions::from_mode(0o700)).unwrap();
    assert_eq!(listener.fence(), [entry("", Touch::Metadata)]);
    fs::create_dir(at("dir")).unwrap();
    assert_eq!(listener.fence(), [subtree("dir")]);
    fs::remove_dir(at("dir")).unwrap();
    assert_eq!(listener.fence(), [entry("dir", Touch::Settled)]);
}

#[test]
fn reading_and_what_happens_elsewhere_make_no_reports() {
    let Some(place) = Place::new() else { return };
    fs::create_dir_all(place.root().join("dir")).unwrap();
    fs::create_dir_all(place.root().join(".osync/old")).unwrap();
    fs::write(place.root().join("dir/file"), "content").unwrap();
    let mut listener = place.listen();
    listener.until_ready();

    assert_eq!(fs::read_dir(place.root().join("dir")).unwrap().count(), 1);
    fs::read(place.root().join("dir/file")).unwrap();
    fs::create_dir_all(place.outside().join("a/b")).unwrap();
    fs::write(place.outside().join("a/b/file"), "content").unwrap();
    fs::rename(place.outside().join("a"), place.outside().join("c")).unwrap();
    fs::write(place.outside().join("c/b/file"), "content").unwrap();
    fs::remove_dir_all(place.outside()).unwrap();
    fs::write(place.root().join(".osync/file"), "").unwrap();
    fs::create_dir(place.root().join(".osync/old/new")).unwrap();
    fs::remove_dir_all(place.root().join(".osync")).unwrap();

    assert_eq!(listener.fence(), []);
}

#[test]
fn what_is_moved_in_is_seen_below_its_new_name() {
    let Some(place) = Place::new() else { return };
    fs::create_dir_all(place.outside().join("dir/sub")).unwrap();
    let mut listener = place.listen();
    listener.until_ready();

    // Known as a directory that is elsewhere.
    fs::write(place.outside().join("dir/sub/file"), "").unwrap();
    assert_eq!(listener.fence(), []);
    fs::rename(place.outside().join("dir"), place.root().join("dir")).unwrap();
    assert_eq!(listener.fence(), [moved_in("dir")]);
    fs::create_dir(place.root().join("dir/sub/new")).unwrap();
    assert_eq!(listener.fence(), [subtree("dir/sub/new")]);
    fs::rename(place.root().join("dir"), place.outside().join("dir")).unwrap();
    assert_eq!(listener.fence(), [entry("dir", Touch::Settled)]);
    fs::create_dir(place.outside().join("dir/sub/newer")).unwrap();
    assert_eq!(listener.fence(), []);
    // Moved where nobody looks, and back to another place.
    fs::rename(place.outside().join("dir"), place.outside().join("other")).unwrap();
    fs::write(place.outside().join("other/sub/file"), "").unwrap();
    assert_eq!(listener.fence(), []);
    fs::rename(place.outside().join("other"), place.root().join("back")).unwrap();
    assert_eq!(listener.fence(), [moved_in("back")]);
    fs::create_dir(place.root().join("back/sub/newest")).unwrap();
    assert_eq!(listener.fence(), [subtree("back/sub/newest")]);
}

#[test]
fn a_directory_that_takes_over_the_inode_of_another_is_not_mistaken_for_it() {
    let Some(place) = Place::ext4() else { return };
    let at = |name: &str| place.root().join(name);
    let mut listener = place.listen();
    listener.until_ready();

    let mut inodes = Vec::new();
    for round in 0..20 {
        let name = format!("dir{round}");
        fs::create_dir(at(&name)).unwrap();
        inodes.push(fs::metadata(at(&name)).unwrap().ino());
        fs::create_dir(at(&name).join("sub")).unwrap();
        let reports = listener.fence();
        assert!(reports.contains(&subtree(format!("{name}/sub"))), "{reports:?}");
        fs::remove_dir_all(at(&name)).unwrap();
        listener.fence();
    }
    inodes.sort_unstable();
    inodes.dedup();
    assert!(inodes.len() < 20, "no inode was used twice");
}

#[test]
fn more_directories_than_are_remembered_are_found() {
    let Some(place) = Place::new() else { return };
    let count = 20_000;
    for index in 0..count {
        fs::create_dir(place.root().join(index.to_string())).unwrap();
    }
    let mut listener = place.listen();
    listener.until_ready();

    for round in 0..2 {
        for first in (0..count).step_by(1_000) {
            for index in first..first + 1_000 {
                fs::create_dir(place.root().join(format!("{index}/{round}"))).unwrap();
            }
            let reports = listener.fence();
            let expected: Vec<_> =
                (first..first + 1_000).map(|index| subtree(format!("{index}/{round}"))).collect();
            assert_eq!(reports, expected);
        }
    }
}

#[test]
fn two_thousand_levels_and_paths_of_any_length_are_watched() {
    let Some(place) = Place::new() else { return };
    let mut at = File::open(place.root()).unwrap().into();
    let mut deep = String::new();
    for level in 0..2_000 {
        let name = format!("level{level}");
        rustix::fs::mkdirat(&at, &name, Mode::RWXU).unwrap();
        at = rustix::fs::openat(&at, &name, OFlags::DIRECTORY, Mode::empty()).unwrap();
        deep = format!("{deep}{name}/");
    }
    let mut listener = place.listen();
    listener.until_ready();

    rustix::fs::mkdirat(&at, "new", Mode::RWXU).unwrap();
    assert_eq!(listener.fence(), [subtree(format!("{deep}new"))]);
    rustix::fs::symlinkat("target", &at, "link").unwrap();
    assert_eq!(listener.fence(), [entry(format!("{deep}link"), Touch::Settled)]);
    fs::rename(place.root().join("level0"), place.root().join("moved")).unwrap();
    listener.fence();
    let deep = deep.replacen("level0", "moved", 1);
    rustix::fs::mkdirat(&at, "newer", Mode::RWXU).unwrap();
    assert_eq!(listener.fence(), [subtree(format!("{deep}newer"))]);
}

#[test]
fn a_full_kernel_queue_makes_a_loss_and_answers_the_fences() {
    let Some(place) = Place::new() else { return };
    let usual = fs::read_to_string(QUEUE_LIMIT).unwrap();
    if fs::write(QUEUE_LIMIT, "16").is_err() {
        eprintln!("skipped: cannot write {QUEUE_LIMIT}");
        return;
    }
    // A group keeps the limit it was made with.
    let mut listener = place.listen();
    fs::write(QUEUE_LIMIT, usual).unwrap();
    listener.until_ready();

    // Nobody takes the reports meanwhile.
    for index in 0..1_000 {
        fs::create_dir(place.root().join(index.to_string())).unwrap();
    }
    assert!(listener.fence().iter().any(is_all_lost));

    fs::create_dir(place.root().join("0/new")).unwrap();
    assert!(listener.fence().contains(&subtree("0/new")));
}

#[test]
fn a_root_that_is_moved_away_is_lost_until_it_is_back() {
    let Some(place) = Place::new() else { return };
    let (root, elsewhere) = (place.root(), place.outside().join("elsewhere"));
    fs::create_dir(root.join("dir")).unwrap();
    let mut listener = place.listen();
    listener.until_ready();

    fs::rename(&root, &elsewhere).unwrap();
    listener.until(is_all_lost);
    fs::rename(&elsewhere, &root).unwrap();
    listener.until(is_all_lost);

    fs::create_dir(root.join("dir/new")).unwrap();
    assert_eq!(listener.fence(), [subtree("dir/new")]);
}

#[test]
fn a_directory_above_the_root_may_be_moved() {
    let Some(place) = Place::new() else { return };
    let root = place.outside().join("above/root");
    fs::create_dir_all(root.join("dir")).unwrap();
    // The path leads there all the same.
    let (old, new) = (place.outside().join("above"), place.outside().join("new"));
    let mut listener = Listener::start_with(FanotifyFeed::new(&root).unwrap(), 64);
    listener.until_ready();

    fs::rename(&old, &new).unwrap();
    std::os::unix::fs::symlink(&new, &old).unwrap();
    fs::create_dir(root.join("dir/a")).unwrap();
    let reports = listener.fence();
    // It may have looked in between.
    assert!(reports.contains(&subtree("dir/a")) || reports.iter().any(is_all_lost), "{reports:?}");
    fs::create_dir(root.join("dir/b")).unwrap();
    let reports = listener.fence();
    assert!(reports.contains(&subtree("dir/b")) || reports.iter().any(is_all_lost), "{reports:?}");
}

#[test]
fn mounts_below_the_root_are_reported_as_unwatched_and_as_lost_from_time_to_time() {
    let Some(place) = Place::new() else { return };
    let point = place.root().join("a mount");
    fs::create_dir_all(point.join("below")).unwrap();
    let mount = |program: &str, arguments: &[&str]| {
        let done = Command::new(program).args(arguments).arg(&point).output();
        assert!(done.unwrap().status.success());
    };
    mount("mount", &["-t", "tmpfs", "osync-test"]);
    let feed = FanotifyFeed::new(&place.root()).unwrap();
    let feed = feed.with_retry_after(Duration::from_millis(50));
    let mut listener = Listener::start_with(feed, 64);

    let reports = listener.until_ready();
    let [Change::Unwatched { scope, .. }] = &reports[..] else { panic!("{reports:?}") };
    assert_eq!(*scope, path("a mount"));
    for _ in 0..2 {
        listener.until(
            |change| matches!(change, Change::Lost { scope, .. } if *scope == path("a mount")),
        );
    }

    mount("umount", &[]);
    listener.until(|change| *change == moved_in("a mount"));
    listener.fence();
    fs::create_dir(point.join("below/new")).unwrap();
    assert_eq!(listener.fence(), [subtree("a mount/below/new")]);
}

#[test]
fn what_cannot_be_watched_so_is_refused_with_advice_and_auto_takes_inotify() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("file");
    fs::write(&file, "").unwrap();

    assert!(FanotifyFeed::new(&directory.path().join("missing")).is_err());
    assert!(FanotifyFeed::new(&file).is_err());
    // No process may mark this one.
    let error = FanotifyFeed::new("/proc/self".as_ref()).unwrap_err();
    let cause = std::error::Error::source(&error).unwrap().to_string();
    assert!(cause.contains("use inotify"), "{cause}");
    assert!(auto("/proc/self".as_ref(), None).is_ok());
    assert!(auto(&directory.path().join("missing"), None).is_err());
}
