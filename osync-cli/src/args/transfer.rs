//! What may be said of how content travels. Part of what the reading end takes.

use clap::{Args, ValueEnum};
use osync_core::model::compression::Compression;
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
    /// How hard what travels is compressed (zstd): auto (as hard as the link leaves time for, not at all
    /// on a fast one), off, or a level from 1 to 19.
    #[arg(long, value_name = "LEVEL", default_value = "auto", value_parser = compression)]
    compress: Compression,
    /// Most bytes a second to each sink; K, M or G after the number for KiB, MiB or GiB.
    /// [default: unlimited]
    #[arg(long, value_name = "RATE", value_parser = rate)]
    bwlimit: Option<u64>,
    /// Most bytes a second of the backlog to each sink; live changes go at full speed.
    /// [default: unlimited]
    #[arg(long, value_name = "RATE", value_parser = rate)]
    bwlimit_backlog: Option<u64>,
}

/// Reads what `--compress` takes.
fn compression(text: &str) -> Result<Compression, String> {
    match text {
        "auto" => Ok(Compression::Auto),
        "off" => Ok(Compression::Off),
        level => match level.parse() {
            Ok(level @ 1..=19) => Ok(Compression::Level(level)),
            _ => Err("auto, off, or a level from 1 to 19".to_owned()),
        },
    }
}

/// Reads a number of bytes a second.
fn rate(text: &str) -> Result<u64, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let shift = match &text[digits.len()..] {
        "" => 0,
        "K" | "k" => 10,
        "M" | "m" => 20,
        "G" | "g" => 30,
        _ => return Err("K, M or G for KiB, MiB or GiB".to_owned()),
    };
    let number: u64 = digits.parse().map_err(|_| "a number of bytes a second".to_owned())?;
    match number.checked_mul(1 << shift) {
        Some(rate) if rate > 0 => Ok(rate),
        _ => Err("at least 1 byte a second, and less than 16 EiB".to_owned()),
    }
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
        let options = options
            .with_delta(delta)
            .with_compression(self.compress)
            .with_rate_max(self.bwlimit)
            .with_backlog_rate_max(self.bwlimit_backlog);
        if self.no_inplace_append { options.with_extend_bytes_min(None) } else { options }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_have_units_and_levels_a_range() {
        assert_eq!(rate("10M"), Ok(10 << 20));
        assert_eq!(rate("512"), Ok(512));
        assert_eq!(rate("3k"), Ok(3 << 10));
        for text in ["", "0", "-1", "M", "1T", "1.5M", "99999999999G"] {
            assert!(rate(text).is_err(), "{text}");
        }
        assert_eq!(compression("19"), Ok(Compression::Level(19)));
        for text in ["", "0", "20", "-5", "fast"] {
            assert!(compression(text).is_err(), "{text}");
        }
    }
}
