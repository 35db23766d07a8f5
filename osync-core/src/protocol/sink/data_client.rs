//! `DataClient`: the data channel, seen from the sink.

use std::collections::HashMap;

use bytes::Bytes;

use crate::model::fidelity::{Fidelity, Owner};
use crate::model::rel_path::RelPath;
use crate::model::work_id::WorkId;
use crate::protocol::sequence::{Arrived, Inbound, Outbound};
use crate::protocol::sink::task::{Action, Task, Ticket};
use crate::queue::window::WINDOW_MESSAGES_MAX;
use crate::wire::message::Message;
use crate::wire::packing::Payload;

/// Credit is granted after so many bytes, after a copy, or when nothing is left to do.
const CREDIT_BYTES: u64 = 32 * 1024;
/// Files that may arrive in chunks at once.
const LARGES_MAX: usize = 64;

/// Messages that may wait to be carried out: twice what a source's window allows.
const UNFINISHED_MAX: u64 = 2 * WINDOW_MESSAGES_MAX;

/// Checks the order of what arrives, routes it, and grants credit for what has been consumed.
#[derive(Debug)]
pub struct DataClient {
    epoch: u64,
    fidelity: Fidelity,
    inbound: Inbound,
    outbound: Outbound,
    consumed_bytes: u64,
    granted_bytes: u64,
    unfinished: u64,
    larges: HashMap<WorkId, RelPath>,
}

impl DataClient {
    /// The data channel of session number `epoch`, which keeps `fidelity`.
    #[must_use]
    pub fn new(epoch: u64, fidelity: Fidelity) -> Self {
        Self {
            epoch,
            fidelity,
            inbound: Inbound::default(),
            outbound: Outbound::default(),
            consumed_bytes: 0,
            granted_bytes: 0,
            unfinished: 0,
            larges: HashMap::new(),
        }
    }

    /// The task that a numbered message asks for; `None` if it has been here before.
    ///
    /// # Errors
    /// One line, if messages are missing or this one does not belong here.
    pub fn on_message(
        &mut self,
        sequence: u64,
        bytes: u64,
        message: Message,
        payload: Bytes,
    ) -> Result<Option<Task>, &'static str> {
        match self.inbound.arrived(sequence) {
            Arrived::InOrder => {}
            Arrived::Repeated => return Ok(None),
            Arrived::AfterGap => return Err("messages are missing"),
        }
        let (directory, action) = self.action_of(message, payload)?;
        if self.unfinished >= UNFINISHED_MAX {
            return Err("more than was asked for");
        }
        self.unfinished += 1;
        let is_awaited = matches!(action, Action::Copy { .. });
        let ticket = Ticket { epoch: self.epoch, sequence, bytes, is_awaited };
        Ok(Some(Task { directory, ticket, action }))
    }

    /// What `message` asks for, and in which directory.
    #[expect(clippy::wildcard_enum_match_arm, reason = "every other message is out of place")]
    fn action_of(
        &mut self,
        message: Message,
        payload: Bytes,
    ) -> Result<(RelPath, Action), &'static str> {
        let fidelity = self.fidelity;
        Ok(match message {
            Message::Put { work, directory, items_bytes, own_bytes, unpacked_bytes } => {
                let payload = Payload { bytes: payload, unpacked_bytes };
                (directory, Action::Put { work, payload, items_bytes, own_bytes })
            }
            Message::Open { work, path, size_bytes, from_basis } => {
                let directory = self.begin_large(work, &path)?;
                (directory, Action::Open { work, path, size_bytes, from_basis })
            }
            Message::Inquire { work, path, key } => {
                let directory = self.begin_large(work, &path)?;
                (directory, Action::Inquire { work, path, key })
            }
            Message::Sign { work, block_bytes, first, count } => {
                (self.large(work)?, Action::Sign { work, block_bytes, first, count })
            }
            Message::Copy { work, offset_bytes, first, count } => {
                (self.large(work)?, Action::Copy { work, offset_bytes, first, count })
            }
            Message::Extend { work, size_bytes } => {
                (self.large(work)?, Action::Extend { work, size_bytes })
            }
            Message::Chunk { work, offset_bytes, unpacked_bytes } => {
                let payload = Payload { bytes: payload, unpacked_bytes };
                (self.large(work)?, Action::Chunk { work, offset_bytes, payload })
            }
            Message::Close { work, digest } => {
                let directory = self.larges.remove(&work).ok_or("the end of no file")?;
                (directory, Action::Close { work, payload, digest })
            }
            Message::Abort { work } => {
                let directory = self.larges.remove(&work).ok_or("the end of no file")?;
                (directory, Action::Abort { work })
            }
            Message::Compare { work, range, digest } => {
                (range.directory.clone(), Action::Compare { work, range, digest, fidelity })
            }
            Message::Listing { work, range, own } => {
                (range.directory.clone(), Action::Listing { work, range, own, payload, fidelity })
            }
            Message::Rename { work, from, to, metadata } => {
                let directory = to.parent().ok_or("the root cannot be moved")?;
                if from.is_root() || from.is_within(&to) || to.is_within(&from) {
                    return Err("a rename into itself");
                }
                (directory, Action::Rename { work, from, to, metadata })
            }
            Message::Accounts { accounts } if fidelity.owner == Owner::Named => {
                (RelPath::root(), Action::Learn { accounts })
            }
            Message::Heartbeat => (RelPath::root(), Action::Nothing),
            _ => return Err("a message that does not belong on the data channel"),
        })
    }

    /// Remembers where a large file lies; a file that was inquired about may be opened too.
    fn begin_large(&mut self, work: WorkId, path: &RelPath) -> Result<RelPath, &'static str> {
        let directory = path.parent().ok_or("the root is no file")?;
        if let Some(known) = self.larges.get(&work) {
            return if *known == directory { Ok(directory) } else { Err("a file that moves") };
        }
        if self.larges.len() >= LARGES_MAX {
            return Err("too many files at once");
        }
        self.larges.insert(work, directory.clone());
        Ok(directory)
    }

    /// The directory of a large file that has begun.
    fn large(&self, work: WorkId) -> Result<RelPath, &'static str> {
        self.larges.get(&work).cloned().ok_or("a part of no file")
    }

    /// Counts a task as consumed; returns the number and the grant to send, if one is due.
    pub fn on_finished(&mut self, ticket: Ticket) -> Option<(u64, Message)> {
        self.unfinished -= 1;
        self.consumed_bytes += ticket.bytes;
        let is_little = self.consumed_bytes - self.granted_bytes < CREDIT_BYTES;
        if is_little && self.unfinished > 0 && !ticket.is_awaited {
            return None;
        }
        self.granted_bytes = self.consumed_bytes;
        let grant = Message::Credit {
            consumed_bytes: self.consumed_bytes,
            newest: ticket.sequence,
            waiting: self.unfinished,
        };
        Some((self.outbound.take(), grant))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_is_granted_while_sums_are_still_made() {
        let mut client = DataClient::new(1, Fidelity::FULL);
        let work = WorkId(1);
        let path = RelPath::new(b"big").unwrap();
        let messages = [
            Message::Inquire { work, path: path.clone(), key: [0; 32] },
            Message::Open { work, path, size_bytes: 1 << 20, from_basis: true },
            Message::Copy { work, offset_bytes: 0, first: 0, count: 1 },
            Message::Sign { work, block_bytes: 4_096, first: 1, count: 1 },
            Message::Sign { work, block_bytes: 4_096, first: 2, count: 1 },
        ];
        let mut tickets = Vec::new();
        for (sequence, message) in (1..).zip(messages) {
            let task = client.on_message(sequence, 50, message, Bytes::new()).unwrap().unwrap();
            tickets.push(task.ticket);
        }

        let granted: Vec<bool> =
            tickets.into_iter().map(|ticket| client.on_finished(ticket).is_some()).collect();

        assert_eq!(granted, [false, false, true, false, true]);
    }
}
