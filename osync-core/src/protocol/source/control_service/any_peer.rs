//! A sink in any phase, for the table.

use crate::model::session_id::SessionId;
use crate::model::sink_id::SinkId;
use crate::ports::transport::PeerId;
use crate::protocol::source::peer::{Initialisation, SinkPeer, Termination, Transferring};
use crate::protocol::source::transfer::Transfer;

/// A sink in any phase.
#[derive(Debug)]
pub(super) enum AnySinkPeer {
    Initialisation(SinkPeer<Initialisation>),
    Transfer(Box<SinkPeer<Transferring>>),
    Termination(Box<SinkPeer<Termination>>),
}

impl AnySinkPeer {
    pub(super) fn id(&self) -> &SinkId {
        match self {
            Self::Initialisation(peer) => &peer.id,
            Self::Transfer(peer) => &peer.id,
            Self::Termination(peer) => &peer.id,
        }
    }

    pub(super) fn session(&self) -> SessionId {
        match self {
            Self::Initialisation(peer) => peer.session,
            Self::Transfer(peer) => peer.session,
            Self::Termination(peer) => peer.session,
        }
    }

    pub(super) fn control(&self) -> &PeerId {
        match self {
            Self::Initialisation(peer) => &peer.control,
            Self::Transfer(peer) => &peer.control,
            Self::Termination(peer) => &peer.control,
        }
    }

    /// The transfer, be it that it is ending.
    pub(super) fn any_transfer(&mut self) -> Option<&mut Transfer> {
        match self {
            Self::Transfer(peer) => Some(&mut peer.phase.transfer),
            Self::Termination(peer) => Some(&mut peer.transferring().transfer),
            Self::Initialisation(_) => None,
        }
    }

    /// The peer, if it is in transfer.
    pub(super) fn transfer(&self) -> Option<&SinkPeer<Transferring>> {
        match self {
            Self::Transfer(peer) => Some(peer),
            Self::Initialisation(_) | Self::Termination(_) => None,
        }
    }
}
