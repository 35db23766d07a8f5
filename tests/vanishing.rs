//! Sources that vanish, are emptied, replaced or unmounted, and come back: the target loses nothing by it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use rustix::process::Signal;

use crate::program::{Osync, SOON, arguments};
use crate::tree::{self, Pair};
use crate::wait;

/// A source that was lost is looked for every few seconds.
const FOUND: Duration = Duration::from_mins(1);

/// Replicates a tree of some hundred files, and says what the target holds.
fn replicated(pair: &Pair, more: &[&str]) -> Osync {
    tree::fill(&pair.source, 20, 20);
    let mut arguments = arguments!["mirror", pair.source, pair.target].to_vec();
    arguments.extend(more.iter().map(std::ffi::OsStr::new));
    let osync = Osync::start(&arguments);
    osync.wait_line("in sync: ");
    pair.assert_equal();
    osync
}

/// How many names lie at any depth in `directory`, the sink's own aside.
fn files_in(directory: &Path) -> usize {
    let mut count = 0;
    let mut pending = vec![directory.to_owned()];
    while let Some(directory) = pending.pop() {
        for entry in fs::read_dir(directory).unwrap().map(Result::unwrap) {
            if entry.file_name() == ".osync" {
                continue;
            }
            count += 1;
            if entry.file_type().unwrap().is_dir() {
                pending.push(entry.path());
            }
        }
    }
    count
}

/// Ends it, which has problems or not, and asserts that it has removed nothing at all.
fn assert_removed_none(osync: Osync, code: i32) {
    osync.signal(Signal::TERM);
    let (status, log) = osync.wait_exit(SOON);
    assert_eq!(status.code(), Some(code), "{log}");
    assert!(log.contains(" 0 removed"), "{log}");
}

/// Runs through `vanish`, a while in which the target has to stay as it is, and `come_back`.
fn vanishes_and_comes_back(
    pair: &Pair,
    vanish: impl FnOnce(&Path),
    cause: &str,
    come_back: impl FnOnce(&Path),
) {
    let osync = replicated(pair, &[]);
    let before = files_in(&pair.target);

    vanish(&pair.source);
    osync.wait_line("halted: ");
    osync.signal(Signal::USR1);
    osync.wait_line(&format!("not replicated: .: {cause}"));
    assert_eq!(files_in(&pair.target), before, "{}", osync.log());

    come_back(&pair.source);
    wait::for_value(FOUND, || osync.line("goes on, for this is over"), || osync.log());
    assert_eq!(files_in(&pair.target), before, "{}", osync.log());
    tree::write(&pair.source, "d0/new", "after all");
    pair.assert_equal_within(FOUND, "what is new");
    assert_eq!(osync.log().matches("halted: ").count(), 1, "{}", osync.log());
    assert_removed_none(osync, 0);
}

fn away(source: &Path) -> PathBuf {
    source.with_extension("away")
}

#[test]
fn a_source_that_is_renamed_away_and_back_costs_nothing() {
    let pair = Pair::new();
    let rename = |source: &Path| fs::rename(source, away(source)).unwrap();
    let back = |source: &Path| fs::rename(away(source), source).unwrap();
    vanishes_and_comes_back(&pair, rename, "nothing is sent or removed", back);
}

#[test]
fn a_source_that_is_replaced_by_an_empty_directory_costs_nothing() {
    let pair = Pair::new();
    let replace = |source: &Path| {
        fs::rename(source, away(source)).unwrap();
        fs::create_dir(source).unwrap();
    };
    let back = |source: &Path| {
        fs::remove_dir(source).unwrap();
        fs::rename(away(source), source).unwrap();
    };
    vanishes_and_comes_back(&pair, replace, "nothing is sent or removed", back);
}

#[test]
fn a_source_whose_content_is_moved_away_and_back_costs_nothing() {
    let pair = Pair::new();
    let move_all = |from: &Path, to: &Path| {
        fs::create_dir_all(to).unwrap();
        for entry in fs::read_dir(from).unwrap() {
            let name = entry.unwrap().file_name();
            fs::rename(from.join(&name), to.join(&name)).unwrap();
        }
    };
    let empty = |source: &Path| move_all(source, &away(source));
    let refill = |source: &Path| move_all(&away(source), source);
    vanishes_and_comes_back(&pair, empty, "the source directory is empty", refill);
}

#[test]
fn a_source_that_is_deleted_file_by_file_costs_nothing() {
    let pair = Pair::new();
    let delete = |source: &Path| {
        let saved = Command::new("cp").arg("-a").arg(source).arg(away(source)).status();
        assert!(saved.unwrap().success());
        for entry in fs::read_dir(source).unwrap() {
            fs::remove_dir_all(entry.unwrap().path()).unwrap();
        }
    };
    let restore = |source: &Path| {
        let from = away(source).join(".");
        assert!(Command::new("cp").arg("-a").arg(from).arg(source).status().unwrap().success());
    };
    vanishes_and_comes_back(&pair, delete, "the source directory is empty", restore);
}

#[test]
fn a_source_that_is_unmounted_and_mounted_again_costs_nothing() {
    let pair = Pair::new();
    let disk = away(&pair.source);
    fs::create_dir(&disk).unwrap();
    let mount = |from: &Path, at: &Path| {
        let mounted = Command::new("mount").arg("--bind").arg(from).arg(at).output();
        mounted.is_ok_and(|output| output.status.success())
    };
    if !tree::is_root() || !mount(&disk, &pair.source) {
        println!("SKIP a source that is unmounted: this process may not mount one");
        return;
    }
    let unmount = |source: &Path| {
        assert!(Command::new("umount").arg("--lazy").arg(source).status().unwrap().success());
    };
    let back = |source: &Path| assert!(mount(&disk, source));
    vanishes_and_comes_back(&pair, unmount, "nothing is sent or removed", back);
    unmount(&pair.source);
}

#[test]
fn a_source_that_is_started_empty_leaves_the_target_alone() {
    let pair = Pair::new();
    tree::write(&pair.target, "d/precious", "x");
    let arguments = arguments!["mirror", pair.source, pair.target, "--once"].to_vec();

    let (status, log) = Osync::run(&arguments);

    assert_eq!(status.code(), Some(1), "{log}");
    assert!(log.contains("not replicated: .: the source directory is empty"), "{log}");
    assert!(pair.target.join("d/precious").exists());

    let all = [&arguments[..], arguments!["--max-delete", "100%"]].concat();
    let (status, log) = Osync::run(&all);
    assert_eq!(status.code(), Some(0), "{log}");
    pair.assert_equal();
}

#[test]
fn an_empty_source_with_an_empty_target_is_no_problem() {
    let pair = Pair::new();
    let osync = Osync::start(arguments!["mirror", pair.source, pair.target]);
    osync.wait_line("in sync: ");

    tree::write(&pair.source, "file", "x");
    pair.assert_equal_within(SOON, "a file");
    fs::remove_file(pair.source.join("file")).unwrap();
    osync.wait_line("halted: ");
    assert!(pair.target.join("file").exists());
    fs::remove_file(pair.target.join("file")).unwrap();

    wait::for_value(FOUND, || osync.line("goes on, for this is over"), || osync.log());
    drop(osync.terminate());
}

#[test]
fn more_removals_than_allowed_wait_and_everything_else_goes_on() {
    let pair = Pair::new();
    let osync = replicated(&pair, &["--max-delete", "5"]);
    let before = files_in(&pair.target);
    let gone: Vec<PathBuf> =
        (0..8).map(|file| pair.source.join(format!("d1/e1/f{file}"))).collect();
    let content = fs::read(&gone[0]).unwrap();

    for path in &gone {
        fs::remove_file(path).unwrap();
    }
    osync.wait_line("halted: 8 names are to be removed, and 5 may be (--max-delete)");
    tree::write(&pair.source, "d2/new", "goes on");
    let arrived = || pair.target.join("d2/new").exists().then_some(());
    wait::for_value(SOON, arrived, || osync.log());
    assert_eq!(files_in(&pair.target), before + 1, "{}", osync.log());

    for path in &gone {
        fs::write(path, &content).unwrap();
    }
    wait::for_value(FOUND, || osync.line("goes on, for this is over"), || osync.log());
    pair.assert_equal_within(FOUND, "what is back");

    for path in &gone[..4] {
        fs::remove_file(path).unwrap();
    }
    pair.assert_equal_within(FOUND, "four removals");
    let log = osync.terminate();
    assert!(log.contains(" 4 removed"), "{log}");
}

/// The target vanishes by `vanish` and comes back; nothing but new files is made in it meanwhile.
fn target_vanishes_and_comes_back(vanish: impl FnOnce(&Path), come_back: impl FnOnce(&Path)) {
    let pair = Pair::new();
    let osync = replicated(&pair, &[]);

    vanish(&pair.target);
    let moved = away(&pair.target);
    let before = files_in(&moved);
    // What was found a moment ago is written to for a second more, wherever it is by now.
    let mut round = 0;
    let halted = || {
        round += 1;
        tree::write(&pair.source, format!("d3/new{round}"), "x");
        osync.line("halted: the target takes nothing")
    };
    wait::for_value(SOON, halted, || osync.log());
    osync.signal(Signal::USR1);
    osync.wait_line("not replicated: .: the target takes nothing");
    assert!(files_in(&moved) >= before, "{}", osync.log());
    if pair.target.exists() {
        assert_eq!(files_in(&pair.target), 0, "{}", osync.log());
    }

    come_back(&pair.target);
    pair.assert_equal_within(FOUND, "when the target is back");
    wait::for_value(FOUND, || osync.line("goes on, for this is over"), || osync.log());
    assert_removed_none(osync, 0);
}

#[test]
fn a_target_that_is_renamed_away_and_back_loses_nothing() {
    let rename = |target: &Path| fs::rename(target, away(target)).unwrap();
    let back = |target: &Path| fs::rename(away(target), target).unwrap();
    target_vanishes_and_comes_back(rename, back);
}

#[test]
fn a_target_that_is_replaced_by_an_empty_directory_loses_nothing() {
    let replace = |target: &Path| {
        fs::rename(target, away(target)).unwrap();
        fs::create_dir(target).unwrap();
    };
    let back = |target: &Path| {
        fs::remove_dir(target).unwrap();
        fs::rename(away(target), target).unwrap();
    };
    target_vanishes_and_comes_back(replace, back);
}
