//! Edits that leave size and time as they were, made while nobody watches.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;

use crate::program::{Addresses, SOON};
use crate::relay::start_relay;
use crate::tree::{self, Pair};

const LARGE_BYTES: usize = 3_000_000;

#[test]
fn an_edit_that_puts_size_and_time_back_while_no_source_runs_is_found() {
    let pair = Pair::new();
    tree::fill(&pair.source, 20, 10);
    tree::write(&pair.source, "large", vec![b'x'; LARGE_BYTES]);
    tree::write(&pair.source, "linked", "one of two names");
    fs::hard_link(pair.source.join("linked"), pair.source.join("d0/other")).unwrap();
    let addresses = Addresses::free();
    let source = addresses.start_source(&pair.source);
    let sink = addresses.start_sink(&pair.target);
    sink.wait_line("in sync: ");
    pair.assert_equal_within(SOON, "at first");

    // Once while the sink goes on, once while neither runs.
    source.kill();
    edit(&pair.source.join("d1/e1/f1"));
    let source = addresses.start_source(&pair.source);
    pair.assert_equal_within(SOON, "a small file");

    source.kill();
    sink.kill();
    edit(&pair.source.join("large"));
    edit(&pair.source.join("linked"));
    edit(&pair.source.join("d2/e2/f2"));
    let source = addresses.start_source(&pair.source);
    let sink = addresses.start_sink(&pair.target);
    pair.assert_equal_within(SOON, "a large file, and one with two names");

    // An orderly end is no different.
    source.terminate();
    edit(&pair.source.join("d3/e3/f3"));
    let source = addresses.start_source(&pair.source);
    pair.assert_equal_within(SOON, "after an orderly end");
    sink.terminate();
    source.terminate();
}

#[test]
fn an_edit_that_puts_size_and_time_back_passes_a_relay_that_ended_in_between() {
    let pair = Pair::new();
    tree::fill(&pair.source, 5, 4);
    let copy = pair.target.parent().unwrap().join("copy");
    let addresses = Addresses::free();
    let source = addresses.start_source(&pair.source);
    let relay = start_relay(&pair.target, &addresses);
    let sink = Addresses::of(&relay).start_sink(&copy);
    sink.wait_line("in sync: ");
    pair.assert_copy_within(&copy, SOON, "at first");

    sink.kill();
    edit(&pair.source.join("d1/e1/f1"));
    pair.assert_equal_within(SOON, "the relay");
    relay.kill();
    // Or it might send to the relay once more what is new to the sink.
    source.terminate();
    let relay = start_relay(&pair.target, &addresses);
    let sink = Addresses::of(&relay).start_sink(&copy);

    pair.assert_copy_within(&copy, SOON, "a sink of the relay");
    sink.terminate();
    relay.terminate();
}

/// Changes a byte and puts the time back.
fn edit(path: &Path) {
    let before = fs::metadata(path).unwrap();
    let file = OpenOptions::new().write(true).open(path).unwrap();
    file.write_all_at(b"!", before.len() / 2).unwrap();
    tree::set_modified(path, before.mtime(), before.mtime_nsec());
}
