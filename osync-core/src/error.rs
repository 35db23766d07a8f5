//! Why an endpoint stopped, or did not start.

use crate::ports::change_feed::FeedError;
use crate::ports::sink::SinkError;
use crate::ports::source::SourceError;
use crate::ports::transport::TransportError;
use crate::runtime::source_loop::Ended;
use crate::runtime::worker::Panicked;

/// Why an endpoint stopped, or did not start. Trouble with single files or sinks is no error but a
/// [`Problem`](crate::ports::monitor::Problem).
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The source cannot be used.
    #[error("cannot use the source")]
    Source(#[from] SourceError),
    /// The sink cannot be used.
    #[error("cannot use the target")]
    Sink(#[from] SinkError),
    /// The change feed did not start.
    #[error("cannot follow changes")]
    Feed(#[from] FeedError),
    /// The channels could not be had.
    #[error("cannot connect")]
    Transport(#[from] TransportError),
    /// The endpoint ended by itself.
    #[error("replication ended")]
    Ended(#[from] Ended),
    /// The operating system had no thread or no randomness to give.
    #[error("cannot start")]
    System(#[from] std::io::Error),
    /// A defect of this program.
    #[error("internal error")]
    Panicked(#[from] Panicked),
    /// The endpoint has ended already.
    #[error("the endpoint has ended")]
    HasEnded,
}
