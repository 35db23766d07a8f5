//! The engine under simulated faults: all machines on one virtual clock, everything else from a seed.
//!
//! No thread and no real time takes part. The source's tree changes at random while frames are lost,
//! connections cut, ends killed and files unreadable, as the seed's mood has it. Every fourth seed has two
//! sinks, one of which may come late. Afterwards, within a bounded virtual time, the trees must be equal
//! and the engine must say so; and at no moment may a sink hold what the source never had, or lose what
//! the source never lost.
//!
//! A failure names its seed. `OSYNC_SIM_SEED=n` runs that one with every event on standard error;
//! `OSYNC_SIM_COUNT=n` sets how many seeds each mood runs, `OSYNC_SIM_FIRST=n` where they begin.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "the rest of an enum is of no interest to a test"
)]

mod random;
mod mood;
mod oracle;
mod held;
mod promises;
mod operations;
mod put_back;
mod twins;
mod linking;
mod feed;
mod filter;
mod network;
mod source_side;
mod actions;
mod writers;
mod sink_side;
mod faults;
mod event;
mod world;

use std::time::Instant;

use crate::mood::{MOODS, mood};
use crate::world::{Outcome, World};

/// Seeds of each mood that a test run tries.
const SEEDS: u64 = 350;

/// Seeds that once failed, with what they found.
///
/// 1020: a large file was given up while it was weighed, and asked about after that. 9184, 4096: a large file
/// took the place of a directory in which there were problems. 1707: a look reached the sink after a comparison
/// that had seen what came later. 2046, 1930: what was to be replaced waited for ever for large files in it
/// that began in turn. 64046: a name led while another still followed one that was gone. 70356: an earlier look
/// at another name set older metadata. 90954: names that had been changed through another one were as young as that
/// was looked at. 129441: a rename at the sink broke a group of which one name was not looked at.
/// 1544: a file that was still open was left to its writer twice on its way, for ever. 2199023256409: an answer
/// of an earlier session was given while the next sent names anew. 2632: a loss had names sent anew while an answer
/// was on its way. 1099516629202: a name followed another whose content had been read since it was looked at.
/// 1152922604118516131: a directory was to be removed and came back, and a report of what lay in it was forgotten.
/// 241089: a name followed one whose own report had not been dealt with, and got the content from before. 55809298: a
/// name followed one that was something else once the sink looked there. 2199034258184: a name too many was known, and the
/// one that was missing was not searched for. 1152921504678872510: content was wanted, the target was away, and metadata
/// was sent. 1099523630682: two names that were doubted followed each other. 1152922604132475831: a reading was shared
/// that was older than what its sink had. 96014745: a name that had gone unnoticed hid that a new one was the second.
/// 1152922604135474759: a file was moved away on its way, then written to, and its new content sent for its old name.
/// 1152921504714871426: work below a directory that was gone made it anew after the one above it had been compared.
/// 162026473: a file was changed through a new name that was gone before its other name was searched for. 3298534883622:
/// two directories that look the same were exchanged.
const ONCE_FAILED: [u64; 44] = [
    1_020,
    9_184,
    4_096,
    1_707,
    2_046,
    1_930,
    64_046,
    70_356,
    90_954,
    129_441,
    1_544,
    2_199_023_256_409,
    1_099_520_828_499,
    1_099_520_832_550,
    1_099_520_833_429,
    55_209_918,
    55_223_424,
    1_099_520_834_460,
    1_152_923_703_639_303_995,
    55_201_983,
    55_217_151,
    2_632,
    1_099_516_629_202,
    1_152_922_604_118_516_131,
    241_089,
    55_817_560,
    55_809_298,
    1_152_921_504_662_654_482,
    2_199_034_258_184,
    1_152_921_504_678_872_510,
    1_099_523_630_682,
    1_099_523_628_088,
    1_152_922_604_132_475_831,
    96_014_745,
    1_152_922_604_135_474_759,
    1_152_921_504_714_871_426,
    2_199_041_256_509,
    108_012_096,
    1_152_922_604_137_474_963,
    1_152_922_604_136_479_231,
    1_152_921_504_720_867_302,
    1_152_922_604_141_478_759,
    162_026_473,
    3_298_534_883_622,
];

/// Names the seed if the engine panics.
struct Culprit(u64);

impl Drop for Culprit {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("seed {} ({}); replay with OSYNC_SIM_SEED={0}", self.0, mood(self.0).name);
        }
    }
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().expect("a number"))
}

fn run(seed: u64, is_traced: bool) -> Result<Outcome, String> {
    let culprit = Culprit(seed);
    let result = World::new(seed, is_traced).run();
    drop(culprit);
    result.map_err(|reason| format!("OSYNC_SIM_SEED={seed} {reason}"))
}

/// Runs the seeds of one mood; a test shows the first few that fail.
fn run_all(name: &str) {
    if number("OSYNC_SIM_SEED").is_some() {
        return; // Another test runs it.
    }
    let index = MOODS.iter().position(|mood| mood.name == name).expect("a mood") as u64;
    let count = number("OSYNC_SIM_COUNT").unwrap_or(SEEDS);
    let first = number("OSYNC_SIM_FIRST").unwrap_or(0);
    let begun = Instant::now();
    let results = (first..first + count).map(|seed| run(mood::seed(index, seed), false));
    let mut failures = Vec::new();
    let mut readings_shared = 0;
    for result in results {
        match result {
            Ok(outcome) => readings_shared += outcome.readings_shared,
            Err(failure) => failures.push(failure),
        }
    }
    println!("{count} seeds of {name} in {:?}, {readings_shared} readings shared", begun.elapsed());
    let shown = &failures[..failures.len().min(10)];
    assert!(failures.is_empty(), "{} seeds fail:\n{}", failures.len(), shown.join("\n"));
    assert!(readings_shared > 0 || count < SEEDS, "no two sinks shared anything");
}

#[test]
fn trees_become_equal_on_a_calm_day() {
    run_all("calm");
}

#[test]
fn trees_become_equal_whoever_restarts() {
    run_all("restarts");
}

#[test]
fn trees_become_equal_over_a_lossy_network() {
    run_all("lossy");
}

#[test]
fn trees_become_equal_after_renames() {
    run_all("renames");
}

#[test]
fn trees_become_equal_once_files_can_be_read_and_written_again() {
    run_all("problems");
}

#[test]
fn trees_become_equal_when_everything_goes_wrong() {
    run_all("everything");
}

#[test]
fn nothing_is_removed_while_everything_is_gone() {
    run_all("vanishing");
}

#[test]
fn trees_become_equal_after_power_cuts_and_what_was_durable_is_there() {
    run_all("power");
}

#[test]
fn trees_become_equal_though_directories_that_look_the_same_are_exchanged() {
    run_all("twins");
}

#[test]
fn seeds_that_once_failed_pass() {
    if let Some(seed) = number("OSYNC_SIM_SEED") {
        println!("{:?}", run(seed, true).unwrap());
        return;
    }
    for seed in ONCE_FAILED {
        run(seed, false).unwrap();
    }
}

#[test]
fn a_seed_repeats_itself_exactly() {
    let seed = mood::seed(5, 7);
    let outcomes = [0; 2].map(|_| World::new(seed, false).run());
    assert_eq!(outcomes[0], outcomes[1]);
}
