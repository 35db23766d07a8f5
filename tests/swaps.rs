//! A local user who swaps a directory for a link to elsewhere, all the time, while root replicates: nothing
//! elsewhere is changed, opened or read, at either end.
//!
//! `OSYNC_TEST_SWAPS` makes them more than the default.

use std::fs;
use std::os::unix::fs::{MetadataExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::fd::OwnedFd;
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use rustix::fs::{AtFlags, CWD, Mode, OFlags, RenameFlags, openat, renameat_with};
use rustix::io::Errno;
use rustix::process::{Gid, Uid};
use rustix::thread::{set_thread_groups, set_thread_res_gid, set_thread_res_uid};

use crate::program::{Osync, SOON, arguments};
use crate::tree::{self, Pair};

/// Swaps in each test.
const SWAPS: u32 = 3_000;
/// Far longer than they take.
const DEADLINE: Duration = Duration::from_mins(1);
/// Everybody else.
const NOBODY: u32 = 65_534;

#[test]
fn a_user_who_swaps_directories_for_links_in_the_target_changes_nothing_elsewhere() {
    swap_while_root_replicates(|pair| pair.target.clone());
}

#[test]
fn a_user_who_swaps_directories_for_links_in_the_source_has_nothing_read_elsewhere() {
    swap_while_root_replicates(|pair| pair.source.clone());
}

fn swap_while_root_replicates(attacked: impl Fn(&Pair) -> PathBuf) {
    if !tree::is_root() {
        println!("skipped: only root can be another user beside itself");
        return;
    }
    let pair = Pair::new();
    let base = pair.source.parent().unwrap();
    tree::set_mode(base, 0o755);
    let elsewhere = Elsewhere::beside(base);
    for file in 0..20 {
        tree::write(&pair.source, format!("p/d/e/f{file}"), "inside");
    }
    symlink(&elsewhere.directory, pair.source.join("p/link")).unwrap();
    for directory in ["p", "p/d", "p/d/e"] {
        chown(pair.source.join(directory), Some(NOBODY), Some(NOBODY)).unwrap();
    }
    let mirror = Osync::start(arguments!["mirror", pair.source, pair.target]);
    mirror.wait_line("in sync: ");
    elsewhere.watch();

    let place = attacked(&pair).join("p");
    let wanted = std::env::var("OSYNC_TEST_SWAPS").ok();
    let wanted = wanted.map_or(SWAPS, |text| text.parse().unwrap());
    let (began, swaps) = (Instant::now(), AtomicU32::new(0));
    let is_over = || swaps.load(Ordering::Relaxed) >= wanted || began.elapsed() > DEADLINE;
    thread::scope(|scope| {
        // Before the first swap, while the path is still the right one.
        let inside = open_directory(&pair.source.join("p/d/e"));
        scope.spawn(|| swap_as_nobody(&place, &elsewhere.directory, &swaps, is_over));
        change_until(is_over, &inside);
    });
    let swaps = swaps.into_inner();
    println!("{swaps} swaps in {:?}", began.elapsed());

    assert!(swaps >= wanted, "{swaps}");
    elsewhere.assert_untouched();
    // What the swaps left in the target is mended, wherever they were.
    tree::write(&pair.source, "after", "x");
    fs::remove_file(pair.source.join("p/link")).ok();
    let (source, target) = (&pair.source, &pair.target);
    let mirror = if place.starts_with(target) {
        mirror.terminate();
        Osync::start(arguments!["mirror", source, target])
    } else {
        mirror
    };
    pair.assert_equal_within(SOON, "after the swaps");
    elsewhere.assert_untouched();
    mirror.terminate();
}

fn open_directory(path: &Path) -> OwnedFd {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW;
    rustix::fs::open(path, flags, Mode::empty()).unwrap()
}

/// Writes, makes and removes in `directory` until it is time, through its descriptor: no swap leads us astray.
fn change_until(is_over: impl Fn() -> bool, directory: &OwnedFd) {
    let write = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC;
    let mut round = 0_u32;
    while !is_over() {
        round += 1;
        for name in [format!("f{}", round % 20), format!("g{}", round % 7)] {
            let file = openat(directory, name, write, Mode::from_raw_mode(0o644)).unwrap();
            rustix::io::write(&file, format!("inside {round}").as_bytes()).unwrap();
        }
        let made = format!("made{}", round % 5);
        rustix::fs::mkdirat(directory, &made, Mode::RWXU).ok();
        let moved = format!("moved{}", round % 3);
        rustix::fs::renameat(directory, &made, directory, &moved).ok();
        rustix::fs::unlinkat(directory, &moved, AtFlags::REMOVEDIR).ok();
        thread::sleep(Duration::from_millis(1));
    }
}

/// Swaps `place/d` and the link `place/link` until it is over, and counts how often that worked.
fn swap_as_nobody(place: &Path, elsewhere: &Path, swaps: &AtomicU32, is_over: impl Fn() -> bool) {
    let (user, group) = (Uid::from_raw(NOBODY), Gid::from_raw(NOBODY));
    set_thread_groups(&[]).unwrap();
    set_thread_res_gid(group, group, group).unwrap();
    set_thread_res_uid(user, user, user).unwrap();
    let (directory, link) = (place.join("d"), place.join("link"));
    while !is_over() {
        if renameat_with(CWD, &directory, CWD, &link, RenameFlags::EXCHANGE).is_ok() {
            swaps.fetch_add(1, Ordering::Relaxed);
        } else {
            // osync has mended one of them away.
            symlink(elsewhere, &link).ok();
            fs::create_dir(&directory).ok();
        }
        thread::sleep(Duration::from_micros(100));
    }
}

/// A directory that looks like the one inside, and must never be touched.
struct Elsewhere {
    directory: PathBuf,
    before: Vec<(i64, i64)>,
    events: OwnedFd,
}

impl Elsewhere {
    fn beside(base: &Path) -> Self {
        let directory = base.join("elsewhere");
        for file in 0..20 {
            tree::write(&directory, format!("e/f{file}"), "secret");
        }
        let events = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC).unwrap();
        let before = last_changes(&directory);
        Self { directory, before, events }
    }

    /// From here on every access is noticed, even one that leaves no trace.
    fn watch(&self) {
        for path in ["", "e", "e/f0", "e/f1"] {
            let path = self.directory.join(path);
            inotify::add_watch(&self.events, &path, WatchFlags::ALL_EVENTS).unwrap();
        }
    }

    fn assert_untouched(&self) {
        let touched = rustix::io::read(&self.events, &mut [0; 4096]);
        assert_eq!(touched, Err(Errno::AGAIN), "somebody was there");
        assert_eq!(last_changes(&self.directory), self.before);
    }
}

/// When each of the directories and files was changed last in any way; looking leaves no trace.
fn last_changes(directory: &Path) -> Vec<(i64, i64)> {
    let files = (0..20).map(|file| directory.join(format!("e/f{file}")));
    let paths = [directory.to_owned(), directory.join("e")].into_iter().chain(files);
    paths
        .map(|path| fs::symlink_metadata(path).unwrap())
        .map(|metadata| (metadata.ctime(), metadata.ctime_nsec()))
        .collect()
}
