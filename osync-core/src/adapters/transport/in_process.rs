//! Crossbeam channels within one process: the transport of `osync mirror` and of the engine's tests.
//!
//! A frame goes straight from the thread that sends it into the receiver's arrivals channel: no thread
//! in between, no copy. The hub only remembers who is where:
//!
//! ```text
//! "control" -> the source's arrivals, { connection 1 -> a sink's arrivals, connection 2 -> .. }
//! "data"    -> the source's arrivals, { session id   -> a sink's arrivals, .. }
//! ```
//!
//! A receiver that takes nothing for [`FULL_WAIT_MAX`] is cut off, as a network would do in the end, so
//! two loops that send to each other cannot wait for ever. Frames that do arrive are never out of order
//! and never have a gap.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crossbeam_channel::{Sender, TrySendError};

use crate::model::connection::{Channel, ConnectionDetails};
use crate::model::session_id::SessionId;
use crate::ports::transport::{
    Arrival, Frame, PeerId, SinkLink, SourceLink, Transport, TransportError,
};

/// How long a frame waits for room at its receiver before the connection is cut. Well below the
/// heartbeat limit, so that a stuck receiver does not take its sender's other peers with it.
pub const FULL_WAIT_MAX: Duration = Duration::from_secs(1);

/// A meeting place for the endpoints of one process; clones share it.
///
/// Addresses are any two names that differ and are not empty.
#[derive(Debug, Clone, Default)]
pub struct InProcessTransport {
    hub: Arc<Hub>,
}

impl InProcessTransport {
    /// A place of its own, where nobody is yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }
}

impl Transport for InProcessTransport {
    fn bind(
        &self,
        details: &ConnectionDetails,
        arrivals: Sender<Arrival>,
    ) -> Result<Box<dyn SourceLink>, TransportError> {
        check(details)?;
        let mut places = self.hub.places();
        for address in [&details.control, &details.data] {
            if places.contains_key(address) {
                return Err(refused(address, "another source is there: stop it or choose another"));
            }
        }
        for address in [&details.control, &details.data] {
            let place = Place { source: arrivals.clone(), sinks: HashMap::new() };
            places.insert(address.clone(), place);
        }
        drop(places);
        Ok(Box::new(InProcessSource {
            hub: Arc::clone(&self.hub),
            details: details.clone(),
            name: PeerId::new(b"source"),
            notices: Notices::new(arrivals),
        }))
    }

    fn connect(
        &self,
        details: &ConnectionDetails,
        arrivals: Sender<Arrival>,
    ) -> Result<Box<dyn SinkLink>, TransportError> {
        check(details)?;
        Ok(Box::new(InProcessSink {
            hub: Arc::clone(&self.hub),
            details: details.clone(),
            name: PeerId::new(b"source"),
            notices: Notices::new(arrivals),
            control: None,
            data: None,
        }))
    }
}

/// Refuses names that cannot be told apart.
fn check(details: &ConnectionDetails) -> Result<(), TransportError> {
    if details.control.is_empty() || details.data.is_empty() {
        return Err(refused("", "a name has at least one character"));
    }
    if details.control == details.data {
        return Err(refused(&details.data, "the two channels need two names"));
    }
    Ok(())
}

fn address(details: &ConnectionDetails, channel: Channel) -> &str {
    match channel {
        Channel::Control => &details.control,
        Channel::Data => &details.data,
    }
}

fn refused(address: &str, reason: &str) -> TransportError {
    TransportError::Address { address: address.to_owned(), reason: reason.to_owned() }
}

/// Who is where.
#[derive(Debug, Default)]
struct Hub {
    places: Mutex<HashMap<String, Place>>,
    connections: AtomicU64,
}

/// One bound address.
#[derive(Debug)]
struct Place {
    source: Sender<Arrival>,
    sinks: HashMap<PeerId, Sender<Arrival>>,
}

impl Hub {
    /// The table. Held for a look-up only, never while a frame waits for room.
    fn places(&self) -> MutexGuard<'_, HashMap<String, Place>> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Who is at the far end of the connection `peer` of `address`, if it exists.
    fn sink(&self, address: &str, peer: &PeerId) -> Option<Sender<Arrival>> {
        self.places().get(address)?.sinks.get(peer).cloned()
    }

    /// The source at `address`, if the connection `peer` to it exists.
    fn source(&self, address: &str, peer: &PeerId) -> Option<Sender<Arrival>> {
        let places = self.places();
        let place = places.get(address)?;
        place.sinks.contains_key(peer).then(|| place.source.clone())
    }

    /// Makes the connection `peer` to `address`; `false` if nobody is there or it exists already.
    fn connect(&self, address: &str, peer: &PeerId, arrivals: &Sender<Arrival>) -> bool {
        let mut places = self.places();
        match places.get_mut(address) {
            Some(place) if !place.sinks.contains_key(peer) => {
                place.sinks.insert(peer.clone(), arrivals.clone());
                true
            }
            Some(_) | None => false,
        }
    }

    /// A name no connection had before.
    fn fresh_peer(&self) -> PeerId {
        let number = self.connections.fetch_add(1, Ordering::Relaxed);
        PeerId::new(format!("C{number}").as_bytes())
    }

    /// Ends the connection `peer` at `address`.
    fn disconnect(&self, address: &str, peer: &PeerId) {
        if let Some(place) = self.places().get_mut(address) {
            place.sinks.remove(peer);
        }
    }
}

/// Gives `receiver` the frame; `false` if it is gone or takes nothing for [`FULL_WAIT_MAX`].
fn deliver(receiver: &Sender<Arrival>, channel: Channel, peer: PeerId, frame: Frame) -> bool {
    let arrival = Arrival::Frame { channel, peer, frame };
    receiver.send_timeout(arrival, FULL_WAIT_MAX).is_ok()
}

/// What a link has to tell its own endpoint, whose arrivals channel may be full just then.
struct Notices {
    arrivals: Sender<Arrival>,
    /// Told with the next send that finds room; each fact once, so one per peer at most.
    untold: VecDeque<Arrival>,
}

impl Notices {
    fn new(arrivals: Sender<Arrival>) -> Self {
        Self { arrivals, untold: VecDeque::new() }
    }

    fn unreachable(&mut self, channel: Channel, peer: PeerId) {
        let notice = Arrival::Unreachable { channel, peer };
        if !self.untold.contains(&notice) {
            self.untold.push_back(notice);
        }
        self.tell();
    }

    fn tell(&mut self) {
        while let Some(notice) = self.untold.pop_front() {
            if let Err(TrySendError::Full(notice)) = self.arrivals.try_send(notice) {
                self.untold.push_front(notice);
                break;
            }
        }
    }
}

/// A source's end.
struct InProcessSource {
    hub: Arc<Hub>,
    details: ConnectionDetails,
    /// Whom its frames come from, for sinks.
    name: PeerId,
    notices: Notices,
}

impl SourceLink for InProcessSource {
    fn details(&self) -> ConnectionDetails {
        self.details.clone()
    }

    fn send(
        &mut self,
        channel: Channel,
        peer: &PeerId,
        frame: Frame,
    ) -> Result<(), TransportError> {
        self.notices.tell();
        let address = address(&self.details, channel);
        let sink = self.hub.sink(address, peer);
        if !sink.is_some_and(|sink| deliver(&sink, channel, self.name.clone(), frame)) {
            self.hub.disconnect(address, peer);
            self.notices.unreachable(channel, peer.clone());
        }
        Ok(())
    }
}

impl Drop for InProcessSource {
    fn drop(&mut self) {
        let mut places = self.hub.places();
        places.remove(&self.details.control);
        places.remove(&self.details.data);
    }
}

/// A sink's end. A connection is the id that the hub knows it by; `None` before it is made.
struct InProcessSink {
    hub: Arc<Hub>,
    details: ConnectionDetails,
    control: Option<PeerId>,
    data: Option<PeerId>,
    /// What it calls the source in a notice.
    name: PeerId,
    notices: Notices,
}

impl InProcessSink {
    /// The source and the id of the connection to it. The command channel connects by itself, under a
    /// new id, whenever a source is there; the data channel never does.
    fn source(&mut self, channel: Channel) -> Option<(Sender<Arrival>, PeerId)> {
        let address = address(&self.details, channel);
        let known = match channel {
            Channel::Control => &self.control,
            Channel::Data => &self.data,
        };
        if let Some(peer) = known
            && let Some(source) = self.hub.source(address, peer)
        {
            return Some((source, peer.clone()));
        }
        match channel {
            Channel::Control => {
                let peer = self.hub.fresh_peer();
                if !self.hub.connect(address, &peer, &self.notices.arrivals) {
                    return None;
                }
                let source = self.hub.source(address, &peer)?;
                self.control = Some(peer.clone());
                Some((source, peer))
            }
            Channel::Data => None,
        }
    }

    fn close(&mut self, channel: Channel) {
        let connection = match channel {
            Channel::Control => self.control.take(),
            Channel::Data => self.data.take(),
        };
        if let Some(peer) = connection {
            self.hub.disconnect(address(&self.details, channel), &peer);
        }
    }
}

impl SinkLink for InProcessSink {
    fn open_data(&mut self, session: &SessionId) -> Result<(), TransportError> {
        self.close(Channel::Data);
        let peer = PeerId::new(&session.routing_id());
        // With nobody there, every send on it says Unreachable, as on a network.
        if self.hub.connect(&self.details.data, &peer, &self.notices.arrivals) {
            self.data = Some(peer);
        }
        Ok(())
    }

    fn reset(&mut self) -> Result<(), TransportError> {
        self.close(Channel::Data);
        self.close(Channel::Control);
        Ok(())
    }

    fn send(&mut self, channel: Channel, frame: Frame) -> Result<(), TransportError> {
        self.notices.tell();
        let delivered = self
            .source(channel)
            .is_some_and(|(source, peer)| deliver(&source, channel, peer, frame));
        if !delivered {
            self.close(channel);
            self.notices.unreachable(channel, self.name.clone());
        }
        Ok(())
    }
}

impl Drop for InProcessSink {
    fn drop(&mut self) {
        self.close(Channel::Data);
        self.close(Channel::Control);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    /// Both loops are stuck for good here: nobody reads either arrivals channel.
    #[test]
    fn two_stuck_loops_give_each_other_up() {
        let transport = InProcessTransport::new();
        let details = ConnectionDetails::default();
        let (source_arrivals, at_source) = crossbeam_channel::bounded(1);
        let (sink_arrivals, at_sink) = crossbeam_channel::bounded(1);
        let mut source = transport.bind(&details, source_arrivals).unwrap();
        let mut sink = transport.connect(&details, sink_arrivals).unwrap();
        let session = SessionId::from_random([7; 16]);
        let peer = PeerId::new(&session.routing_id());
        sink.open_data(&session).unwrap();

        let began = Instant::now();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                (0..50).for_each(|_| source.send(Channel::Data, &peer, Frame::default()).unwrap());
            });
            scope.spawn(|| {
                (0..50).for_each(|_| sink.send(Channel::Data, Frame::default()).unwrap());
            });
        });

        assert!(began.elapsed() < FULL_WAIT_MAX * 3);
        at_source.try_recv().unwrap();
        at_sink.try_recv().unwrap();
        source.send(Channel::Data, &peer, Frame::default()).unwrap();
        let channel = Channel::Data;
        assert_eq!(at_source.try_recv(), Ok(Arrival::Unreachable { channel, peer }));
    }
}
