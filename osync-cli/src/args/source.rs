//! What may be said of the reading end, in one process or alone.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, ValueEnum};
use osync_core::adapters::feed;
use osync_core::adapters::feed::fanotify::FanotifyFeed;
use osync_core::adapters::feed::mapped::MappedFeed;
use osync_core::adapters::feed::poll::PollFeed;
use osync_core::adapters::filters::{Filter, FilteredFeed, Rules};
use osync_core::model::name::Name;
use osync_core::model::removal_limit::RemovalLimit;
use osync_core::options::SourceOptions;
use osync_core::ports::change_feed::{ChangeFeed, FeedError};
use osync_core::ports::source::Source;

use crate::args::transfer::TransferArguments;

/// The file that leaves names out of its directory, with --ignore-files.
const IGNORE_FILE: &[u8] = b".osyncignore";

/// How the source is read and served.
#[derive(Debug, Args)]
pub(crate) struct SourceArguments {
    /// Threads that read SRC, 1 to 64; more join while the storage is slow.
    #[arg(long, value_name = "N", default_value_t = SourceOptions::default().readers)]
    readers: usize,
    /// Compares everything again by metadata so often, in hours, for what the kernel does not report;
    /// 0: never.
    #[arg(long, value_name = "HOURS", default_value_t = 24)]
    audit_interval: u32,
    /// Sinks that may be connected at once; one more is refused.
    #[arg(long, value_name = "N", default_value_t = SourceOptions::default().sinks_max)]
    max_sinks: usize,
    /// Leaves out what matches PATTERN, in the syntax of gitignore: not sent, not watched, and left
    /// alone at the sink. May be given again. Of all patterns the last that matches decides: first
    /// come those of --exclude-from, then --exclude, then --include. [default: nothing]
    #[arg(long, value_name = "PATTERN")]
    exclude: Vec<OsString>,
    /// Keeps what matches PATTERN, though others leave it out. Nothing is kept below a directory that
    /// is left out. May be given again. [default: nothing]
    #[arg(long, value_name = "PATTERN")]
    include: Vec<OsString>,
    /// Reads patterns from FILE, one a line, as in a gitignore file. May be given again.
    /// [default: none]
    #[arg(long, value_name = "FILE")]
    exclude_from: Vec<PathBuf>,
    /// Honours files called .osyncignore in SRC, each for its directory and below. [default: off]
    #[arg(long)]
    ignore_files: bool,
    /// Removes from the sink what is left out, instead of leaving it alone. [default: off]
    #[arg(long)]
    delete_excluded: bool,
    /// Removes at most N names within a minute from a sink, or N% of the names in SRC at once; more wait
    /// until they are fewer or osync is started with a higher limit. While SRC is empty nothing is
    /// removed, unless it is 100%. [default: any number, but not everything]
    #[arg(long, value_name = "N|N%", value_parser = removal_limit)]
    max_delete: Option<RemovalLimit>,
    /// How changes in SRC are found.
    #[arg(long, value_enum, value_name = "HOW", default_value_t = Feed::Auto)]
    feed: Feed,
    /// Seconds between comparisons with --feed poll, 1 to 86400.
    #[arg(long, value_name = "SECONDS", default_value_t = PollFeed::INTERVAL_SECONDS_DEFAULT,
        value_parser = clap::value_parser!(u64).range(1..=86_400))]
    poll_interval: u64,
    /// Keeps in DIR up to when each sink has everything, so that edits that put size and time back while no source
    /// runs are found at the next start. [default: /var/lib/osync for root, else ~/.local/state/osync]
    #[arg(long, value_name = "DIR")]
    pub(crate) state: Option<PathBuf>,
    #[command(flatten)]
    transfer: TransferArguments,
}

/// Reads what `--max-delete` takes.
pub(crate) fn removal_limit(text: &str) -> Result<RemovalLimit, String> {
    let limit = match text.strip_suffix('%') {
        Some(percent) => {
            percent.parse().ok().filter(|&percent| percent <= 100).map(RemovalLimit::Percent)
        }
        None => text.parse().ok().map(RemovalLimit::Names),
    };
    limit.ok_or_else(|| "a number, or one from 0% to 100%".to_owned())
}

/// How changes are found.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Feed {
    /// fanotify where it can be had, else inotify.
    Auto,
    /// One mark on the whole file system; needs to run as root.
    Fanotify,
    /// One watch for each directory.
    Inotify,
    /// No watching: everything is compared at intervals. For NFS and its like.
    Poll,
}

impl SourceArguments {
    /// What the library is to be told.
    pub(crate) fn options(&self) -> SourceOptions {
        let hours = u64::from(self.audit_interval);
        let audit_interval = (hours > 0).then(|| Duration::from_hours(hours));
        let options = SourceOptions::default()
            .with_readers(self.readers)
            .with_sinks_max(self.max_sinks)
            .with_audit_interval(audit_interval)
            .with_removal_limit(self.max_delete.unwrap_or_default());
        self.transfer.apply(options)
    }

    /// What of `source` is to be left out; `None` if nothing is.
    pub(crate) fn filter(&self, source: &Arc<dyn Source>) -> Result<Option<Arc<Filter>>, String> {
        let mut lines = Vec::new();
        for file in &self.exclude_from {
            let content = std::fs::read(file).map_err(|error| {
                format!("cannot read --exclude-from {}: {error}", file.display())
            })?;
            let ends = |byte: &u8| *byte == b'\n';
            let unended = |line: &[u8]| line.strip_suffix(b"\r").unwrap_or(line).to_vec();
            lines.extend(content.split(ends).map(unended));
        }
        lines.extend(self.exclude.iter().map(|pattern| pattern.clone().into_vec()));
        let kept = self.include.iter().map(|pattern| pattern.clone().into_vec());
        lines.extend(kept.map(|pattern| [b"!", &pattern[..]].concat()));
        if lines.is_empty() && !self.ignore_files {
            return Ok(None);
        }
        let rules = Rules::new(lines.iter().map(Vec::as_slice));
        let rules = rules.map_err(|error| format!("cannot exclude: {}", crate::chain(&error)))?;
        let mut filter = Filter::new(rules);
        if self.ignore_files {
            let name = Name::new(IGNORE_FILE).expect("a name");
            filter = filter.with_ignore_files(name, Arc::clone(source));
        }
        if self.delete_excluded {
            filter = filter.with_delete_excluded();
        }
        Ok(Some(Arc::new(filter)))
    }

    /// The feed of the directory `root`, less what `filter` leaves out.
    pub(crate) fn feed(
        &self,
        root: &Path,
        filter: Option<Arc<Filter>>,
    ) -> Result<Box<dyn ChangeFeed>, FeedError> {
        let feed: Box<dyn ChangeFeed> = match self.feed {
            Feed::Auto => return feed::auto(root, filter),
            Feed::Inotify => return feed::inotify(root, filter),
            Feed::Fanotify => Box::new(MappedFeed::new(Box::new(FanotifyFeed::new(root)?), root)?),
            Feed::Poll => Box::new(PollFeed::new(root, Duration::from_secs(self.poll_interval))),
        };
        Ok(match filter {
            None => feed,
            Some(filter) => Box::new(FilteredFeed::new(feed, filter)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_of_removals_are_numbers_or_shares() {
        assert_eq!(removal_limit("10"), Ok(RemovalLimit::Names(10)));
        assert_eq!(removal_limit("100%"), Ok(RemovalLimit::Percent(100)));
        for text in ["", "-1", "101%", "%", "many"] {
            assert!(removal_limit(text).is_err(), "{text}");
        }
    }
}
