//! What cannot run says why and what to do on one line, ends with code 2, and leaves nothing behind.

use std::ffi::OsStr;
use std::net::TcpListener;
use std::os::unix::fs::symlink;

use crate::program::{Addresses, Osync, arguments};
use crate::tree::{self, Pair};

/// Runs osync and asserts that it refuses, on one line that holds `word`.
fn assert_refused(arguments: &[&OsStr], word: &str) {
    let (status, log) = Osync::run(arguments);

    assert_eq!(status.code(), Some(2), "{arguments:?}: {log}");
    let told: Vec<_> = log.lines().filter(|line| line.starts_with("osync: ")).collect();
    assert_eq!(told.len(), 1, "{arguments:?}: {log}");
    assert!(told[0].contains(word), "{arguments:?}: {log}");
}

#[test]
fn wrong_words_are_refused() {
    assert_refused(arguments![], "osync help");
    assert_refused(arguments!["copy"], "copy");
    assert_refused(arguments!["mirror"], "<SRC>");
    assert_refused(arguments!["mirror", "/usr"], "<DST>");
    assert_refused(arguments!["sink", "--no-such"], "--no-such");
    assert_refused(arguments!["sink", "x", "--name", ""], "--name");
}

#[test]
fn a_source_that_is_no_directory_is_refused_and_no_target_is_made() {
    let pair = Pair::new();
    tree::write(&pair.source, "file", "x");
    let (absent, file) = (pair.source.join("absent"), pair.source.join("file"));

    assert_refused(arguments!["mirror", absent, pair.target], "absent");
    assert_refused(arguments!["mirror", file, pair.target], "not a directory");
    assert_refused(arguments!["source", absent], "absent");

    assert!(!pair.target.exists());
}

#[test]
fn a_target_that_is_no_directory_is_refused() {
    let pair = Pair::new();
    tree::write(pair.target.parent().unwrap(), "target", "x");

    assert_refused(arguments!["mirror", pair.source, pair.target], "target");
    assert_refused(arguments!["sink", pair.target], "target");
    assert_refused(arguments!["sink", pair.target.join("below")], "below");
}

#[test]
fn directories_in_each_other_are_refused_and_nothing_is_made() {
    let pair = Pair::new();
    let (source, base) = (&pair.source, pair.source.parent().unwrap());
    symlink(source, base.join("link")).unwrap();

    assert_refused(arguments!["mirror", source, source], "separate");
    assert_refused(arguments!["mirror", source, source.join("a/b")], "separate");
    assert_refused(arguments!["mirror", source, base], "separate");
    assert_refused(arguments!["mirror", source, base.join("link/a")], "separate");
    assert_refused(arguments!["mirror", base.join("link"), source.join(".")], "separate");
    assert_refused(arguments!["mirror", source, base.join("absent/../source/a")], "separate");

    assert_eq!(source.read_dir().unwrap().count(), 0);
    assert!(!base.join("absent").exists());
}

#[test]
fn addresses_in_use_or_without_sense_are_refused() {
    let pair = Pair::new();
    let free = Addresses::free().control;
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let used = format!("tcp://{}", listener.local_addr().unwrap());
    let source = &pair.source;

    assert_refused(arguments!["source", source, "--control", used, "--data", free], &used);
    assert_refused(arguments!["source", source, "--control", free, "--data", used], &used);
    assert_refused(arguments!["source", source, "--control", "nonsense"], "nonsense");
    assert_refused(arguments!["sink", pair.target, "--control", "nonsense"], "nonsense");
    assert_refused(arguments!["sink", pair.target, "--data", "tcp://x"], "tcp://x");
}

#[test]
fn help_and_version_are_no_failure() {
    for word in ["help", "--help", "--version"] {
        let (status, log) = Osync::run(arguments![word]);

        assert_eq!((status.code(), log.as_str()), (Some(0), ""), "{word}");
    }
}
