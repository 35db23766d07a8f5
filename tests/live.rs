//! Live: changes of every kind arrive while both ends run, and they arrive soon.

use std::ffi::OsStr;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::FallocateFlags;

use crate::program::{Osync, SOON, arguments, start_source};
use crate::shell::{is_installed, run};
use crate::tree::{self, Pair};

/// Changes whose way is timed.
const LATENCY_SAMPLES: usize = 100;
/// What the median may be on a loaded machine in a debug build; it is 20 ms where that is measured properly.
const LATENCY_MEDIAN_MAX: Duration = Duration::from_millis(200);

/// One kind of change and its name.
type Change = (&'static str, fn(&Path));

/// In this order: later ones build on earlier ones.
const CHANGES: [Change; 45] = [
    ("create", |root| tree::write(root, "new", "new")),
    ("overwrite", |root| {
        tree::write(root, "new", "longer than before");
    }),
    ("overwrite with the same size", |root| {
        tree::write(root, "new", "LONGER THAN BEFORE");
    }),
    ("append", |root| {
        let mut file = OpenOptions::new().append(true).open(root.join("new")).unwrap();
        file.write_all(b" and more").unwrap();
    }),
    ("truncate", |root| {
        let file = OpenOptions::new().write(true).open(root.join("new")).unwrap();
        file.set_len(3).unwrap();
    }),
    ("empty file", |root| tree::write(root, "empty", "")),
    ("rename", |root| {
        fs::rename(root.join("new"), root.join("renamed")).unwrap();
    }),
    ("rename over existing", |root| {
        tree::write(root, "beside", "another");
        fs::rename(root.join("beside"), root.join("renamed")).unwrap();
    }),
    ("swap of names", |root| {
        fs::rename(root.join("d0"), root.join("aside")).unwrap();
        fs::rename(root.join("d1"), root.join("d0")).unwrap();
        fs::rename(root.join("aside"), root.join("d1")).unwrap();
    }),
    ("chmod", |root| tree::set_mode(root.join("renamed"), 0o640)),
    ("chmod of a directory", |root| {
        tree::set_mode(root.join("d2"), 0o750);
    }),
    ("touch", |root| {
        tree::set_modified(root.join("renamed"), 1_234_567_890, 987_654_321);
    }),
    ("touch of a directory", |root| {
        tree::set_modified(root.join("d2"), 1_234_567_890, 1);
    }),
    ("touch of the root", |root| {
        tree::set_modified(root, 1_234_567_890, 2);
    }),
    ("files with holes", |root| tree::fill_holes(root, 2_000_000)),
    ("hole in a file", |root| {
        tree::write(root, "solid", vec![7; 1_000_000]);
        let file = OpenOptions::new().write(true).open(root.join("solid")).unwrap();
        let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        if let Err(errno) = rustix::fs::fallocate(&file, flags, 100_000, 600_000) {
            println!("SKIP: no holes can be punched here: {errno}");
        }
    }),
    ("attribute", |root| {
        tree::set_attribute(root.join("renamed"), "user.a", b"1");
    }),
    ("attribute of a directory", |root| {
        tree::set_attribute(root.join("d2"), "user.a", &[1; 2_000]);
    }),
    ("access list", |root| {
        let list = &tree::ACCESS_LIST;
        tree::set_attribute(root.join("renamed"), "system.posix_acl_access", list);
        tree::set_attribute(root.join("d2"), "system.posix_acl_default", list);
    }),
    ("chmod of what has an access list", |root| tree::set_mode(root.join("renamed"), 0o660)),
    ("attributes removed", |root| {
        for name in ["user.a", "system.posix_acl_access"] {
            // There is none where the file system has no attributes.
            rustix::fs::removexattr(root.join("renamed"), name).unwrap_or_default();
        }
    }),
    ("symlink, changed and dangling", |root| {
        symlink("renamed", root.join("link")).unwrap();
        fs::remove_file(root.join("link")).unwrap();
        symlink("nowhere", root.join("link")).unwrap();
    }),
    ("pipe", |root| tree::make_fifo(root.join("pipe"))),
    ("mkdir -p and a file at once", |root| {
        run(root, "mkdir -p a/b/c && echo x >a/b/c/d", &[]);
    }),
    ("directories into directories", |root| {
        run(
            root,
            "for i in 1 2 3 4 5 6 7 8 9; do mkdir -p m/$i/x/y; echo $i >m/$i/x/y/z; done",
            &[],
        );
    }),
    ("rename of a directory", |root| {
        fs::rename(root.join("m"), root.join("moved")).unwrap();
    }),
    ("write below a renamed directory", |root| {
        tree::write(root, "moved/1/x/y/z", "again");
    }),
    ("move in from outside", |root| {
        let outside = root.parent().unwrap().join("outside");
        tree::fill(&outside, 5, 5);
        fs::rename(outside, root.join("inside")).unwrap();
    }),
    ("move out", |root| {
        fs::rename(root.join("inside"), root.parent().unwrap().join("gone")).unwrap();
    }),
    ("tar x", |root| {
        run(root, "tar c d3 d4 | (mkdir unpacked && cd unpacked && tar x)", &[]);
    }),
    ("git checkout", |root| {
        let setup = "git init -q r && cd r && git config user.email a@b && git config user.name a";
        let commits = "cp -r ../d5 . && git add . && git commit -qm 1 && git checkout -qb two \
                       && git rm -qr d5/e5 && echo 2 >new && git add . && git commit -qm 2";
        run(
            root,
            &format!("{setup} && {commits} && git checkout -q - && git checkout -q two"),
            &[],
        );
    }),
    ("rm -r", |root| run(root, "rm -r unpacked moved a d0", &[])),
    ("another name", |root| {
        tree::write(root, "first", "of several names");
        fs::hard_link(root.join("first"), root.join("second")).unwrap();
    }),
    ("another name of something old, elsewhere", |root| {
        fs::hard_link(root.join("renamed"), root.join("d2/third")).unwrap();
    }),
    ("write through one of several names", |root| {
        fs::write(root.join("second"), "written through the second name").unwrap();
    }),
    ("the same size and time through one of several names", |root| {
        fs::write(root.join("first"), "WRITTEN THROUGH THE SECOND NAME").unwrap();
        tree::set_modified(root.join("first"), 1_234_567_890, 3);
    }),
    ("chmod through one of several names", |root| tree::set_mode(root.join("d2/third"), 0o600)),
    ("rename of one of several names", |root| {
        fs::rename(root.join("second"), root.join("d2/second")).unwrap();
    }),
    ("rename of a directory with some of several names", |root| {
        fs::rename(root.join("d2"), root.join("e2")).unwrap();
    }),
    ("another name in place of something", |root| {
        run(root, "ln -f first renamed", &[]);
    }),
    ("removal of one of several names", |root| fs::remove_file(root.join("first")).unwrap()),
    ("write through one of several names and its removal", |root| {
        run(root, "echo gone >renamed && rm renamed", &[]);
    }),
    ("more names of a link and a pipe", |root| {
        run(root, "ln -P link link2; ln pipe pipe2", &[]);
    }),
    ("a copy of a tree by links", |root| run(root, "cp -al d4 copied", &[])),
    ("swap of two things of several names", |root| {
        run(root, "echo 1 >o; ln o o2; echo 2 >p; ln p p2; mv o2 x; mv p2 o2; mv x p2", &[]);
    }),
];

#[test]
fn changes_of_every_kind_arrive_in_one_process() {
    changes_of_every_kind_arrive(&["--feed", "auto"]);
}

#[test]
fn changes_of_every_kind_arrive_with_inotify() {
    changes_of_every_kind_arrive(&["--feed", "inotify"]);
}

#[test]
fn changes_of_every_kind_arrive_by_polling() {
    changes_of_every_kind_arrive(&["--feed", "poll", "--poll-interval", "1"]);
}

fn changes_of_every_kind_arrive(options: &[&str]) {
    let pair = Pair::new();
    tree::fill(&pair.source, 21, 10);
    let mut arguments = arguments!["mirror", pair.source, pair.target].to_vec();
    arguments.extend(options.iter().map(OsStr::new));
    let mirror = Osync::start(&arguments);
    mirror.wait_line("in sync: ");

    make_every_change(&pair);

    mirror.terminate();
}

#[test]
fn changes_of_every_kind_arrive_over_loopback() {
    let pair = Pair::new();
    tree::fill(&pair.source, 21, 10);
    let (source, addresses) = start_source(&pair.source);
    let sink = addresses.start_sink(&pair.target);
    sink.wait_line("in sync: ");

    make_every_change(&pair);

    sink.terminate();
    source.terminate();
}

#[test]
fn a_small_file_is_at_the_sink_soon_after_it_is_closed() {
    let pair = Pair::new();
    tree::fill(&pair.source, 50, 20);
    let (source, addresses) = start_source(&pair.source);
    let sink = addresses.start_sink(&pair.target);
    sink.wait_line("in sync: ");

    let mut latencies: Vec<_> = (0..LATENCY_SAMPLES)
        .map(|index| {
            let name = format!("d0/sample{index}");
            fs::write(pair.source.join(&name), "a small file").unwrap();
            let closed = Instant::now();
            while !pair.target.join(&name).exists() {
                assert!(closed.elapsed() < SOON, "{name} never came:\n{}", sink.log());
                thread::sleep(Duration::from_micros(200));
            }
            closed.elapsed()
        })
        .collect();

    latencies.sort();
    let (median, p90) = (latencies[LATENCY_SAMPLES / 2], latencies[LATENCY_SAMPLES * 9 / 10]);
    println!("close() to visible at the sink: median {median:?}, p90 {p90:?}");
    assert!(median < LATENCY_MEDIAN_MAX, "median {median:?}, p90 {p90:?}");
    sink.terminate();
    source.terminate();
}

/// Others' events on a file system with a mark cost them and the source more than a few watches do.
#[test]
fn a_small_tree_in_memory_is_watched_with_inotify() {
    let Ok(directory) = tempfile::tempdir_in("/dev/shm") else {
        println!("SKIP: no file system in memory here");
        return;
    };
    let watch = || {
        let (source, _) = start_source(directory.path());
        let line = source.wait_line("watching with ");
        source.terminate();
        line.rsplit(' ').next().unwrap().to_owned()
    };
    assert_eq!(watch(), "inotify");

    // More directories than are worth it; who may not use fanotify watches them all the same.
    for index in 0..5_000 {
        fs::create_dir(directory.path().join(index.to_string())).unwrap();
    }
    assert_eq!(watch() == "fanotify", tree::is_root());
}

fn make_every_change(pair: &Pair) {
    for (name, change) in CHANGES {
        let tool = name.split_once(' ').map_or(name, |(tool, _)| tool);
        if ["tar", "git"].contains(&tool) && !is_installed(tool) {
            println!("skipped: {name}: {tool} is not installed");
            continue;
        }
        change(&pair.source);
        pair.assert_equal_within(SOON, name);
    }
}
