//! A relay: one sink that serves others.

use std::fs;

use crate::program::{Addresses, Osync, SOON, arguments, start_source};
use crate::tree::{self, Pair};

/// Starts a relay into `directory` below the source at `upstream`.
pub(crate) fn start_relay(directory: &std::path::Path, upstream: &Addresses) -> Osync {
    let any = "tcp://127.0.0.1:*";
    let (control, data) = (&upstream.control, &upstream.data);
    Osync::start(arguments![
        "relay",
        directory,
        "--control",
        control,
        "--data",
        data,
        "--serve-control",
        any,
        "--serve-data",
        any
    ])
}

#[test]
fn what_arrives_at_a_relay_arrives_at_its_sinks() {
    let pair = Pair::new();
    tree::fill(&pair.source, 4, 8);
    let base = pair.target.parent().unwrap().to_path_buf();
    let (source, upstream) = start_source(&pair.source);
    let relay = start_relay(&pair.target, &upstream);
    let downstream = Addresses::of(&relay);
    let copies = [base.join("first"), base.join("second")];
    let sinks = copies.each_ref().map(|copy| downstream.start_sink(copy));

    pair.assert_equal_within(SOON, "the relay");
    for copy in &copies {
        pair.assert_copy_within(copy, SOON, "a sink of the relay");
    }

    tree::write(&pair.source, "d0/new", "live");
    fs::rename(pair.source.join("d1"), pair.source.join("moved")).unwrap();
    fs::remove_dir_all(pair.source.join("d2")).unwrap();
    for copy in &copies {
        pair.assert_copy_within(copy, SOON, "a sink of the relay");
    }

    for sink in sinks {
        sink.terminate();
    }
    relay.terminate();
    source.terminate();
}

#[test]
fn a_relay_that_is_killed_and_started_again_converges() {
    let pair = Pair::new();
    tree::fill(&pair.source, 4, 8);
    let copy = pair.target.parent().unwrap().join("copy");
    let (source, upstream) = start_source(&pair.source);
    let relay = start_relay(&pair.target, &upstream);
    pair.assert_equal_within(SOON, "the relay");
    relay.kill();

    tree::write(&pair.source, "meanwhile", "changed while the relay was away");
    let relay = start_relay(&pair.target, &upstream);
    let sink = Addresses::of(&relay).start_sink(&copy);

    pair.assert_copy_within(&copy, SOON, "a sink of the relay");
    sink.terminate();
    relay.terminate();
    source.terminate();
}
