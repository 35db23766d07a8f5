//! `--once`: equal trees, nothing sent twice, and the exit code says how it went.

use std::fs::{self, File};
use std::os::unix::fs::{FileExt as _, MetadataExt as _, symlink};
use std::time::Instant;

use rustix::fs::{FallocateFlags, fallocate};

use crate::program::{Addresses, Osync, SOON, arguments, start_source};
use crate::tree::{self, Pair};

#[test]
fn mirror_once_makes_the_trees_equal_and_sends_nothing_twice() {
    let pair = Pair::new();
    tree::fill_nasty(&pair.source);
    tree::fill(&pair.source, 40, 25);

    let (first, log) = Osync::run(arguments!["mirror", pair.source, pair.target, "--once"]);
    assert_eq!(first.code(), Some(0), "{log}");
    pair.assert_equal();
    assert!(files_sent(&log) >= 1_000, "{log}");

    let (second, log) = Osync::run(arguments!["mirror", pair.source, pair.target, "--once"]);
    assert_eq!(second.code(), Some(0), "{log}");
    assert_eq!(files_sent(&log), 0, "{log}");
    pair.assert_equal();
}

#[test]
fn source_and_sink_over_loopback_make_the_trees_equal_and_send_nothing_twice() {
    let pair = Pair::new();
    tree::fill_nasty(&pair.source);
    tree::fill(&pair.source, 40, 25);
    let (source, addresses) = start_source(&pair.source);
    let sink = || addresses.start_sink_once(&pair.target).wait_exit(2 * SOON);

    let (first, log) = sink();
    assert_eq!(first.code(), Some(0), "{log}");
    pair.assert_equal();
    assert!(files_sent(&log) >= 1_000, "{log}");

    let (second, log) = sink();
    assert_eq!(second.code(), Some(0), "{log}");
    assert_eq!(files_sent(&log), 0, "{log}");
    pair.assert_equal();
    source.terminate();
}

#[test]
fn what_a_sink_got_that_does_not_say_what_is_durable_is_not_sent_again() {
    let pair = Pair::new();
    tree::fill(&pair.source, 4, 5);
    let run = || {
        let (source, target) = (&pair.source, &pair.target);
        let command = arguments!["mirror", source, target, "--once", "--durability", "none"];
        let (status, log) = Osync::run(command);
        assert_eq!(status.code(), Some(0), "{log}");
        pair.assert_equal();
        files_sent(&log)
    };
    assert_eq!(run(), 20);
    tree::write(&pair.source, "changed", "after the first run");

    assert_eq!([run(), run()], [1, 0]);
}

#[test]
fn of_a_hole_of_many_gigabytes_nothing_is_read_or_sent() {
    let pair = Pair::new();
    let huge = File::create(pair.source.join("huge")).unwrap();
    if let Err(error) = huge.set_len(100 << 30) {
        println!("SKIP: no file can be so long here: {error}");
        return;
    }
    for gigabyte in [0, 33, 99] {
        huge.write_all_at(b"data", gigabyte << 30).unwrap();
    }

    let began_at = Instant::now();
    let (status, log) = Osync::run(arguments!["mirror", pair.source, pair.target, "--once"]);

    assert_eq!(status.code(), Some(0), "{log}");
    assert!(began_at.elapsed() < SOON, "a hole takes no time");
    let copy = File::open(pair.target.join("huge")).unwrap();
    let metadata = copy.metadata().unwrap();
    assert_eq!(metadata.size(), 100 << 30);
    assert!(metadata.blocks() < 1_000, "{} blocks", metadata.blocks());
    let mut data = [0; 6];
    copy.read_exact_at(&mut data, (33 << 30) - 1).unwrap();
    assert_eq!(data, *b"\0data\0");
}

#[test]
fn room_that_was_reserved_and_never_written_is_no_hole() {
    let pair = Pair::new();
    let reserved = File::create(pair.source.join("reserved")).unwrap();
    let bytes = 4 << 20;
    if let Err(error) = fallocate(&reserved, FallocateFlags::empty(), 0, bytes) {
        println!("SKIP: no room can be reserved here: {error}");
        return;
    }

    let (status, log) = Osync::run(arguments!["mirror", pair.source, pair.target, "--once"]);

    assert_eq!(status.code(), Some(0), "{log}");
    let copy = fs::metadata(pair.target.join("reserved")).unwrap();
    assert!(copy.blocks() * 512 >= bytes, "{} blocks", copy.blocks());
}

#[test]
fn a_target_that_differs_in_everything_is_made_equal() {
    let pair = Pair::new();
    let (source, target) = (&pair.source, &pair.target);
    tree::fill(source, 10, 5);
    tree::write(source, "was a directory", "now a file");
    tree::write(source, "was a file/in", "now a directory");
    tree::write(source, "was a link", "now a file");
    symlink("elsewhere", source.join("was another link")).unwrap();
    tree::write(source, "same size and time", "new");
    tree::write(source, "other mode", "x");
    tree::write(target, "was a directory/with/content", "old");
    tree::write(target, "was a file", "old");
    tree::write(target, "extra/deep/down", "old");
    tree::write(target, "other mode", "x");
    tree::set_mode(target.join("other mode"), 0o600);
    tree::write(target, "same size and time", "newer");
    // What the link points to is none of a mirror's business.
    tree::write(target.parent().unwrap(), "precious", "precious");
    symlink("../precious", target.join("was a link")).unwrap();
    symlink("../source", target.join("was another link")).unwrap();
    symlink("..", target.join("extra link")).unwrap();

    let (status, log) = Osync::run(arguments!["mirror", source, target, "--once"]);

    assert_eq!(status.code(), Some(0), "{log}");
    pair.assert_equal();
    let precious = fs::read(target.parent().unwrap().join("precious")).unwrap();
    assert_eq!(precious, b"precious");
}

#[test]
fn a_sink_started_before_its_source_waits_for_it() {
    let pair = Pair::new();
    tree::fill(&pair.source, 5, 5);
    let addresses = Addresses::free();

    let sink = addresses.start_sink_once(&pair.target);
    sink.wait_line("keeping ");
    let source = addresses.start_source(&pair.source);

    let (status, log) = sink.wait_exit(SOON);
    assert_eq!(status.code(), Some(0), "{log}");
    pair.assert_equal();
    source.terminate();
}

/// Files whose content was written, from the summary in the log.
fn files_sent(log: &str) -> u64 {
    let (_, summary) = log.rsplit_once("done: ").unwrap_or_else(|| panic!("no summary in\n{log}"));
    let (count, _) = summary.split_once(" files").unwrap();
    count.replace(',', "").parse().unwrap()
}
