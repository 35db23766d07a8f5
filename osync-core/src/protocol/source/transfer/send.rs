//! Messages to the sink, numbered as its channels want them.

use std::time::Instant;

use bytes::Bytes;

use crate::model::connection::Channel;
use crate::ports::counters::Counters;
use crate::protocol::source::transfer::{Output, Transfer};
use crate::wire::encode;
use crate::wire::message::{Envelope, Message};

impl Transfer {
    pub(super) fn send_data(
        &mut self,
        message: Message,
        payload: Bytes,
        now: Instant,
        out: &mut Vec<Output>,
    ) {
        self.spend(&message, payload.len() as u64);
        let frame = self.data.frame(message, payload, now);
        Counters::add(&self.counters.wire_bytes, frame.len_bytes() as u64);
        self.data_sent_at = now;
        out.push(Output::Send { channel: Channel::Data, peer: self.data.peer().clone(), frame });
    }

    pub(in crate::protocol::source) fn send_control(
        &mut self,
        message: Message,
        now: Instant,
        out: &mut Vec<Output>,
    ) {
        let sequence = self.control_outbound.take();
        let frame =
            encode::frame(&Envelope { session: self.session, sequence, message }, Bytes::new());
        self.control_sent_at = now;
        out.push(Output::Send { channel: Channel::Control, peer: self.control.clone(), frame });
    }
}
