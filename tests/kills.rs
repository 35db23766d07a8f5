//! Ends that are killed at one system call after another, by strace, and started again.
//!
//! strace counts the calls of each thread, so the sink has one writer. A few places are tried by
//! default; with [`EVERYWHERE`] in the environment, every call that changes something, each as often as
//! the workload makes it.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::{lchown, symlink};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};

use rustix::process::Signal;

use crate::program::{self, Addresses, Osync, SOON, arguments};
use crate::tree::{self, Pair};
use crate::wait;

/// Set to anything, every place is tried; that takes a quarter of an hour.
const EVERYWHERE: &str = "OSYNC_TEST_KILL_EVERYWHERE";
/// More calls of one kind than the workload makes.
const PLACES_MAX: u32 = 1_000;
/// Enough content to be sent in chunks.
const LARGE_BYTES: usize = 300_000;

/// What a sink changes its target with. Files are written unnamed, so to open one changes nothing yet.
const SINK_CALLS: [&str; 23] = [
    "copy_file_range",
    "fallocate",
    "fchmod",
    "fchmodat",
    "fchown",
    "fchownat",
    "fdatasync",
    "fremovexattr",
    "fsetxattr",
    "fsync",
    "ftruncate",
    "linkat",
    "mkdir",
    "mkdirat",
    "mknodat",
    "pwrite64",
    "renameat",
    "renameat2",
    "symlinkat",
    "syncfs",
    "unlinkat",
    "utimensat",
    "write",
];
/// A few of a sink's calls: beginning, first copy, changes.
const SINK_SAMPLE: [(&str, u32); 14] = [
    ("fchmod", 5),
    ("fsetxattr", 1),
    ("linkat", 3),
    ("linkat", 11),
    ("linkat", 16),
    ("mkdirat", 4),
    ("mkdirat", 9),
    ("renameat", 1),
    ("renameat", 5),
    ("symlinkat", 2),
    ("unlinkat", 2),
    ("unlinkat", 6),
    ("utimensat", 35),
    ("write", 6),
];
/// A source changes nothing: what it looks, reads, watches and sends with.
const SOURCE_CALLS: [&str; 8] =
    ["fanotify_mark", "getdents64", "openat", "openat2", "pread64", "read", "sendto", "write"];
/// A few of a source's calls.
const SOURCE_SAMPLE: [(&str, u32); 5] =
    [("getdents64", 3), ("openat", 40), ("pread64", 4), ("sendto", 5), ("sendto", 12)];

#[test]
fn a_sink_killed_at_any_system_call_starts_again_into_equality() {
    kill_at(&SINK_CALLS, &SINK_SAMPLE, |call, count| {
        let pair = Pair::new();
        make(&pair.source);
        let (source, addresses) = program::start_source(&pair.source);
        let (control, data) = (&addresses.control, &addresses.data);
        let mut sink = start_to_be_killed(
            call,
            count,
            arguments!["sink", pair.target, "--writers", "1", "--control", control, "--data", data,],
        );

        wait_synced_or_dead(&mut sink, |sink| sink.line("in sync: ").is_some());
        change(&pair.source);
        wait_synced_or_dead(&mut sink, |_| pair.is_equal());
        let is_killed = end(sink).signal().is_some();
        if is_killed {
            let (status, log) = addresses.start_sink_once(&pair.target).wait_exit(SOON);
            assert_eq!(status.code(), Some(0), "{call} {count}: {log}");
        }

        pair.assert_equal();
        source.terminate();
        is_killed
    });
}

#[test]
fn a_source_killed_at_any_system_call_starts_again_into_equality() {
    kill_at(&SOURCE_CALLS, &SOURCE_SAMPLE, |call, count| {
        let pair = Pair::new();
        make(&pair.source);
        let addresses = Addresses::free();
        let (control, data) = (&addresses.control, &addresses.data);
        let mut source = start_to_be_killed(
            call,
            count,
            arguments![
                "source",
                pair.source,
                "--readers",
                "1",
                "--control",
                control,
                "--data",
                data,
            ],
        );
        let sink = addresses.start_sink(&pair.target);

        wait_synced_or_dead(&mut source, |_| sink.line("in sync: ").is_some());
        change(&pair.source);
        wait_synced_or_dead(&mut source, |_| pair.is_equal());
        let is_killed = end(source).signal().is_some();
        let again = is_killed.then(|| addresses.start_source(&pair.source));

        pair.assert_equal_within(SOON, &format!("{call} {count}"));
        sink.terminate();
        if let Some(source) = again {
            // The trees may have been equal before it was up.
            source.wait_line("serving ");
            source.terminate();
        }
        is_killed
    });
}

/// Tries the places; `attempt` says whether the end reached its place.
pub(crate) fn kill_at(calls: &[&str], sample: &[(&str, u32)], attempt: impl Fn(&str, u32) -> bool) {
    if let Err(reason) = probe() {
        println!("SKIP kills at system calls: {reason}");
        return;
    }
    let mut kills = 0;
    if std::env::var_os(EVERYWHERE).is_some() {
        for call in calls {
            let reached = (1..=PLACES_MAX).take_while(|&count| attempt(call, count)).count();
            println!("{call}: killed at {reached} places");
            kills += reached;
        }
    } else {
        kills = sample.iter().filter(|(call, count)| attempt(call, *count)).count();
    }
    println!("{kills} kills");
    assert!(kills * 2 >= sample.len(), "{kills} kills only: are these still the calls it makes?");
}

/// Whether strace may trace.
fn probe() -> Result<(), String> {
    let output = strace("getpid", 1).arg("true").stdin(Stdio::null()).output();
    let output = output.map_err(|error| format!("no strace: {error}"))?;
    if output.status.success() {
        Ok(())
    } else {
        Err(String::from_utf8_lossy(&output.stderr).into_owned())
    }
}

/// strace, as a grandchild, so that the traced program is the child that is waited for and killed.
fn strace(call: &str, count: u32) -> Command {
    let mut command = Command::new("strace");
    command.args(["-D", "-f", "-qq", "-o", "/dev/null", "-e", &format!("trace=?{call}")]);
    command.args(["-e", &format!("inject=?{call}:signal=KILL:when={count}")]);
    command
}

/// The program, to be killed as a thread of it begins its `count`-th `call`.
pub(crate) fn start_to_be_killed(call: &str, count: u32, arguments: &[&OsStr]) -> Osync {
    let mut command = strace(call, count);
    command.arg(env!("CARGO_BIN_EXE_osync")).args(arguments);
    Osync::spawn(command.env_remove("RUST_LOG").stdin(Stdio::null()))
}

fn wait_synced_or_dead(end: &mut Osync, is_synced: impl Fn(&Osync) -> bool) {
    let reached = || (!end.is_running() || is_synced(end)).then_some(());
    wait::for_value(SOON, reached, || "in sync or killed".to_owned());
}

/// Asks the end to go, if it is still there. It may be killed even then.
fn end(mut end: Osync) -> ExitStatus {
    if end.is_running() {
        end.signal(Signal::TERM);
    }
    let (status, log) = end.wait_exit(SOON);
    let is_killed = status.signal() == Some(Signal::KILL.as_raw());
    assert!(is_killed || status.code() == Some(0), "{status} {log}");
    status
}

/// Twelve files, and what is to happen to each of them.
fn make(root: &Path) {
    for name in ["kept", "replaced", "removed", "d/renamed", "moved/in", "a file", "a directory/in"]
    {
        tree::write(root, name, name.repeat(30));
    }
    tree::write(root, "large", vec![1; LARGE_BYTES]);
    tree::write(root, "tagged", "t");
    tree::set_attribute(root.join("tagged"), "user.colour", b"red");
    tree::write(root, "linked", "two names");
    fs::hard_link(root.join("linked"), root.join("d/linked too")).unwrap();
    tree::write(root, "owned", "o");
    symlink("kept", root.join("link")).unwrap();
}

/// Every kind of change.
fn change(root: &Path) {
    tree::write(root, ".replacing", "replaced by a rename");
    fs::rename(root.join(".replacing"), root.join("replaced")).unwrap();
    fs::remove_file(root.join("removed")).unwrap();
    fs::rename(root.join("d/renamed"), root.join("renamed")).unwrap();
    fs::rename(root.join("moved"), root.join("d/moved")).unwrap();
    fs::remove_file(root.join("a file")).unwrap();
    tree::write(root, "a file/in", "now a directory");
    fs::remove_dir_all(root.join("a directory")).unwrap();
    tree::write(root, "a directory", "now a file");
    tree::write(root, "large", vec![2; LARGE_BYTES]);
    tree::write(root, "new/large too", vec![3; LARGE_BYTES]);
    tree::set_attribute(root.join("tagged"), "user.colour", b"blue");
    fs::hard_link(root.join("linked"), root.join("linked thrice")).unwrap();
    fs::remove_file(root.join("d/linked too")).unwrap();
    tree::set_mode(root.join("owned"), 0o600);
    if tree::is_root() {
        lchown(root.join("owned"), Some(12_345), Some(54_321)).unwrap();
    }
    fs::remove_file(root.join("link")).unwrap();
    symlink("nowhere", root.join("link")).unwrap();
}
