//! Targets from which nothing is removed.

use std::fs;

use crate::program::{Osync, SOON, arguments};
use crate::tree::{self, Pair};
use crate::wait;

#[test]
fn what_the_source_has_not_stays_if_nothing_is_to_be_removed() {
    let pair = Pair::new();
    tree::fill(&pair.source, 5, 5);
    tree::write(&pair.target, "old/in", "stays");
    tree::write(&pair.target, "d0/e0/extra", "stays");
    let arguments = arguments!["mirror", pair.source, pair.target, "--no-delete"];
    let osync = Osync::start(arguments);
    osync.wait_line("in sync: ");

    fs::remove_file(pair.source.join("d0/e0/f0")).unwrap();
    fs::remove_dir_all(pair.source.join("d1")).unwrap();
    tree::write(&pair.source, "d2/new", "arrives");
    fs::write(pair.source.join("d2/e2/f0"), "overwritten").unwrap();
    let arrived = || {
        let is_new = pair.target.join("d2/new").exists();
        let content = fs::read(pair.target.join("d2/e2/f0")).unwrap();
        (is_new && content == b"overwritten").then_some(())
    };
    wait::for_value(SOON, arrived, || osync.log());
    let log = osync.terminate();
    assert!(log.contains(" 0 removed"), "{log}");

    // And nothing differs for ever because of it.
    let once = [&arguments[..], arguments!["--once"]].concat();
    // What changed in the last seconds is proven at the next start.
    Osync::run(&once);
    let (status, log) = Osync::run(&once);
    assert_eq!(status.code(), Some(0), "{log}");
    assert!(log.contains("done: 0 files") && log.contains(" 0 removed"), "{log}");
    for path in ["old/in", "d0/e0/extra", "d0/e0/f0", "d1/e1/f0"] {
        assert!(pair.target.join(path).exists(), "{path}");
    }
}

#[test]
fn a_directory_with_something_in_it_does_not_make_way_if_nothing_is_to_be_removed() {
    let pair = Pair::new();
    tree::write(&pair.source, "name", "a file");
    tree::write(&pair.source, "other", "arrives");
    tree::write(&pair.target, "name/in", "stays");

    let (status, log) =
        Osync::run(arguments!["mirror", pair.source, pair.target, "--no-delete", "--once"]);

    assert_eq!(status.code(), Some(1), "{log}");
    assert!(log.contains("not replicated: name: "), "{log}");
    assert!(pair.target.join("name/in").exists() && pair.target.join("other").exists());

    let (status, log) = Osync::run(arguments!["mirror", pair.source, pair.target, "--once"]);
    assert_eq!(status.code(), Some(0), "{log}");
    pair.assert_equal();
}
