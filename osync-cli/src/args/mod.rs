//! The command line: what may be typed, and what it means. The only folder that knows `clap`.
//!
//! What both `mirror` and one of the ends take is in `source` and `sink`.

mod confined;
mod kept;
mod keys;
mod relay;
mod sink;
mod source;
mod transfer;

use std::path::PathBuf;
use std::process;

use clap::error::ErrorKind;
use clap::{Args, Parser, Subcommand};
use osync_core::model::connection::ConnectionDetails;
use osync_core::model::sink_id::SinkId;

pub(crate) use crate::args::confined::Confined;
pub(crate) use crate::args::kept::Kept;
pub(crate) use crate::args::keys::{SinkKeys, SourceKeys};
pub(crate) use crate::args::relay::{RelayArguments, Serving};
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
        #[command(flatten)]
        confined: Confined,
    },
    /// Keeps DST equal to what a source serves, and serves DST to further sinks.
    ///
    /// What arrives is passed on in the same moment, without watching DST. Trees of relays serve any
    /// number of sinks.
    #[command(after_long_help = AFTER_HELP)]
    Relay(Box<RelayArguments>),
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
