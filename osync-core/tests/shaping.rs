//! What travels is as short and as slow as was asked for.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod counting;

use std::sync::Arc;
use std::time::{Duration, Instant};

use osync_core::adapters::feed::channel::{ChannelFeed, ChannelFeedHandle};
use osync_core::model::change::{Change, Touch};
use osync_core::model::compression::Compression;
use osync_core::model::connection::ConnectionDetails;
use osync_core::model::rel_path::RelPath;
use osync_core::options::{SinkOptions, SourceOptions};
use osync_core::testing::mem_tree::MemTree;
use osync_core::{Mirror, SinkEndpoint, SourceEndpoint};

use crate::counting::Counting;

const DEADLINE: Duration = Duration::from_mins(1);

struct Pair {
    source: MemTree,
    sink: MemTree,
    feed: ChannelFeedHandle,
    mirror: Mirror,
}

impl Pair {
    /// Begins to mirror `source`.
    fn start(source: MemTree, options: SourceOptions) -> Self {
        let sink = MemTree::starting_at(2_000_000_000);
        let (feed, handle) = ChannelFeed::new();
        let (from, to, monitor) = (source.clone(), sink.clone(), Arc::new(()));
        let mirror = Mirror::start(
            Arc::new(from),
            Box::new(feed),
            Arc::new(to),
            options,
            SinkOptions::default(),
            monitor,
        );
        Self { source, sink, feed: handle, mirror: mirror.unwrap() }
    }

    fn wait_in_sync(&self) {
        let answer = self.mirror.wait_in_sync(Some(DEADLINE)).unwrap();
        assert_eq!(answer.expect("in sync within the deadline").problems, 0);
        assert_eq!(self.source.diff(&self.sink), [""; 0]);
    }

    fn wire_bytes(&self) -> u64 {
        self.mirror.transfer_report().wire_bytes
    }
}

/// A few small files and a large one, 2 MB of text together.
fn texts() -> MemTree {
    let tree = MemTree::new();
    for number in 0..100 {
        tree.write(format!("small/{number}"), format!("line {number} of many\n").repeat(500));
    }
    tree.write("large", "all work and no play makes a dull line\n".repeat(25_000));
    tree
}

#[test]
fn text_travels_shorter_and_arrives_as_it_was() {
    let plain = Pair::start(texts(), SourceOptions::default().with_compression(Compression::Off));
    plain.wait_in_sync();
    let level = Compression::Level(3);
    let packed = Pair::start(texts(), SourceOptions::default().with_compression(level));
    packed.wait_in_sync();

    let (plain, packed) = (plain.wire_bytes(), packed.wire_bytes());
    assert!(packed * 4 < plain, "{packed} bytes instead of {plain}");
}

#[test]
fn a_limit_on_all_traffic_is_kept() {
    let options =
        SourceOptions::default().with_compression(Compression::Off).with_rate_max(Some(2_000_000));
    let begun = Instant::now();
    let pair = Pair::start(texts(), options);
    pair.wait_in_sync();

    let millis = u64::try_from(begun.elapsed().as_millis()).unwrap();
    let rate = pair.wire_bytes() * 1_000 / millis;
    assert!(rate < 2_400_000, "{rate} bytes a second");
}

#[test]
fn a_live_change_does_not_wait_for_the_limit_of_the_backlog() {
    let options = SourceOptions::default()
        .with_compression(Compression::Off)
        .with_backlog_rate_max(Some(200_000));
    let pair = Pair::start(texts(), options);
    let begun = Instant::now();
    while pair.sink.snapshot().len() < 10 {
        assert!(begun.elapsed() < DEADLINE, "nothing arrives");
        std::thread::sleep(Duration::from_millis(1));
    }

    pair.source.write("new", vec![7; 100_000]);
    let path = RelPath::new(b"new").unwrap();
    pair.feed.report(Change::Entry { path, touch: Touch::Settled }).unwrap();
    while pair.sink.content("new").is_none() {
        assert!(begun.elapsed() < DEADLINE, "it never arrives");
        std::thread::sleep(Duration::from_millis(1));
    }

    assert!(pair.sink.content("large").is_none(), "the backlog takes ten seconds");
}

/// Bytes of the longest payload that a copy of [`texts`] sends with `options`.
fn longest_payload_bytes(options: SourceOptions) -> usize {
    let details = ConnectionDetails { control: "control".into(), data: "data".into() };
    let (transport, monitor) = (Counting::default(), Arc::new(()));
    let (from, to) = (Arc::new(texts()), Arc::new(MemTree::new()));
    let (feed, _handle) = ChannelFeed::new();
    let options = options.with_compression(Compression::Off);
    let source = SourceEndpoint::start(
        from,
        Box::new(feed),
        &transport,
        &details,
        options,
        Arc::clone(&monitor) as _,
    );
    let sink = SinkEndpoint::start(to, &transport, &details, SinkOptions::default(), monitor);
    let answer = sink.unwrap().wait_in_sync(Some(DEADLINE)).unwrap();
    assert_eq!(answer.expect("in sync within the deadline").problems, 0);
    drop(source.unwrap());
    transport.sent_bytes().1
}

#[test]
fn no_message_is_longer_than_asked_for() {
    // Beside the content there are the names and metadata of a message.
    let limit_bytes = 32 << 10;
    let rest_bytes = 8 << 10;
    let options = SourceOptions::default().with_batch_bytes_max(limit_bytes);
    let short = longest_payload_bytes(options.with_chunk_bytes_max(limit_bytes));

    let limit_bytes = usize::try_from(limit_bytes).unwrap();
    assert!((limit_bytes / 2..limit_bytes + rest_bytes).contains(&short), "{short}");
    let long = longest_payload_bytes(SourceOptions::default());
    assert!(long > limit_bytes + rest_bytes, "{long}");
}
