//! What may be said of a relay.

use std::path::PathBuf;

use clap::Args;
use osync_core::model::connection::ConnectionDetails;
use osync_core::model::removal_limit::RemovalLimit;
use osync_core::model::sink_id::SinkId;
use osync_core::options::SourceOptions;

use crate::args::confined::Confined;
use crate::args::kept::Kept;
use crate::args::keys::{SinkKeys, SourceKeys};
use crate::args::sink::SinkArguments;
use crate::args::{Channels, source};

/// Everything of `osync relay`.
#[derive(Debug, Args)]
pub(crate) struct RelayArguments {
    /// The directory to keep equal to the source's and to serve; made if absent. What the source has
    /// not is removed from it.
    #[arg(value_name = "DST")]
    pub(crate) target: PathBuf,
    #[command(flatten)]
    pub(crate) channels: Channels,
    /// Finds the source that announces itself as NAME, as for `osync sink`.
    #[arg(long, value_name = "NAME", conflicts_with_all = ["control", "data"], value_parser = crate::discovery::instance)]
    pub(crate) from: Option<String>,
    /// What this sink calls itself: 1 to 255 bytes. [default: host name and path of DST]
    #[arg(long, value_parser = |text: &str| SinkId::new(text))]
    pub(crate) name: Option<SinkId>,
    #[command(flatten)]
    pub(crate) serving: Serving,
    #[command(flatten)]
    pub(crate) keys: SinkKeys,
    #[command(flatten)]
    pub(crate) sink_arguments: SinkArguments,
    #[command(flatten)]
    pub(crate) kept: Kept,
    #[command(flatten)]
    pub(crate) confined: Confined,
}

/// Where a relay serves, and whom.
#[derive(Debug, Args)]
pub(crate) struct Serving {
    /// Address of the command channel for further sinks. Port `*`: any free one.
    #[arg(long, value_name = "ADDRESS")]
    serve_control: String,
    /// Address of the data channel for further sinks. Port `*`: any free one.
    #[arg(long, value_name = "ADDRESS")]
    serve_data: String,
    /// Sinks that may be connected at once; one more is refused.
    #[arg(long, value_name = "N", default_value_t = SourceOptions::default().sinks_max)]
    max_sinks: usize,
    /// Limits removals at further sinks, as for `osync source`. [default: any number, but not everything]
    #[arg(long, value_name = "N|N%", value_parser = source::removal_limit)]
    max_delete: Option<RemovalLimit>,
    /// Public keys of the sinks that may connect, as for `osync source`; the secret key is that of `--key`.
    #[arg(long, value_name = "FILE|DIR", requires = "key")]
    allow: Option<PathBuf>,
    /// Serves addresses other than this machine's own without any key.
    #[arg(long, conflicts_with = "key")]
    insecure: bool,
    /// Announces this relay under NAME in the local network, as for `osync source`.
    #[arg(long, value_name = "NAME", value_parser = crate::discovery::instance)]
    announce: Option<String>,
    /// Keeps in DIR up to when each further sink has everything, as for `osync source`. [default: /var/lib/osync for
    /// root, else ~/.local/state/osync]
    #[arg(long, value_name = "DIR")]
    pub(crate) state: Option<PathBuf>,
}

impl Serving {
    /// Where.
    pub(crate) fn details(&self) -> ConnectionDetails {
        ConnectionDetails { control: self.serve_control.clone(), data: self.serve_data.clone() }
    }

    /// The list of keys that may connect, or the directory of them.
    pub(crate) fn list(&self) -> Option<PathBuf> {
        self.allow.clone()
    }

    /// How.
    pub(crate) fn options(&self) -> SourceOptions {
        SourceOptions::default()
            .with_sinks_max(self.max_sinks)
            .with_removal_limit(self.max_delete.unwrap_or_default())
    }

    /// Whom. The key is that of the sink.
    pub(crate) fn keys(&self, sink: &SinkKeys) -> SourceKeys {
        let key = sink.key.clone().filter(|_| self.allow.is_some());
        let announce = self.announce.clone();
        SourceKeys { key, allow: self.allow.clone(), insecure: self.insecure, announce }
    }
}
