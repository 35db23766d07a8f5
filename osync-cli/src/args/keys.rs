//! What may be said of keys.

use std::path::PathBuf;

use clap::Args;

/// Whom a source lets in.
#[derive(Debug, Args)]
pub(crate) struct SourceKeys {
    /// File with this source's secret key, made by `osync keygen`. Only sinks with a key in the list of
    /// `--allow` can connect, and everything is encrypted.
    #[arg(long, value_name = "FILE", requires = "allow")]
    pub(crate) key: Option<PathBuf>,
    /// Public keys of the sinks that may connect: a file with one a line, or a directory of files that
    /// end in .pub. It is read again every second, and on SIGHUP.
    #[arg(long, value_name = "FILE|DIR", requires = "key")]
    pub(crate) allow: Option<PathBuf>,
    /// Serves addresses other than this machine's own without any key: whoever reaches them can read
    /// everything in SRC.
    #[arg(long, conflicts_with = "key")]
    pub(crate) insecure: bool,
    /// Announces this source under NAME (1 to 63 bytes) in the local network, by multicast DNS, so that
    /// `osync discover` lists it and `osync sink --from NAME` finds it. Needs an address of the network.
    #[arg(long, value_name = "NAME", value_parser = crate::discovery::instance)]
    pub(crate) announce: Option<String>,
}

/// Which source a sink trusts.
#[derive(Debug, Args)]
pub(crate) struct SinkKeys {
    /// File with this sink's secret key, made by `osync keygen`; the source must allow its public key.
    #[arg(long, value_name = "FILE", requires = "source_key")]
    pub(crate) key: Option<PathBuf>,
    /// The source's public key: 64 hexadecimal digits, or the file that holds them. Nobody else is
    /// listened to.
    #[arg(long, value_name = "KEY|FILE", requires = "key")]
    pub(crate) source_key: Option<String>,
}
