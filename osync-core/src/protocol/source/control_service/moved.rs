//! Where directories came from elsewhere lately, for sinks that come back.
//!
//! A session finds by comparison what changed while there was none. Of a directory that took the place of another one
//! that shows nothing if the files of both have the same sizes and times, and nothing at their inodes says that they
//! came by other names. So it is remembered here for the life of the source, and such directories are distrusted in
//! everything in the next session of each sink that may not have all that happened then.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Instant;

use crate::model::change::Change;
use crate::model::rel_path::RelPath;
use crate::model::sink_id::SinkId;

/// Directories that are remembered, the latest ones.
const DIRECTORIES_MAX: usize = 4_096;
/// Sinks that are remembered, the first ones.
const SINKS_MAX: usize = 8_192;

/// What was moved, and up to when each sink has everything.
#[derive(Debug, Default)]
pub(super) struct Moved {
    directories: VecDeque<(Instant, RelPath)>,
    /// Of sinks that have registered.
    agreed: BTreeMap<SinkId, Instant>,
}

impl Moved {
    /// Takes what the feed reports.
    pub(super) fn hear(&mut self, change: &Change, now: Instant) {
        let (Change::MovedIn { path } | Change::Renamed { to: path, is_directory: true, .. }) =
            change
        else {
            return;
        };
        // Who comes for the first time is believed what it has.
        if self.agreed.is_empty() {
            return;
        }
        if self.directories.len() >= DIRECTORIES_MAX {
            self.directories.pop_front();
        }
        self.directories.push_back((now, path.clone()));
    }

    /// A session of `sink` begins: returns what was moved since it had everything.
    pub(super) fn begin(&mut self, sink: &SinkId, now: Instant) -> BTreeSet<RelPath> {
        if self.agreed.len() >= SINKS_MAX && !self.agreed.contains_key(sink) {
            return BTreeSet::new();
        }
        let since = *self.agreed.entry(sink.clone()).or_insert(now);
        let later = self.directories.iter().filter(|(at, _)| *at >= since);
        later.map(|(_, path)| path.clone()).collect()
    }

    /// A session of `sink` ended: it has everything that had happened at `agreed_at`.
    pub(super) fn end(&mut self, sink: &SinkId, agreed_at: Option<Instant>) {
        if let (Some(known), Some(at)) = (self.agreed.get_mut(sink), agreed_at) {
            *known = at.max(*known);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_sink_hears_of_what_was_moved_since_it_had_everything() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let path = |text: &str| RelPath::new(text.as_bytes()).unwrap();
        let moved_in = |text: &str| Change::MovedIn { path: path(text) };
        let [one, other] = ["one", "other"].map(|name| SinkId::new(name).unwrap());
        let mut moved = Moved::default();
        moved.hear(&moved_in("before"), at(1));
        assert!(moved.begin(&one, at(2)).is_empty());
        let (from, to) = (path("a"), path("b"));
        moved.hear(&Change::Renamed { from, to, is_directory: true }, at(3));
        moved.hear(&moved_in("c"), at(5));

        moved.end(&one, None);
        assert_eq!(moved.begin(&one, at(6)), [path("b"), path("c")].into());
        moved.end(&one, Some(at(4)));
        assert_eq!(moved.begin(&one, at(7)), [path("c")].into());
        assert!(moved.begin(&other, at(8)).is_empty(), "what it has is believed");
    }
}
