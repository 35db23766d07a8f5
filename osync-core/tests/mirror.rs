//! `Mirror` over two trees in memory: real threads, real time, and a host that reports its own changes.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[expect(dead_code, reason = "the simulation uses the rest")]
#[path = "simulation/random.rs"]
mod random;

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use osync_core::Mirror;
use osync_core::adapters::feed::channel::{ChannelFeed, ChannelFeedHandle};
use osync_core::adapters::fs::sink::DirectorySink;
use osync_core::adapters::fs::source::DirectorySource;
use osync_core::model::change::{Change, Touch};
use osync_core::model::rel_path::RelPath;
use osync_core::options::{SinkOptions, SourceOptions};
use osync_core::ports::monitor::Event;
use osync_core::testing::mem_tree::MemTree;
use osync_core::testing::recorder::Recorder;
use tempfile::TempDir;

use crate::random::Random;

/// Far more than any of it takes; a test that waits as long has failed.
const DEADLINE: Duration = Duration::from_mins(1);

/// Seconds since 1970, for a tree in which everything changed after any moment by the clock of this machine.
const LATER: i64 = 10_000_000_000;

struct Pair {
    source: MemTree,
    sink: MemTree,
    feed: ChannelFeedHandle,
    recorder: Recorder,
    mirror: Mirror,
}

impl Pair {
    fn start(source: MemTree) -> Self {
        let sink = MemTree::starting_at(2_000_000_000);
        let recorder = Recorder::new();
        let (feed, handle) = ChannelFeed::new();
        let mirror = Mirror::start(
            Arc::new(source.clone()),
            Box::new(feed),
            Arc::new(sink.clone()),
            SourceOptions::default(),
            SinkOptions::default(),
            Arc::new(recorder.clone()),
        );
        Self { source, sink, feed: handle, recorder, mirror: mirror.unwrap() }
    }

    /// Waits until the sink says that it has everything; returns how many paths it could not have.
    fn wait_in_sync(&self) -> u64 {
        let answer = self.mirror.wait_in_sync(Some(DEADLINE)).unwrap();
        answer.expect("in sync within the deadline").problems
    }

    fn write(&self, path: &str, content: impl AsRef<[u8]>) {
        self.source.write(path, content);
        report(&self.feed, path);
    }

    fn stop(self) {
        self.mirror.join().unwrap();
        let end =
            self.recorder.wait_for(DEADLINE, |event| matches!(event, Event::Terminated { .. }));
        assert!(end.is_some());
    }
}

fn rel_path(path: &str) -> RelPath {
    RelPath::new(path.as_bytes()).unwrap()
}

fn report(feed: &ChannelFeedHandle, path: &str) {
    feed.report(Change::Entry { path: rel_path(path), touch: Touch::Settled }).unwrap();
}

/// Changes things in `directory`, which nobody else does, and reports each change after it.
fn churn(tree: &MemTree, feed: &ChannelFeedHandle, directory: &str, seed: u64) {
    let mut random = Random::new(seed);
    for step in 0..400 {
        let path = |random: &mut Random| {
            let (above, name) = (random.below(3), random.below(6));
            if above == 0 {
                format!("{directory}/{name}")
            } else {
                format!("{directory}/d{above}/{name}")
            }
        };
        let target = path(&mut random);
        match random.below(10) {
            0..5 => {
                let bytes = if random.chance(30) { 200_000 } else { random.below(2_000) };
                let content = format!("{directory} {step} ").repeat(random.index(40) + 1);
                let bytes = usize::try_from(bytes).unwrap();
                let content: Vec<u8> =
                    content.into_bytes().into_iter().cycle().take(bytes).collect();
                tree.write(&target, content);
                report(feed, &target);
            }
            5..7 => {
                tree.remove(&target);
                report(feed, &target);
            }
            7 => {
                tree.symlink(&target, format!("target {step}"));
                report(feed, &target);
            }
            _ => {
                let from = path(&mut random);
                if tree.rename(&from, &target) {
                    let (from, to) = (rel_path(&from), rel_path(&target));
                    feed.report(Change::Renamed { from, to, is_directory: false }).unwrap();
                }
            }
        }
    }
}

#[test]
fn the_trees_are_equal_after_many_hands_have_worked_at_once() {
    let source = MemTree::new();
    for directory in ["a", "b", "c"] {
        for file in 0..20 {
            source.write(format!("{directory}/d1/{file}"), format!("{directory} {file}"));
        }
    }
    let pair = Pair::start(source);

    for round in 0..3 {
        thread::scope(|scope| {
            for (directory, seed) in [("a", 1), ("b", 2), ("c", 3)] {
                let (tree, feed) = (pair.source.clone(), pair.feed.clone());
                scope.spawn(move || churn(&tree, &feed, directory, round * 10 + seed));
            }
            assert_eq!(pair.wait_in_sync(), 0);
        });
        assert_eq!(pair.wait_in_sync(), 0);
        assert_eq!(pair.source.diff(&pair.sink), [""; 0]);
    }

    let report = pair.mirror.queue_report();
    assert_eq!((report.live, report.backlog, report.in_flight), (0, 0, 0), "{report:?}");
    assert!(pair.mirror.transfer_report().files > 60);
    let mut events = pair.recorder.events();
    events.retain(|event| !matches!(event, Event::Horizon { .. }));
    assert!(matches!(events[..], [Event::Registered { .. }, ..]), "{events:?}");
    let is_bad = |event: &&Event| matches!(event, Event::Problem(_) | Event::Disconnected { .. });
    assert_eq!(events.iter().find(is_bad), None);
    pair.stop();
}

#[test]
fn a_directory_that_moves_takes_its_content_along() {
    let source = MemTree::new();
    for file in 0..50 {
        source.write(format!("old/deep/{file}"), vec![7; 10_000]);
    }
    let pair = Pair::start(source);
    assert_eq!(pair.wait_in_sync(), 0);
    let before = pair.mirror.transfer_report();

    pair.source.rename("old", "new");
    let (from, to) = (rel_path("old"), rel_path("new"));
    pair.feed.report(Change::Renamed { from, to, is_directory: true }).unwrap();
    assert_eq!(pair.wait_in_sync(), 0);

    assert_eq!(pair.source.diff(&pair.sink), [""; 0]);
    let after = pair.mirror.transfer_report();
    assert_eq!(after.content_bytes, before.content_bytes);
    assert_eq!(after.renamed, before.renamed + 1);
    pair.stop();
}

#[test]
fn in_sync_is_answered_though_files_are_replaced_by_renames_all_the_time() {
    let source = MemTree::new();
    let place = |step: u64| format!("d/{}/{}", step % 50, step / 50 % 20);
    for step in 0..1000 {
        source.write(place(step), "first");
        source.link(format!("links/{step}"), place(step));
    }
    let pair = Pair::start(source);
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            for step in (0_u64..).take_while(|_| !is_over.load(Ordering::Relaxed)) {
                let (new, old) = (format!("{}.new", place(step)), place(step));
                pair.source.write(&new, step.to_string());
                report(&pair.feed, &new);
                pair.source.rename(&new, &old);
                let (from, to) = (rel_path(&new), rel_path(&old));
                pair.feed.report(Change::Renamed { from, to, is_directory: false }).unwrap();
                // As a program would that has other things to do.
                thread::sleep(Duration::from_millis(2));
            }
        });
        let answers = [(); 3].map(|()| pair.mirror.wait_in_sync(Some(DEADLINE / 2)));
        is_over.store(true, Ordering::Relaxed);
        let is_told = |answer| matches!(answer, Ok(Some(_)));
        assert!(answers.into_iter().all(is_told), "an answer is not waited for half a minute");
    });
    pair.wait_in_sync();
    assert_eq!(pair.source.diff(&pair.sink), [""; 0]);
    pair.stop();
}

#[test]
fn what_the_feed_lost_is_found_by_comparison() {
    let pair = Pair::start(MemTree::new());
    pair.write("kept/file", "one");
    assert_eq!(pair.wait_in_sync(), 0);

    pair.source.write("kept/file", "two");
    pair.source.write("kept/new/deep/file", "three");
    pair.source.remove("kept/file");
    let reason = "the host was asleep".to_owned();
    pair.feed.report(Change::Lost { scope: rel_path("kept"), reason }).unwrap();
    assert_eq!(pair.wait_in_sync(), 0);

    assert_eq!(pair.source.diff(&pair.sink), [""; 0]);
    let is_it = |event: &Event| matches!(event, Event::FeedLost { scope, .. } if *scope == rel_path("kept"));
    assert!(pair.recorder.wait_for(DEADLINE, is_it).is_some());
    pair.stop();
}

/// Gives the file at `path` other content and the time that it had.
fn put_back(tree: &MemTree, path: &str, content: &str) {
    let before = tree.look(path).unwrap();
    assert_eq!(before.kind.size_bytes(), content.len() as u64);
    tree.write(path, content);
    tree.set_modified(path, before.modified);
}

#[test]
fn an_edit_that_puts_size_and_time_back_is_found_though_its_report_is_lost() {
    let pair = Pair::start(MemTree::starting_at(LATER));
    pair.write("kept/file", "one");
    pair.write("kept/other", "one");
    assert_eq!(pair.wait_in_sync(), 0);
    let before = pair.mirror.transfer_report();

    put_back(&pair.source, "kept/file", "two");
    let reason = "the host was asleep".to_owned();
    pair.feed.report(Change::Lost { scope: RelPath::root(), reason }).unwrap();
    assert_eq!(pair.wait_in_sync(), 0);

    assert_eq!(pair.source.diff(&pair.sink), [""; 0]);
    let after = pair.mirror.transfer_report();
    assert_eq!(after.files, before.files + 1, "what was written plainly is not sent again");
    pair.stop();
}

#[test]
fn an_edit_that_puts_size_and_time_back_is_found_though_its_mark_became_one_of_a_directory() {
    let pair = Pair::start(MemTree::starting_at(LATER));
    pair.write("d/e/file", "one");
    assert_eq!(pair.wait_in_sync(), 0);

    // A file that is being written to waits for quiet, and is taken up before.
    let changes: [fn(&Pair); 2] = [
        |pair| pair.feed.report(Change::Subtree { path: rel_path("d") }).unwrap(),
        |pair| {
            assert!(pair.source.rename("d", "f"));
            let (from, to) = (rel_path("d"), rel_path("f"));
            pair.feed.report(Change::Renamed { from, to, is_directory: true }).unwrap();
        },
    ];
    for (round, change) in changes.iter().enumerate() {
        put_back(&pair.source, "d/e/file", ["two", "six"][round]);
        let (path, touch) = (rel_path("d/e/file"), Touch::Writing);
        pair.feed.report(Change::Entry { path, touch }).unwrap();
        change(&pair);
        assert_eq!(pair.wait_in_sync(), 0);

        assert_eq!(pair.source.diff(&pair.sink), [""; 0], "round {round}");
    }
    pair.stop();
}

#[test]
fn one_bad_file_is_named_and_does_not_hold_up_the_rest() {
    let pair = Pair::start(MemTree::new());
    pair.sink.fail_writes("bad");
    pair.write("bad", "content");
    pair.write("good", "content");

    assert_eq!(pair.wait_in_sync(), 1);

    assert_eq!(pair.sink.content("good").as_deref(), Some(&b"content"[..]));
    let is_it =
        |event: &Event| matches!(event, Event::Problem(problem) if problem.path == rel_path("bad"));
    assert!(pair.recorder.wait_for(DEADLINE, is_it).is_some());

    pair.sink.clear_failures();
    pair.write("bad", "better");
    assert_eq!(pair.wait_in_sync(), 0);
    assert_eq!(pair.source.diff(&pair.sink), [""; 0]);
    pair.stop();
}

#[test]
fn a_name_outside_of_the_tree_has_nothing_sent_or_proven_twice() {
    const FILES: usize = 16;
    let [above, to] = [(); 2].map(|()| TempDir::new().unwrap());
    let from = above.path().join("tree");
    fs::create_dir(&from).unwrap();
    let mut random = Random::new(1);
    for file in 0..FILES {
        let content: Vec<u8> = (0..200_000).map(|_| random.next().to_le_bytes()[0]).collect();
        fs::write(from.join(file.to_string()), content).unwrap();
    }
    fs::hard_link(from.join("0"), above.path().join("outside")).unwrap();
    let (feed, _handle) = ChannelFeed::new();

    // Slow enough for the search for the other name to be due while files still wait.
    let mirror = Mirror::start(
        Arc::new(DirectorySource::open(&from).unwrap()),
        Box::new(feed),
        Arc::new(DirectorySink::open(to.path()).unwrap()),
        SourceOptions::default().with_backlog_rate_max(Some(2_000_000)),
        SinkOptions::default(),
        Arc::new(()),
    );
    let mirror = mirror.unwrap();
    mirror.wait_in_sync(Some(DEADLINE)).unwrap().expect("in sync within the deadline");

    assert_eq!(mirror.transfer_report().files, FILES as u64);
    mirror.join().unwrap();
}

#[test]
fn an_audit_finds_what_nobody_reported() {
    let pair = Pair::start(MemTree::new());
    pair.write("a/b", "reported");
    pair.wait_in_sync();
    pair.source.write("a/b", "not reported");
    pair.source.write("a/c", "nor this");
    pair.wait_in_sync();
    assert_eq!(pair.sink.content("a/c"), None);

    pair.mirror.audit();
    pair.wait_in_sync();

    assert_eq!(pair.source.diff(&pair.sink), Vec::<String>::new());
    pair.stop();
}

#[test]
fn problems_are_counted_and_listed_until_they_are_solved() {
    let source = MemTree::new();
    source.write("good", "x");
    source.write("bad\n", "x");
    source.fail_reads("bad\n");
    let pair = Pair::start(source);
    assert_eq!(pair.wait_in_sync(), 1);

    assert_eq!(pair.mirror.queue_report().problems, 1);
    let listed = pair.mirror.problems(10);
    assert_eq!(listed.len(), 1);
    assert_eq!(listed[0].path.to_string(), "bad\\n");
    assert!(listed[0].retry_in > Duration::ZERO && !listed[0].is_inexact);

    pair.source.clear_failures();
    report(&pair.feed, "bad\n");
    assert_eq!(pair.wait_in_sync(), 0);
    assert_eq!(pair.mirror.queue_report().problems, 0);
    pair.stop();
}
