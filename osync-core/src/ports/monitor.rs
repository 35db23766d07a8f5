//! What a host hears of while replication runs.

use std::time::Duration;

use crate::model::rel_path::RelPath;
use crate::model::sink_id::SinkId;
use crate::model::timestamp::Timestamp;

/// Something a host may want to act on. What only a developer wants to read is in the log instead.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// Both channels to this sink work and transfer begins.
    Registered {
        /// The sink.
        sink: SinkId,
    },
    /// The session with this sink ended; its work will be found again at the next registration.
    Disconnected {
        /// The sink.
        sink: SinkId,
        /// Why: one line.
        reason: String,
    },
    /// A path could not be replicated, or only inexactly, and will be tried again.
    Problem(Problem),
    /// Nothing goes on, or nothing is removed, at a sink until the cause has gone; then it goes on by itself.
    Halted {
        /// Why: one line, escaped.
        cause: String,
    },
    /// What had halted goes on.
    Resumed {
        /// Why it had: one line, escaped.
        cause: String,
    },
    /// The change feed lost reports; everything at or below `scope` is compared again.
    FeedLost {
        /// The top of what may differ.
        scope: RelPath,
        /// Why: one line.
        reason: String,
    },
    /// The sink holds everything that had happened at the source when it was asked.
    InSync {
        /// The sink.
        sink: SinkId,
        /// How many paths could not be replicated.
        problems: u64,
        /// Some of them, each with the reason: escaped text of the source.
        named: Vec<(RelPath, String)>,
        /// It survives a power cut of the sink. Where that is asked for, this event waits for it.
        is_durable: bool,
    },
    /// Of a source: whatever had changed before `at` is at the sink. A host that keeps the last one of each sink
    /// and gives it to its next source ([`SourceOptions::horizons`]) has changes found that were made while no
    /// source was running and that put size and time back.
    ///
    /// [`SourceOptions::horizons`]: crate::options::SourceOptions::horizons
    Horizon {
        /// The sink.
        sink: SinkId,
        /// By the clock of the source.
        at: Timestamp,
    },
    /// The other end asked to end the session and both agreed.
    Terminated {
        /// The sink.
        sink: SinkId,
    },
}

/// One path that could not be replicated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The path; shown escaped.
    pub path: RelPath,
    /// Why: one line, escaped, as the operating system said it.
    pub cause: String,
    /// When it is tried again.
    pub retry_in: Duration,
    /// It is at the sink, but the source may never have had that content: the file changed whenever it
    /// was read. It stays so until a whole version got through.
    pub is_inexact: bool,
}

/// Hears events. Called from the engine's threads: return soon.
pub trait Monitor: Send + Sync {
    /// Takes one event.
    fn event(&self, event: &Event);
}

impl Monitor for () {
    fn event(&self, _: &Event) {}
}

impl<F: Fn(&Event) + Send + Sync> Monitor for F {
    fn event(&self, event: &Event) {
        self(event);
    }
}
