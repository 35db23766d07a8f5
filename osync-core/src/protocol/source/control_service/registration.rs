//! Who comes and who goes: hello, the begin of transfer and of the backlog, the end of a session.

use std::sync::Arc;
use std::time::Instant;

use crate::model::fidelity::Fidelity;
use crate::model::key::PublicKey;
use crate::model::session_id::SessionId;
use crate::model::sink_id::SinkId;
use crate::model::timestamp::Timestamp;
use crate::ports::accounts::Roster;
use crate::ports::monitor::Event;
use crate::ports::transport::PeerId;
use crate::protocol::source::control_service::any_peer::AnySinkPeer;
use crate::protocol::source::control_service::{SourceControlService, refused};
use crate::protocol::source::peer::{SinkPeer, outside_order};
use crate::protocol::source::transfer::{Output, Reached};
use crate::queue::lately::Lately;
use crate::wire::message::{Message, Refusal};

/// Names that are kept for their keys, which are more than an allow-list can hold at a time.
const NAMES_MAX: usize = 8_192;

impl<R: FnMut() -> SessionId> SourceControlService<R> {
    pub(super) fn on_feed_ready(&mut self, now: Instant, out: &mut Vec<Output>) {
        self.is_feed_ready = true;
        self.waiting.clear();
        // What was compared before everything was watched is compared again.
        let sessions: Vec<SessionId> = self.peers.keys().copied().collect();
        for session in sessions {
            self.begin_backlog(session, now, out);
        }
        if std::mem::take(&mut self.is_fence_early) {
            self.pass_fence(now, out);
        }
    }

    pub(super) fn on_hello(
        &mut self,
        peer: &PeerId,
        sink: SinkId,
        fidelity: Fidelity,
        now: Instant,
        out: &mut Vec<Output>,
    ) {
        if self.is_ending {
            out.push(outside_order(0, peer, refused(Refusal::Ending)));
            return;
        }
        // A sink says hello until it is answered, and what waited for us arrives all at once.
        let said_before = self.peers.values().find_map(|any| match any {
            AnySinkPeer::Initialisation(known) if known.control == *peer && known.id == sink => {
                Some(known)
            }
            AnySinkPeer::Initialisation(_)
            | AnySinkPeer::Transfer(_)
            | AnySinkPeer::Termination(_) => None,
        });
        if let Some(known) = said_before {
            known.welcome_again(out);
            return;
        }
        // The same connection begins anew: whatever it had is over.
        let same: Vec<SessionId> = self
            .peers
            .iter()
            .filter(|(_, any)| any.control() == peer)
            .map(|(session, _)| *session)
            .collect();
        for session in same {
            self.drop_peer(session, "it registers anew", out);
        }
        let key = peer.key();
        let namesake = self
            .peers
            .values_mut()
            .find(|any| *any.id() == sink || (key.is_some() && any.control().key() == key));
        if let Some(namesake) = namesake {
            // If that one has died, the transport says so when it is spoken to, and its name is free.
            match namesake {
                AnySinkPeer::Initialisation(living) => living.welcome_again(out),
                AnySinkPeer::Transfer(living) => {
                    living.phase.transfer.send_control(Message::Heartbeat, now, out);
                }
                AnySinkPeer::Termination(_) => {}
            }
            out.push(outside_order(0, peer, refused(Refusal::NameInUse)));
            return;
        }
        if let Some(key) = key
            && !self.take_name(&sink, key)
        {
            out.push(outside_order(0, peer, refused(Refusal::NameInUse)));
            return;
        }
        if self.peers.len() >= self.options.sinks_max {
            out.push(outside_order(0, peer, refused(Refusal::TooManySinks)));
            return;
        }
        let session = (self.random_session)();
        log::debug!("sink {sink} says hello");
        let peer = SinkPeer::welcome(sink, session, peer.clone(), fidelity, now, out);
        self.peers.insert(session, AnySinkPeer::Initialisation(peer));
    }

    /// Gives `name` to `key` for good; `false` if another key has it. Who takes a new name leaves the old.
    fn take_name(&mut self, name: &SinkId, key: PublicKey) -> bool {
        if let Some(holder) = self.names.get(name) {
            return *holder == key;
        }
        self.names.retain(|_, holder| *holder != key);
        if self.names.len() < NAMES_MAX {
            self.names.insert(name.clone(), key);
        }
        true
    }

    pub(super) fn begin_transfer(
        &mut self,
        session: SessionId,
        now: Instant,
        out: &mut Vec<Output>,
    ) {
        let Some(AnySinkPeer::Initialisation(peer)) = self.peers.remove(&session) else { return };
        let horizon = self.options.horizons.get(&peer.id).copied();
        let counters = Arc::clone(&self.counters);
        let mut peer = peer.accept(self.fidelity, &self.options, horizon, counters, now, out);
        peer.phase.transfer.use_roster(Arc::clone(&self.roster));
        peer.phase.transfer.use_lately(Arc::clone(&self.lately));
        out.push(Output::Event(Event::Registered { sink: peer.id.clone() }));
        if horizon.is_none() {
            // What this sink has already is believed; what changes from now on is known.
            let session = session.tag();
            let reached = Reached::Beginning;
            out.push(Output::Horizon { session, asked_at: now, reached });
        }
        for path in self.moved.begin(&peer.id, now) {
            peer.phase.transfer.mark_strange(&path, now, now);
        }
        self.peers.insert(session, AnySinkPeer::Transfer(Box::new(peer)));
        let is_patience_over =
            now.saturating_duration_since(self.started_at) >= self.options.feed_patience;
        if self.is_feed_ready || is_patience_over {
            self.begin_backlog(session, now, out);
        } else {
            self.waiting.push(session);
        }
    }

    /// Takes where to find who owns what; to be called before the first session.
    pub fn use_roster(&mut self, roster: Arc<Roster>) {
        self.roster = roster;
    }

    /// Takes where what is read is kept for others; to be called before the first session.
    pub fn use_lately(&mut self, lately: Arc<Lately>) {
        self.lately = lately;
    }

    /// Has everything compared again at every sink, for what nobody reported.
    pub fn audit(&mut self, now: Instant, out: &mut Vec<Output>) {
        self.audited_at = now;
        log::info!("an audit begins: everything is compared again");
        out.push(Output::ReadAnew);
        for any in self.peers.values_mut() {
            if let AnySinkPeer::Transfer(peer) = any {
                peer.phase.transfer.compare_again(now, out);
            }
        }
    }

    /// When the next audit is due; `None` if there is none, or no sink.
    pub(super) fn next_audit(&self) -> Option<Instant> {
        let interval = self.options.audit_interval.filter(|_| !self.peers.is_empty())?;
        self.audited_at.checked_add(interval)
    }

    pub(super) fn begin_backlog(
        &mut self,
        session: SessionId,
        now: Instant,
        out: &mut Vec<Output>,
    ) {
        if let Some(AnySinkPeer::Transfer(peer)) = self.peers.get_mut(&session) {
            peer.phase.transfer.compare_all(now, out);
        }
    }

    /// How far `session` has come with all that had changed before `at`, by the clock of the source.
    pub fn on_horizon(
        &mut self,
        session: u64,
        reached: Reached,
        at: Timestamp,
        out: &mut Vec<Output>,
    ) {
        let sink = if let Reached::Ended(sink) = reached {
            sink
        } else {
            let peer = self.peers.values_mut().find(|any| any.session().tag() == session);
            let Some(peer) = peer else { return };
            if let AnySinkPeer::Transfer(peer) = peer {
                peer.phase.transfer.on_reached(&reached, at);
            }
            if matches!(reached, Reached::Reported(_)) {
                return;
            }
            peer.id().clone()
        };
        let horizons = &mut self.options.horizons;
        if horizons.len() >= NAMES_MAX && !horizons.contains_key(&sink) {
            let oldest = horizons.iter().min_by_key(|(_, at)| **at).map(|(name, _)| name.clone());
            oldest.map(|name| horizons.remove(&name));
        }
        if horizons.get(&sink).is_some_and(|before| at <= *before) {
            return;
        }
        horizons.insert(sink.clone(), at);
        out.push(Output::Event(Event::Horizon { sink, at }));
    }

    pub(super) fn ask_fence(&mut self, out: &mut Vec<Output>) {
        let mut wishes = false;
        for any in self.peers.values_mut() {
            if let AnySinkPeer::Transfer(peer) = any {
                wishes |= peer.phase.transfer.take_fence_wish();
            }
        }
        if wishes {
            self.last_cookie += 1;
            out.push(Output::Fence { cookie: self.last_cookie });
        }
    }

    pub(super) fn pass_fence(&mut self, now: Instant, out: &mut Vec<Output>) {
        for any in self.peers.values_mut() {
            if let AnySinkPeer::Transfer(peer) = any {
                peer.phase.transfer.on_fence(now, out);
            }
        }
    }

    /// Ends a session as both ends agreed.
    pub(super) fn retire(&mut self, session: SessionId, out: &mut Vec<Output>) {
        let Some(mut any) = self.peers.remove(&session) else { return };
        let sink = any.id().clone();
        if let Some(transfer) = any.any_transfer() {
            self.moved.end(&sink, transfer.agreed_at());
            transfer.end_horizon(&sink, out);
        }
        out.push(Output::ForgetAll { session: session.tag() });
        out.push(Output::Event(Event::Terminated { sink }));
    }

    pub(super) fn drop_peer(&mut self, session: SessionId, reason: &str, out: &mut Vec<Output>) {
        let Some(mut any) = self.peers.remove(&session) else { return };
        let agreed_at = any.any_transfer().and_then(|transfer| transfer.agreed_at());
        self.moved.end(any.id(), agreed_at);
        self.waiting.retain(|waiting| *waiting != session);
        log::debug!("session with {} ended: {reason}", any.id());
        out.push(Output::ForgetAll { session: session.tag() });
        if let AnySinkPeer::Transfer(peer) = any {
            let refusal = refused(Refusal::NoSuchSession);
            out.push(outside_order(session.tag(), &peer.control, refusal));
            out.push(Output::Event(Event::Disconnected {
                sink: peer.id,
                reason: reason.to_owned(),
            }));
        }
    }
}
