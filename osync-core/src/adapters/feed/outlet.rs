//! Where the thread of a feed reports to, and how it learns that nobody listens any more.

use std::convert::Infallible;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError};

use crate::model::change::Change;
use crate::ports::change_feed::{Reporter, Stopped};

/// A [`Reporter`], and the sign to stop.
#[derive(Debug)]
pub(super) struct Outlet {
    reporter: Reporter,
    stop: Receiver<Infallible>,
}

/// Why a feed's thread cannot go on as it is.
pub(super) enum Halt {
    /// Nobody wants reports any more.
    Stopped,
    /// Events are lost, for this reason: begin afresh.
    Lost(String),
}

impl From<Stopped> for Halt {
    fn from(Stopped: Stopped) -> Self {
        Self::Stopped
    }
}

impl Outlet {
    /// Reports to `reporter` until every sender of `stop` is dropped.
    pub(super) fn new(reporter: Reporter, stop: Receiver<Infallible>) -> Self {
        Self { reporter, stop }
    }

    /// Disconnected when it is time to stop.
    pub(super) fn stop(&self) -> &Receiver<Infallible> {
        &self.stop
    }

    /// Reports `change`, waiting while the engine is busy.
    pub(super) fn report(&self, change: Change) -> Result<(), Stopped> {
        self.reporter.report_unless(&self.stop, change)
    }

    /// Waits.
    pub(super) fn pause(&self, time: Duration) -> Result<(), Stopped> {
        match self.stop.recv_timeout(time) {
            Err(RecvTimeoutError::Timeout) => Ok(()),
            Ok(_) | Err(RecvTimeoutError::Disconnected) => Err(Stopped),
        }
    }
}
