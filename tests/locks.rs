//! One writer for one target, one sink for one name, one source for one pair of ports.

use std::ffi::OsStr;

use crate::program::{Addresses, Osync, SOON, arguments, start_source};
use crate::tree::{self, Pair};

/// Runs osync and asserts that it refuses, because somebody else has the target.
fn assert_occupied(arguments: &[&OsStr], target: &str) {
    let (status, log) = Osync::run(arguments);

    assert_eq!(status.code(), Some(2), "{arguments:?}: {log}");
    let line = log.lines().find(|line| line.starts_with("osync: ")).unwrap_or_default();
    assert!(line.contains(target) && line.contains("another osync"), "{arguments:?}: {log}");
}

#[test]
fn a_target_has_one_writer() {
    let pair = Pair::new();
    tree::fill(&pair.source, 3, 3);
    let (source, addresses) = start_source(&pair.source);
    let sink = addresses.start_sink(&pair.target);
    sink.wait_line("in sync: ");
    let (control, data) = (&addresses.control, &addresses.data);
    let any = "tcp://127.0.0.1:*";
    let shown = pair.target.to_str().unwrap();

    let ports = ["--control", control, "--data", data];
    let others: [&[&OsStr]; 3] = [
        arguments!["sink", pair.target, "--name", "b", ports[0], ports[1], ports[2], ports[3]],
        arguments!["mirror", pair.source, pair.target],
        arguments!["relay", pair.target, "--serve-control", any, "--serve-data", any],
    ];
    for other in others {
        assert_occupied(other, shown);
    }
    // Whoever only reads the target, or writes elsewhere, is free to.
    let (reader, below) = start_source(&pair.target);
    let second = below.start_sink(&pair.target.with_extension("copy"));
    second.wait_line("in sync: ");

    sink.kill();
    let (status, log) = addresses.start_sink_once(&pair.target).wait_exit(SOON);
    assert_eq!(status.code(), Some(0), "{log}");
    pair.assert_equal();
    for end in [second, reader, source] {
        end.terminate();
    }
}

#[test]
fn a_directory_inside_a_target_is_free() {
    let pair = Pair::new();
    tree::write(&pair.source, "inner/file", "x");
    let outer = Osync::start(arguments!["mirror", pair.source, pair.target]);
    outer.wait_line("in sync: ");
    let inner = pair.target.join("inner");

    let (status, log) =
        Osync::run(arguments!["mirror", pair.source.join("inner"), inner, "--once"]);

    assert_eq!(status.code(), Some(0), "{log}");
    outer.terminate();
}

#[test]
fn a_name_has_one_sink_and_is_free_when_that_was_killed() {
    let pair = Pair::new();
    tree::fill(&pair.source, 3, 3);
    let (source, addresses) = start_source(&pair.source);
    let other = pair.target.with_extension("other");
    let start = |target: &std::path::Path| {
        let (control, data) = (&addresses.control, &addresses.data);
        let name = ["--name", "twin"];
        Osync::start(arguments![
            "sink",
            target,
            name[0],
            name[1],
            "--control",
            control,
            "--data",
            data
        ])
    };
    let first = start(&pair.target);
    first.wait_line("in sync: ");

    let second = start(&other);
    second.wait_line("the name twin is in use at the source");
    assert!(first.line("disconnected").is_none(), "{}", first.log());
    first.kill();

    second.wait_line("in sync: ");
    let told = second.log().matches("is in use at the source").count();
    assert_eq!(told, 1, "{}", second.log());
    pair.assert_copy_within(&other, SOON, "the sink that waited");
    second.terminate();
    source.terminate();
}

#[test]
fn a_pair_of_ports_has_one_source() {
    let pair = Pair::new();
    let (source, addresses) = start_source(&pair.source);
    let free = Addresses::free();
    let (control, data) = (&addresses.control, &addresses.data);
    let pairs = [(control, data), (control, &free.data), (&free.control, data)];

    for (control, data) in pairs {
        let second =
            arguments!["source", pair.source, "--control", control, "--data", data].to_vec();
        let (status, log) = Osync::run(&second);

        assert_eq!(status.code(), Some(2), "{log}");
        let line = log.lines().find(|line| line.starts_with("osync: ")).unwrap_or_default();
        assert!(line.contains("tcp://127.0.0.1:") && line.contains("in use"), "{log}");
    }
    source.terminate();
}
