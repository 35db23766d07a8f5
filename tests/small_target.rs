//! Targets that fill up, run out of inodes or become read-only, and get well again.
//!
//! Each is a tmpfs of its own, which only root may mount. Beside it a second sink of the same source has
//! all the room it wants.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use rustix::process::Signal;

use crate::program::{self, SOON};
use crate::tree::{self, Pair};
use crate::wait;

/// Files that are at both sinks before anything happens.
const FILES: usize = 20;
const FILE_BYTES: usize = 50_000;
/// What failed is tried again after a second, then two, four, and so on.
const RETRIED: Duration = Duration::from_mins(1);

/// A tmpfs; unmounted when dropped.
struct Mounted(PathBuf);

impl Mounted {
    fn new(path: &Path, options: &str) -> Option<Self> {
        fs::create_dir(path).unwrap();
        if tree::is_root() && mount(&["-t", "tmpfs", "-o", options, "osync-test"], path) {
            return Some(Self(path.to_owned()));
        }
        println!("SKIP a tmpfs of {options} as the target: this process may not mount one");
        None
    }

    fn change(&self, options: &str) {
        assert!(mount(&["-o", &format!("remount,{options}")], &self.0), "remount,{options}");
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        // Lazily: after a failure the sink is still there.
        drop(Command::new("umount").arg("--lazy").arg(&self.0).output());
    }
}

fn mount(arguments: &[&str], path: &Path) -> bool {
    let output = Command::new("mount").args(arguments).arg(path).output();
    output.is_ok_and(|output| output.status.success())
}

#[test]
fn a_full_target_keeps_what_it_has_and_goes_on_when_there_is_room() {
    let more = |source: &Path| {
        for index in 0..FILES {
            tree::write(source, format!("more/{index}"), vec![b'm'; 2 * FILE_BYTES]);
        }
        tree::write(source, "large", vec![b'l'; 3_000_000]);
    };
    falls_ill_and_gets_well("size=2m", None, more, "os error 28", "size=32m");
}

#[test]
fn a_target_out_of_inodes_keeps_what_it_has_and_goes_on_when_there_are_some() {
    let more = |source: &Path| {
        for index in 0..FILES {
            tree::write(source, format!("more/{index}/in"), "x");
        }
    };
    falls_ill_and_gets_well("nr_inodes=40", None, more, "os error 28", "nr_inodes=400");
}

#[test]
fn a_target_that_is_read_only_for_a_while_goes_on_when_it_is_not() {
    let more = |source: &Path| tree::fill(source, 5, 5);
    falls_ill_and_gets_well("size=32m", Some("ro"), more, "os error 30", "rw");
}

/// The target is mounted with `options`, filled, and changed by `ill`; then the source gets `more`, which fails
/// for `reason`; `well` gives it the room.
fn falls_ill_and_gets_well(
    options: &str,
    ill: Option<&str>,
    more: impl Fn(&Path),
    reason: &str,
    well: &str,
) {
    let pair = Pair::new();
    let Some(mounted) = Mounted::new(&pair.target, options) else { return };
    write_all(&pair.source, b'1');
    let (source, addresses) = program::start_source(&pair.source);
    let other = pair.target.with_extension("other");
    let sick = addresses.start_sink(&pair.target);
    let healthy = addresses.start_sink(&other);
    sick.wait_line("in sync: ");
    healthy.wait_line("in sync: ");

    if let Some(ill) = ill {
        mounted.change(ill);
    }
    more(&pair.source);
    write_all(&pair.source, b'2');

    pair.assert_copy_within(&other, SOON, "the second sink");
    let complain = || format!("{reason} in\n{}\n{}", source.log(), sick.log());
    let complaint = || source.line(reason).or_else(|| sick.line(reason));
    wait::for_value(SOON, complaint, complain);
    source.wait_line("halted: the target takes nothing");
    assert_whole(&pair.target);
    mounted.change(well);
    pair.assert_equal_within(RETRIED, "when it is well again");
    healthy.terminate();
    // It may not know yet that the last problem is solved.
    sick.signal(Signal::TERM);
    sick.wait_exit(SOON);
    let (status, log) = addresses.start_sink_once(&pair.target).wait_exit(SOON);
    assert_eq!(status.code(), Some(0), "{log}");
    source.terminate();
    pair.assert_equal();
}

/// Replaces every file by a whole one.
fn write_all(root: &Path, byte: u8) {
    for index in 0..FILES {
        tree::write(root, "d/being written", vec![byte; FILE_BYTES]);
        fs::rename(root.join("d/being written"), root.join(format!("d/{index}"))).unwrap();
    }
}

/// Every file that was there is, in one version or the other.
fn assert_whole(target: &Path) {
    for index in 0..FILES {
        let content = fs::read(target.join(format!("d/{index}"))).unwrap();
        let is_whole =
            content.len() == FILE_BYTES && content.windows(2).all(|two| two[0] == two[1]);
        assert!(is_whole, "d/{index} has {} bytes", content.len());
    }
}
