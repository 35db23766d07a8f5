//! Ends that die and come back while the tree changes, and ends that are asked to go.

use std::fs;
use std::thread;
use std::time::Duration;

use rustix::process::Signal;

use crate::cable::Cable;
use crate::churn::Churn;
use crate::program::{Addresses, Osync, SOON, arguments};
use crate::tree::{self, Pair};
use crate::wait;
use crate::witness::Witness;

/// How often each end is killed, if not [`KILLS_DEFAULT`] times; two hundred take a quarter of an hour.
const KILLS: &str = "OSYNC_TEST_KILLS";
const KILLS_DEFAULT: u64 = 3;
/// Changes between two kills: an end is hit while it compares and while it follows.
const CHANGES_PER_LIFE: u64 = 250;
/// How long a sink stands still now and then; longer than a silent peer is waited for.
const STANDSTILL: Duration = Duration::from_secs(8);

#[test]
fn killed_ends_started_again_converge_and_leave_nothing_behind() {
    let pair = Pair::new();
    tree::fill(&pair.source, 60, 25);
    let addresses = Addresses::free();
    let cable = Cable::to(&addresses);
    let start_source = || addresses.start_source(&pair.source);
    let start_sink = || cable.addresses().start_sink(&pair.target);
    let churn = Churn::start(&pair.source, 0x05ee_d001);
    let witness = Witness::start(&pair.source, &pair.target);
    let kills = std::env::var(KILLS).map_or(KILLS_DEFAULT, |kills| kills.parse().unwrap());

    let (mut source, mut sink) = (start_source(), start_sink());
    sink.wait_line("registered: ");
    for round in 0..kills {
        churn.wait_changes(CHANGES_PER_LIFE * (round % 3));
        sink.kill();
        sink = start_sink();
        sink.wait_line("registered: ");
        if round % 20 == 1 {
            sink.signal(Signal::STOP);
            thread::sleep(STANDSTILL);
            sink.signal(Signal::CONT);
        }
        churn.wait_changes(CHANGES_PER_LIFE);
        if round % 3 == 1 {
            cable.cut();
            churn.wait_changes(CHANGES_PER_LIFE);
        }
        source.kill();
        source = start_source();
        source.wait_line("registered: ");
    }
    churn.wait_changes(CHANGES_PER_LIFE);
    println!("{} changes, {} whole versions seen", churn.stop(), witness.stop());

    pair.assert_equal_within(SOON, "after the kills");
    sink.terminate();
    source.terminate();
    pair.assert_equal();
}

#[test]
fn a_mirror_killed_in_its_first_copy_goes_on_where_it_is_needed() {
    let pair = Pair::new();
    tree::fill(&pair.source, 100, 40);
    tree::fill_nasty(&pair.source);
    let churn = Churn::start(&pair.source, 0x05ee_d002);
    let mirror = Osync::start(arguments!["mirror", pair.source, pair.target]);
    let some_are_there = || pair.target.join("d0/e0").exists().then_some(());
    wait::for_value(SOON, some_are_there, || mirror.log());
    mirror.kill();

    let mirror = Osync::start(arguments!["mirror", pair.source, pair.target]);
    mirror.wait_line("in sync");
    churn.stop();

    pair.assert_equal_within(SOON, "after the kill");
    mirror.terminate();
    pair.assert_equal();
}

#[test]
fn both_signals_end_every_command_in_time_with_code_0() {
    let pair = Pair::new();
    tree::fill(&pair.source, 20, 20);
    let addresses = Addresses::free();
    let early = addresses.start_sink(&pair.target.with_extension("early"));
    early.wait_line("keeping ");
    // Alone, before there is a source to agree with.
    early.terminate();

    let mirror = Osync::start(arguments!["mirror", pair.source, pair.target]);
    mirror.wait_line("in sync: ");
    mirror.signal(Signal::INT);
    let (status, log) = mirror.wait_exit(Duration::from_secs(5));
    assert_eq!(status.code(), Some(0), "{log}");

    let source = addresses.start_source(&pair.source);
    let mut sink = addresses.start_sink(&pair.target.with_extension("2"));
    sink.wait_line("in sync: ");
    source.terminate();
    // A sink outlives its source: another one may come.
    assert!(sink.is_running());
    sink.terminate();
}

#[test]
fn a_second_signal_ends_at_once() {
    let pair = Pair::new();
    let addresses = Addresses::free();
    let source = addresses.start_source(&pair.source);
    let mut sink = addresses.start_sink(&pair.target);
    sink.wait_line("in sync: ");
    // It agrees to no end, so the sink waits for it.
    source.signal(Signal::STOP);
    wait_status(&source, |status| status.contains("\nState:\tT"));

    sink.signal(Signal::INT);
    wait_status(&sink, |status| status.contains("\nShdPnd:\t0000000000000000"));
    assert!(sink.is_running(), "{}", sink.log());
    sink.signal(Signal::TERM);

    let (status, log) = sink.wait_exit(Duration::from_secs(5));
    assert_eq!(status.code(), Some(128 + 15), "{status} {log}");
    source.kill();
}

/// Waits until what the kernel tells of a process is as wanted.
fn wait_status(process: &Osync, is_so: impl Fn(&str) -> bool) {
    let read = || fs::read_to_string(format!("/proc/{}/status", process.id())).unwrap();
    wait::for_value(SOON, || is_so(&read()).then_some(()), read);
}
