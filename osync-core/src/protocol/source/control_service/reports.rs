//! What a source tells of its sinks.

use std::time::Instant;

use crate::model::report::QueueReport;
use crate::model::sink_id::SinkId;
use crate::ports::monitor::Problem;
use crate::protocol::source::control_service::SourceControlService;
use crate::protocol::source::control_service::any_peer::AnySinkPeer;
use crate::protocol::source::peer::{SinkPeer, Transferring};

impl<R> SourceControlService<R> {
    /// The first `limit` paths of each sink that are not replicated at present.
    #[must_use]
    pub fn problems(&self, limit: usize, now: Instant) -> Vec<(SinkId, Vec<Problem>)> {
        let of = |peer: &SinkPeer<Transferring>| {
            (peer.id.clone(), peer.phase.transfer.problems(limit, now))
        };
        self.peers.values().filter_map(AnySinkPeer::transfer).map(of).collect()
    }

    /// Where each sink in transfer stands.
    #[must_use]
    pub fn reports(&self, now: Instant) -> Vec<(SinkId, QueueReport)> {
        let of = |peer: &SinkPeer<Transferring>| {
            (peer.id.clone(), peer.phase.transfer.queue_report(now))
        };
        self.peers.values().filter_map(AnySinkPeer::transfer).map(of).collect()
    }
}
