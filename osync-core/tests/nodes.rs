//! Sockets and devices between ends that have leave for them and ends that have not.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Arc;
use std::time::Duration;

use osync_core::Mirror;
use osync_core::adapters::feed::channel::{ChannelFeed, ChannelFeedHandle};
use osync_core::model::attributes::Attributes;
use osync_core::model::change::{Change, Touch};
use osync_core::model::fidelity::Fidelity;
use osync_core::model::metadata::{Device, Kind, Metadata};
use osync_core::model::name::Name;
use osync_core::model::nodes::Nodes;
use osync_core::model::rel_path::RelPath;
use osync_core::model::timestamp::Timestamp;
use osync_core::model::work_id::WorkId;
use osync_core::options::{SinkOptions, SourceOptions};
use osync_core::ports::counters::Counters;
use osync_core::protocol::sink::task::Action;
use osync_core::runtime::write::{self, Staging};
use osync_core::testing::mem_tree::MemTree;
use osync_core::wire::encode;
use osync_core::wire::message::{Item, Message, State};
use osync_core::wire::packing::Payload;

const DEADLINE: Duration = Duration::from_mins(1);
const NULL: Device = Device { major: 1, minor: 3 };

struct Pair {
    source: MemTree,
    sink: MemTree,
    feed: ChannelFeedHandle,
    mirror: Mirror,
}

/// A mirror of `source` at whose sink `nodes` have leave.
fn start(source: &MemTree, nodes: Nodes) -> Pair {
    let fidelity = Fidelity { nodes, ..Fidelity::FULL };
    let sink = MemTree::starting_at(2_000_000_000).with_fidelity(fidelity);
    sink.write("was a file", "x");
    let (feed, handle) = ChannelFeed::new();
    let mirror = Mirror::start(
        Arc::new(source.clone()),
        Box::new(feed),
        Arc::new(sink.clone()),
        SourceOptions::default(),
        SinkOptions::default(),
        Arc::new(()),
    );
    handle.report(Change::Ready).unwrap();
    Pair { source: source.clone(), sink, feed: handle, mirror: mirror.unwrap() }
}

impl Pair {
    /// How many paths have problems once everything is there.
    fn wait_in_sync(&self) -> u64 {
        self.mirror.wait_in_sync(Some(DEADLINE)).unwrap().expect("in sync in time").problems
    }

    fn report(&self, path: &str) {
        let path = RelPath::new(path.as_bytes()).unwrap();
        self.feed.report(Change::Entry { path, touch: Touch::Settled }).unwrap();
    }
}

/// Some of each, more than fill a page of a listing, and something behind them.
fn source() -> MemTree {
    let source = MemTree::new();
    for socket in 0..3_000 {
        source.socket(format!("many/{socket:04}"));
    }
    source.write("many/last", "x");
    source.socket("only/socket");
    source.device("was a file", NULL);
    source.device("device", NULL);
    assert!(source.link("linked", "device"));
    source
}

#[test]
fn with_leave_at_both_ends_they_arrive() {
    let pair = start(&source(), Nodes::ALL);
    assert_eq!(pair.wait_in_sync(), 0);
    assert_eq!(pair.sink.diff(&pair.source), [""; 0]);
    assert_eq!(pair.sink.look("linked").unwrap().names, 2);

    // Each in place of another, and the same sort with another number.
    pair.source.device("device", Device { major: 1, minor: 5 });
    pair.source.socket("was a file");
    pair.source.write("many/0001", "a file now");
    pair.source.remove("only/socket");
    pair.source.device("only/socket/below", NULL);
    for path in ["device", "linked", "was a file", "many/0001", "only/socket"] {
        pair.report(path);
    }

    assert_eq!(pair.wait_in_sync(), 0);
    assert_eq!(pair.sink.diff(&pair.source), [""; 0]);
    pair.mirror.join().unwrap();
}

#[test]
fn without_leave_at_the_sink_they_are_left_out_and_no_problem() {
    let pair = start(&source(), Nodes::NONE);
    assert_eq!(pair.wait_in_sync(), 0);
    let names = |tree: &MemTree| -> Vec<String> {
        tree.snapshot().keys().map(ToString::to_string).collect()
    };
    assert_eq!(
        names(&pair.sink),
        names(&{
            let wanted = MemTree::new();
            wanted.write("many/last", "x");
            wanted.mkdir("only");
            wanted
        })
    );

    pair.source.write("only/file", "x");
    pair.report("only/file");
    assert_eq!(pair.wait_in_sync(), 0);
    assert!(pair.sink.look("only/file").is_some());
    pair.source.socket("only/file");
    pair.report("only/file");
    assert_eq!(pair.wait_in_sync(), 0);

    assert_eq!(pair.sink.look("only/file"), None, "what took its place is left out");
    pair.mirror.join().unwrap();
}

#[test]
fn what_the_target_cannot_hold_is_left_out_and_the_rest_is_not() {
    let pair = start(&source(), Nodes { sockets: true, devices: false });

    assert_eq!(pair.wait_in_sync(), 0);

    assert_eq!(pair.sink.look("only/socket").unwrap().kind, Kind::Socket);
    assert_eq!(pair.sink.look("many/2999").unwrap().kind, Kind::Socket);
    for path in ["device", "linked", "was a file"] {
        assert_eq!(pair.sink.look(path), None);
    }
    pair.mirror.join().unwrap();
}

#[test]
fn a_source_cannot_take_the_leave_that_a_sink_does_not_give() {
    let fidelity = Fidelity { nodes: Nodes::NONE, ..Fidelity::FULL };
    let tree = MemTree::new().with_fidelity(fidelity);
    tree.device("there", NULL);
    let node = |kind| Metadata {
        kind,
        modified: Timestamp::default(),
        mode: 0o666,
        uid: 0,
        gid: 0,
        attributes: Attributes::None,
        names: 2,
    };
    let device = node(Kind::CharacterDevice(NULL));
    let to = RelPath::new(b"there").unwrap();
    let states = [
        ("a", State::Special(device.clone())),
        ("b", State::Special(node(Kind::Socket))),
        ("c", State::Linked { metadata: device.clone(), to }),
        ("there", State::Kept(device)),
    ];
    let items =
        states.map(|(name, state)| Item { name: Name::new(name.as_bytes()).unwrap(), state });
    let before = tree.snapshot();
    let mut payload = Vec::new();
    let items_bytes = encode::append_items(&items, &mut payload);

    let finished = write::perform(
        &tree,
        &RelPath::root(),
        Action::Put { work: WorkId(1), payload: Payload::from(payload), items_bytes, own_bytes: 0 },
        &mut Staging::default(),
        &Counters::default(),
    );

    let [Message::Applied { failures, .. }] = &finished.replies[..] else { panic!("{finished:?}") };
    assert_eq!(failures.len(), 4, "{failures:?}");
    assert!(failures.iter().all(|failure| !failure.is_stale), "it is not asked for again at once");
    assert_eq!(tree.snapshot(), before);
}
