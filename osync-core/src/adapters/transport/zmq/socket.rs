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
//! anybody take a routing id), POLLOUT on a ROUTER (always true) and `Context::destroy` (terminates
//! twice).
//!
//! Every socket passes through [`Sockets::open`] before it binds or connects, and gets its keys there.

use std::net::IpAddr;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use zmq::{Context, Error, Socket, SocketType};

use crate::adapters::transport::zmq::handshakes::Handshakes;
use crate::adapters::transport::zmq::keys::gate::Gate;
use crate::adapters::transport::zmq::keys::{AllowList, KeyPair};
use crate::model::key::PublicKey;
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
/// The command channel's first and longest pause between two attempts to connect, in milliseconds: a source that comes
/// back is found at once. libzmq begins with the first again after each handshake that failed, so it is no shorter.
pub(super) const RECONNECT_MS: (i32, i32) = (20, 500);
/// The same for a sink that has just begun, and whose source perhaps has, too.
pub(super) const FIRST_RECONNECT_MS: (i32, i32) = (4, 500);
/// `ZMQ_RECONNECT_IVL` for "never".
const RECONNECT_NEVER: i32 = -1;
/// Connections that wait to be accepted, per socket: a flood of them must not keep a sink out.
const BACKLOG_CONNECTIONS_MAX: i32 = 1_024;
/// What the gate is told that a key is for.
const ZAP_DOMAIN: &str = "osync";
/// How long a bind waits for an address in use: libzmq closes a listener some time after its socket.
const BIND_WAIT_MAX: Duration = Duration::from_millis(500);

/// For how long after it was opened a sink's socket waits for its connection before it speaks in vain.
pub(super) const CONNECTION_MAX: Duration = Duration::from_millis(100);

/// The keys of an end.
#[derive(Clone)]
pub(super) struct Keys {
    pub(super) own: KeyPair,
    /// Whom a source lets in, and the thread that asks.
    pub(super) admitted: Option<(Arc<AllowList>, Arc<Gate>)>,
    /// Which source a sink trusts.
    pub(super) trusted: Option<PublicKey>,
}

/// Makes sockets.
#[derive(Clone)]
pub(super) struct Sockets {
    pub(super) context: Context,
    pub(super) keys: Option<Keys>,
}

/// One bound socket, its address with wildcards resolved, and its failed handshakes.
pub(super) struct Bound {
    pub(super) socket: Socket,
    pub(super) address: String,
    pub(super) handshakes: Handshakes,
}

impl Sockets {
    /// The source's end of the command channel, bound.
    pub(super) fn control_router(&self, at: &str) -> Result<Bound, TransportError> {
        self.router(at, CONTROL_PART_BYTES_MAX)
    }

    /// The source's end of the data channel, bound.
    pub(super) fn data_router(&self, at: &str) -> Result<Bound, TransportError> {
        self.router(at, CREDIT_PART_BYTES_MAX)
    }

    fn router(&self, at: &str, part_bytes_max: usize) -> Result<Bound, TransportError> {
        let mut watched = None;
        let socket = self.open(zmq::ROUTER, part_bytes_max, |socket| {
            socket.set_router_mandatory(true)?;
            socket.set_backlog(BACKLOG_CONNECTIONS_MAX)?;
            if let Some(keys) = &self.keys {
                socket.set_curve_server(true)?;
                socket.set_curve_secretkey(keys.own.secret_bytes())?;
                // Without a domain libzmq asks the gate about CURVE only, and not at all about NULL.
                socket.set_zap_domain(ZAP_DOMAIN)?;
            }
            watched = Some(Handshakes::watch(&self.context, socket, at, self.keys.is_some())?);
            Ok(())
        })?;
        let address = bind(&socket, at)?;
        let handshakes = watched.expect("the socket was opened");
        Ok(Bound { socket, address, handshakes })
    }

    /// A sink's end of the command channel, connecting and reconnecting by itself, after pauses between these two, in
    /// milliseconds.
    pub(super) fn control_dealer(
        &self,
        to: &str,
        pauses_ms: (i32, i32),
    ) -> Result<Socket, TransportError> {
        let socket = self.open(zmq::DEALER, CONTROL_PART_BYTES_MAX, |socket| {
            self.trust(socket)?;
            socket.set_immediate(true)?;
            socket.set_reconnect_ivl(pauses_ms.0)?;
            socket.set_reconnect_ivl_max(pauses_ms.1)
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
            self.trust(socket)?;
            socket.set_immediate(true)?;
            socket.set_reconnect_ivl(RECONNECT_NEVER)?;
            socket.set_identity(&session.routing_id())?;
            // Credit that did not get through is worth nothing to the next connection.
            socket.set_linger(0)
        })?;
        connect(&socket, to)?;
        Ok(socket)
    }

    /// Has a sink's socket prove its own key, and speak to the holder of the trusted one only.
    fn trust(&self, socket: &Socket) -> zmq::Result<()> {
        let Some(keys) = &self.keys else { return Ok(()) };
        if let Some(source) = &keys.trusted {
            socket.set_curve_serverkey(source.as_bytes())?;
        }
        socket.set_curve_publickey(keys.own.public().as_bytes())?;
        socket.set_curve_secretkey(keys.own.secret_bytes())
    }

    /// A socket with what all have in common. Options hold for later binds and connects only.
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

/// Waits for a DEALER's connection until `deadline`, so that what is sent then is not lost at once.
pub(super) fn await_connection(socket: &Socket, deadline: Instant) {
    let rest = deadline.saturating_duration_since(Instant::now());
    if !rest.is_zero() {
        // In vain or not: what is sent tells.
        socket.poll(zmq::POLLOUT, rest.as_millis().try_into().unwrap_or(i64::MAX)).ok();
    }
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

/// Whether only this machine can reach `address`.
pub(super) fn is_local(address: &str) -> bool {
    let Some(host_and_port) = address.strip_prefix("tcp://") else {
        return address.starts_with("ipc://");
    };
    let host = host_and_port.rsplit_once(':').map_or(host_and_port, |(host, _)| host);
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|host| host.is_loopback())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_told_from_the_rest() {
        for local in ["tcp://127.0.0.1:1", "tcp://127.9.9.9:*", "tcp://[::1]:1", "ipc:///x"] {
            assert!(is_local(local), "{local}");
        }
        for open in
            ["tcp://*:1", "tcp://0.0.0.0:1", "tcp://10.0.0.1:1", "tcp://[::]:1", "tcp://eth0:1"]
        {
            assert!(!is_local(open), "{open}");
        }
        assert!(!is_local("tcp://127.0.0.1.example.org:1"));
    }
}
