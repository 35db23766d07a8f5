//! What may be said of the reading end, in one process or alone.

use clap::Args;
use osync_core::options::SourceOptions;

/// How the source is read and served.
#[derive(Debug, Args)]
pub(crate) struct SourceArguments {
    /// Threads that read SRC, 1 to 64.
    #[arg(long, value_name = "N", default_value_t = SourceOptions::default().readers)]
    readers: usize,
}

impl SourceArguments {
    /// What the library is to be told.
    pub(crate) fn options(&self) -> SourceOptions {
        SourceOptions::default().with_readers(self.readers)
    }
}
