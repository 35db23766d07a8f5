//! What cannot be replicated: named, counted, no hindrance to the rest, and told by the exit code.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use rustix::process::Signal;

use crate::program::{self, Osync, SOON, arguments};
use crate::tree::{self, Pair};

/// A user who owns nothing.
const NOBODY: u32 = 65_534;

/// A source with a file that osync, run as returned, may not read.
fn unreadable(pair: &Pair, arguments: &[&OsStr]) -> Command {
    tree::fill(&pair.source, 5, 5);
    tree::write(&pair.source, "hidden/in", "x");
    tree::set_mode(pair.source.join("hidden/in"), 0o000);
    let mut command = program::command(arguments);
    if tree::is_root() {
        // Root reads everything, so nobody runs it: a copy, from where nobody may look.
        let base = pair.source.parent().unwrap();
        let copy = base.join("osync");
        fs::copy(command.get_program(), &copy).unwrap();
        fs::create_dir(&pair.target).unwrap();
        chown(&pair.target, Some(NOBODY), Some(NOBODY)).unwrap();
        tree::set_mode(base, 0o755);
        command = program::command_of(&copy, arguments);
        command.uid(NOBODY).gid(NOBODY);
    }
    command
}

#[test]
fn what_cannot_be_replicated_is_named_counted_and_does_not_stop_the_rest() {
    let pair = Pair::new();
    let mut command = unreadable(&pair, arguments!["mirror", pair.source, pair.target, "--once"]);

    let (status, log) = Osync::spawn(&mut command).wait_exit(SOON);

    assert_eq!(status.code(), Some(1), "{log}");
    assert!(log.contains("not replicated: hidden/in: "), "{log}");
    assert!(pair.target.join("d0/e0/f0").exists());
    assert!(!pair.target.join("hidden/in").exists());
}

#[test]
fn a_signal_shows_problems_and_the_end_tells_of_them() {
    let pair = Pair::new();
    let mut command = unreadable(&pair, arguments!["mirror", pair.source, pair.target]);
    let osync = Osync::spawn(&mut command);
    osync.wait_line("in sync but for 1 problems");

    osync.signal(Signal::USR1);
    osync.wait_line("report: QueueReport");
    osync.wait_line("not replicated: hidden/in: ");

    osync.signal(Signal::TERM);
    let (status, log) = osync.wait_exit(SOON);
    assert_eq!(status.code(), Some(1), "{log}");
    assert!(log.contains("1 paths are not replicated"), "{log}");
}

#[test]
fn both_ends_tell_of_problems_by_their_exit_codes() {
    let pair = Pair::new();
    let any = "tcp://127.0.0.1:*";
    let mut command =
        unreadable(&pair, arguments!["source", pair.source, "--control", any, "--data", any]);
    let source = Osync::spawn(&mut command);
    let line = source.wait_line("serving ");
    let (control, data) = line.rsplit_once(" on ").unwrap().1.split_once(" and ").unwrap();
    let target = pair.target.join("copy");
    let sink = Osync::start(arguments!["sink", target, "--control", control, "--data", data]);
    sink.wait_line("in sync but for 1 problems");

    for (end, osync) in [("sink", sink), ("source", source)] {
        if end == "source" {
            // Its only sink has gone, and with it what was known of it.
            assert_eq!(osync.terminate().matches("not replicated").count(), 0);
            continue;
        }
        osync.signal(Signal::TERM);
        let (status, log) = osync.wait_exit(SOON);
        assert_eq!(status.code(), Some(1), "{end}: {log}");
        assert!(log.contains("not replicated: hidden/in: "), "{end}: {log}");
    }
}
