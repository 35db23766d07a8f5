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
//! and for nothing else: acknowledgements, credit and heartbeats are the engine's. Who may connect is in
//! [`keys`].

mod handshakes;
mod io_thread;
pub mod keys;
mod message;
mod sink_link;
mod socket;
mod source_link;
mod waker;

pub use socket::{CONTROL_PART_BYTES_MAX, CREDIT_PART_BYTES_MAX};

use std::fmt;
use std::sync::Arc;

use crossbeam_channel::Sender;
use zmq::Context;

use crate::model::connection::ConnectionDetails;
use crate::model::key::PublicKey;
use crate::ports::transport::{Arrival, SinkLink, SourceLink, Transport, TransportError};
use keys::gate::Gate;
use keys::{AllowList, KeyError, KeyPair};
use sink_link::ZmqSink;
use socket::{Keys, Sockets, is_local};
use source_link::ZmqSource;

/// Connects endpoints over ZeroMQ: `tcp://host:port`, or `ipc:///path` on one machine.
///
/// Owns a ZeroMQ context: a process needs one of these. Dropping the last of it and its links waits up to
/// half a second for what was sent last. Without keys nothing is encrypted and nobody is asked who he is;
/// therefore only addresses of this machine are bound then, unless [`ZmqTransport::insecure`] was said.
///
/// A part of a message is at most [`CONTROL_PART_BYTES_MAX`] on the command channel and
/// [`CREDIT_PART_BYTES_MAX`] from a sink on the data channel; a longer frame is [`Arrival::Unreachable`].
pub struct ZmqTransport {
    sockets: Sockets,
    is_insecure: bool,
    finder: Option<Finder>,
}

/// Says where the source is now; `None`: where it was. Called on the transport's thread, must not wait.
pub type Finder = Arc<dyn Fn() -> Option<ConnectionDetails> + Send + Sync>;

impl ZmqTransport {
    /// Starts ZeroMQ without keys.
    #[must_use]
    pub fn new() -> Self {
        let sockets = Sockets { context: Context::new(), keys: None };
        Self { sockets, is_insecure: false, finder: None }
    }

    /// Starts ZeroMQ with the keys of this end. Then say [`ZmqTransport::admitting`] of a source,
    /// [`ZmqTransport::trusting`] of a sink.
    ///
    /// # Errors
    /// [`KeyError::NoCurve`] if the ZeroMQ library in use cannot encrypt.
    pub fn with_keys(own: KeyPair) -> Result<Self, KeyError> {
        if !capabilities().has_curve {
            return Err(KeyError::NoCurve);
        }
        let keys = Keys { own, admitted: None, trusted: None };
        let sockets = Sockets { context: Context::new(), keys: Some(keys) };
        Ok(Self { sockets, is_insecure: false, finder: None })
    }

    /// Lets a source admit the sinks in `list` and nobody else. Call once, and only with keys.
    ///
    /// # Errors
    /// [`TransportError::System`] if the thread that asks for keys cannot be had.
    pub fn admitting(mut self, list: Arc<AllowList>) -> Result<Self, TransportError> {
        if let Some(keys) = &mut self.sockets.keys {
            let gate = Gate::open(&self.sockets.context, Arc::clone(&list))?;
            keys.admitted = Some((list, Arc::new(gate)));
        }
        Ok(self)
    }

    /// Lets a sink speak to the source that holds `key` and to nobody else. Only with keys.
    #[must_use]
    pub fn trusting(mut self, key: PublicKey) -> Self {
        if let Some(keys) = &mut self.sockets.keys {
            keys.trusted = Some(key);
        }
        self
    }

    /// Lets a sink ask `finder` where its source is whenever it connects anew.
    #[must_use]
    pub fn finding(self, finder: Finder) -> Self {
        Self { finder: Some(finder), ..self }
    }

    /// Lets a source without keys bind any address: whoever reaches it can read everything.
    #[must_use]
    pub fn insecure(self) -> Self {
        Self { is_insecure: true, ..self }
    }

    /// Refuses to open to the network what asks for no key.
    fn check_open(&self, details: &ConnectionDetails) -> Result<(), TransportError> {
        let refused = |address: &str, reason: &str| {
            Err(TransportError::Address { address: address.to_owned(), reason: reason.to_owned() })
        };
        match &self.sockets.keys {
            Some(Keys { admitted: None, .. }) => {
                refused(&details.control, "there is no list of keys that may connect: give one")
            }
            None if !self.is_insecure => {
                let mut addresses = [&details.control, &details.data].into_iter();
                match addresses.find(|at| socket::check(at, true).is_ok() && !is_local(at)) {
                    Some(open) => refused(open, OPEN_ADVICE),
                    None => Ok(()),
                }
            }
            Some(_) | None => Ok(()),
        }
    }
}

const OPEN_ADVICE: &str = "without keys anybody could connect: use keys (osync keygen), or a loopback \
                           address, or allow it as insecure (--insecure)";

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
        self.check_open(details)?;
        let source = ZmqSource::bind(self.sockets.clone(), details.clone(), arrivals)?;
        Ok(Box::new(source))
    }

    fn connect(
        &self,
        details: &ConnectionDetails,
        arrivals: Sender<Arrival>,
    ) -> Result<Box<dyn SinkLink>, TransportError> {
        socket::check(&details.data, false)?;
        if let Some(Keys { trusted: None, .. }) = &self.sockets.keys {
            let reason = "there is no key to know the source by: give one".to_owned();
            return Err(TransportError::Address { address: details.control.clone(), reason });
        }
        let finder = self.finder.clone();
        let sink = ZmqSink::connect(self.sockets.clone(), details.clone(), finder, arrivals)?;
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
