//! Transfer Report and Queue Report: where replication to one sink stands.

use std::time::Duration;

/// What has been applied since an endpoint started: at a source by all its sinks together.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct TransferReport {
    /// Entries brought up to date: files, links, directories made and names removed.
    pub entries: u64,
    /// Regular files whose content was written.
    pub files: u64,
    /// Bytes of content written.
    pub content_bytes: u64,
    /// Names removed.
    pub removed: u64,
    /// Renames done in one operation.
    pub renamed: u64,
    /// Directories found equal without sending an entry.
    pub directories_equal: u64,
    /// Bytes sent on the data channel, headers included.
    pub wire_bytes: u64,
    /// Paths that could not be replicated at some time, or only inexactly.
    pub problems: u64,
    /// Versions sent of files that changed whenever they were read: as they were read. Known to the source.
    pub inexact: u64,
    /// Readings of the source that served one sink more: read once, sent to several.
    pub readings_shared: u64,
    /// Those of the entries that are known to survive a power cut of the sink.
    pub durable_entries: u64,
}

/// What is still to be done for one sink.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct QueueReport {
    /// Marks, directories under comparison and entries to send in the live lane.
    pub live: u64,
    /// The same in the backlog lane. A directory not yet looked into counts as one.
    pub backlog: u64,
    /// Pieces of work under way: sent, and not yet confirmed.
    pub in_flight: u64,
    /// Bytes sent and not yet consumed by the sink.
    pub in_flight_bytes: u64,
    /// Bytes that may be in flight at present.
    pub window_bytes: u64,
    /// Age of the oldest live change that the sink has not confirmed; zero if there is none.
    pub lag: Duration,
    /// Nothing is marked, queued or in flight.
    pub is_idle: bool,
    /// Paths that are not replicated at present, or only inexactly, and are tried again.
    pub problems: u64,
    /// Those of them that are at the sink, inexactly. Known to the source.
    pub inexact: u64,
    /// Entries that are at the sink and may not survive a power cut of it yet; of a sink that never says what is
    /// durable, all that were sent in this session.
    pub undurable: u64,
}
