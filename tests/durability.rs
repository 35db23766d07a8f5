//! What is synced, and before what: the system calls of the program, as strace tells them.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use tempfile::TempDir;

use crate::program::{Osync, SOON, arguments};
use crate::tree::{self, Pair};

/// Calls that make something durable.
const SYNCS: [&str; 3] = ["fdatasync(", "fsync(", "syncfs("];

/// Runs `osync mirror --once` with `durability`; returns the calls of each thread, in order, or `None` if strace
/// cannot trace here.
fn traced(pair: &Pair, durability: &str) -> Option<Vec<Vec<String>>> {
    let directory = TempDir::new().unwrap();
    let mut command = Command::new("strace");
    command.args(["-ff", "-qq", "-e", "trace=linkat,renameat,renameat2,fdatasync,fsync,syncfs"]);
    command.arg("-o").arg(directory.path().join("calls"));
    let probe = Command::new("strace").args(["-qq", "-o", "/dev/null", "true"]).output();
    if !probe.is_ok_and(|output| output.status.success()) {
        println!("SKIP: strace cannot trace here");
        return None;
    }
    command.arg(env!("CARGO_BIN_EXE_osync")).args(arguments![
        "mirror",
        pair.source,
        pair.target,
        "--once",
        "--durability",
        durability,
    ]);
    let osync = Osync::spawn(command.env_remove("RUST_LOG").stdin(Stdio::null()));
    let (status, log) = osync.wait_exit(2 * SOON);
    assert_eq!(status.code(), Some(0), "{log}");
    pair.assert_equal();
    let threads = fs::read_dir(directory.path()).unwrap();
    let calls =
        |path: &Path| fs::read_to_string(path).unwrap().lines().map(str::to_owned).collect();
    Some(threads.map(|thread| calls(&thread.unwrap().path())).collect())
}

/// A target that has an older version of everything, and something new at the source.
fn outdated() -> Pair {
    let pair = Pair::new();
    let (many, few, large) = ("many/file", "few/file", vec![7; 300_000]);
    for root in [&pair.source, &pair.target] {
        let is_old = root == &pair.target;
        for index in 0..40 {
            tree::write(root, format!("{many}{index}"), if is_old { "old" } else { "newer" });
        }
        for index in 0..3 {
            tree::write(root, format!("{few}{index}"), if is_old { "old" } else { "newer" });
        }
        tree::write(root, "large", if is_old { vec![1; 10] } else { large.clone() });
    }
    tree::write(&pair.source, "new", "new");
    pair
}

/// The name in the private directory that `call` uses, if it does.
fn place(call: &str) -> Option<&str> {
    call.split('"').find(|text| {
        text.strip_prefix('t')
            .is_some_and(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()))
            && text.len() > 1
    })
}

/// Renames of whole versions over something, each with what its thread did since the version got its name.
fn replacements(calls: &[String]) -> Vec<&[String]> {
    let renames = calls.iter().enumerate().filter(|(_, call)| call.starts_with("renameat"));
    let since_named = renames.filter_map(|(at, call)| {
        let place = place(call)?;
        let named = |call: &String| call.starts_with("linkat") && self::place(call) == Some(place);
        let from = calls[..at].iter().rposition(named)?;
        Some(&calls[from..at])
    });
    since_named.collect()
}

fn is_sync(call: &str) -> bool {
    SYNCS.iter().any(|sync| call.starts_with(sync)) && call.ends_with("= 0")
}

#[test]
fn nothing_is_replaced_before_the_data_of_its_next_version_is_on_disk() {
    for durability in ["batch", "file"] {
        let pair = outdated();
        let Some(threads) = traced(&pair, durability) else { return };

        let all: Vec<&[String]> = threads.iter().flat_map(|calls| replacements(calls)).collect();
        assert!(all.len() >= 44, "{} replacements", all.len());
        for since_named in all {
            assert!(since_named.iter().any(|call| is_sync(call)), "{durability}: {since_named:#?}");
        }
    }
}

#[test]
fn many_files_are_synced_at_once() {
    let pair = outdated();
    let Some(threads) = traced(&pair, "batch") else { return };

    let syncs = threads.iter().flatten().filter(|call| is_sync(call)).count();
    assert!((2..30).contains(&syncs), "{syncs} syncs of 45 files");
}

#[test]
fn before_the_end_everything_is_synced() {
    let pair = outdated();
    let Some(threads) = traced(&pair, "batch") else { return };

    let barrier = |calls: &&Vec<String>| calls.iter().all(|call| call.starts_with("syncfs("));
    let own = threads.iter().filter(|calls| !calls.is_empty()).filter(barrier).count();
    assert!(own >= 1, "no thread of barriers: {threads:#?}");
}

#[test]
fn by_file_each_is_synced_with_its_name() {
    let pair = outdated();
    let Some(threads) = traced(&pair, "file") else { return };

    let count =
        |start: &str| threads.iter().flatten().filter(|call| call.starts_with(start)).count();
    assert!(count("fdatasync(") >= 45 && count("fsync(") >= 45, "{threads:#?}");
}

#[test]
fn without_durability_nothing_is_synced() {
    let pair = outdated();
    let Some(threads) = traced(&pair, "none") else { return };

    let syncs: Vec<&String> = threads.iter().flatten().filter(|call| is_sync(call)).collect();
    assert!(syncs.is_empty(), "{syncs:?}");
}

#[test]
fn what_is_durable_is_told() {
    let pair = outdated();

    let (_, log) = Osync::run(arguments!["mirror", pair.source, pair.target, "--once"]);
    let (_, log_without) = Osync::run(arguments![
        "mirror",
        pair.source,
        pair.target,
        "--once",
        "--durability",
        "none",
    ]);

    let is_in_memory = log.contains("the target is in memory");
    assert_eq!(log.contains(", durable"), !is_in_memory, "{log}");
    assert_eq!(log.contains(", 0 of them durable"), is_in_memory, "{log}");
    assert!(!log_without.contains(", durable"), "{log_without}");
}
