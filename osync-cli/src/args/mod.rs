//! The command line: what may be typed, and what it means. The only folder that knows `clap`.
//!
//! What both `mirror` and one of the ends take is in `source` and `sink`.

mod kept;
mod keys;
mod sink;
mod source;
mod transfer;

use std::path::PathBuf;
use std::process;

use clap::error::ErrorKind;
use clap::{Args, Parser, Subcommand};
use osync_core::model::connection::ConnectionDetails;
use osync_core::model::removal_limit::RemovalLimit;
use osync_core::model::sink_id::SinkId;
use osync_core::options::SourceOptions;

pub(crate) use crate::args::kept::Kept;
pub(crate) use crate::args::keys::{SinkKeys, SourceKeys};
pub(crate) use crate::args::sink::SinkArguments;
pub(crate) use crate::args::source::SourceArguments;

const AFTER_HELP: &str = "\
Exit codes:
  0  everything is replicated, or osync was asked to end by SIGTERM or SIGINT without known problems
  1  ended with problems: some paths could not be replicated; the log names them
  2  could not run: bad arguments, no such directory, address in use, version mismatch

The first SIGTERM or SIGINT ends in agreement with the other end, within 5 seconds; a second
one ends at once. The log goes to standard error; RUST_LOG sets how much of it (error, warn,
info, debug, trace; default info).";

/// Replicates a directory while it changes: changes first, backlog behind them.
///
/// What changes in the source directory is at the sink milliseconds later, from the first minute on;
/// what has not changed follows behind at whatever speed is left. One way, from one source to its
/// sinks: what a sink has that the source has not is removed.
#[derive(Debug, Parser)]
#[command(name = "osync", version, after_long_help = AFTER_HELP, max_term_width = 100)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

/// What osync is asked to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Mirrors SRC into DST on this machine, both ends in one process.
    #[command(after_long_help = AFTER_HELP)]
    Mirror {
        /// The directory to read; it must exist.
        #[arg(value_name = "SRC")]
        source: PathBuf,
        /// The directory to keep equal to SRC; made if absent. What SRC has not is removed from it.
        #[arg(value_name = "DST")]
        target: PathBuf,
        /// Ends as soon as DST holds everything that had happened in SRC when osync was started.
        /// Without it osync stays and follows changes.
        #[arg(long)]
        once: bool,
        #[command(flatten)]
        source_arguments: SourceArguments,
        #[command(flatten)]
        sink_arguments: SinkArguments,
        #[command(flatten)]
        kept: Kept,
    },
    /// Serves SRC to sinks, and stays until it is asked to end.
    #[command(after_long_help = AFTER_HELP)]
    Source {
        /// The directory to read; it must exist.
        #[arg(value_name = "SRC")]
        source: PathBuf,
        #[command(flatten)]
        channels: Channels,
        #[command(flatten)]
        keys: SourceKeys,
        #[command(flatten)]
        source_arguments: SourceArguments,
        #[command(flatten)]
        kept: Kept,
    },
    /// Keeps DST equal to what a source serves. Either end may be started first.
    #[command(after_long_help = AFTER_HELP)]
    Sink {
        /// The directory to keep equal to the source's; made if absent. What the source has not is
        /// removed from it.
        #[arg(value_name = "DST")]
        target: PathBuf,
        #[command(flatten)]
        channels: Channels,
        /// Finds the source that announces itself as NAME in the local network, and follows it to other
        /// addresses; instead of `--control` and `--data`. With keys nobody else can pass for it.
        #[arg(long, value_name = "NAME", conflicts_with_all = ["control", "data"], value_parser = crate::discovery::instance)]
        from: Option<String>,
        /// What this sink calls itself: 1 to 255 bytes. The source knows it again by this name.
        /// [default: host name and path of DST]
        #[arg(long, value_parser = |text: &str| SinkId::new(text))]
        name: Option<SinkId>,
        /// Ends as soon as DST holds everything that had happened at the source when osync was
        /// started. Without it osync stays and follows changes.
        #[arg(long)]
        once: bool,
        #[command(flatten)]
        keys: SinkKeys,
        #[command(flatten)]
        sink_arguments: SinkArguments,
        #[command(flatten)]
        kept: Kept,
    },
    /// Keeps DST equal to what a source serves, and serves DST to further sinks.
    ///
    /// What arrives is passed on in the same moment, without watching DST. Trees of relays serve any
    /// number of sinks.
    #[command(after_long_help = AFTER_HELP)]
    Relay {
        /// The directory to keep equal to the source's and to serve; made if absent. What the source has
        /// not is removed from it.
        #[arg(value_name = "DST")]
        target: PathBuf,
        #[command(flatten)]
        channels: Channels,
        /// Finds the source that announces itself as NAME, as for `osync sink`.
        #[arg(long, value_name = "NAME", conflicts_with_all = ["control", "data"], value_parser = crate::discovery::instance)]
        from: Option<String>,
        /// What this sink calls itself: 1 to 255 bytes. [default: host name and path of DST]
        #[arg(long, value_parser = |text: &str| SinkId::new(text))]
        name: Option<SinkId>,
        #[command(flatten)]
        serving: Serving,
        #[command(flatten)]
        keys: SinkKeys,
        #[command(flatten)]
        sink_arguments: SinkArguments,
        #[command(flatten)]
        kept: Kept,
    },
    /// Lists the sources that announce themselves in the local network: name, addresses of the command and
    /// the data channel, version of the protocol, fingerprint of the key.
    Discover {
        /// How long to listen, in seconds, 1 to 60.
        #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=60))]
        seconds: u64,
    },
    /// Makes a pair of keys, osync.key and osync.pub, in DIR. Existing keys are never overwritten.
    Keygen {
        /// The directory to put them in; made if absent.
        #[arg(value_name = "DIR")]
        directory: PathBuf,
    },
}

/// Where the two channels between a source and its sinks are. The source binds them, sinks connect.
#[derive(Debug, Args)]
pub(crate) struct Channels {
    /// Address of the command channel, the same at both ends. A source may give port `*`: any free one.
    #[arg(long, value_name = "ADDRESS", default_value = ConnectionDetails::CONTROL_DEFAULT)]
    control: String,
    /// Address of the data channel, the same at both ends. A source may give port `*`: any free one.
    #[arg(long, value_name = "ADDRESS", default_value = ConnectionDetails::DATA_DEFAULT)]
    data: String,
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
}

impl Serving {
    /// Where.
    pub(crate) fn details(&self) -> ConnectionDetails {
        ConnectionDetails { control: self.serve_control.clone(), data: self.serve_data.clone() }
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

impl From<Channels> for ConnectionDetails {
    fn from(Channels { control, data }: Channels) -> Self {
        Self { control, data }
    }
}

/// Parses the command line; help and version are printed and end the process.
///
/// The error is one line that says what is wrong and where to read more.
pub(crate) fn parse() -> Result<Command, String> {
    let error = match Arguments::try_parse() {
        Ok(arguments) => return Ok(arguments.command),
        Err(error) => error,
    };
    if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) {
        error.print().map_err(|error| error.to_string())?;
        process::exit(0);
    }
    if error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        return Err("no command given; see 'osync help'".to_owned());
    }
    // clap's first paragraph says what is wrong; usage and hints follow after an empty line.
    let text = error.to_string();
    let first = text.split("\n\n").next().unwrap_or_default();
    let words: Vec<_> = first.trim_start_matches("error:").split_whitespace().collect();
    Err(format!("{}; see 'osync help'", words.join(" ")))
}
