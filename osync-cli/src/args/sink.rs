//! What may be said of the writing end, in one process or alone.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::{Args, ValueEnum};
use osync_core::adapters::accounts::SystemAccounts;
use osync_core::adapters::fs::sink::DirectorySink;
use osync_core::model::durability::Durability;
use osync_core::options::SinkOptions;
use osync_core::ports::sink::SinkError;

/// How the target is written.
#[derive(Debug, Args)]
pub(crate) struct SinkArguments {
    /// Threads that write DST, 1 to 64.
    #[arg(long, value_name = "N", default_value_t = SinkOptions::default().writers)]
    writers: usize,
    /// When what is written is safe from a power cut: batch (about once a second, and no file takes the
    /// place of another before its data is on disk), file (also each file before it is confirmed), none.
    #[arg(long, value_name = "WHEN", default_value = "batch")]
    durability: When,
    /// Whom files in DST belong to: numeric (the numbers of the source), names (who has the names here that the owners
    /// have at the source, also in access lists; the number where nobody has). Only as root are owners kept at all.
    #[arg(long, value_name = "HOW", default_value = "numeric")]
    owners: How,
    /// Removes nothing from DST: what the source has not, or no longer, stays. [default: off]
    #[arg(long)]
    no_delete: bool,
    /// Moves what is removed from DST or replaced there to DIR, by date (UTC) and path, instead of deleting
    /// it. DIR is made if absent, lies outside of DST and SRC, and on the same file system as DST; nothing
    /// is ever removed from it. [default: it is deleted]
    #[arg(long, value_name = "DIR")]
    pub(crate) trash: Option<PathBuf>,
}

/// What `--owners` takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum How {
    Numeric,
    Names,
}

/// What `--durability` takes.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum When {
    Batch,
    File,
    None,
}

impl SinkArguments {
    /// What the library is to be told.
    pub(crate) fn options(&self) -> SinkOptions {
        let durability = match self.durability {
            When::Batch => Durability::Batch,
            When::File => Durability::File,
            When::None => Durability::None,
        };
        SinkOptions::default().with_writers(self.writers).with_durability(durability)
    }

    /// The directory `target`, to be written to as was said.
    pub(crate) fn open(&self, target: &Path) -> Result<DirectorySink, SinkError> {
        let sink = DirectorySink::open(target)?;
        let sink = match self.owners {
            How::Numeric => sink,
            How::Names => sink.with_accounts(Arc::new(SystemAccounts)),
        };
        let sink = match &self.trash {
            Some(trash) => sink.with_trash(trash)?,
            None => sink,
        };
        Ok(if self.no_delete { sink.without_removals() } else { sink })
    }
}
