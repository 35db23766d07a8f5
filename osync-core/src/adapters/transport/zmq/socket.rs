//! The socket profile: how each of the four sockets is set up before it has an address.
//!
//! | | type | why |
//! |---|---|---|
//! | source, control | ROUTER, MANDATORY | an unknown peer is an error and not a silent drop |
//! | source, data | ROUTER, MANDATORY | the same; receives only credit, so its messages are small |
//! | sink, control | DEALER, IMMEDIATE | nothing is queued for a connection that is not there |
//! | sink, data | DEALER, IMMEDIATE, never reconnects | a data connection is one registration |
//!
//! Left out on purpose: ZMTP heartbeats (a slow reader aborts the process, libzmq #3937), HANDOVER (lets
//! anybody take a routing id), monitors (an unread one freezes the context, #3575), POLLOUT on a ROUTER
//! (always true) and `Context::destroy` (terminates twice).
//!
//! Every socket passes through [`Sockets::open`] before it binds or connects: CURVE keys belong there.

use std::thread;
use std::time::{Duration, Instant};

use zmq::{Context, Error, Socket, SocketType};

use crate::model::session_id::SessionId;
use crate::ports::transport::{Frame, TransportError};

/// The longest part of a message on the command channel, either way.
pub const CONTROL_PART_BYTES_MAX: usize = 1024 * 1024;
/// The longest part of a message from a sink on the data channel, which is credit.
pub const CREDIT_PART_BYTES_MAX: usize = 64 * 1024;
/// The longest part of a message from a source on the data channel, with some to spare.
pub(super) const CONTENT_PART_BYTES_MAX: usize = Frame::PAYLOAD_BYTES_MAX + 64 * 1024;

/// Messages in a pipe each way: a fuse well above the engine's window (512 messages), so that it never
/// blows and a data connection's input never stops.
const PIPE_MESSAGES_MAX: i32 = 2048;
/// How long a connection may take over its handshake.
const HANDSHAKE_MS_MAX: i32 = 5_000;
/// How long a closed socket goes on delivering what it was given.
const LINGER_MS: i32 = 500;
/// The command channel's first and longest pause between two attempts to connect.
const RECONNECT_MS: (i32, i32) = (100, 5_000);
/// `ZMQ_RECONNECT_IVL` for "never".
const RECONNECT_NEVER: i32 = -1;
/// How long a bind waits for an address in use: libzmq closes a listener some time after its socket.
const BIND_WAIT_MAX: Duration = Duration::from_millis(500);

/// Makes sockets.
#[derive(Clone)]
pub(super) struct Sockets {
    context: Context,
}

impl Sockets {
    pub(super) fn new(context: Context) -> Self {
        Self { context }
    }

    /// The source's end of the command channel, bound, and its address with wildcards resolved.
    pub(super) fn control_router(&self, at: &str) -> Result<(Socket, String), TransportError> {
        let socket = self.open(zmq::ROUTER, CONTROL_PART_BYTES_MAX, |socket| {
            socket.set_router_mandatory(true)
        })?;
        let address = bind(&socket, at)?;
        Ok((socket, address))
    }

    /// The source's end of the data channel, bound, and its address with wildcards resolved.
    pub(super) fn data_router(&self, at: &str) -> Result<(Socket, String), TransportError> {
        let socket = self
            .open(zmq::ROUTER, CREDIT_PART_BYTES_MAX, |socket| socket.set_router_mandatory(true))?;
        let address = bind(&socket, at)?;
        Ok((socket, address))
    }

    /// A sink's end of the command channel, connecting and reconnecting by itself.
    pub(super) fn control_dealer(&self, to: &str) -> Result<Socket, TransportError> {
        let socket = self.open(zmq::DEALER, CONTROL_PART_BYTES_MAX, |socket| {
            socket.set_immediate(true)?;
            socket.set_reconnect_ivl(RECONNECT_MS.0)?;
            socket.set_reconnect_ivl_max(RECONNECT_MS.1)
        })?;
        connect(&socket, to)?;
        Ok(socket)
    }

    /// A sink's end of the data channel, connecting once under the routing id of `session`.
    pub(super) fn data_dealer(
        &self,
        to: &str,
        session: &SessionId,
    ) -> Result<Socket, TransportError> {
        let socket = self.open(zmq::DEALER, CONTENT_PART_BYTES_MAX, |socket| {
            socket.set_immediate(true)?;
            socket.set_reconnect_ivl(RECONNECT_NEVER)?;
            socket.set_identity(&session.routing_id())?;
            // Credit that did not get through is worth nothing to the next connection.
            socket.set_linger(0)
        })?;
        connect(&socket, to)?;
        Ok(socket)
    }

    /// A socket with what all have in common. Options hold for later binds and connects only, so
    /// this is the place for keys (`set_curve_server`, `set_curve_serverkey`, `set_zap_domain`).
    fn open(
        &self,
        kind: SocketType,
        part_bytes_max: usize,
        special: impl FnOnce(&Socket) -> zmq::Result<()>,
    ) -> Result<Socket, TransportError> {
        let open = || {
            let socket = self.context.socket(kind)?;
            socket.set_maxmsgsize(i64::try_from(part_bytes_max).unwrap_or(i64::MAX))?;
            socket.set_handshake_ivl(HANDSHAKE_MS_MAX)?;
            socket.set_sndhwm(PIPE_MESSAGES_MAX)?;
            socket.set_rcvhwm(PIPE_MESSAGES_MAX)?;
            socket.set_linger(LINGER_MS)?;
            special(&socket)?;
            Ok(socket)
        };
        open().map_err(|error: Error| TransportError::System {
            verb: "open a ZeroMQ socket",
            reason: error.to_string(),
        })
    }
}

/// Binds and returns the address with wildcards resolved.
fn bind(socket: &Socket, at: &str) -> Result<String, TransportError> {
    check(at, true)?;
    let deadline = Instant::now() + BIND_WAIT_MAX;
    loop {
        match family(socket, at).and_then(|()| socket.bind(at)) {
            Ok(()) => break,
            Err(Error::EADDRINUSE) if Instant::now() < deadline => {
                thread::sleep(BIND_WAIT_MAX / 20);
            }
            Err(error) => return Err(unusable(at, error)),
        }
    }
    // Only an address that is not UTF-8 fails here, and it was UTF-8 going in.
    let resolved = socket.get_last_endpoint().ok().and_then(Result::ok);
    Ok(resolved.unwrap_or_else(|| at.to_owned()))
}

fn connect(socket: &Socket, to: &str) -> Result<(), TransportError> {
    check(to, false)?;
    family(socket, to).and_then(|()| socket.connect(to)).map_err(|error| unusable(to, error))
}

/// IPv6 for literal IPv6 addresses only: with it, a host name resolves to its IPv6 address even where
/// the other end has IPv4 alone.
fn family(socket: &Socket, address: &str) -> zmq::Result<()> {
    socket.set_ipv6(address.starts_with("tcp://["))
}

/// Checks the form of an address before libzmq does, which takes 99999 for port 34463.
pub(super) fn check(address: &str, may_be_wildcard: bool) -> Result<(), TransportError> {
    let is_good = if let Some(host_and_port) = address.strip_prefix("tcp://") {
        let port = host_and_port.rsplit_once(':').map(|(_, port)| port);
        port.is_some_and(|port| (port == "*" && may_be_wildcard) || port.parse::<u16>().is_ok())
    } else {
        address.starts_with("ipc://")
    };
    if is_good { Ok(()) } else { Err(unusable(address, Error::EINVAL)) }
}

/// Says what is wrong with an address and what to do about it.
fn unusable(address: &str, error: Error) -> TransportError {
    #[expect(clippy::wildcard_enum_match_arm, reason = "the rest says that the text is no address")]
    let advice = match error {
        Error::EADDRINUSE => "another program has it; stop that one or choose another port",
        Error::EACCES => "not allowed; choose a port above 1023, or a directory you may write to",
        Error::EADDRNOTAVAIL | Error::ENODEV => {
            "no interface of this machine has it; give one that `ip address` lists, or 0.0.0.0"
        }
        _ => "write it as tcp://host:port or ipc:///path",
    };
    TransportError::Address { address: address.to_owned(), reason: format!("{error}: {advice}") }
}
