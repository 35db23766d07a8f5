//! `DataService`: one sink's data channel, seen from the source.

use std::time::Instant;

use bytes::Bytes;

use crate::model::frame::Frame;
use crate::model::session_id::SessionId;
use crate::ports::transport::PeerId;
use crate::protocol::sequence::Outbound;
use crate::queue::window::Window;
use crate::wire::encode;
use crate::wire::message::{Envelope, Message};

/// Numbers what goes out to one sink and keeps it within the window.
#[derive(Debug)]
pub struct DataService {
    peer: PeerId,
    session: u64,
    outbound: Outbound,
    window: Window,
    sent: u64,
    consumed: u64,
}

impl DataService {
    /// The data channel of `session`, whose command channel leads to `control`: the same key holds both. Its window
    /// has `window_bytes_max` at the most.
    #[must_use]
    pub fn new(session: &SessionId, control: &PeerId, window_bytes_max: u64) -> Self {
        Self {
            peer: PeerId::new(&session.routing_id()).with_key(control.key()),
            session: session.tag(),
            outbound: Outbound::default(),
            window: Window::new(window_bytes_max),
            sent: 0,
            consumed: 0,
        }
    }

    /// Whom the channel leads to.
    #[must_use]
    pub fn peer(&self) -> &PeerId {
        &self.peer
    }

    /// The window.
    #[must_use]
    pub fn window(&self) -> &Window {
        &self.window
    }

    /// From now on the window has `bytes_max` at the most.
    pub fn set_window_bytes_max(&mut self, bytes_max: u64) {
        self.window.set_bytes_max(bytes_max);
    }

    /// Number of the message sent last.
    #[must_use]
    pub fn sent(&self) -> u64 {
        self.sent
    }

    /// Number of the newest message that the sink has consumed.
    #[must_use]
    pub fn consumed(&self) -> u64 {
        self.consumed
    }

    /// Takes a grant of the sink; `false` if it is impossible.
    pub fn on_credit(&mut self, consumed_bytes: u64, newest: u64, now: Instant) -> bool {
        let is_possible = self.window.on_credit(consumed_bytes, newest, now);
        self.consumed = self.consumed.max(newest.min(self.sent));
        is_possible
    }

    /// The frame of `message`, numbered and counted.
    pub fn frame(&mut self, message: Message, payload: Bytes, now: Instant) -> Frame {
        let sequence = self.outbound.take();
        self.sent = sequence;
        let frame = encode::frame(&Envelope { session: self.session, sequence, message }, payload);
        self.window.on_sent(sequence, frame.len_bytes() as u64, now);
        frame
    }
}
