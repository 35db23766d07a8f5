//! What every [`Transport`] must do.
//!
//! [`transport_conformance!`](crate::transport_conformance) makes one test of each fact below:
//!
//! ```ignore
//! osync_core::transport_conformance!(MyFixture::new());
//! ```
//!
//! Every wait ends with an event or after [`DEADLINE`]. A sink's first frames may be lost to
//! a connection that is still being made, so each fact begins with a meeting.

#![expect(
    clippy::missing_panics_doc,
    reason = "each of these panics when the transport does not do what its name says"
)]

mod pair;

use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, bounded};

use crate::model::connection::{Channel, ConnectionDetails};
use crate::model::session_id::SessionId;
use crate::ports::transport::{Arrival, PeerId, Transport, TransportError};
use pair::{Pair, RETRY, ROOMY, Sink, Source, frame, greeting, heard, next_frame, until};

/// How long a test waits for what must happen: longer than the longest pause between reconnects.
pub const DEADLINE: Duration = Duration::from_secs(30);
/// How long dropping a link may take.
pub const DROP_MAX: Duration = Duration::from_millis(1_500);

/// What a transport brings to its tests.
pub trait Fixture {
    /// A transport that source and sink share.
    fn transport(&self) -> Box<dyn Transport>;

    /// Addresses that nobody uses and that are known before anybody binds them; others with every call.
    fn details(&self) -> ConnectionDetails;
}

/// Makes a test of each fact of [`conformance::transport`](crate::testing::conformance::transport);
/// takes an expression for a [`Fixture`].
#[macro_export]
macro_rules! transport_conformance {
    ($fixture:expr) => {
        $crate::transport_conformance! { $fixture;
            frames_arrive_whole_and_in_order
            sinks_are_told_apart
            a_data_connection_goes_by_its_session
            an_unknown_peer_is_unreachable
            a_sink_may_come_first
            a_source_that_comes_back_is_reached_again
            a_sink_that_left_is_unreachable
            opening_data_again_closes_the_first
            a_full_sink_loses_nothing_and_still_sends
            a_full_source_loses_nothing_and_still_sends
            dropping_a_link_ends_it_soon
            what_was_sent_before_a_drop_arrives
            an_address_in_use_is_refused
        }
    };
    ($fixture:expr; $($fact:ident)+) => {
        $(
            #[test]
            fn $fact() {
                $crate::testing::conformance::transport::$fact(&$fixture);
            }
        )+
    };
}

/// On each channel, both ways, of all sizes the channel is made for.
pub fn frames_arrive_whole_and_in_order(fixture: &dyn Fixture) {
    const MIB: usize = 1024 * 1024;
    let small = (0..300).map(|number| [0, 1, 33, 34, 1_500, 8_192, 30_000][number % 7]);
    let small: Vec<usize> = small.collect();
    let large: Vec<usize> = small.iter().copied().chain([65_536, MIB, 0, MIB]).collect();
    let largest: Vec<usize> = large.iter().copied().chain([4 * MIB, 1]).collect();
    let mut pair = Pair::meet(fixture);

    for (number, &bytes) in large.iter().enumerate() {
        let peer = &pair.control;
        pair.source.send(Channel::Control, peer, frame(number, bytes));
        pair.sink.send(Channel::Control, frame(number, bytes));
    }
    for (number, &bytes) in large.iter().enumerate() {
        let (_, arrived) = next_frame(&pair.sink.arrivals, Channel::Control);
        assert!(arrived == frame(number, bytes), "control down, {number}");
        let arrived = next_frame(&pair.source.arrivals, Channel::Control);
        let expected = (pair.control.clone(), frame(number, bytes));
        assert!(arrived == expected, "control up, {number}");
    }

    for (number, &bytes) in largest.iter().enumerate() {
        pair.source.send(Channel::Data, &pair.data, frame(number, bytes));
    }
    for (number, &bytes) in largest.iter().enumerate() {
        let (_, arrived) = next_frame(&pair.sink.arrivals, Channel::Data);
        assert!(arrived == frame(number, bytes), "data down, {number}");
    }

    for (number, &bytes) in small.iter().enumerate() {
        pair.sink.send(Channel::Data, frame(number, bytes));
    }
    for (number, &bytes) in small.iter().enumerate() {
        let arrived = next_frame(&pair.source.arrivals, Channel::Data);
        let expected = (pair.data.clone(), frame(number, bytes));
        assert!(arrived == expected, "data up, {number}");
    }
}

/// Each sink has a name of its own, and what is sent to a name reaches that sink alone.
pub fn sinks_are_told_apart(fixture: &dyn Fixture) {
    const NAMES: [&str; 3] = ["a", "b", "c"];
    let (transport, details) = (fixture.transport(), fixture.details());
    let mut source = Source::bind(&*transport, &details, ROOMY);
    let mut sinks = NAMES.map(|_| Sink::connect(&*transport, &details, ROOMY));

    let peers = [0, 1, 2].map(|at| sinks[at].introduce(&source, NAMES[at]));
    for (peer, name) in peers.iter().zip(NAMES) {
        source.send(Channel::Control, peer, greeting(name));
    }

    for (sink, name) in sinks.iter().zip(NAMES) {
        until("an answer", || heard(&sink.arrivals, Channel::Control, name).is_some());
        assert!(sink.arrivals.is_empty(), "{name} heard another's answer");
    }
}

/// At the source the data channel's peer is [`SessionId::routing_id`].
pub fn a_data_connection_goes_by_its_session(fixture: &dyn Fixture) {
    let mut pair = Pair::meet(fixture);

    pair.sink.send(Channel::Data, frame(1, 10));

    let session = SessionId::from_random([1; 16]);
    let (peer, _) = next_frame(&pair.source.arrivals, Channel::Data);
    assert_eq!(peer.as_bytes(), session.routing_id());
}

/// On either channel.
pub fn an_unknown_peer_is_unreachable(fixture: &dyn Fixture) {
    let (transport, details) = (fixture.transport(), fixture.details());
    let mut source = Source::bind(&*transport, &details, ROOMY);
    let peer = PeerId::new(b"nobody");

    for channel in [Channel::Control, Channel::Data] {
        source.send(channel, &peer, frame(1, 10));

        let notice = source.arrivals.recv_timeout(DEADLINE);
        let peer = peer.clone();
        assert_eq!(notice, Ok(Arrival::Unreachable { channel, peer }));
    }
}

/// What it sends before there is a source is unreachable; then it gets through without a reset.
pub fn a_sink_may_come_first(fixture: &dyn Fixture) {
    let (transport, details) = (fixture.transport(), fixture.details());
    let mut sink = Sink::connect(&*transport, &details, ROOMY);
    sink.send(Channel::Control, frame(1, 10));
    let notice = sink.arrivals.recv_timeout(DEADLINE);
    assert!(matches!(notice, Ok(Arrival::Unreachable { .. })), "{notice:?}");

    let mut source = Source::bind(&*transport, &details, ROOMY);

    let peer = sink.introduce(&source, "early");
    source.send(Channel::Control, &peer, greeting("welcome"));
    until("an answer", || heard(&sink.arrivals, Channel::Control, "welcome").is_some());
}

/// After a reset, on both channels; before it the old data connection stays dead.
pub fn a_source_that_comes_back_is_reached_again(fixture: &dyn Fixture) {
    let (transport, details) = (fixture.transport(), fixture.details());
    let mut first = Source::bind(&*transport, &details, ROOMY);
    let mut sink = Sink::connect(&*transport, &details, ROOMY);
    sink.introduce(&first, "sink");
    let stale = sink.open_data(&mut first, 1);

    drop(first);
    let mut second = Source::bind(&*transport, &details, ROOMY);
    sink.link.reset().expect("the address is still good");

    let peer = sink.introduce(&second, "again");
    second.send(Channel::Control, &peer, greeting("welcome"));
    until("an answer", || heard(&sink.arrivals, Channel::Control, "welcome").is_some());
    second.send_until_unreachable(Channel::Data, &stale);
    sink.open_data(&mut second, 2);
}

/// On both channels, soon after the sink's link is dropped.
pub fn a_sink_that_left_is_unreachable(fixture: &dyn Fixture) {
    let mut pair = Pair::meet(fixture);

    drop(pair.sink);

    pair.source.send_until_unreachable(Channel::Control, &pair.control);
    pair.source.send_until_unreachable(Channel::Data, &pair.data);
}

/// The old id becomes unreachable, the new one works in both directions.
pub fn opening_data_again_closes_the_first(fixture: &dyn Fixture) {
    let mut pair = Pair::meet(fixture);

    let second = pair.sink.open_data(&mut pair.source, 2);

    pair.source.send_until_unreachable(Channel::Data, &pair.data);
    pair.sink.send(Channel::Data, frame(1, 10));
    let expected = Arrival::Frame { channel: Channel::Data, peer: second, frame: frame(1, 10) };
    until("a frame on the new connection", || {
        pair.source.arrivals.recv_timeout(RETRY).as_ref() == Ok(&expected)
    });
}

/// How many frames the tests of full channels send, and room for how many there is.
const FLOOD: (usize, usize) = (100, 4);

/// Its source waits or is told, its own sends go through, and order is kept.
pub fn a_full_sink_loses_nothing_and_still_sends(fixture: &dyn Fixture) {
    let (count, room) = FLOOD;
    let Pair { mut source, mut sink, data, .. } = Pair::with_capacity(fixture, ROOMY, room);
    let heard_by_source = source.arrivals.clone();

    std::thread::scope(|scope| {
        scope.spawn(|| {
            for number in 0..count {
                source.send(Channel::Data, &data, frame(number, 2_000));
            }
        });
        until("the sink's arrivals are full", || sink.arrivals.is_full());
        sink.send(Channel::Control, greeting("I am busy"));
        let (_, arrived) = next_frame(&heard_by_source, Channel::Control);
        assert_eq!(arrived, greeting("I am busy"));

        for number in 0..count {
            let (_, arrived) = next_frame(&sink.arrivals, Channel::Data);
            assert_eq!(arrived, frame(number, 2_000));
        }
    });
    assert!(heard_by_source.is_empty(), "something was unreachable");
}

/// Its sink waits or is told, its own sends go through, and order is kept.
pub fn a_full_source_loses_nothing_and_still_sends(fixture: &dyn Fixture) {
    let (count, room) = FLOOD;
    let Pair { mut source, mut sink, data, .. } = Pair::with_capacity(fixture, room, ROOMY);
    let heard_by_sink = sink.arrivals.clone();

    std::thread::scope(|scope| {
        scope.spawn(|| {
            for number in 0..count {
                sink.send(Channel::Control, frame(number, 2_000));
            }
        });
        until("the source's arrivals are full", || source.arrivals.is_full());
        source.send(Channel::Data, &data, greeting("I am busy"));
        let (_, arrived) = next_frame(&heard_by_sink, Channel::Data);
        assert_eq!(arrived, greeting("I am busy"));

        for number in 0..count {
            let (_, arrived) = next_frame(&source.arrivals, Channel::Control);
            assert_eq!(arrived, frame(number, 2_000));
        }
    });
    assert!(heard_by_sink.is_empty(), "something was unreachable");
}

/// Within [`DROP_MAX`], with nothing of it left behind: idle, stuck at a full channel, and alone.
pub fn dropping_a_link_ends_it_soon(fixture: &dyn Fixture) {
    fn ends_soon<L: ?Sized>(link: Box<L>, arrivals: &Receiver<Arrival>, what: &str) {
        let began = Instant::now();
        drop(link);
        let took = began.elapsed();
        assert!(took < DROP_MAX, "{what} took {took:?}");
        // Its threads are joined, so nobody is left who could send.
        let end = loop {
            if let Err(end) = arrivals.recv_timeout(DEADLINE) {
                break end;
            }
        };
        assert_eq!(end, RecvTimeoutError::Disconnected, "{what} still lives");
    }

    let idle = Pair::meet(fixture);
    ends_soon(idle.sink.link, &idle.sink.arrivals, "an idle sink");
    ends_soon(idle.source.link, &idle.source.arrivals, "an idle source");

    let mut full = Pair::with_capacity(fixture, 1, ROOMY);
    full.sink.send(Channel::Control, frame(0, 10));
    until("the source's arrivals are full", || full.source.arrivals.is_full());
    ends_soon(full.source.link, &full.source.arrivals, "a full source");

    let (transport, details) = (fixture.transport(), fixture.details());
    let mut alone = Sink::connect(&*transport, &details, ROOMY);
    alone.send(Channel::Control, frame(0, 10));
    ends_soon(alone.link, &alone.arrivals, "a sink without a source");
}

/// A farewell gets through if the other end is there.
pub fn what_was_sent_before_a_drop_arrives(fixture: &dyn Fixture) {
    let mut pair = Pair::meet(fixture);
    pair.sink.send(Channel::Control, frame(1, 100_000));
    drop(pair.sink);
    let expected = (pair.control, frame(1, 100_000));
    assert_eq!(next_frame(&pair.source.arrivals, Channel::Control), expected);

    let mut pair = Pair::meet(fixture);
    pair.source.send(Channel::Data, &pair.data, frame(1, 100_000));
    drop(pair.source);
    let (_, arrived) = next_frame(&pair.sink.arrivals, Channel::Data);
    assert_eq!(arrived, frame(1, 100_000));
}

/// A second source does not take the place of the first, which goes on.
pub fn an_address_in_use_is_refused(fixture: &dyn Fixture) {
    let (transport, details) = (fixture.transport(), fixture.details());
    let source = Source::bind(&*transport, &details, ROOMY);

    let refused = transport.bind(&details, bounded(1).0);

    assert!(matches!(refused, Err(TransportError::Address { .. })));
    Sink::connect(&*transport, &details, ROOMY).introduce(&source, "sink");
}
