//! Who tells the source that something changed.

use std::convert::Infallible;

use crossbeam_channel::{Receiver, Sender, select_biased};

use crate::model::change::Change;

/// Reports changes of a [`Source`] while they happen.
///
/// The contract, in order of weight:
///
/// 1. After [`Change::Ready`], every change is covered by some report. Where reports are lost, a
///    [`Change::Lost`] covers them. More hints than needed are always allowed.
/// 2. A report comes after the change it reports: whoever looks on receipt sees it.
/// 3. A [`Change::Fence`] comes after the reports of everything that happened before its
///    [`ChangeFeed::fence`] call.
///
/// Methods are called from one thread. `osync_core::testing::conformance::change_feed` has the tests an
/// implementation must pass.
///
/// [`Source`]: crate::ports::source::Source
pub trait ChangeFeed: Send {
    /// Begins to report, from threads of its own, and returns at once; called once.
    ///
    /// Reporting ends when [`Reporter::report`] says [`Stopped`], or with [`ChangeFeed::stop`].
    ///
    /// # Errors
    /// [`FeedError`] if nothing can be watched at all.
    fn start(&mut self, reporter: Reporter) -> Result<(), FeedError>;

    /// Asks for a [`Change::Fence`] with this cookie. Cookies come in ascending order.
    ///
    /// # Errors
    /// [`FeedError`] if the feed has ended.
    fn fence(&mut self, cookie: u64) -> Result<(), FeedError>;

    /// Ends reporting and joins the feed's threads. May be called without [`ChangeFeed::start`], and twice.
    fn stop(&mut self);
}

/// Where a feed reports to. Bounded: [`Reporter::report`] waits while the engine is busy.
#[derive(Debug, Clone)]
pub struct Reporter(Sender<Change>);

/// The engine takes no more reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the engine takes no more reports")]
pub struct Stopped;

impl Reporter {
    /// Reports into `sender`.
    #[must_use]
    pub fn new(sender: Sender<Change>) -> Self {
        Self(sender)
    }

    /// Hands `change` to the engine.
    ///
    /// # Errors
    /// [`Stopped`] once the engine is gone: the feed should end.
    pub fn report(&self, change: Change) -> Result<(), Stopped> {
        self.0.send(change).map_err(|_| Stopped)
    }

    /// Hands `change` to the engine, unless every sender of `stop` is dropped while it waits.
    ///
    /// For feeds with a thread of their own: the engine may call [`ChangeFeed::stop`] from the very
    /// thread that takes the reports, and a plain [`Reporter::report`] would then wait for ever.
    ///
    /// # Errors
    /// [`Stopped`] once the engine is gone or `stop` is disconnected: the feed should end.
    pub fn report_unless(
        &self,
        stop: &Receiver<Infallible>,
        change: Change,
    ) -> Result<(), Stopped> {
        select_biased! {
            recv(stop) -> _ => Err(Stopped),
            send(self.0, change) -> sent => sent.map_err(|_| Stopped),
        }
    }
}

/// Why a feed could not start or go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FeedError {
    /// The operating system refused.
    #[error("cannot watch {what}")]
    Watch {
        /// What was to be watched.
        what: String,
        /// What the system said.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The feed has ended.
    #[error("the change feed has ended")]
    Ended,
}
