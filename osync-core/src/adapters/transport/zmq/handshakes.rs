//! Tells of connections that end in the handshake: scanners, strangers without a key, the wrong key.
//!
//! libzmq reports them to a socket monitor. An unread monitor freezes the context (libzmq #3575), because
//! the reporting thread waits for room in a pipe. So this pipe has no bound, only failures are reported,
//! and the thread that owns the socket reads them all in every turn: what is in the pipe meanwhile is one
//! small message for each connection of that time. The monitor outlives the socket that it watches.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use zmq::{Context, DONTWAIT, Error, PollItem, Socket, SocketEvent};

use crate::protocol::complaints::Complaints;

/// `ZMQ_PROTOCOL_ERROR_ZMTP_CRYPTOGRAPHIC`: what came was not sealed for our key.
const CRYPTOGRAPHIC: u32 = 0x1100_0001;
/// `ZMQ_PROTOCOL_ERROR_ZMTP_MECHANISM_MISMATCH`: keys are offered or asked for at one end only.
const MECHANISM_MISMATCH: u32 = 0x1100_0002;
/// At most one line of each sort in this time.
const COMPLAINT_INTERVAL: Duration = Duration::from_secs(30);
/// Reports taken in one turn.
const PER_TURN_MAX: usize = 1_024;

/// The failed handshakes of one bound socket.
pub(super) struct Handshakes {
    reports: Socket,
    address: String,
    has_keys: bool,
}

impl Handshakes {
    /// Begins to watch `socket`, which is to be bound at `address` and asks for keys or does not.
    pub(super) fn watch(
        context: &Context,
        socket: &Socket,
        address: &str,
        has_keys: bool,
    ) -> zmq::Result<Self> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let name = format!("inproc://osync-handshakes-{}", NEXT.fetch_add(1, Ordering::Relaxed));
        let failures = SocketEvent::HANDSHAKE_FAILED_NO_DETAIL.to_raw()
            | SocketEvent::HANDSHAKE_FAILED_PROTOCOL.to_raw();
        socket.monitor(&name, failures.into())?;
        let reports = context.socket(zmq::PAIR)?;
        reports.set_rcvhwm(0)?;
        reports.set_linger(0)?;
        reports.connect(&name)?;
        Ok(Self { reports, address: address.to_owned(), has_keys })
    }

    /// Wakes `zmq::poll` when there is something to tell.
    pub(super) fn poll_item(&self) -> PollItem<'_> {
        self.reports.as_poll_item(zmq::POLLIN)
    }

    /// The detail of the next failure, if there is one. Never waits.
    fn next(&self) -> zmq::Result<Option<u32>> {
        let report = match self.reports.recv_bytes(DONTWAIT) {
            Ok(report) => report,
            Err(Error::EAGAIN | Error::EINTR) => return Ok(None),
            Err(error) => return Err(error),
        };
        while self.reports.get_rcvmore()? {
            self.reports.recv_bytes(DONTWAIT)?;
        }
        // Two bytes of event, four of detail.
        let detail = report.get(2..6).and_then(|bytes| bytes.try_into().ok());
        Ok(Some(detail.map_or(0, u32::from_ne_bytes)))
    }
}

/// Puts failed handshakes into the log, by sort.
pub(super) struct HandshakeLog {
    mismatches: Complaints,
    wrong_keys: Complaints,
    others: Complaints,
}

impl HandshakeLog {
    pub(super) fn new() -> Self {
        let complaints = || Complaints::new(1, COMPLAINT_INTERVAL);
        Self { mismatches: complaints(), wrong_keys: complaints(), others: complaints() }
    }

    /// Tells what has happened since.
    pub(super) fn tell(&mut self, handshakes: &Handshakes) -> zmq::Result<()> {
        for _ in 0..PER_TURN_MAX {
            let Some(detail) = handshakes.next()? else { break };
            let (complaints, why) = match detail {
                MECHANISM_MISMATCH if handshakes.has_keys => {
                    (&mut self.mismatches, "it offers no key (NULL or PLAIN)")
                }
                MECHANISM_MISMATCH => (&mut self.mismatches, "it asks for keys and we have none"),
                CRYPTOGRAPHIC => (&mut self.wrong_keys, "it was made for another source's key"),
                // A peer without a key may see that ours asks for one before we see that it has none.
                _ if handshakes.has_keys => (
                    &mut self.others,
                    "it left the handshake: no key, another protocol, or too slow",
                ),
                _ => (&mut self.others, "it left the handshake: another protocol, or too slow"),
            };
            complaints.say(Instant::now(), || {
                format!("refused a connection to {}: {why}", handshakes.address)
            });
        }
        Ok(())
    }
}
