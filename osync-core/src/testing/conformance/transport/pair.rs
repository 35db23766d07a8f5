//! A source and a sink with their arrivals, and how to wait for what they hear.

use std::time::{Duration, Instant};

use bytes::Bytes;
use crossbeam_channel::{Receiver, bounded};

use crate::model::connection::{Channel, ConnectionDetails};
use crate::model::session_id::SessionId;
use crate::ports::transport::{Arrival, Frame, PeerId, SinkLink, SourceLink, Transport};
use crate::testing::conformance::transport::{DEADLINE, Fixture};

/// Between two tries of something that takes the other end a moment.
pub(super) const RETRY: Duration = Duration::from_millis(10);
/// Arrivals channels that are not meant to fill up.
pub(super) const ROOMY: usize = 1_024;

/// A source's link with its arrivals.
pub(super) struct Source {
    pub(super) link: Box<dyn SourceLink>,
    pub(super) arrivals: Receiver<Arrival>,
}

impl Source {
    pub(super) fn bind(
        transport: &dyn Transport,
        details: &ConnectionDetails,
        capacity: usize,
    ) -> Self {
        let (sender, arrivals) = bounded(capacity);
        let link = transport.bind(details, sender).expect("a free address");
        Self { link, arrivals }
    }

    pub(super) fn send(&mut self, channel: Channel, peer: &PeerId, frame: Frame) {
        let sent = self.link.send(channel, peer, frame);
        sent.expect("the transport is alive");
    }

    /// Sends until `peer` is found unreachable.
    pub(super) fn send_until_unreachable(&mut self, channel: Channel, peer: &PeerId) {
        let gone = Arrival::Unreachable { channel, peer: peer.clone() };
        until("the peer becomes unreachable", || {
            self.send(channel, peer, frame(0, 0));
            self.arrivals.recv_timeout(RETRY).is_ok_and(|arrival| arrival == gone)
        });
    }
}

/// A sink's link with its arrivals.
pub(super) struct Sink {
    pub(super) link: Box<dyn SinkLink>,
    pub(super) arrivals: Receiver<Arrival>,
}

impl Sink {
    pub(super) fn connect(
        transport: &dyn Transport,
        details: &ConnectionDetails,
        capacity: usize,
    ) -> Self {
        let (sender, arrivals) = bounded(capacity);
        let link = transport.connect(details, sender).expect("a good address");
        Self { link, arrivals }
    }

    pub(super) fn send(&mut self, channel: Channel, frame: Frame) {
        let sent = self.link.send(channel, frame);
        sent.expect("the transport is alive");
    }

    /// Sends on the command channel until the source hears it; returns what it calls this sink there.
    pub(super) fn introduce(&mut self, source: &Source, name: &'static str) -> PeerId {
        until_some("the source hears the sink", || {
            self.send(Channel::Control, greeting(name));
            heard(&source.arrivals, Channel::Control, name)
        })
    }

    /// Opens the data channel and has the source send on it until something comes.
    pub(super) fn open_data(&mut self, source: &mut Source, session: u8) -> PeerId {
        let session = SessionId::from_random([session; 16]);
        let peer = PeerId::new(&session.routing_id());
        self.link.open_data(&session).expect("a data channel");
        until_some("the sink hears the source", || {
            source.send(Channel::Data, &peer, greeting("synchronise"));
            heard(&self.arrivals, Channel::Data, "synchronise")
        });
        // Every try was answered before the one that got through.
        source.arrivals.try_iter().for_each(drop);
        peer
    }
}

/// A source and a sink that have met on both channels, and nothing under way.
pub(super) struct Pair {
    pub(super) source: Source,
    pub(super) sink: Sink,
    pub(super) control: PeerId,
    pub(super) data: PeerId,
}

impl Pair {
    pub(super) fn meet(fixture: &dyn Fixture) -> Self {
        Self::with_capacity(fixture, ROOMY, ROOMY)
    }

    pub(super) fn with_capacity(fixture: &dyn Fixture, at_source: usize, at_sink: usize) -> Self {
        let (transport, details) = (fixture.transport(), fixture.details());
        let mut source = Source::bind(&*transport, &details, at_source);
        let mut sink = Sink::connect(&*transport, &details, at_sink);
        let control = sink.introduce(&source, "sink");
        let data = sink.open_data(&mut source, 1);
        sink.send(Channel::Control, greeting("last"));
        until_some("the last greeting", || heard(&source.arrivals, Channel::Control, "last"));
        source.send(Channel::Data, &data, greeting("last"));
        until_some("the last greeting", || heard(&sink.arrivals, Channel::Data, "last"));
        Self { source, sink, control, data }
    }
}

pub(super) fn greeting(text: &'static str) -> Frame {
    Frame { header: Bytes::from_static(text.as_bytes()), payload: Bytes::new() }
}

/// Frame `number`, with a header of its own and a payload that shows where it was cut or mixed.
pub(super) fn frame(number: usize, payload_bytes: usize) -> Frame {
    let pattern = (0..payload_bytes).map(|at| u8::try_from((at / 7 + number) % 251).unwrap_or(0));
    Frame { header: Bytes::from(format!("frame {number}")), payload: pattern.collect() }
}

pub(super) fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    until_some(what, || is_so().then_some(()));
}

pub(super) fn until_some<T>(what: &str, mut attempt: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + DEADLINE;
    loop {
        if let Some(found) = attempt() {
            return found;
        }
        assert!(Instant::now() < deadline, "waited in vain: {what}");
    }
}

/// Who sent `text` as a header on `channel`, if that is the next to arrive soon.
pub(super) fn heard(arrivals: &Receiver<Arrival>, channel: Channel, text: &str) -> Option<PeerId> {
    match arrivals.recv_timeout(RETRY).ok()? {
        Arrival::Frame { channel: on, peer, frame }
            if on == channel && frame.header == text.as_bytes() =>
        {
            Some(peer)
        }
        Arrival::Frame { .. } | Arrival::Unreachable { .. } | Arrival::Failed { .. } => None,
    }
}

/// The next arrival, which must be a frame on `channel`.
pub(super) fn next_frame(arrivals: &Receiver<Arrival>, channel: Channel) -> (PeerId, Frame) {
    match arrivals.recv_timeout(DEADLINE) {
        Ok(Arrival::Frame { channel: on, peer, frame }) if on == channel => (peer, frame),
        other => panic!("expected a frame on {channel:?}, got {other:?}"),
    }
}
