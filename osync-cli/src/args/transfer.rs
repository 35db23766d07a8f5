//! What may be said of how content travels. Part of what the reading end takes.

use clap::{Args, ValueEnum};
use osync_core::options::{Delta, SourceOptions};

/// How content travels.
#[derive(Debug, Args)]
pub(crate) struct TransferArguments {
    /// When only what has changed of a file above 128 KiB is sent, rather than the whole: auto (unless
    /// little of it is at the sink and the link is fast), always, off.
    #[arg(long, value_name = "WHEN", default_value = "auto")]
    delta: When,
    /// Never appends to a file at the sink in place. Without this a file of 16 MiB or more that has
    /// only grown, as far as samples tell, is extended at once and proven when it has settled.
    #[arg(long)]
    no_inplace_append: bool,
}

/// What `--delta` takes.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum When {
    Auto,
    Always,
    Off,
}

impl TransferArguments {
    /// `options` with what was said.
    pub(crate) fn apply(&self, options: SourceOptions) -> SourceOptions {
        let delta = match self.delta {
            When::Auto => Delta::Auto,
            When::Always => Delta::Always,
            When::Off => Delta::Off,
        };
        let options = options.with_delta(delta);
        if self.no_inplace_append { options.with_extend_bytes_min(None) } else { options }
    }
}
