//! What is left out: not sent, not watched, not removed, and in force from the first look on.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use crate::program::{Osync, SOON, arguments};
use crate::tree::{self, Pair};
use crate::wait;

#[test]
fn patterns_of_the_command_line_leave_out_and_keep() {
    let pair = Pair::new();
    let (source, target) = (&pair.source, &pair.target);
    for path in ["a.c", "a.o", "keep.o", "cache/x", "sub/cache/x", "sub/b.tmp", "sub/kept"] {
        tree::write(source, path, path);
    }
    let odd = Path::new(OsStr::from_bytes(b"\xff\xfe.o"));
    tree::write(source, odd, "x");
    tree::write(target, "mine.o", "the target's own");
    tree::write(target, "extra", "x");
    let patterns = source.parent().unwrap().join("patterns");
    fs::write(&patterns, "# temporary things\n*.tmp\r\n/cache/\n").unwrap();

    let options = arguments!["--exclude", "*.o", "--include", "keep.o", "--exclude-from", patterns];
    let mirror = [arguments!["mirror", source, target, "--once"], &options[..]].concat();
    let (status, log) = Osync::run(&mirror);
    assert_eq!(status.code(), Some(0), "{log}");
    assert_eq!(paths(target), ["a.c", "keep.o", "mine.o", "sub/cache/x", "sub/kept"]);

    let deleting = [&mirror[..], arguments!["--delete-excluded"]].concat();
    let (status, log) = Osync::run(&deleting);
    assert_eq!(status.code(), Some(0), "{log}");
    assert_eq!(paths(target), ["a.c", "keep.o", "sub/cache/x", "sub/kept"]);

    let (status, log) = Osync::run(arguments!["mirror", source, target, "--once"]);
    assert_eq!(status.code(), Some(0), "{log}");
    pair.assert_equal();
}

#[test]
fn a_pattern_that_makes_no_sense_is_refused() {
    let pair = Pair::new();

    let (status, log) =
        Osync::run(arguments!["mirror", pair.source, pair.target, "--once", "--exclude", "a[z-a]"]);

    assert_eq!(status.code(), Some(2), "{log}");
    assert!(log.contains("cannot exclude: not a pattern of gitignore syntax"), "{log}");
}

#[test]
fn directories_left_out_are_not_watched_and_live_changes_obey_ignore_files() {
    live_changes_obey_ignore_files("inotify");
}

#[test]
fn live_changes_obey_ignore_files_whatever_tells_of_them() {
    live_changes_obey_ignore_files("auto");
}

fn live_changes_obey_ignore_files(feed: &str) {
    let pair = Pair::new();
    let (source, target) = (&pair.source, &pair.target);
    for index in 0..50 {
        tree::write(source, format!("build/{index}/x"), "x");
        tree::write(source, format!("kept/{index}/x"), "x");
    }
    tree::write(source, ".osyncignore", "build/\n");
    let osync =
        Osync::start(arguments!["mirror", source, target, "--ignore-files", "--feed", feed]);
    osync.wait_line("in sync");
    wait_file(target, "kept/49/x", true);
    assert!(!target.join("build").exists());
    // One a directory, and the files of the fences.
    let watches = || {
        let descriptors = fs::read_dir(format!("/proc/{}/fdinfo", osync.id())).unwrap();
        let texts = descriptors.filter_map(|entry| fs::read_to_string(entry.unwrap().path()).ok());
        texts.map(|text| text.matches("inotify wd:").count()).sum::<usize>()
    };
    if feed == "inotify" {
        assert!((52..70).contains(&watches()), "{} watches", watches());
    }

    tree::write(source, "build/0/new", "x");
    tree::write(source, "kept/0/new", "x");
    wait_file(target, "kept/0/new", true);
    assert!(!target.join("build").exists());

    // Another rule takes effect at once, and what it adds is followed from then on.
    tree::write(source, ".osyncignore", "kept/1\n");
    wait_file(target, "build/49/x", true);
    tree::write(source, "build/7/later", "x");
    wait_file(target, "build/7/later", true);
    tree::write(source, "kept/1/new", "x");

    fs::rename(source.join("kept/1"), source.join("kept/out")).unwrap();
    wait_file(target, "kept/out/new", true);
    assert!(target.join("kept/1/x").exists(), "what is left out is not removed");
    fs::rename(source.join("kept/2"), source.join("kept/1")).unwrap();
    wait_file(target, "kept/2", false);
    assert!(!target.join("kept/1/new").exists());
    osync.terminate();
}

fn wait_file(root: &Path, path: &str, shall_exist: bool) {
    let is_so = || (root.join(path).exists() == shall_exist).then_some(());
    wait::for_value(SOON, is_so, || format!("{path} to come or go"));
}

/// The files below `root`.
fn paths(root: &Path) -> Vec<String> {
    let nodes = tree::snapshot(root).unwrap().into_keys();
    let files = nodes.filter(|path| root.join(OsStr::from_bytes(path)).is_file());
    files.map(|path| String::from_utf8(path).unwrap()).collect()
}
