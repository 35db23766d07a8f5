//! Who tells the source that something changed.

use std::convert::Infallible;
use std::sync::Arc;

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
#[derive(Clone)]
pub struct Reporter {
    sender: Sender<Change>,
    translation: Option<Translation>,
}

/// What is to be reported instead of a change.
type Translation = Arc<dyn Fn(Change) -> Vec<Change> + Send + Sync>;

impl std::fmt::Debug for Reporter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reporter").field("sender", &self.sender).finish_non_exhaustive()
    }
}

/// The engine takes no more reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the engine takes no more reports")]
pub struct Stopped;

impl Reporter {
    /// Reports into `sender`.
    #[must_use]
    pub fn new(sender: Sender<Change>) -> Self {
        Self { sender, translation: None }
    }

    /// Reports what `translation` makes of each change, in its order, instead of the change itself.
    #[must_use]
    pub fn through(
        self,
        translation: impl Fn(Change) -> Vec<Change> + Send + Sync + 'static,
    ) -> Self {
        let translation: Translation = match self.translation {
            None => Arc::new(translation),
            Some(later) => {
                Arc::new(move |change| translation(change).into_iter().flat_map(&*later).collect())
            }
        };
        Self { sender: self.sender, translation: Some(translation) }
    }

    /// Hands `change` to the engine.
    ///
    /// # Errors
    /// [`Stopped`] once the engine is gone: the feed should end.
    pub fn report(&self, change: Change) -> Result<(), Stopped> {
        self.translated(change, |change| self.sender.send(change).map_err(|_| Stopped))
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
        self.translated(change, |change| {
            select_biased! {
                recv(stop) -> _ => Err(Stopped),
                send(self.sender, change) -> sent => sent.map_err(|_| Stopped),
            }
        })
    }

    fn translated(
        &self,
        change: Change,
        mut send: impl FnMut(Change) -> Result<(), Stopped>,
    ) -> Result<(), Stopped> {
        match &self.translation {
            Some(translation) => translation(change).into_iter().try_for_each(send),
            None => send(change),
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
