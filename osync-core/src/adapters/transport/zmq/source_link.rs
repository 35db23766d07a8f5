//! A source's end: two bound ROUTERs.

use crossbeam_channel::Sender;
use zmq::Socket;

use crate::adapters::transport::zmq::handshakes::Handshakes;
use crate::adapters::transport::zmq::io_thread::{End, Inbox, IoThread};
use crate::adapters::transport::zmq::socket::{
    CONTENT_PART_BYTES_MAX, CONTROL_PART_BYTES_MAX, Keys, Sockets,
};
use crate::model::connection::{Channel, ConnectionDetails};
use crate::ports::transport::{Arrival, Frame, PeerId, SourceLink, TransportError};

/// A [`SourceLink`] over ZeroMQ.
pub(super) struct ZmqSource {
    details: ConnectionDetails,
    thread: IoThread<Outgoing>,
}

impl ZmqSource {
    /// Binds both channels.
    pub(super) fn bind(
        sockets: Sockets,
        details: ConnectionDetails,
        arrivals: Sender<Arrival>,
    ) -> Result<Self, TransportError> {
        let (thread, details) = IoThread::start(arrivals, move || {
            let control = sockets.control_router(&details.control)?;
            let data = sockets.data_router(&details.data)?;
            let resolved = ConnectionDetails { control: control.address, data: data.address };
            let end = SourceEnd {
                control: control.socket,
                data: data.socket,
                handshakes: [control.handshakes, data.handshakes],
                keys: sockets.keys,
            };
            Ok((end, resolved))
        })?;
        Ok(Self { details, thread })
    }
}

impl SourceLink for ZmqSource {
    fn details(&self) -> ConnectionDetails {
        self.details.clone()
    }

    fn send(
        &mut self,
        channel: Channel,
        peer: &PeerId,
        frame: Frame,
    ) -> Result<(), TransportError> {
        self.thread.tell(Outgoing { channel, peer: peer.clone(), frame })
    }
}

struct Outgoing {
    channel: Channel,
    peer: PeerId,
    frame: Frame,
}

/// Fields are dropped in this order: monitors after the sockets they watch, the gate last.
struct SourceEnd {
    control: Socket,
    data: Socket,
    handshakes: [Handshakes; 2],
    keys: Option<Keys>,
}

impl End for SourceEnd {
    type Command = Outgoing;

    const IS_ROUTER: bool = true;

    fn socket(&self, channel: Channel) -> Option<&Socket> {
        Some(match channel {
            Channel::Control => &self.control,
            Channel::Data => &self.data,
        })
    }

    fn handshakes(&self) -> &[Handshakes] {
        &self.handshakes
    }

    fn admits(&self, peer: &PeerId) -> bool {
        match &self.keys {
            Some(Keys { admitted: Some((list, _)), .. }) => {
                peer.key().is_some_and(|key| list.allows(&key))
            }
            Some(_) => false,
            None => true,
        }
    }

    fn obey(&mut self, outgoing: Outgoing, inbox: &mut Inbox) -> zmq::Result<()> {
        let Outgoing { channel, peer, frame } = outgoing;
        if !self.admits(&peer) {
            inbox.unreachable(channel, peer);
            return Ok(());
        }
        let part_bytes_max = match channel {
            Channel::Control => CONTROL_PART_BYTES_MAX,
            Channel::Data => CONTENT_PART_BYTES_MAX,
        };
        inbox.send(self.socket(channel), channel, Some(&peer), part_bytes_max, frame)
    }
}
