//! Messages to the sink, numbered as its channels want them.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;

use crate::model::connection::Channel;
use crate::model::fidelity::Owner;
use crate::ports::accounts::Roster;
use crate::ports::counters::Counters;
use crate::protocol::source::transfer::{Output, Transfer};
use crate::wire::message::{Envelope, Message};
use crate::wire::{ACCOUNTS_MAX, encode};

/// Who owns what at the source, and how many of them this sink has been told of.
#[derive(Debug, Default)]
pub(super) struct Owners {
    roster: Arc<Roster>,
    told: usize,
}

impl Transfer {
    /// Tells names of owners from `roster`, if the session keeps them.
    pub(in crate::protocol::source) fn use_roster(&mut self, roster: Arc<Roster>) {
        self.owners.roster = roster;
    }

    pub(super) fn send_data(
        &mut self,
        message: Message,
        payload: Bytes,
        now: Instant,
        out: &mut Vec<Output>,
    ) {
        self.tell_accounts(now, out);
        self.send_frame(message, payload, now, out);
    }

    /// Tells who the numbers are that were read since: before anything that speaks of them.
    fn tell_accounts(&mut self, now: Instant, out: &mut Vec<Output>) {
        if self.fidelity.owner != Owner::Named {
            return;
        }
        let accounts = self.owners.roster.named_from(self.owners.told);
        self.owners.told += accounts.len();
        for accounts in accounts.chunks(ACCOUNTS_MAX) {
            let message = Message::Accounts { accounts: accounts.to_vec() };
            self.send_frame(message, Bytes::new(), now, out);
        }
    }

    fn send_frame(
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
