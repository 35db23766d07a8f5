//! Trees of relays: everybody gets everything, and what leaves the source does not depend on how many are behind
//! its relays.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod counting;

use std::sync::Arc;
use std::time::Duration;

use osync_core::adapters::feed::channel::{ChannelFeed, ChannelFeedHandle};
use osync_core::adapters::relay::RelaySink;
use osync_core::model::change::{Change, Touch};
use osync_core::model::compression::Compression;
use osync_core::model::connection::ConnectionDetails;
use osync_core::model::rel_path::RelPath;
use osync_core::model::sink_id::SinkId;
use osync_core::options::{SinkOptions, SourceOptions};
use osync_core::ports::change_feed::ChangeFeed;
use osync_core::ports::sink::Sink;
use osync_core::testing::mem_tree::MemTree;
use osync_core::{SinkEndpoint, SourceEndpoint};

use crate::counting::Counting;

/// Far more than any of it takes; a test that waits as long has failed.
const DEADLINE: Duration = Duration::from_mins(1);

/// Someone who serves a tree: the source, or the lower half of a relay.
struct Server {
    transport: Counting,
    endpoint: SourceEndpoint,
}

impl Server {
    fn start(tree: &MemTree, feed: Box<dyn ChangeFeed>) -> Self {
        let transport = Counting::default();
        let options = SourceOptions::default().with_compression(Compression::Off);
        let endpoint = SourceEndpoint::start(
            Arc::new(tree.clone()),
            feed,
            &transport,
            &details(),
            options,
            Arc::new(()),
        );
        Self { transport, endpoint: endpoint.unwrap() }
    }

    fn sent_bytes(&self) -> usize {
        self.transport.sent_bytes().0
    }
}

fn details() -> ConnectionDetails {
    ConnectionDetails { control: "control".into(), data: "data".into() }
}

/// A tree of relays below one source. Of those who serve, parents come before their children.
struct Network {
    tree: MemTree,
    feed: ChannelFeedHandle,
    servers: Vec<Server>,
    /// Relays' upper halves and sinks in the same order, then the sinks without anybody below them.
    receivers: Vec<(MemTree, SinkEndpoint)>,
}

impl Network {
    /// As many relays at the source, and so many below each of those, level by level; the last number is that of
    /// plain sinks.
    fn start(tree: MemTree, fan_out: &[usize]) -> Self {
        let (feed, handle) = ChannelFeed::new();
        let servers = vec![Server::start(&tree, Box::new(feed))];
        let mut network = Self { tree, feed: handle, servers, receivers: Vec::new() };
        let mut parents = 0..1;
        for (level, &children) in fan_out.iter().enumerate() {
            let is_last = level + 1 == fan_out.len();
            for parent in parents.clone() {
                for _ in 0..children {
                    network.add(parent, !is_last);
                }
            }
            parents = parents.end..network.servers.len();
        }
        network
    }

    fn add(&mut self, parent: usize, is_relay: bool) {
        let number = self.receivers.len();
        let tree = MemTree::starting_at(2_000_000_000 + i64::try_from(number).unwrap() * 1_000_000);
        let mut sink: Arc<dyn Sink> = Arc::new(tree.clone());
        if is_relay {
            let (relay, feed) = RelaySink::new(sink);
            sink = Arc::new(relay);
            self.servers.push(Server::start(&tree, Box::new(feed)));
        }
        let name = SinkId::new(format!("sink{number}")).unwrap();
        let options = SinkOptions::default().with_name(name);
        let transport = &self.servers[parent].transport;
        let sink = SinkEndpoint::start(sink, transport, &details(), options, Arc::new(()));
        self.receivers.push((tree, sink.unwrap()));
    }

    /// Waits until everybody has everything: whoever is nearer to the source first.
    fn assert_all_equal(&self) {
        for (tree, sink) in &self.receivers {
            let answer = sink.wait_in_sync(Some(DEADLINE)).unwrap();
            assert_eq!(answer.expect("in sync within the deadline").problems, 0);
            assert_eq!(self.tree.diff(tree), Vec::<String>::new());
        }
    }

    fn write(&self, path: &str, content: String) {
        self.tree.write(path, content);
        let path = RelPath::new(path.as_bytes()).unwrap();
        self.feed.report(Change::Entry { path, touch: Touch::Settled }).unwrap();
    }

    fn stop(self) {
        for (_, sink) in self.receivers.into_iter().rev() {
            sink.stop();
            sink.join().unwrap();
        }
        for server in self.servers.into_iter().rev() {
            server.endpoint.stop();
            server.endpoint.join().unwrap();
        }
    }
}

/// Copies a tree, changes it, and returns how many bytes left the source and, in the mean, each relay.
fn sent_bytes(fan_out: &[usize]) -> (usize, Option<usize>) {
    let tree = MemTree::new();
    for directory in 0..10 {
        for file in 0..20 {
            tree.write(format!("d{directory}/f{file}"), format!("{file:08}").repeat(1_000));
        }
    }
    let network = Network::start(tree, fan_out);
    network.assert_all_equal();
    for round in 0..50 {
        network.write(&format!("d{}/f1", round % 10), format!("{round:08}").repeat(500));
    }
    network.assert_all_equal();
    let (source, relays) = network.servers.split_first().unwrap();
    let by_relays: usize = relays.iter().map(Server::sent_bytes).sum();
    let each = by_relays.checked_div(relays.len());
    let sent = (source.sent_bytes(), each);
    network.stop();
    sent
}

/// Whether one is the other within a quarter: how often a hot file is sent is a matter of timing.
fn is_about(bytes: usize, other: usize) -> bool {
    bytes.abs_diff(other) * 4 < other
}

/// The same of a relay: what arrives at it while its sinks compare may be sent by both, twice at the most.
fn is_by_relay(bytes: usize, other: usize) -> bool {
    bytes * 4 > other * 3 && bytes * 4 < other * 9
}

#[test]
fn a_source_sends_once_to_each_of_its_own_and_nothing_for_those_behind_them() {
    let (one, _) = sent_bytes(&[1]);
    let (direct, _) = sent_bytes(&[6]);
    assert!(is_about(direct, 6 * one), "{direct} to six sinks, {one} to one");

    let (behind, relay) = sent_bytes(&[1, 6]);
    assert!(is_about(behind, one), "{behind} to one relay with six sinks, {one} to one sink");
    assert!(relay.is_some_and(|relay| is_by_relay(relay, 6 * one)), "{relay:?} from the relay");

    let (two_levels, relay) = sent_bytes(&[2, 2, 2]);
    assert!(
        is_about(two_levels, 2 * one),
        "{two_levels} to eight sinks by six relays, {one} to one"
    );
    assert!(relay.is_some_and(|relay| is_by_relay(relay, 2 * one)), "{relay:?} from each relay");
}
