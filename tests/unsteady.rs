//! Files that never hold still: a whole version is at the sink all the same, and the last one in the end.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use osync_sys::mapping::SharedWritable;

use crate::program::{Osync, SOON, arguments};
use crate::tree::{self, Pair};
use crate::wait;

/// What a file that is rewritten holds: so many times the same number, so that a mixture shows. It is a
/// page, because a writer that is interrupted between two pages has a mixture there itself.
const NUMBERS: usize = 1_024;
/// How old the version at the sink may be.
const AGE_MILLISECONDS_MAX: u32 = 5_000;
/// How long the files are kept in motion.
const RESTLESS: Duration = Duration::from_secs(8);

#[test]
fn a_whole_version_of_what_never_holds_still_is_at_the_sink_soon() {
    let pair = Pair::new();
    let (source, target) = (&pair.source, &pair.target);
    for path in ["rewritten", "put back"] {
        tree::write(source, path, 0_u32.to_le_bytes().repeat(NUMBERS));
    }
    tree::write(source, "log", "");
    let osync = Osync::start(arguments!["mirror", source, target]);
    osync.wait_line("in sync");
    let is_over = AtomicBool::new(false);
    let begin = Instant::now();
    // What a file holds is the number of milliseconds since the beginning.
    let milliseconds = || u32::try_from(begin.elapsed().as_millis()).unwrap();

    thread::scope(|scope| {
        scope.spawn(|| {
            let rewritten = OpenOptions::new().write(true).open(source.join("rewritten")).unwrap();
            let put_back = OpenOptions::new().write(true).open(source.join("put back")).unwrap();
            let mut log = OpenOptions::new().append(true).open(source.join("log")).unwrap();
            while !is_over.load(Ordering::Relaxed) {
                let content = milliseconds().to_le_bytes().repeat(NUMBERS);
                rewritten.write_all_at(&content, 0).unwrap();
                put_back.write_all_at(&content, 0).unwrap();
                tree::set_modified(source.join("put back"), 1_000_000_000, 0);
                writeln!(log, "{}", milliseconds()).unwrap();
                thread::sleep(Duration::from_millis(1));
            }
        });
        let deadline = begin + RESTLESS;
        while Instant::now() < deadline {
            for path in ["rewritten", "put back"] {
                let version = whole_version(&target.join(path));
                let age = milliseconds().saturating_sub(version);
                assert!(age < AGE_MILLISECONDS_MAX, "{path} is {age} ms old");
            }
            thread::sleep(Duration::from_millis(20));
        }
        let log = fs::read_to_string(target.join("log")).unwrap();
        let newest: u32 = log.lines().rev().nth(1).unwrap().parse().unwrap();
        is_over.store(true, Ordering::Relaxed);
        assert!(milliseconds().saturating_sub(newest) < AGE_MILLISECONDS_MAX, "the log is old");
    });

    pair.assert_equal_within(SOON, "equal once everything holds still");
    osync.terminate();
}

#[test]
fn stores_through_a_mapping_are_at_the_sink_soon() {
    let pair = Pair::new();
    let (source, target) = (&pair.source, &pair.target);
    let sizes = [("small", 4_096), ("large", 1_000_000)];
    for (name, bytes) in sizes {
        tree::write(source, name, vec![0; bytes]);
    }
    let osync = Osync::start(arguments!["mirror", source, target]);
    osync.wait_line("in sync");
    let mut mappings = sizes.map(|(name, bytes)| {
        let file = OpenOptions::new().read(true).write(true).open(source.join(name)).unwrap();
        SharedWritable::map(file, bytes).unwrap()
    });
    if !is_told_what_is_mapped() {
        println!("SKIP: this kernel does not tell what is mapped");
        return;
    }

    for value in 1..5 {
        for mapping in &mut mappings {
            mapping.fill(value);
        }
        for (name, bytes) in sizes {
            let is_there = || fs::read(target.join(name)).unwrap() == vec![value; bytes];
            wait::for_value(SOON, || is_there().then_some(()), || format!("{value} in {name}"));
        }
    }

    drop(mappings);
    pair.assert_equal_within(SOON, "equal once nothing is mapped");
    osync.terminate();
}

fn is_told_what_is_mapped() -> bool {
    let maps = fs::File::open("/proc/self/maps").unwrap();
    osync_sys::mapping::next_shared_writable(maps, 0).is_ok()
}

/// The number of which the whole file at `path` consists.
fn whole_version(path: &Path) -> u32 {
    let content = fs::read(path).unwrap();
    assert_eq!(content.len(), 4 * NUMBERS);
    let mut numbers =
        content.chunks_exact(4).map(|bytes| u32::from_le_bytes(bytes.try_into().unwrap()));
    let first = numbers.next().unwrap();
    assert!(numbers.all(|number| number == first), "a mixture of versions");
    first
}
