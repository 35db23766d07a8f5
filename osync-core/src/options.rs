//! Every tunable, with its unit, default and range.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::model::compression::Compression;
use crate::model::durability::Durability;
use crate::model::removal_limit::RemovalLimit;
use crate::model::sink_id::SinkId;
use crate::model::timestamp::Timestamp;

/// What a host may tune at a source.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SourceOptions {
    /// Memory for the marks of one sink, in bytes: 64 KiB and up, by default 64 MiB. Over it, detail is given up.
    pub marks_bytes_max: usize,
    /// Memory for the names of hard links, for each sink, in bytes: 64 KiB and up, by default 64 MiB. Those of which
    /// there is no room become files of their own at the sink.
    pub links_bytes_max: usize,
    /// Threads that read the source: 1 to 64, by default 2. Up to 14 more help while the storage is slow.
    pub readers: usize,
    /// Sinks that may be connected at once: 1 and up, by default 64.
    pub sinks_max: usize,
    /// How long the backlog waits for the change feed to cover the whole tree before it begins
    /// regardless; by default 1 s. What it saw too early is compared again later.
    pub feed_patience: Duration,
    /// How often everything is compared again, by metadata and in the backlog lane, for what no change
    /// feed reports; by default every 24 h. `None`: never.
    pub audit_interval: Option<Duration>,
    /// Whether only what has changed of a large file is sent; by default [`Delta::Auto`].
    pub delta: Delta,
    /// A file of at least so many bytes that has only grown, as far as samples tell, is extended at the sink in
    /// place, and proven once it has settled; by default 16 MiB. `None`: never.
    pub extend_bytes_min: Option<u64>,
    /// Whether what travels is compressed; by default [`Compression::Auto`].
    pub compression: Compression,
    /// Most bytes in flight to one sink: 32 KiB to 8 MiB, by default 8 MiB. Within it the window finds its size by
    /// itself; while no large file is on its way, 4 MiB at the most.
    pub window_bytes_max: u64,
    /// Most bytes of small files in one message: 16 KiB to 1 MiB, by default 512 KiB.
    pub batch_bytes_max: u64,
    /// Most bytes in one chunk of a large file: 16 KiB to 1 MiB, by default 1 MiB.
    pub chunk_bytes_max: u64,
    /// Most bytes a second to one sink on the data channel: 1 and up, by default unlimited.
    pub rate_max: Option<u64>,
    /// Most bytes a second of the backlog to one sink: 1 and up, by default unlimited.
    pub backlog_rate_max: Option<u64>,
    /// How many names may be removed at a sink without asking; by default any number, but not everything.
    pub removal_limit: RemovalLimit,
    /// What [`Event::Horizon`] told of each sink last, in earlier runs; by default nothing. When such a sink
    /// registers, files that changed since are proven there though size and time be equal.
    ///
    /// [`Event::Horizon`]: crate::ports::monitor::Event::Horizon
    pub horizons: BTreeMap<SinkId, Timestamp>,
}

/// When only what has changed of a large file is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Delta {
    /// Unless little of it is found at the sink and the link is fast.
    #[default]
    Auto,
    /// Whatever is found.
    Always,
    /// Never.
    Off,
}

impl Default for SourceOptions {
    fn default() -> Self {
        Self {
            marks_bytes_max: 64 << 20,
            links_bytes_max: 64 << 20,
            readers: 2,
            sinks_max: 64,
            feed_patience: Duration::from_secs(1),
            audit_interval: Some(Duration::from_hours(24)),
            delta: Delta::default(),
            extend_bytes_min: Some(16 << 20),
            compression: Compression::default(),
            window_bytes_max: 8 << 20,
            batch_bytes_max: 512 << 10,
            chunk_bytes_max: 1 << 20,
            rate_max: None,
            backlog_rate_max: None,
            removal_limit: RemovalLimit::default(),
            horizons: BTreeMap::new(),
        }
    }
}

impl SourceOptions {
    /// Sets [`SourceOptions::marks_bytes_max`].
    #[must_use]
    pub fn with_marks_bytes_max(mut self, bytes: usize) -> Self {
        self.marks_bytes_max = bytes.max(64 << 10);
        self
    }

    /// Sets [`SourceOptions::links_bytes_max`].
    #[must_use]
    pub fn with_links_bytes_max(mut self, bytes: usize) -> Self {
        self.links_bytes_max = bytes.max(64 << 10);
        self
    }

    /// Sets [`SourceOptions::readers`].
    #[must_use]
    pub fn with_readers(mut self, readers: usize) -> Self {
        self.readers = readers.clamp(1, 64);
        self
    }

    /// Sets [`SourceOptions::sinks_max`].
    #[must_use]
    pub fn with_sinks_max(mut self, sinks: usize) -> Self {
        self.sinks_max = sinks.max(1);
        self
    }

    /// Sets [`SourceOptions::audit_interval`]; a second at least.
    #[must_use]
    pub fn with_audit_interval(mut self, interval: Option<Duration>) -> Self {
        self.audit_interval = interval.map(|interval| interval.max(Duration::from_secs(1)));
        self
    }

    /// Sets [`SourceOptions::delta`].
    #[must_use]
    pub fn with_delta(mut self, delta: Delta) -> Self {
        self.delta = delta;
        self
    }

    /// Sets [`SourceOptions::extend_bytes_min`].
    #[must_use]
    pub fn with_extend_bytes_min(mut self, bytes: Option<u64>) -> Self {
        self.extend_bytes_min = bytes;
        self
    }

    /// Sets [`SourceOptions::compression`].
    #[must_use]
    pub fn with_compression(mut self, compression: Compression) -> Self {
        self.compression = compression;
        self
    }

    /// Sets [`SourceOptions::window_bytes_max`].
    #[must_use]
    pub fn with_window_bytes_max(mut self, bytes: u64) -> Self {
        self.window_bytes_max = bytes.clamp(32 << 10, 8 << 20);
        self
    }

    /// Sets [`SourceOptions::batch_bytes_max`].
    #[must_use]
    pub fn with_batch_bytes_max(mut self, bytes: u64) -> Self {
        self.batch_bytes_max = bytes.clamp(16 << 10, 1 << 20);
        self
    }

    /// Sets [`SourceOptions::chunk_bytes_max`].
    #[must_use]
    pub fn with_chunk_bytes_max(mut self, bytes: u64) -> Self {
        self.chunk_bytes_max = bytes.clamp(16 << 10, 1 << 20);
        self
    }

    /// Sets [`SourceOptions::rate_max`].
    #[must_use]
    pub fn with_rate_max(mut self, bytes_per_second: Option<u64>) -> Self {
        self.rate_max = bytes_per_second;
        self
    }

    /// Sets [`SourceOptions::backlog_rate_max`].
    #[must_use]
    pub fn with_backlog_rate_max(mut self, bytes_per_second: Option<u64>) -> Self {
        self.backlog_rate_max = bytes_per_second;
        self
    }

    /// Sets [`SourceOptions::removal_limit`].
    #[must_use]
    pub fn with_removal_limit(mut self, limit: RemovalLimit) -> Self {
        self.removal_limit = limit;
        self
    }

    /// Sets [`SourceOptions::horizons`].
    #[must_use]
    pub fn with_horizons(mut self, horizons: BTreeMap<SinkId, Timestamp>) -> Self {
        self.horizons = horizons;
        self
    }

    /// Sets [`SourceOptions::feed_patience`].
    #[must_use]
    pub fn with_feed_patience(mut self, patience: Duration) -> Self {
        self.feed_patience = patience;
        self
    }
}

/// What a host may tune at a sink.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SinkOptions {
    /// The name the sink keeps across reconnects; by default `sink`.
    pub name: SinkId,
    /// Threads that write: 1 to 64, by default 2. One directory stays on one of them.
    pub writers: usize,
    /// When what is written is safe from a power cut; by default [`Durability::Batch`].
    pub durability: Durability,
}

impl Default for SinkOptions {
    fn default() -> Self {
        let name = SinkId::new("sink").expect("four letters");
        Self { name, writers: 2, durability: Durability::default() }
    }
}

impl SinkOptions {
    /// Sets [`SinkOptions::name`].
    #[must_use]
    pub fn with_name(mut self, name: SinkId) -> Self {
        self.name = name;
        self
    }

    /// Sets [`SinkOptions::durability`].
    #[must_use]
    pub fn with_durability(mut self, durability: Durability) -> Self {
        self.durability = durability;
        self
    }

    /// Sets [`SinkOptions::writers`].
    #[must_use]
    pub fn with_writers(mut self, writers: usize) -> Self {
        self.writers = writers.clamp(1, 64);
        self
    }
}
