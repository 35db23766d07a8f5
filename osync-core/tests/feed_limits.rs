//! The inotify feed at the limits of the kernel.
//!
//! Limits of watches and instances are set in a user namespace, where the test runs itself again.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "feed/listener.rs"]
mod listener;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::time::Duration;

use crossbeam_channel::bounded;
use osync_core::adapters::feed::inotify::InotifyFeed;
use osync_core::model::change::Change;
use osync_core::ports::change_feed::{ChangeFeed, FeedError, Reporter};

use crate::listener::{Listener, is_all_lost, subtree};

const QUEUE_LIMIT: &str = "/proc/sys/fs/inotify/max_queued_events";
const WATCH_LIMIT: &str = "/proc/sys/user/max_inotify_watches";

#[test]
fn a_full_kernel_queue_makes_a_loss_and_no_deaf_directory() {
    let usual = fs::read_to_string(QUEUE_LIMIT).unwrap();
    let root = tempfile::tempdir().unwrap();
    let feed = InotifyFeed::new(root.path()).unwrap();
    if fs::write(QUEUE_LIMIT, "16").is_err() {
        eprintln!("skipped: cannot write {QUEUE_LIMIT}");
        return;
    }
    // An instance keeps the limit it was made with.
    let mut listener = Listener::start_with(feed, 64);
    fs::write(QUEUE_LIMIT, usual).unwrap();
    listener.until_ready();

    // Permissions change far faster than the feed reads, however slow the disk is.
    let files: Vec<_> = (0..64).map(|index| root.path().join(format!("file{index}"))).collect();
    for file in &files {
        fs::write(file, "").unwrap();
    }
    let mut reports = Vec::new();
    for round in 0..10_000 {
        fs::create_dir_all(root.path().join(format!("dir/{round}/sub"))).unwrap();
        for file in &files {
            fs::set_permissions(file, fs::Permissions::from_mode(0o600)).unwrap();
        }
        reports.extend(listener.changes.try_iter());
        if reports.iter().any(is_all_lost) {
            break;
        }
    }
    assert!(reports.iter().any(is_all_lost), "no loss");
    listener.fence();

    fs::create_dir(root.path().join("dir/0/sub/new")).unwrap();
    assert_eq!(listener.fence(), [subtree("dir/0/sub/new")]);
}

#[test]
fn directories_beyond_the_watch_limit_are_reported_and_watched_later() {
    run_in_namespace("beyond_the_watch_limit");
}

#[test]
#[ignore = "runs in a user namespace, started by the test above"]
fn beyond_the_watch_limit() {
    fs::write(WATCH_LIMIT, "20").unwrap();
    let root = tempfile::tempdir().unwrap();
    for index in 0..10 {
        fs::create_dir_all(root.path().join(format!("{index}/sub/sub"))).unwrap();
    }
    let feed = InotifyFeed::new(root.path()).unwrap();
    let feed = feed.with_retry_after(Duration::from_millis(200));
    let mut listener = Listener::start_with(feed, 64);

    let reports = listener.until_ready();
    let Some(Change::Unwatched { scope, reason }) = reports.first() else {
        panic!("{reports:?}");
    };
    let advice = "user.max_inotify_watches is 20; raise it, for example: sysctl -w";
    assert!(reason.contains(advice), "{reason}");
    let is_lost =
        |change: &Change| matches!(change, Change::Lost { scope: lost, .. } if lost == scope);
    let (between, _) = listener.until(is_lost);
    let is_news = |change: &Change| matches!(change, Change::Unwatched { .. });
    assert!(!between.iter().any(is_news), "told twice: {between:?}");

    fs::write(WATCH_LIMIT, "1000").unwrap();
    // A try may be under way that began before; the next one succeeds.
    listener.fence();
    for attempt in 0..2 {
        let new = format!("{scope}/{attempt}");
        fs::create_dir(root.path().join(&new)).unwrap();
        if listener.fence().contains(&subtree(new)) {
            return;
        }
        listener.until(is_lost);
    }
    panic!("still not watched");
}

#[test]
fn no_instance_left_is_an_error_with_advice() {
    run_in_namespace("no_instance_left");
}

#[test]
#[ignore = "runs in a user namespace, started by the test above"]
fn no_instance_left() {
    fs::write("/proc/sys/user/max_inotify_instances", "0").unwrap();
    let root = tempfile::tempdir().unwrap();
    let (sender, _changes) = bounded(1);

    let error = InotifyFeed::new(root.path()).unwrap().start(Reporter::new(sender)).unwrap_err();

    let FeedError::Watch { source, .. } = error else {
        panic!("{error}");
    };
    let advice = "user.max_inotify_instances is 0; raise it";
    assert!(source.to_string().contains(advice), "{source}");
}

/// Runs one ignored test of this program as root of a user namespace of its own.
fn run_in_namespace(test: &str) {
    let mut unshare = Command::new("unshare");
    unshare.arg("--map-root-user");
    let is_possible = unshare.arg("true").status().is_ok_and(|status| status.success());
    if !is_possible {
        eprintln!("skipped: cannot make a user namespace here");
        return;
    }
    let output = Command::new("unshare")
        .arg("--map-root-user")
        .arg(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", test])
        .output()
        .unwrap();
    let printed = String::from_utf8_lossy(&output.stdout);
    assert!(printed.contains("1 passed"), "{printed}");
}
