//! A transport that counts what its source sends.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crossbeam_channel::Sender;
use osync_core::adapters::transport::in_process::InProcessTransport;
use osync_core::model::connection::{Channel, ConnectionDetails};
use osync_core::ports::transport::{
    Arrival, Frame, PeerId, SinkLink, SourceLink, Transport, TransportError,
};

/// Clones count together.
#[derive(Clone, Default)]
pub(crate) struct Counting {
    transport: InProcessTransport,
    sent: Arc<Sent>,
}

#[derive(Default)]
struct Sent {
    bytes: AtomicUsize,
    longest_payload_bytes: AtomicUsize,
}

impl Counting {
    /// Bytes of all frames so far, and of the longest payload among them.
    pub(crate) fn sent_bytes(&self) -> (usize, usize) {
        let bytes = self.sent.bytes.load(Ordering::Relaxed);
        (bytes, self.sent.longest_payload_bytes.load(Ordering::Relaxed))
    }
}

struct CountingLink {
    link: Box<dyn SourceLink>,
    sent: Arc<Sent>,
}

impl Transport for Counting {
    fn bind(
        &self,
        details: &ConnectionDetails,
        arrivals: Sender<Arrival>,
    ) -> Result<Box<dyn SourceLink>, TransportError> {
        let link = self.transport.bind(details, arrivals)?;
        Ok(Box::new(CountingLink { link, sent: Arc::clone(&self.sent) }))
    }

    fn connect(
        &self,
        details: &ConnectionDetails,
        arrivals: Sender<Arrival>,
    ) -> Result<Box<dyn SinkLink>, TransportError> {
        self.transport.connect(details, arrivals)
    }
}

impl SourceLink for CountingLink {
    fn details(&self) -> ConnectionDetails {
        self.link.details()
    }

    fn send(
        &mut self,
        channel: Channel,
        peer: &PeerId,
        frame: Frame,
    ) -> Result<(), TransportError> {
        let payload_bytes = frame.payload.len();
        self.sent.bytes.fetch_add(frame.header.len() + payload_bytes, Ordering::Relaxed);
        self.sent.longest_payload_bytes.fetch_max(payload_bytes, Ordering::Relaxed);
        self.link.send(channel, peer, frame)
    }
}
