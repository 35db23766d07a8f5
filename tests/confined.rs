//! Ends that the kernel confines to their target.

use std::ffi::OsStr;
use std::fs;

use crate::keys::keygen;
use crate::program::{Addresses, Osync, SOON, arguments, start_source};
use crate::tree::{self, Pair};

/// Whether every thread of it has given up new privileges, as confinement demands.
fn is_confined_in_all_threads(osync: &Osync) -> bool {
    let tasks = fs::read_dir(format!("/proc/{}/task", osync.id())).unwrap();
    let mut states = tasks.filter_map(|task| {
        // A thread may end meanwhile.
        fs::read_to_string(task.ok()?.path().join("status")).ok()
    });
    states.all(|state| state.contains("NoNewPrivs:\t1\n"))
}

/// Osync with these arguments, once it has said that it is confined; `None`, with the reason printed, where the
/// kernel cannot.
fn start_confined(arguments: &[&OsStr]) -> Option<Osync> {
    let (status, log) = Osync::run(arguments![
        "sink",
        tempfile::tempdir().unwrap().path(),
        "--confine",
        "--control",
        "no address"
    ]);
    assert!(!status.success(), "{log}");
    if log.contains("Landlock") {
        println!("skipped: {log}");
        return None;
    }
    let osync = Osync::start(arguments);
    osync.wait_line("confined: ");
    Some(osync)
}

#[test]
fn a_confined_sink_does_all_that_a_sink_does() {
    let pair = Pair::new();
    tree::fill(&pair.source, 4, 8);
    let (source, Addresses { control, data }) = start_source(&pair.source);
    let trash = pair.source.parent().unwrap().join("trash");
    let Some(sink) = start_confined(arguments![
        "sink",
        pair.target,
        "--confine",
        "--trash",
        trash,
        "--control",
        control,
        "--data",
        data
    ]) else {
        return;
    };
    pair.assert_equal_within(SOON, "the sink");
    assert!(is_confined_in_all_threads(&sink));

    tree::write(&pair.source, "d0/new", "live");
    tree::write(&pair.source, "d0/large", "content ".repeat(100_000));
    fs::rename(pair.source.join("d1"), pair.source.join("d0/moved")).unwrap();
    fs::hard_link(pair.source.join("d0/new"), pair.source.join("second")).unwrap();
    fs::remove_dir_all(pair.source.join("d2")).unwrap();
    pair.assert_equal_within(SOON, "the sink");
    assert!(fs::read_dir(&trash).unwrap().next().is_some(), "what was removed is kept");
    sink.terminate();
    source.terminate();
}

#[test]
fn a_confined_relay_reads_its_list_of_keys_again() {
    let pair = Pair::new();
    tree::fill(&pair.source, 3, 3);
    let base = pair.source.parent().unwrap();
    let [ours, relays, theirs] = ["source", "relay", "sink"].map(|name| keygen(&base.join(name)));
    let [list, copy] = ["list", "copy"].map(|name| base.join(name));
    fs::create_dir(&list).unwrap();
    let any = "tcp://127.0.0.1:*";
    let source = Osync::start(arguments![
        "source",
        pair.source,
        "--key",
        ours.join("osync.key"),
        "--allow",
        relays.join("osync.pub"),
        "--control",
        any,
        "--data",
        any
    ]);
    let Addresses { control, data } = Addresses::of(&source);
    let relay = start_confined(arguments![
        "relay",
        pair.target,
        "--confine",
        "--key",
        relays.join("osync.key"),
        "--source-key",
        ours.join("osync.pub"),
        "--allow",
        list,
        "--control",
        control,
        "--data",
        data,
        "--serve-control",
        any,
        "--serve-data",
        any
    ]);
    let Some(relay) = relay else { return };
    pair.assert_equal_within(SOON, "the relay");
    assert!(is_confined_in_all_threads(&relay));

    let Addresses { control, data } = Addresses::of(&relay);
    fs::copy(theirs.join("osync.pub"), list.join("new")).unwrap();
    fs::rename(list.join("new"), list.join("sink.pub")).unwrap();
    let sink = Osync::start(arguments![
        "sink",
        copy,
        "--key",
        theirs.join("osync.key"),
        "--source-key",
        relays.join("osync.pub"),
        "--control",
        control,
        "--data",
        data
    ]);
    pair.assert_copy_within(&copy, SOON, "the sink of the relay");
    for end in [sink, relay, source] {
        end.terminate();
    }
}
