//! Whole frames both ways between a source and its sinks, on two channels.

use std::fmt;
use std::sync::Arc;

use crossbeam_channel::Sender;

use crate::model::connection::{Channel, ConnectionDetails};
use crate::model::key::PublicKey;
use crate::model::session_id::SessionId;

pub use crate::model::frame::Frame;

/// Connects endpoints.
///
/// A transport is a pipe and no more: within one connection frames arrive whole and in order, or the
/// connection is lost. What was under way then is gone, and the engine finds out by itself; nothing is
/// resent below it. Sinks connect, sources bind.
///
/// Arrivals go into a bounded channel of the endpoint. A transport that finds it full stops taking
/// frames from its peers for the while; it never drops one silently and keeps serving
/// [`SourceLink::send`] and [`SinkLink::send`].
///
/// `osync_core::testing::conformance::transport` has the tests an implementation must pass.
pub trait Transport: Send + Sync {
    /// Binds both channels of a source.
    ///
    /// # Errors
    /// [`TransportError::Address`] if an address cannot be used or is in use.
    fn bind(
        &self,
        details: &ConnectionDetails,
        arrivals: Sender<Arrival>,
    ) -> Result<Box<dyn SourceLink>, TransportError>;

    /// Opens the command channel of a sink. The source need not be there yet.
    ///
    /// # Errors
    /// [`TransportError::Address`] if an address makes no sense.
    fn connect(
        &self,
        details: &ConnectionDetails,
        arrivals: Sender<Arrival>,
    ) -> Result<Box<dyn SinkLink>, TransportError>;
}

/// A source's end of both channels. Used by one thread; dropping it closes both, after trying for a
/// moment to deliver what was sent last.
pub trait SourceLink: Send {
    /// The addresses in use, wildcards resolved (`tcp://127.0.0.1:*` has a port here).
    fn details(&self) -> ConnectionDetails;

    /// Queues `frame` for `peer`. Frames to one peer on one channel keep their order. If the peer is not
    /// connected, or cannot take the frame, an [`Arrival::Unreachable`] follows and the frame is dropped.
    ///
    /// # Errors
    /// [`TransportError::Closed`] if the transport has ended.
    fn send(&mut self, channel: Channel, peer: &PeerId, frame: Frame)
    -> Result<(), TransportError>;
}

/// A sink's end of both channels. Used by one thread; dropping it closes both, after trying for a
/// moment to deliver what was sent last.
pub trait SinkLink: Send {
    /// Opens the data channel under the routing id of `session`, closing the one before it.
    ///
    /// # Errors
    /// [`TransportError`] if that cannot be done.
    fn open_data(&mut self, session: &SessionId) -> Result<(), TransportError>;

    /// Closes both channels and opens the command channel anew; frames under way are lost.
    ///
    /// # Errors
    /// [`TransportError`] if that cannot be done.
    fn reset(&mut self) -> Result<(), TransportError>;

    /// Queues `frame` for the source. If it cannot be delivered at once an [`Arrival::Unreachable`] may
    /// follow; the frame is dropped then.
    ///
    /// # Errors
    /// [`TransportError::Closed`] if the transport has ended.
    fn send(&mut self, channel: Channel, frame: Frame) -> Result<(), TransportError>;
}

/// Whom a source's frame came from or goes to, on one channel: 1 to 255 bytes and, where the transport
/// asks for keys, the key that this connection has proven to hold.
///
/// On the data channel the bytes are the [`SessionId::routing_id`]; on the command channel the
/// transport's own name for the connection.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerId {
    bytes: Arc<[u8]>,
    key: Option<PublicKey>,
}

impl PeerId {
    /// Wraps the transport's bytes.
    #[must_use]
    pub fn new(bytes: &[u8]) -> Self {
        Self { bytes: Arc::from(bytes), key: None }
    }

    /// The same bytes, held by `key`. A transport that asks for keys reaches nobody else by them.
    #[must_use]
    pub fn with_key(self, key: Option<PublicKey>) -> Self {
        Self { key, ..self }
    }

    /// The transport's bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The key that the connection has proven; `None` where nobody is asked for one.
    #[must_use]
    pub fn key(&self) -> Option<PublicKey> {
        self.key
    }
}

impl fmt::Debug for PeerId {
    /// The first four bytes only: on the data channel the whole is a secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PeerId(")?;
        self.bytes.iter().take(4).try_for_each(|byte| write!(f, "{byte:02x}"))?;
        f.write_str("..)")
    }
}

/// What a transport hands to its endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Arrival {
    /// A frame. At a sink `peer` is empty of meaning: there is one source.
    Frame {
        /// On which channel.
        channel: Channel,
        /// From whom.
        peer: PeerId,
        /// What.
        frame: Frame,
    },
    /// A frame to `peer` could not be delivered and was dropped.
    Unreachable {
        /// On which channel.
        channel: Channel,
        /// To whom.
        peer: PeerId,
    },
    /// The transport has ended by itself and carries nothing more.
    Failed {
        /// Why: one line.
        reason: String,
    },
}

/// Why a transport could not be had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TransportError {
    /// An address cannot be used.
    #[error("cannot use address {address}: {reason}")]
    Address {
        /// The address as given.
        address: String,
        /// Why, and what to do about it: one line.
        reason: String,
    },
    /// The system refused something else.
    #[error("cannot {verb}: {reason}")]
    System {
        /// What was tried.
        verb: &'static str,
        /// What was said.
        reason: String,
    },
    /// The transport has ended.
    #[error("the transport has ended")]
    Closed,
}
