//! Two channels between the ends: slow, cut, held up, losing and repeating frames as the seed says.
//!
//! Within one connection frames keep their order. A cut command connection is made again underneath,
//! under another name; a cut data connection stays dead. A sender may not notice for a while, and
//! what it sends meanwhile is gone.

use std::time::{Duration, Instant};

use osync_core::model::connection::Channel;
use osync_core::model::frame::Frame;
use osync_core::model::session_id::SessionId;
use osync_core::ports::transport::PeerId;

use crate::event::Event;
use crate::world::World;

#[derive(Debug)]
pub(crate) struct Connection {
    sink: usize,
    channel: Channel,
    peer: PeerId,
    /// The sink still has it.
    is_open: bool,
    /// The source has it.
    is_established: bool,
    /// When a sender is told that it is dead, once it is.
    noticed_at: Option<Instant>,
    /// Frames that wait for the connection to be made.
    early: Vec<Frame>,
    to_source_at: Instant,
    to_sink_at: Instant,
}

/// What one sink has of it.
#[derive(Debug, Clone)]
struct End {
    control: Option<usize>,
    data: Option<usize>,
    held_until: Instant,
}

#[derive(Debug)]
pub(crate) struct Network {
    /// All there ever were; the index is the name of a connection in events.
    connections: Vec<Connection>,
    /// Of each sink.
    ends: Vec<End>,
    latency_micros: u64,
    /// How long a death may go unnoticed.
    notice_micros: u64,
}

impl Network {
    pub(crate) fn new(sinks: usize, latency_micros: u64, notice_micros: u64, now: Instant) -> Self {
        let ends = vec![End { control: None, data: None, held_until: now }; sinks];
        Self { connections: Vec::new(), ends, latency_micros, notice_micros }
    }
}

impl World {
    /// `sink` opens `channel` anew; what it had there is gone.
    pub(crate) fn connect(&mut self, sink: usize, channel: Channel, session: Option<SessionId>) {
        self.disconnect(sink, channel);
        let id = self.network.connections.len();
        let peer = match session {
            Some(session) => PeerId::new(&session.routing_id()),
            None => PeerId::new(format!("connection {id}").as_bytes()),
        };
        self.network.connections.push(Connection {
            sink,
            channel,
            peer,
            is_open: true,
            is_established: false,
            noticed_at: None,
            early: Vec::new(),
            to_source_at: self.now,
            to_sink_at: self.now,
        });
        *self.current(sink, channel) = Some(id);
        let latency = self.random.delay(2 * self.network.latency_micros);
        let at = (self.now + latency).max(self.network.ends[sink].held_until);
        self.schedule(at, Event::Established { connection: id });
    }

    /// The connection that `sink` has on `channel` dies, with what is under way on it.
    pub(crate) fn disconnect(&mut self, sink: usize, channel: Channel) {
        let Some(id) = self.current(sink, channel).take() else { return };
        let unnoticed = self.random.delay(self.network.notice_micros);
        let connection = &mut self.network.connections[id];
        connection.is_open = false;
        connection.noticed_at = Some(self.now + unnoticed);
        connection.early.clear();
    }

    /// A connection breaks; the command channel's is made again underneath.
    pub(crate) fn cut(&mut self, sink: usize, channel: Channel) {
        self.disconnect(sink, channel);
        if channel == Channel::Control && self.sinks[sink].is_up() {
            self.connect(sink, Channel::Control, None);
        } else if self.random.chance(300) && self.sinks[sink].is_up() {
            let incarnation = self.sinks[sink].incarnation;
            let at = self.now + self.random.delay(100_000);
            self.schedule(at, Event::UnreachableAtSink { sink, incarnation, channel });
        }
    }

    /// The source has gone: nothing that it had is left.
    pub(crate) fn cut_all(&mut self) {
        for sink in 0..self.sinks.len() {
            self.cut_sink(sink);
        }
    }

    /// Both connections of `sink` break.
    pub(crate) fn cut_sink(&mut self, sink: usize) {
        for channel in [Channel::Control, Channel::Data] {
            self.cut(sink, channel);
        }
    }

    /// Nothing arrives from or at `sink` until then.
    pub(crate) fn hold(&mut self, sink: usize, duration: Duration) {
        let held_until = &mut self.network.ends[sink].held_until;
        *held_until = (*held_until).max(self.now + duration);
    }

    /// The source has accepted `connection`.
    pub(crate) fn on_established(&mut self, id: usize) {
        if !self.source.is_up() {
            let at = self.now + Duration::from_millis(20);
            return self.schedule(at, Event::Established { connection: id });
        }
        let connection = &mut self.network.connections[id];
        if !connection.is_open {
            return;
        }
        connection.is_established = true;
        for frame in std::mem::take(&mut connection.early) {
            self.carry(id, true, &frame);
        }
    }

    pub(crate) fn send_to_source(&mut self, sink: usize, channel: Channel, frame: Frame) {
        let Some(id) = *self.current(sink, channel) else { return };
        if self.network.connections[id].is_established {
            self.carry(id, true, &frame);
        } else {
            self.network.connections[id].early.push(frame);
        }
    }

    pub(crate) fn send_to_sink(&mut self, channel: Channel, peer: &PeerId, frame: &Frame) {
        let found = self.network.connections.iter().rposition(|connection| {
            connection.channel == channel && connection.peer == *peer && connection.is_established
        });
        let is_known_dead = found.is_none_or(|id| {
            let noticed_at = self.network.connections[id].noticed_at;
            noticed_at.is_some_and(|noticed_at| noticed_at <= self.now)
        });
        match found {
            Some(id) if !is_known_dead => self.carry(id, false, frame),
            Some(_) | None => {
                let at = self.now + self.random.delay(1_000);
                let incarnation = self.source.incarnation;
                let peer = peer.clone();
                self.schedule(at, Event::UnreachableAtSource { incarnation, channel, peer });
            }
        }
    }

    /// A frame has come to the end of `id`: of which sink, and where; what was under way when it died does not.
    pub(crate) fn arrives(&self, id: usize) -> Option<(usize, Channel, PeerId)> {
        let Connection { sink, channel, peer, is_open, .. } = &self.network.connections[id];
        is_open.then(|| (*sink, *channel, peer.clone()))
    }

    /// The names under which the source knows `sink`.
    pub(crate) fn peer(&mut self, sink: usize, channel: Channel) -> Option<PeerId> {
        let id = *self.current(sink, channel);
        id.map(|id| self.network.connections[id].peer.clone())
    }

    fn carry(&mut self, id: usize, is_to_source: bool, frame: &Frame) {
        let mood = self.mood;
        let is_troubled = !self.is_quiet;
        if is_troubled && self.random.below(100_000) < mood.lost {
            self.trace(|| "a frame is lost".to_owned());
            return;
        }
        let is_repeated = is_troubled && self.random.below(100_000) < mood.repeated;
        let arrival = self.now + self.random.delay(self.network.latency_micros);
        let held_until = self.network.ends[self.network.connections[id].sink].held_until;
        let connection = &mut self.network.connections[id];
        let order =
            if is_to_source { &mut connection.to_source_at } else { &mut connection.to_sink_at };
        *order = arrival.max(*order).max(held_until);
        let at = *order;
        for _ in 0..=u32::from(is_repeated) {
            let frame = frame.clone();
            let event = if is_to_source {
                Event::ToSource { connection: id, frame }
            } else {
                Event::ToSink { connection: id, frame }
            };
            self.schedule(at, event);
        }
    }

    fn current(&mut self, sink: usize, channel: Channel) -> &mut Option<usize> {
        let end = &mut self.network.ends[sink];
        match channel {
            Channel::Control => &mut end.control,
            Channel::Data => &mut end.data,
        }
    }
}
