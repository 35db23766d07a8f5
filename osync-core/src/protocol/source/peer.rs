//! One sink as its source sees it, in its phase.
//!
//! ```text
//! Initialisation --accept--> Transfer --close--> Termination
//! ```
//!
//! Each phase is a type; a transition consumes the one before it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::model::connection::Channel;
use crate::model::fidelity::Fidelity;
use crate::model::session_id::SessionId;
use crate::model::sink_id::SinkId;
use crate::model::timestamp::Timestamp;
use crate::options::SourceOptions;
use crate::ports::counters::Counters;
use crate::ports::transport::PeerId;
use crate::protocol::sequence::Inbound;
use crate::protocol::source::transfer::{Output, Transfer};
use crate::protocol::{HANDSHAKE_MAX, TERMINATION_MAX};
use crate::wire::encode;
use crate::wire::message::{Envelope, Message};

/// How often a synchronisation message is sent until the sink has seen one.
const SYNCHRONISATION_INTERVAL: Duration = Duration::from_millis(20);

/// A phase of a session.
pub trait Phase: sealed::Sealed {}

mod sealed {
    /// Only the three phases are phases.
    pub trait Sealed {}
}

/// A sink in phase `P`.
#[derive(Debug)]
pub struct SinkPeer<P: Phase> {
    /// Its name.
    pub id: SinkId,
    /// Its session.
    pub session: SessionId,
    /// Its end of the command channel.
    pub control: PeerId,
    /// When it was heard of last.
    pub heard_at: Instant,
    /// What only this phase has.
    pub phase: P,
}

/// The handshake, until both channels are proven.
#[derive(Debug)]
pub struct Initialisation {
    fidelity: Fidelity,
    began_at: Instant,
    /// When the next synchronisation message goes; `None` until the sink has asked for them.
    synchronise_at: Option<Instant>,
}

/// Numbers of the messages that arrive during transfer, with the transfer itself.
#[derive(Debug)]
pub struct Transferring {
    /// Numbers on the command channel.
    pub control_inbound: Inbound,
    /// Numbers on the data channel.
    pub data_inbound: Inbound,
    /// Marks and work.
    pub transfer: Transfer,
}

/// The agreed end.
#[derive(Debug)]
pub struct Termination {
    transferring: Transferring,
    /// From here on the sink is asked whatever is still in flight.
    half_time: Instant,
    until: Instant,
    is_requested: bool,
}

impl sealed::Sealed for Initialisation {}
impl sealed::Sealed for Transferring {}
impl sealed::Sealed for Termination {}
impl Phase for Initialisation {}
impl Phase for Transferring {}
impl Phase for Termination {}

impl SinkPeer<Initialisation> {
    /// Welcomes a sink that said hello with `fidelity`.
    #[must_use]
    pub fn welcome(
        id: SinkId,
        session: SessionId,
        control: PeerId,
        fidelity: Fidelity,
        now: Instant,
        out: &mut Vec<Output>,
    ) -> Self {
        let phase = Initialisation { fidelity, began_at: now, synchronise_at: None };
        let peer = Self { id, session, control, heard_at: now, phase };
        peer.welcome_again(out);
        peer
    }

    /// Repeats the welcome; a sink that has it already ignores it.
    pub fn welcome_again(&self, out: &mut Vec<Output>) {
        let session = self.session;
        self.say(Message::HelloAcknowledgement { session }, out);
    }

    /// Takes a message of the handshake; returns whether it was the last one.
    #[expect(clippy::wildcard_enum_match_arm, reason = "every other message is out of place")]
    pub fn on_message(&mut self, message: &Message, now: Instant, out: &mut Vec<Output>) -> bool {
        self.heard_at = now;
        match message {
            Message::RegistrationRequest => {
                self.say(Message::RegistrationRequestAcknowledgement, out);
                self.phase.synchronise_at = Some(now);
                self.on_tick(now, out);
                false
            }
            Message::RegistrationSuccess => self.phase.synchronise_at.is_some(),
            _ => false,
        }
    }

    /// Sends synchronisation messages while the sink waits for one.
    pub fn on_tick(&mut self, now: Instant, out: &mut Vec<Output>) {
        if self.phase.synchronise_at.is_some_and(|at| at <= now) {
            self.phase.synchronise_at = Some(now + SYNCHRONISATION_INTERVAL);
            let envelope = Envelope {
                session: self.session.tag(),
                sequence: 0,
                message: Message::SynchronisationMessage,
            };
            out.push(Output::Send {
                channel: Channel::Data,
                peer: PeerId::new(&self.session.routing_id()).with_key(self.control.key()),
                frame: encode::frame(&envelope, Bytes::new()),
            });
        }
    }

    /// When [`SinkPeer::on_tick`] should be called at the latest.
    #[must_use]
    pub fn next_deadline(&self) -> Instant {
        let timeout = self.phase.began_at + HANDSHAKE_MAX;
        self.phase.synchronise_at.map_or(timeout, |at| at.min(timeout))
    }

    /// Whether the handshake has taken too long.
    #[must_use]
    pub fn is_expired(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.phase.began_at) >= HANDSHAKE_MAX
    }

    /// Ends the handshake: both channels are proven and `fidelity` is what the source can tell.
    #[must_use]
    pub fn accept(
        self,
        fidelity: Fidelity,
        options: &SourceOptions,
        horizon: Option<Timestamp>,
        counters: Arc<Counters>,
        now: Instant,
        out: &mut Vec<Output>,
    ) -> SinkPeer<Transferring> {
        let told = fidelity.nodes;
        let fidelity = fidelity.common(self.phase.fidelity);
        if fidelity.nodes != told {
            let are_sockets_kept = fidelity.nodes.sockets || !told.sockets;
            let what = if are_sockets_kept { "device nodes" } else { "sockets and device nodes" };
            log::warn!("{what} are left out for {}, which does not keep them", self.id);
        }
        self.say(Message::RegistrationSuccessAcknowledgement { fidelity }, out);
        let transfer = Transfer::new(
            &self.session,
            self.control.clone(),
            fidelity,
            options,
            horizon,
            counters,
            now,
        );
        let phase = Transferring {
            control_inbound: Inbound::default(),
            data_inbound: Inbound::default(),
            transfer,
        };
        let Self { id, session, control, .. } = self;
        SinkPeer { id, session, control, heard_at: now, phase }
    }

    fn say(&self, message: Message, out: &mut Vec<Output>) {
        out.push(outside_order(self.session.tag(), &self.control, message));
    }
}

impl SinkPeer<Transferring> {
    /// Takes no more marks; the peer is done once the sink has confirmed what is in flight and agreed.
    #[must_use]
    pub fn close(mut self, now: Instant) -> SinkPeer<Termination> {
        self.phase.transfer.drain();
        let phase = Termination {
            transferring: self.phase,
            half_time: now + TERMINATION_MAX / 2,
            until: now + TERMINATION_MAX,
            is_requested: false,
        };
        let Self { id, session, control, heard_at, .. } = self;
        SinkPeer { id, session, control, heard_at, phase }
    }
}

impl SinkPeer<Termination> {
    /// The transfer that is ending.
    pub fn transferring(&mut self) -> &mut Transferring {
        &mut self.phase.transferring
    }

    /// Asks the sink to agree once nothing is in flight any more, or half the time is over.
    pub fn on_tick(&mut self, now: Instant, out: &mut Vec<Output>) {
        let transfer = &mut self.phase.transferring.transfer;
        let is_late = now >= self.phase.half_time;
        if !self.phase.is_requested && (transfer.is_drained() || is_late) {
            self.phase.is_requested = true;
            transfer.tell_problems(now, out);
            transfer.send_control(Message::TerminationRequest, now, out);
        }
    }

    /// When the peer is done, agreed or not.
    #[must_use]
    pub fn until(&self) -> Instant {
        self.phase.until
    }

    /// When [`SinkPeer::on_tick`] should be called at the latest.
    #[must_use]
    pub fn next_deadline(&self) -> Instant {
        if self.phase.is_requested { self.phase.until } else { self.phase.half_time }
    }
}

/// A message of the handshake, which is not numbered.
#[must_use]
pub fn outside_order(session: u64, peer: &PeerId, message: Message) -> Output {
    let frame = encode::frame(&Envelope { session, sequence: 0, message }, Bytes::new());
    Output::Send { channel: Channel::Control, peer: peer.clone(), frame }
}
