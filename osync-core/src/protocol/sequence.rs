//! Numbers that show whether a message is missing.
//!
//! A connection delivers whole and in order or breaks, but a connection that is made again underneath
//! loses what was under way. Numbering every message of a session makes that visible at once.

/// What the number of an arriving message says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arrived {
    /// It is the next one.
    InOrder,
    /// It has been here before.
    Repeated,
    /// Others before it are missing: the session is broken.
    AfterGap,
}

/// Numbers of one channel in one direction and session, at the sender.
#[derive(Debug, Default)]
pub struct Outbound(u64);

impl Outbound {
    /// The number of the next message.
    pub fn take(&mut self) -> u64 {
        self.0 += 1;
        self.0
    }
}

/// Numbers of one channel in one direction and session, at the receiver.
#[derive(Debug, Default)]
pub struct Inbound(u64);

impl Inbound {
    /// Takes the number of a message that arrived.
    pub fn arrived(&mut self, sequence: u64) -> Arrived {
        match sequence.checked_sub(self.0) {
            Some(1) => {
                self.0 = sequence;
                Arrived::InOrder
            }
            Some(0) | None => Arrived::Repeated,
            Some(_) => Arrived::AfterGap,
        }
    }
}
