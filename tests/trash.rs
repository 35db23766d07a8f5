//! A trash beside the target: what goes from it is kept, and that costs nothing else.

use std::fs;
use std::path::Path;

use crate::kills;
use crate::program::{Osync, SOON, arguments};
use crate::tree::{self, Pair};
use crate::wait;

/// The contents of everything in the trash, or in another directory.
fn kept(trash: &Path) -> Vec<String> {
    let mut contents = Vec::new();
    let mut pending = vec![trash.to_owned()];
    while let Some(path) = pending.pop() {
        if path.is_dir() && !path.is_symlink() {
            pending.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        } else {
            contents.extend(fs::read_to_string(&path));
        }
    }
    contents.sort();
    contents
}

#[test]
fn what_goes_from_a_mirror_is_kept_and_nothing_is_sent_again() {
    let pair = Pair::new();
    let trash = pair.source.with_file_name("trash");
    for name in ["removed", "replaced", "renamed over", "d/one", "d/two", "links/a", "stays"] {
        tree::write(&pair.source, name, name);
    }
    fs::hard_link(pair.source.join("links/a"), pair.source.join("links/b")).unwrap();
    tree::write(&pair.target, "extra/in", "extra");
    let arguments = arguments!["mirror", pair.source, pair.target, "--trash", trash];
    let osync = Osync::start(arguments);
    osync.wait_line("in sync: ");
    pair.assert_equal();
    assert_eq!(kept(&trash), ["extra"]);

    fs::remove_file(pair.source.join("removed")).unwrap();
    fs::remove_dir_all(pair.source.join("d")).unwrap();
    fs::write(pair.source.join("replaced"), "new").unwrap();
    fs::write(pair.source.join("temporary"), "newer").unwrap();
    fs::rename(pair.source.join("temporary"), pair.source.join("renamed over")).unwrap();
    fs::remove_file(pair.source.join("links/a")).unwrap();
    pair.assert_equal_within(SOON, "live changes");

    let wanted = ["d/one", "d/two", "extra", "removed", "renamed over", "replaced"];
    let is_all = || {
        let kept = kept(&trash);
        wanted.iter().all(|content| kept.iter().any(|found| found == content)).then_some(())
    };
    wait::for_value(SOON, is_all, || format!("{:?}", kept(&trash)));
    assert!(!kept(&trash).iter().any(|content| content == "links/a"), "it has a name still");
    osync.terminate();

    let once = [&arguments[..], arguments!["--once"]].concat();
    // What changed in the last seconds is proven at the next start.
    Osync::run(&once);
    let (status, log) = Osync::run(&once);
    assert_eq!(status.code(), Some(0), "{log}");
    assert!(log.contains("done: 0 files") && log.contains(" 0 removed"), "{log}");
    pair.assert_equal();
}

#[test]
fn a_mirror_killed_while_it_replaces_and_removes_has_lost_nothing() {
    let sample = [
        ("renameat2", 1),
        ("renameat2", 2),
        ("renameat2", 7),
        ("renameat2", 12),
        ("renameat", 1),
        ("mkdirat", 3),
        ("unlinkat", 2),
    ];
    kills::kill_at(&["renameat2", "renameat", "mkdirat", "unlinkat"], &sample, |call, count| {
        let pair = Pair::new();
        let trash = pair.source.with_file_name("trash");
        let old =
            ["f0", "f1", "f2", "f3", "gone/in/a", "gone/in/b", "extra", "file", "directory/in"];
        for name in old {
            tree::write(&pair.target, name, format!("old {name}"));
        }
        for name in ["f0", "f1", "f2", "f3", "file/in", "directory"] {
            tree::write(&pair.source, name, "new");
        }
        let arguments = arguments![
            "mirror",
            pair.source,
            pair.target,
            "--trash",
            trash,
            "--once",
            "--writers",
            "1"
        ];

        let (status, _) = kills::start_to_be_killed(call, count, arguments).wait_exit(2 * SOON);

        let left = [kept(&pair.target), kept(&trash)].concat();
        let (again, log) = Osync::run(arguments);
        assert_eq!(again.code(), Some(0), "{call} {count}: {log}");
        pair.assert_equal();
        for name in old.map(|name| format!("old {name}")) {
            assert!(left.contains(&name), "{name} is lost at once by {call} {count}");
            assert!(kept(&trash).contains(&name), "{name} is lost by {call} {count}");
        }
        status.code().is_none()
    });
}

#[test]
fn a_trash_in_either_directory_is_refused() {
    let pair = Pair::new();
    tree::write(&pair.source, "file", "x");
    for trash in [pair.source.join("trash"), pair.target.join("trash")] {
        let (status, log) =
            Osync::run(arguments!["mirror", pair.source, pair.target, "--once", "--trash", trash]);

        assert_eq!(status.code(), Some(2), "{log}");
        assert!(log.contains("trash"), "{log}");
        assert!(!pair.source.join("trash").exists() && !pair.target.join("file").exists());
    }
}
