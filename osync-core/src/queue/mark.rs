//! A mark: "something here may differ", and nothing more.

use std::time::{Duration, Instant};

use crate::model::need::Need;
use crate::model::rel_path::RelPath;

/// Which of the two lanes work is in. Live goes before backlog, always.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Lane {
    /// Changes as they happen.
    Live,
    /// Everything else.
    Backlog,
}

/// How much a mark at a path covers. Each covers what those before it do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Extent {
    /// The entry itself: its existence, content and metadata.
    Entry(Need),
    /// The entry, and the names in it if it is a directory.
    Directory,
    /// The entry and everything below it.
    Subtree,
}

impl Extent {
    /// The extent that every other covers.
    pub const LEAST: Self = Self::Entry(Need::Directory);
}

/// When a mark shall be looked into.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Urgency {
    /// At once.
    Now,
    /// Once nothing has been reported for [`Urgency::QUIET`], at the latest [`Urgency::QUIET_MAX`] after the first report.
    WhenQuiet,
    /// Not before this moment.
    At(Instant),
}

impl Urgency {
    /// How long an open file has to be quiet before it is looked at.
    pub const QUIET: Duration = Duration::from_millis(20);
    /// How long a file that is never quiet waits.
    pub const QUIET_MAX: Duration = Duration::from_millis(100);
}

/// Which files a comparison finds to differ though size and time are the same. Each takes in those before it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Distrust {
    /// None.
    #[default]
    Nothing,
    /// Those whose time was put back: their content was reported to have changed, or reports were lost.
    Edits,
    /// All: what the sink has there may be another directory.
    Everything,
}

/// A mark taken out of a set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mark {
    /// Where.
    pub path: RelPath,
    /// How much.
    pub extent: Extent,
    /// Since when something may differ here.
    pub born: Instant,
    /// What may differ of what looks the same.
    pub distrust: Distrust,
}
