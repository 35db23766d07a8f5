//! Names of one thing at the source are names of one thing at the target, whatever lay there.

use std::fs;
use std::path::Path;

use crate::program::{Osync, SOON, arguments, start_source};
use crate::tree::{self, Pair};

/// Makes files of one content, size and time, with the names of each.
fn write_alike(root: &Path, files: &[&[&str]]) {
    fs::create_dir_all(root.join("d")).unwrap();
    for names in files {
        tree::write(root, names[0], "all alike");
        for name in &names[1..] {
            fs::hard_link(root.join(names[0]), root.join(name)).unwrap();
        }
        tree::set_modified(root.join(names[0]), 1_000_000_000, 5);
    }
}

fn mirror_once(pair: &Pair) -> String {
    let (status, log) = Osync::run(arguments!["mirror", pair.source, pair.target, "--once"]);
    assert_eq!(status.code(), Some(0), "{log}");
    log
}

#[test]
fn names_that_stand_for_the_wrong_things_at_the_target_are_put_right() {
    let cases: [[&[&[&str]]; 2]; 5] = [
        [&[&["a", "d/b"], &["c", "d/e"]], &[&["a", "c"], &["d/b", "d/e"]]],
        [&[&["a", "d/b", "c"]], &[&["a"], &["d/b"], &["c"]]],
        [&[&["a"], &["d/b"], &["c"]], &[&["a", "d/b", "c"]]],
        [&[&["a", "d/b"], &["c", "d/e"]], &[&["a", "d/b", "c", "d/e"]]],
        [&[&["a", "d/b", "c"], &["d/e", "f"]], &[&["a", "d/b", "d/e"], &["c", "f"]]],
    ];
    for [source, target] in cases {
        let pair = Pair::new();
        write_alike(&pair.source, source);
        write_alike(&pair.target, target);

        mirror_once(&pair);

        pair.assert_equal();
    }
}

#[test]
fn a_name_outside_the_tree_costs_nothing_in_the_next_run() {
    let pair = Pair::new();
    write_alike(&pair.source, &[&["a", "../outside"], &["d/b", "c"]]);

    mirror_once(&pair);
    let log = mirror_once(&pair);

    assert!(log.contains(" 0 files"), "{log}");
    let content = fs::read_to_string(pair.target.join("a")).unwrap();
    assert_eq!(content, "all alike");
}

#[test]
fn names_given_and_taken_while_either_end_is_away_are_found() {
    let pair = Pair::new();
    write_alike(&pair.source, &[&["a", "d/b"], &["c", "d/e"], &["f"]]);
    let (source, addresses) = start_source(&pair.source);
    let sink = addresses.start_sink(&pair.target);
    sink.wait_line("in sync: ");
    pair.assert_equal();

    sink.kill();
    fs::hard_link(pair.source.join("f"), pair.source.join("d/g")).unwrap();
    fs::remove_file(pair.source.join("a")).unwrap();
    fs::write(pair.source.join("c"), "through the first name").unwrap();
    let sink = addresses.start_sink(&pair.target);
    pair.assert_equal_within(SOON, "after the sink was away");
    source.kill();
    fs::hard_link(pair.source.join("c"), pair.source.join("a")).unwrap();
    fs::rename(pair.source.join("d/e"), pair.source.join("e")).unwrap();
    let source = addresses.start_source(&pair.source);

    pair.assert_equal_within(SOON, "after the source was away");
    sink.terminate();
    source.terminate();
}
