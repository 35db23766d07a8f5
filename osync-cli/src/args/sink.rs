//! What may be said of the writing end, in one process or alone.

use clap::Args;
use osync_core::options::SinkOptions;

/// How the target is written.
#[derive(Debug, Args)]
pub(crate) struct SinkArguments {
    /// Threads that write DST, 1 to 64.
    #[arg(long, value_name = "N", default_value_t = SinkOptions::default().writers)]
    writers: usize,
}

impl SinkArguments {
    /// What the library is to be told.
    pub(crate) fn options(&self) -> SinkOptions {
        SinkOptions::default().with_writers(self.writers)
    }
}
