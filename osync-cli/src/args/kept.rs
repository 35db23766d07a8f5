//! What may be said of what is kept, to either end and to both in one process.

use std::sync::Arc;

use clap::{Args, ValueEnum};
use osync_core::adapters::accounts::SystemAccounts;
use osync_core::adapters::fs::sink::DirectorySink;
use osync_core::adapters::fs::source::DirectorySource;

/// Which entries are replicated.
#[derive(Debug, Args)]
pub(crate) struct Kept {
    /// Replicates sockets and device nodes too. Both ends must say so; without it they are left out, and no
    /// source can have a sink make one. Device nodes need root at the sink. [default: off]
    #[arg(long)]
    devices: bool,
    /// Keeps the set-user-id and set-group-id bits: auto (if this end runs as root), on, off. They are kept if
    /// both ends keep them; a sink that is not root makes such files its own user's.
    #[arg(long, value_name = "WHEN", default_value = "auto")]
    set_id: SetId,
}

/// What `--set-id` takes.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum SetId {
    Auto,
    On,
    Off,
}

impl SetId {
    fn given(self) -> Option<bool> {
        match self {
            Self::Auto => None,
            Self::On => Some(true),
            Self::Off => Some(false),
        }
    }
}

impl Kept {
    /// `source`, telling of what was said.
    pub(crate) fn of_source(&self, source: DirectorySource) -> DirectorySource {
        let source = source.with_accounts(Arc::new(SystemAccounts));
        let source = if self.devices { source.with_devices() } else { source };
        match self.set_id.given() {
            Some(is_told) => source.with_set_id(is_told),
            None => source,
        }
    }

    /// `sink`, making what was said.
    pub(crate) fn of_sink(&self, sink: DirectorySink) -> DirectorySink {
        let sink = if self.devices { sink.with_devices() } else { sink };
        match self.set_id.given() {
            Some(are_kept) => sink.with_set_id(are_kept),
            None => sink,
        }
    }
}
