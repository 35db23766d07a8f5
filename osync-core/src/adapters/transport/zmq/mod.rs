//! ZeroMQ: ROUTERs at the source, DEALERs at the sinks, one thread per link.
//!
//! ```text
//!  endpoint's thread                 osync-zmq (owns the link's sockets)          libzmq's I/O thread
//!  ----------------                  -----------------------------------          -------------------
//!  link.send(frame) --commands-->    obey: frame -> message parts    --pipe-->    TCP
//!         \-- eventfd, once a burst --> zmq::poll
//!  arrivals channel <--------------  message parts -> frame          <--pipe--    TCP
//! ```
//!
//! Commands and arrivals are bounded crossbeam channels. ZeroMQ is used as a pipe between two processes
//! and for nothing else: acknowledgements, credit and heartbeats are the engine's.

mod io_thread;
mod message;
mod sink_link;
mod socket;
mod source_link;
mod waker;

pub use socket::{CONTROL_PART_BYTES_MAX, CREDIT_PART_BYTES_MAX};

use std::fmt;

use crossbeam_channel::Sender;
use zmq::Context;

use crate::model::connection::ConnectionDetails;
use crate::ports::transport::{Arrival, SinkLink, SourceLink, Transport, TransportError};
use sink_link::ZmqSink;
use socket::Sockets;
use source_link::ZmqSource;

/// Connects endpoints over ZeroMQ: `tcp://host:port`, or `ipc:///path` on one machine.
///
/// Owns a ZeroMQ context: a process needs one of these. Dropping the last of it and its links waits up to
/// half a second for what was sent last. Nothing is encrypted or authenticated.
///
/// A part of a message is at most [`CONTROL_PART_BYTES_MAX`] on the command channel and
/// [`CREDIT_PART_BYTES_MAX`] from a sink on the data channel; a longer frame is [`Arrival::Unreachable`].
pub struct ZmqTransport {
    // A ZAP thread that admits keys would be started here, before the first bind.
    sockets: Sockets,
}

impl ZmqTransport {
    /// Starts ZeroMQ.
    #[must_use]
    pub fn new() -> Self {
        Self { sockets: Sockets::new(Context::new()) }
    }
}

impl Default for ZmqTransport {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for ZmqTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ZmqTransport").finish_non_exhaustive()
    }
}

impl Transport for ZmqTransport {
    fn bind(
        &self,
        details: &ConnectionDetails,
        arrivals: Sender<Arrival>,
    ) -> Result<Box<dyn SourceLink>, TransportError> {
        let source = ZmqSource::bind(self.sockets.clone(), details.clone(), arrivals)?;
        Ok(Box::new(source))
    }

    fn connect(
        &self,
        details: &ConnectionDetails,
        arrivals: Sender<Arrival>,
    ) -> Result<Box<dyn SinkLink>, TransportError> {
        socket::check(&details.data, false)?;
        let sink = ZmqSink::connect(self.sockets.clone(), details.clone(), arrivals)?;
        Ok(Box::new(sink))
    }
}

/// What the ZeroMQ library in use can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Capabilities {
    /// Its version: major, minor, patch.
    pub version: (i32, i32, i32),
    /// Whether it can encrypt and authenticate. The copy that the crate `zmq-sys` builds cannot.
    pub has_curve: bool,
}

/// Asks the ZeroMQ library what it can do.
#[must_use]
pub fn capabilities() -> Capabilities {
    Capabilities { version: zmq::version(), has_curve: zmq::has("curve") == Some(true) }
}
