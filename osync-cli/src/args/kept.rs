//! What may be said of what is kept, to either end and to both in one process.

use clap::Args;
use osync_core::adapters::fs::sink::DirectorySink;
use osync_core::adapters::fs::source::DirectorySource;

/// Which entries are replicated.
#[derive(Debug, Args)]
pub(crate) struct Kept {
    /// Replicates sockets and device nodes too. Both ends must say so; without it they are left out, and no
    /// source can have a sink make one. Device nodes need root at the sink. [default: off]
    #[arg(long)]
    devices: bool,
}

impl Kept {
    /// `source`, telling of what was said.
    pub(crate) fn of_source(&self, source: DirectorySource) -> DirectorySource {
        if self.devices { source.with_devices() } else { source }
    }

    /// `sink`, making what was said.
    pub(crate) fn of_sink(&self, sink: DirectorySink) -> DirectorySink {
        if self.devices { sink.with_devices() } else { sink }
    }
}
