//! `FilteredFeed`: any change feed, less what a filter leaves out.

use std::sync::Arc;

use crate::adapters::filters::filter::Filter;
use crate::ports::change_feed::{ChangeFeed, FeedError, Reporter};

/// A [`ChangeFeed`] that does not report what its [`Filter`] leaves out, and that reports a directory to be
/// compared again when its ignore file changed.
///
/// An [`InotifyFeed`] takes the filter itself, and then watches less too.
///
/// [`InotifyFeed`]: crate::adapters::feed::inotify::InotifyFeed
pub struct FilteredFeed {
    inner: Box<dyn ChangeFeed>,
    filter: Arc<Filter>,
}

impl std::fmt::Debug for FilteredFeed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FilteredFeed").field("filter", &self.filter).finish_non_exhaustive()
    }
}

impl FilteredFeed {
    /// `inner` heard through `filter`, which the source shares.
    #[must_use]
    pub fn new(inner: Box<dyn ChangeFeed>, filter: Arc<Filter>) -> Self {
        Self { inner, filter }
    }
}

impl ChangeFeed for FilteredFeed {
    fn start(&mut self, reporter: Reporter) -> Result<(), FeedError> {
        self.inner.start(filtered(reporter, &self.filter))
    }

    fn fence(&mut self, cookie: u64) -> Result<(), FeedError> {
        self.inner.fence(cookie)
    }

    fn stop(&mut self) {
        self.inner.stop();
    }
}

/// `reporter` behind `filter`.
pub(in crate::adapters) fn filtered(reporter: Reporter, filter: &Arc<Filter>) -> Reporter {
    let filter = Arc::clone(filter);
    reporter.through(move |change| filter.translate(change))
}
