//! One source, several sinks: each gets everything, and what several want at once is read once.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use osync_core::adapters::feed::channel::{ChannelFeed, ChannelFeedHandle};
use osync_core::adapters::transport::in_process::InProcessTransport;
use osync_core::model::change::{Change, Touch};
use osync_core::model::connection::ConnectionDetails;
use osync_core::model::metadata::{Metadata, Stamp};
use osync_core::model::name::Name;
use osync_core::model::rel_path::RelPath;
use osync_core::model::sink_id::SinkId;
use osync_core::options::{SinkOptions, SourceOptions};
use osync_core::ports::source::{Page, Source, SourceError, SourceFile};
use osync_core::testing::mem_tree::MemTree;
use osync_core::{SinkEndpoint, SourceEndpoint};

/// Far more than any of it takes; a test that waits as long has failed.
const DEADLINE: Duration = Duration::from_mins(1);

/// A source and its sinks in one process.
struct Fleet {
    transport: InProcessTransport,
    details: ConnectionDetails,
    tree: MemTree,
    feed: ChannelFeedHandle,
    source: SourceEndpoint,
    sinks: Vec<(MemTree, SinkEndpoint)>,
}

/// A tree of which no file is opened while somebody holds the count of those that were.
struct Gated {
    tree: MemTree,
    openings: Arc<Mutex<usize>>,
}

impl Source for Gated {
    fn metadata(&self, path: &RelPath) -> Result<Option<(Metadata, Stamp)>, SourceError> {
        self.tree.metadata(path)
    }

    fn list(
        &self,
        directory: &RelPath,
        after: Option<&Name>,
        limit: usize,
    ) -> Result<Option<Page>, SourceError> {
        self.tree.list(directory, after, limit)
    }

    fn open(&self, path: &RelPath) -> Result<Option<Box<dyn SourceFile>>, SourceError> {
        *self.openings.lock().unwrap() += 1;
        self.tree.open(path)
    }
}

impl Fleet {
    fn start(tree: MemTree, options: SourceOptions) -> Self {
        Self::start_with(tree.clone(), Arc::new(tree), options)
    }

    fn start_with(tree: MemTree, source: Arc<dyn Source>, options: SourceOptions) -> Self {
        let transport = InProcessTransport::new();
        let details = ConnectionDetails { control: "control".into(), data: "data".into() };
        let (feed, handle) = ChannelFeed::new();
        let source = SourceEndpoint::start(
            source,
            Box::new(feed),
            &transport,
            &details,
            options,
            Arc::new(()),
        );
        Self { transport, details, tree, feed: handle, source: source.unwrap(), sinks: Vec::new() }
    }

    fn add_sink(&mut self) {
        let tree = MemTree::starting_at(2_000_000_000);
        let name = SinkId::new(format!("sink{}", self.sinks.len())).unwrap();
        let sink = SinkEndpoint::start(
            Arc::new(tree.clone()),
            &self.transport,
            &self.details,
            SinkOptions::default().with_name(name),
            Arc::new(()),
        );
        self.sinks.push((tree, sink.unwrap()));
    }

    fn write(&self, path: &str, content: &str) {
        self.tree.write(path, content);
        let path = RelPath::new(path.as_bytes()).unwrap();
        self.feed.report(Change::Entry { path, touch: Touch::Settled }).unwrap();
    }

    fn assert_all_equal(&self) {
        for (tree, sink) in &self.sinks {
            let answer = sink.wait_in_sync(Some(DEADLINE)).unwrap();
            assert_eq!(answer.expect("in sync within the deadline").problems, 0);
            assert_eq!(self.tree.diff(tree), Vec::<String>::new());
        }
    }

    fn stop(self) {
        for (_, sink) in self.sinks {
            sink.stop();
            sink.join().unwrap();
        }
        self.source.stop();
        self.source.join().unwrap();
    }
}

/// Polls until `is_so`, or fails at the deadline.
fn wait_until(is_so: impl Fn() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < DEADLINE, "it never is");
        thread::sleep(Duration::from_millis(1));
    }
}

fn filled(directories: usize, files: usize) -> MemTree {
    let tree = MemTree::new();
    for directory in 0..directories {
        for file in 0..files {
            tree.write(format!("d{directory}/f{file}"), format!("content {directory} {file}"));
        }
    }
    tree
}

#[test]
fn every_sink_gets_everything_and_a_late_one_too() {
    let mut fleet = Fleet::start(filled(20, 20), SourceOptions::default());
    for _ in 0..4 {
        fleet.add_sink();
    }
    fleet.assert_all_equal();

    for round in 0..50 {
        fleet.write(&format!("d{}/f1", round % 20), &format!("changed in round {round}"));
    }
    fleet.add_sink();
    fleet.assert_all_equal();
    fleet.stop();
}

#[test]
fn what_several_sinks_want_at_once_is_read_once() {
    let gate = Arc::new(Mutex::new(0));
    let gated = Gated { tree: filled(1, 1), openings: Arc::clone(&gate) };
    let options = SourceOptions::default().with_readers(1);
    let mut fleet = Fleet::start_with(gated.tree.clone(), Arc::new(gated), options);
    for _ in 0..8 {
        fleet.add_sink();
    }
    fleet.assert_all_equal();

    let mut openings = gate.lock().unwrap();
    fleet.write("d0/new", "new");
    // Each of them wants it.
    wait_until(|| fleet.source.reports().iter().all(|(_, queue)| queue.in_flight > 0));
    *openings = 0;
    drop(openings);
    fleet.assert_all_equal();

    assert!(*gate.lock().unwrap() <= 2, "once by the first, once for all others");
    assert!(fleet.source.transfer_report().readings_shared >= 6);
    fleet.stop();
}

#[test]
fn one_more_than_allowed_is_refused_and_harms_nobody() {
    let mut fleet = Fleet::start(filled(2, 2), SourceOptions::default().with_sinks_max(2));
    fleet.add_sink();
    fleet.add_sink();
    fleet.assert_all_equal();

    fleet.add_sink();
    let (_, refused) = fleet.sinks.last().unwrap();
    let answer = refused.wait_in_sync(Some(Duration::from_secs(1))).unwrap();

    assert!(answer.is_none());
    let (tree, refused) = fleet.sinks.pop().unwrap();
    assert_eq!(tree.snapshot().len(), 1, "the root alone");
    refused.stop();
    refused.join().unwrap();
    fleet.write("d0/f0", "still served");
    fleet.assert_all_equal();
    fleet.stop();
}

#[test]
fn a_sink_that_has_ended_knows_which_problems_were_left() {
    let tree = filled(1, 2);
    tree.fail_reads("d0/f0");
    let mut fleet = Fleet::start(tree, SourceOptions::default());
    let problems_left = |sink: SinkEndpoint| {
        sink.stop();
        wait_until(|| sink.is_finished());
        let left = sink.queue_report().problems;
        assert_eq!(sink.problems().len() as u64, left);
        sink.join().unwrap();
        left
    };
    for _ in 0..2 {
        fleet.add_sink();
    }
    for (_, sink) in &fleet.sinks {
        let answer = sink.wait_in_sync(Some(DEADLINE)).unwrap();
        assert_eq!(answer.expect("in sync within the deadline").problems, 1);
    }

    assert_eq!(problems_left(fleet.sinks.pop().unwrap().1), 1);

    // Said in time as it goes, if not before.
    fleet.tree.clear_failures();
    fleet.write("d0/f0", "readable by now");
    wait_until(|| fleet.source.reports().iter().all(|(_, queue)| queue.problems == 0));
    assert_eq!(problems_left(fleet.sinks.pop().unwrap().1), 0);
    fleet.stop();
}
