//! Totals that threads add to and reports read.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::model::report::TransferReport;

/// Atomic totals of one endpoint, unit last in every name.
#[derive(Debug, Default)]
#[expect(missing_docs, reason = "each is the field of TransferReport with its name")]
pub struct Counters {
    pub entries: AtomicU64,
    pub files: AtomicU64,
    pub content_bytes: AtomicU64,
    pub removed: AtomicU64,
    pub renamed: AtomicU64,
    pub directories_equal: AtomicU64,
    pub wire_bytes: AtomicU64,
    pub problems: AtomicU64,
    pub inexact: AtomicU64,
    pub readings_shared: AtomicU64,
    pub durable_entries: AtomicU64,
}

impl Counters {
    /// Adds `count` to one of the totals.
    pub fn add(total: &AtomicU64, count: u64) {
        total.fetch_add(count, Ordering::Relaxed);
    }

    /// The totals as they stand. They are read one after the other, not at one instant.
    #[must_use]
    pub fn report(&self) -> TransferReport {
        let read = |total: &AtomicU64| total.load(Ordering::Relaxed);
        TransferReport {
            entries: read(&self.entries),
            files: read(&self.files),
            content_bytes: read(&self.content_bytes),
            removed: read(&self.removed),
            renamed: read(&self.renamed),
            directories_equal: read(&self.directories_equal),
            wire_bytes: read(&self.wire_bytes),
            problems: read(&self.problems),
            inexact: read(&self.inexact),
            readings_shared: read(&self.readings_shared),
            durable_entries: read(&self.durable_entries),
        }
    }
}
