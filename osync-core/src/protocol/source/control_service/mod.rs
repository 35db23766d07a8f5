//! `SourceControlService`: the machine of a source.
//!
//! Owns the table of sinks. Frames, changes, job results and the time go in; [`Output`]s come out.
//! A sink that breaks the protocol, falls silent or cannot be reached loses its session and nothing
//! else happens: it says hello again, and its work is found again by comparison.

mod any_peer;
mod moved;
mod registration;
mod reports;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::model::change::Change;
use crate::model::connection::Channel;
use crate::model::fidelity::Fidelity;
use crate::model::frame::Frame;
use crate::model::key::PublicKey;
use crate::model::session_id::SessionId;
use crate::model::sink_id::SinkId;
use crate::model::work_id::WorkId;
use crate::options::SourceOptions;
use crate::ports::accounts::Roster;
use crate::ports::counters::Counters;
use crate::ports::monitor::Event;
use crate::ports::transport::PeerId;
use crate::protocol::SILENCE_MAX;
use crate::protocol::complaints::Complaints;
use crate::protocol::sequence::Arrived;
use crate::protocol::source::control_service::any_peer::AnySinkPeer;
use crate::protocol::source::control_service::moved::Moved;
use crate::protocol::source::job::Done;
use crate::protocol::source::peer::{Transferring, outside_order};
use crate::protocol::source::transfer::Output;
use crate::queue::lately::Lately;
use crate::wire::decode;
use crate::wire::message::{Message, Refusal};

/// One line about frames that mean nothing in this time.
const COMPLAINT_INTERVAL: Duration = Duration::from_secs(10);

/// The machine of a source.
#[derive(Debug)]
pub struct SourceControlService<R> {
    options: SourceOptions,
    counters: Arc<Counters>,
    roster: Arc<Roster>,
    lately: Arc<Lately>,
    fidelity: Fidelity,
    random_session: R,
    peers: BTreeMap<SessionId, AnySinkPeer>,
    /// Names by the key that took them, where sinks have keys: one each, for the life of this source.
    names: BTreeMap<SinkId, PublicKey>,
    moved: Moved,
    started_at: Instant,
    audited_at: Instant,
    is_feed_ready: bool,
    /// Sessions that wait for the feed before their backlog begins.
    waiting: Vec<SessionId>,
    last_cookie: u64,
    complaints: Complaints,
    is_fence_early: bool,
    is_ending: bool,
}

impl<R: FnMut() -> SessionId> SourceControlService<R> {
    /// A source that can tell `fidelity`; `random_session` makes ids nobody can guess; `counters` are of all sinks.
    #[must_use]
    pub fn new(
        options: SourceOptions,
        fidelity: Fidelity,
        random_session: R,
        counters: Arc<Counters>,
        now: Instant,
    ) -> Self {
        Self {
            options,
            counters,
            roster: Arc::default(),
            lately: Arc::default(),
            fidelity,
            random_session,
            peers: BTreeMap::new(),
            names: BTreeMap::new(),
            moved: Moved::default(),
            started_at: now,
            audited_at: now,
            is_feed_ready: false,
            waiting: Vec::new(),
            last_cookie: 0,
            complaints: Complaints::new(1, COMPLAINT_INTERVAL),
            is_fence_early: false,
            is_ending: false,
        }
    }

    /// Takes a frame from `peer`.
    #[expect(clippy::wildcard_enum_match_arm, reason = "every other message is out of place")]
    pub fn on_frame(
        &mut self,
        channel: Channel,
        peer: &PeerId,
        frame: &Frame,
        now: Instant,
        out: &mut Vec<Output>,
    ) {
        let envelope = match decode::envelope(frame) {
            Ok(envelope) => envelope,
            Err(error) => {
                let text = || format!("a frame on the {channel:?} channel was refused: {error}");
                self.complaints.say(now, text);
                if let decode::DecodeError::Version { .. } = error {
                    // Any message of ours tells the peer our version.
                    out.push(outside_order(0, peer, refused(Refusal::NoSuchSession)));
                }
                return;
            }
        };
        if let Message::Hello { sink, fidelity } = envelope.message {
            if channel == Channel::Control {
                self.on_hello(peer, sink, fidelity, now, out);
            }
            return;
        }
        let Some(session) = self.session_of(channel, peer, envelope.session) else {
            if channel == Channel::Control {
                out.push(outside_order(envelope.session, peer, refused(Refusal::NoSuchSession)));
            }
            return;
        };
        match self.peers.get_mut(&session) {
            Some(AnySinkPeer::Initialisation(peer)) => {
                let is_control = channel == Channel::Control;
                if is_control && peer.on_message(&envelope.message, now, out) {
                    self.begin_transfer(session, now, out);
                }
            }
            Some(AnySinkPeer::Transfer(peer)) => {
                peer.heard_at = now;
                // Said again because the acknowledgement is still on its way: the handshake is over.
                if envelope.sequence == 0 {
                    return;
                }
                if envelope.message == Message::TerminationRequest {
                    peer.phase.transfer.tell_problems(now, out);
                    let agreed = Message::TerminationAcknowledgement;
                    out.push(outside_order(session.tag(), &peer.control, agreed));
                    self.retire(session, out);
                    return;
                }
                if let Err(reason) =
                    deliver(&mut peer.phase, channel, envelope.sequence, envelope.message, now, out)
                {
                    self.drop_peer(session, &reason, out);
                }
                self.ask_fence(out);
            }
            Some(AnySinkPeer::Termination(peer)) => {
                peer.heard_at = now;
                match envelope.message {
                    Message::TerminationAcknowledgement => self.retire(session, out),
                    // Both asked at once: the sink may have missed our question and waits for its answer.
                    Message::TerminationRequest => {
                        let agreed = Message::TerminationAcknowledgement;
                        out.push(outside_order(session.tag(), &peer.control, agreed));
                        self.retire(session, out);
                    }
                    message => {
                        let sequence = envelope.sequence;
                        // What goes wrong while ending is no reason to do anything but end.
                        if deliver(peer.transferring(), channel, sequence, message, now, out)
                            .is_err()
                        {
                            self.peers.remove(&session);
                        } else {
                            peer.on_tick(now, out);
                        }
                    }
                }
            }
            None => {}
        }
    }

    /// A frame to `peer` could not be delivered: whoever it belongs to has gone.
    pub fn on_unreachable(&mut self, channel: Channel, peer: &PeerId, out: &mut Vec<Output>) {
        let gone = self.peers.iter().find_map(|(session, any)| {
            let is_it = match channel {
                Channel::Control => any.control() == peer,
                Channel::Data => session.routing_id() == peer.as_bytes(),
            };
            // Before the data channel is proven it may just not be connected yet.
            let may_be_early =
                channel == Channel::Data && matches!(any, AnySinkPeer::Initialisation(_));
            (is_it && !may_be_early).then_some(*session)
        });
        if let Some(session) = gone {
            self.drop_peer(session, "the connection is gone", out);
        }
    }

    /// Takes a change hint.
    pub fn on_change(&mut self, change: &Change, now: Instant, out: &mut Vec<Output>) {
        match change {
            Change::Ready => self.on_feed_ready(now, out),
            // Before everything is watched a fence says little; being ready says it all.
            Change::Fence { .. } if !self.is_feed_ready => self.is_fence_early = true,
            Change::Fence { cookie } if *cookie == self.last_cookie => self.pass_fence(now, out),
            Change::Lost { scope, reason } | Change::Unwatched { scope, reason } => {
                log::debug!("changes in {scope} may have been missed and are looked for: {reason}");
                let (scope, reason) = (scope.clone(), reason.clone());
                out.push(Output::Event(Event::FeedLost { scope, reason }));
            }
            Change::MovedIn { .. } | Change::Renamed { .. } => self.moved.hear(change, now),
            Change::Fence { .. }
            | Change::Entry { .. }
            | Change::Subtree { .. }
            | Change::Failed { .. } => {}
        }
        for any in self.peers.values_mut() {
            if let AnySinkPeer::Transfer(peer) = any {
                peer.phase.transfer.on_change(change, now);
            }
        }
    }

    /// Begins what changes and the time have made possible. Call after a burst of [`SourceControlService::on_change`].
    pub fn on_tick(&mut self, now: Instant, out: &mut Vec<Output>) {
        if !self.waiting.is_empty()
            && now.saturating_duration_since(self.started_at) >= self.options.feed_patience
        {
            for session in std::mem::take(&mut self.waiting) {
                self.begin_backlog(session, now, out);
            }
        }
        if self.next_audit().is_some_and(|at| at <= now) {
            self.audit(now, out);
        }
        let mut lost = Vec::new();
        for (session, any) in &mut self.peers {
            match any {
                AnySinkPeer::Initialisation(peer) => {
                    peer.on_tick(now, out);
                    if peer.is_expired(now) {
                        lost.push((*session, "the handshake took too long"));
                    }
                }
                AnySinkPeer::Transfer(peer) => {
                    peer.phase.transfer.on_tick(now, out);
                    if now.saturating_duration_since(peer.heard_at) >= SILENCE_MAX {
                        lost.push((*session, "nothing was heard of it for too long"));
                    }
                }
                AnySinkPeer::Termination(peer) => {
                    peer.on_tick(now, out);
                    if now >= peer.until() {
                        lost.push((*session, "it did not agree to the end in time"));
                    }
                }
            }
        }
        for (session, reason) in lost {
            self.drop_peer(session, reason, out);
        }
        self.ask_fence(out);
    }

    /// Takes the result of a job.
    pub fn on_done(
        &mut self,
        session: u64,
        work: WorkId,
        done: Done,
        now: Instant,
        out: &mut Vec<Output>,
    ) {
        for any in self.peers.values_mut().filter(|any| any.session().tag() == session) {
            match any {
                AnySinkPeer::Initialisation(_) => {}
                AnySinkPeer::Transfer(peer) => {
                    peer.phase.transfer.on_done(work, done, now, out);
                    return;
                }
                AnySinkPeer::Termination(peer) => {
                    peer.transferring().transfer.on_done(work, done, now, out);
                    peer.on_tick(now, out);
                    return;
                }
            }
        }
        // The session has ended meanwhile; the file of this work came back with the result.
        out.push(Output::Forget { session, work });
    }

    /// When [`SourceControlService::on_tick`] should be called at the latest; `None`: never.
    #[must_use]
    pub fn next_deadline(&self, now: Instant) -> Option<Instant> {
        let peers = self.peers.values().map(|any| match any {
            AnySinkPeer::Initialisation(peer) => peer.next_deadline(),
            AnySinkPeer::Transfer(peer) => {
                peer.phase.transfer.next_deadline(now).min(peer.heard_at + SILENCE_MAX)
            }
            AnySinkPeer::Termination(peer) => peer.next_deadline(),
        });
        let patience =
            (!self.waiting.is_empty()).then(|| self.started_at + self.options.feed_patience);
        peers.chain(patience).chain(self.next_audit()).min()
    }

    /// Ends every session by agreement; [`SourceControlService::is_ended`] tells when that is done.
    pub fn stop(&mut self, now: Instant, out: &mut Vec<Output>) {
        self.is_ending = true;
        let sessions: Vec<SessionId> = self.peers.keys().copied().collect();
        for session in sessions {
            match self.peers.remove(&session) {
                Some(AnySinkPeer::Transfer(peer)) => {
                    let mut peer = Box::new(peer.close(now));
                    peer.on_tick(now, out);
                    self.peers.insert(session, AnySinkPeer::Termination(peer));
                }
                Some(ending @ AnySinkPeer::Termination(_)) => {
                    self.peers.insert(session, ending);
                }
                Some(AnySinkPeer::Initialisation(_)) | None => {}
            }
        }
    }

    /// Whether [`SourceControlService::stop`] was called and no session is left.
    #[must_use]
    pub fn is_ended(&self) -> bool {
        self.is_ending && self.peers.is_empty()
    }

    fn session_of(&self, channel: Channel, peer: &PeerId, tag: u64) -> Option<SessionId> {
        let session = match channel {
            // Only its sink knows the id of a session, and only with the key it registered with.
            Channel::Data => SessionId::from_routing_id(peer.as_bytes())
                .filter(|session| self.is_held_by(session, peer))?,
            Channel::Control => {
                let mut peers = self.peers.iter();
                *peers.find(|(session, any)| session.tag() == tag && any.control() == peer)?.0
            }
        };
        (session.tag() == tag && self.peers.contains_key(&session)).then_some(session)
    }

    /// Whether `peer` has the key that registered `session`.
    fn is_held_by(&self, session: &SessionId, peer: &PeerId) -> bool {
        self.peers.get(session).is_some_and(|any| any.control().key() == peer.key())
    }
}

/// Gives a numbered message to the transfer.
fn deliver(
    transferring: &mut Transferring,
    channel: Channel,
    sequence: u64,
    message: Message,
    now: Instant,
    out: &mut Vec<Output>,
) -> Result<(), String> {
    let inbound = match channel {
        Channel::Control => &mut transferring.control_inbound,
        Channel::Data => &mut transferring.data_inbound,
    };
    match inbound.arrived(sequence) {
        Arrived::InOrder => {
            transferring.transfer.on_message(message, now, out).map_err(|breach| breach.to_string())
        }
        Arrived::Repeated => Ok(()),
        Arrived::AfterGap => Err("messages are missing".to_owned()),
    }
}

fn refused(refusal: Refusal) -> Message {
    let text = match refusal {
        Refusal::NameInUse => "another sink has this name or this key; give each sink its own",
        Refusal::TooManySinks => "as many sinks as allowed are connected",
        Refusal::NoSuchSession => "the session is over; register again",
        Refusal::Ending => "the source is ending",
    };
    Message::Refused { refusal, text: text.to_owned() }
}
