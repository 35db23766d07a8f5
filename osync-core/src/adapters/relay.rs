//! A sink whose directory is the source of further sinks: what it applies feeds them directly.
//!
//! ```text
//! upstream source ==> SinkEndpoint --> RelaySink --> a sink, say a directory
//!                                         |                   ^
//!                                      changes              reads
//!                                         v                   |
//!                                    ChannelFeed --> SourceEndpoint ==> downstream sinks
//! ```
//!
//! Every call that changed something is reported to the feed after it has returned, so the downstream side
//! needs no watch on the directory and hears of a change in the moment in which it is there. What
//! somebody else changes in the directory is not reported; comparisons find it.

use std::sync::Arc;

use crate::adapters::feed::channel::{ChannelFeed, ChannelFeedHandle};
use crate::model::account::Account;
use crate::model::change::{Change, Touch};
use crate::model::durability::Durability;
use crate::model::fidelity::Fidelity;
use crate::model::metadata::{Entry, Metadata};
use crate::model::name::Name;
use crate::model::rel_path::RelPath;
use crate::ports::sink::{Basis, NewFile, Sink, SinkError, StagedFile, TellRestored};

/// A [`Sink`] that hands everything to another one and reports what that changed.
pub struct RelaySink {
    sink: Arc<dyn Sink>,
    changes: ChannelFeedHandle,
}

impl std::fmt::Debug for RelaySink {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RelaySink").finish_non_exhaustive()
    }
}

impl RelaySink {
    /// A sink in front of `sink`, and the feed that tells what it changed: for a source of the same tree.
    #[must_use]
    pub fn new(sink: Arc<dyn Sink>) -> (Self, ChannelFeed) {
        let (feed, changes) = ChannelFeed::new();
        let told = changes.clone();
        let restored = move |path: &RelPath| {
            report(&told, Change::Entry { path: path.clone(), touch: Touch::Metadata });
        };
        sink.tell_restored(Box::new(restored));
        (Self { sink, changes }, feed)
    }

    fn relayed(&self, file: Box<dyn StagedFile>, path: &RelPath, is_visible: bool) -> RelayedFile {
        RelayedFile { file, path: path.clone(), is_visible, changes: self.changes.clone() }
    }

    fn changed(&self, path: &RelPath, touch: Touch) {
        report(&self.changes, Change::Entry { path: path.clone(), touch });
    }
}

/// Tells the downstream side, if there still is one.
fn report(changes: &ChannelFeedHandle, change: Change) {
    if changes.report(change).is_err() {
        log::trace!("nobody is downstream any more");
    }
}

impl Sink for RelaySink {
    fn fidelity(&self) -> Fidelity {
        self.sink.fidelity()
    }

    fn metadata(&self, path: &RelPath) -> Result<Option<Metadata>, SinkError> {
        self.sink.metadata(path)
    }

    fn list(
        &self,
        directory: &RelPath,
        after: Option<&Name>,
        until: Option<&Name>,
    ) -> Result<Option<Vec<Entry>>, SinkError> {
        self.sink.list(directory, after, until)
    }

    fn write_file(
        &self,
        path: &RelPath,
        metadata: &Metadata,
        content: &[u8],
    ) -> Result<(), SinkError> {
        self.sink.write_file(path, metadata, content)?;
        self.changed(path, Touch::Settled);
        Ok(())
    }

    fn write_files(&self, files: &[NewFile<'_>]) -> Vec<Result<(), SinkError>> {
        let results = self.sink.write_files(files);
        for (file, _) in files.iter().zip(&results).filter(|(_, result)| result.is_ok()) {
            self.changed(&file.path, Touch::Settled);
        }
        results
    }

    fn stage(&self, path: &RelPath, size_bytes: u64) -> Result<Box<dyn StagedFile>, SinkError> {
        let file = self.sink.stage(path, size_bytes)?;
        Ok(Box::new(self.relayed(file, path, false)))
    }

    fn basis(&self, path: &RelPath) -> Result<Option<Arc<dyn Basis>>, SinkError> {
        self.sink.basis(path)
    }

    fn extend(&self, path: &RelPath, basis: &dyn Basis) -> Result<Box<dyn StagedFile>, SinkError> {
        let file = self.sink.extend(path, basis)?;
        Ok(Box::new(self.relayed(file, path, true)))
    }

    fn make_directory(&self, path: &RelPath) -> Result<bool, SinkError> {
        let is_made = self.sink.make_directory(path)?;
        if is_made {
            report(&self.changes, Change::Subtree { path: path.clone() });
        }
        Ok(is_made)
    }

    fn make_special(&self, path: &RelPath, metadata: &Metadata) -> Result<(), SinkError> {
        self.sink.make_special(path, metadata)?;
        self.changed(path, Touch::Settled);
        Ok(())
    }

    fn link(&self, path: &RelPath, to: &RelPath, metadata: &Metadata) -> Result<(), SinkError> {
        self.sink.link(path, to, metadata)?;
        self.changed(path, Touch::Settled);
        Ok(())
    }

    fn set_metadata(&self, path: &RelPath, metadata: &Metadata) -> Result<(), SinkError> {
        self.sink.set_metadata(path, metadata)?;
        self.changed(path, Touch::Metadata);
        Ok(())
    }

    fn remove(&self, path: &RelPath) -> Result<bool, SinkError> {
        let was_there = self.sink.remove(path)?;
        if was_there {
            self.changed(path, Touch::Settled);
        }
        Ok(was_there)
    }

    fn rename(&self, from: &RelPath, to: &RelPath) -> Result<(), SinkError> {
        self.sink.rename(from, to)?;
        let found = self.sink.metadata(to).ok().flatten();
        let is_directory = found.is_none_or(|found| found.kind.is_directory());
        let (from, to) = (from.clone(), to.clone());
        report(&self.changes, Change::Renamed { from, to, is_directory });
        Ok(())
    }

    fn set_durability(&self, durability: Durability) {
        self.sink.set_durability(durability);
    }

    fn sync(&self, is_settled: bool) -> Result<bool, SinkError> {
        self.sink.sync(is_settled)
    }

    fn learn(&self, accounts: &[Account]) {
        self.sink.learn(accounts);
    }

    fn settle(&self, metadata: &mut Metadata) {
        self.sink.settle(metadata);
    }

    fn tell_restored(&self, tell: TellRestored) {
        self.sink.tell_restored(tell);
    }

    fn tidy(&self) {
        self.sink.tidy();
    }
}

/// A file on its way into a relay.
struct RelayedFile {
    file: Box<dyn StagedFile>,
    path: RelPath,
    /// What is appended shows at once.
    is_visible: bool,
    changes: ChannelFeedHandle,
}

impl StagedFile for RelayedFile {
    fn append(&mut self, chunk: &[u8]) -> Result<(), SinkError> {
        self.file.append(chunk)?;
        if self.is_visible {
            let path = self.path.clone();
            report(&self.changes, Change::Entry { path, touch: Touch::Writing });
        }
        Ok(())
    }

    fn skip(&mut self, bytes: u64) -> Result<(), SinkError> {
        self.file.skip(bytes)
    }

    fn copy(&mut self, basis: &dyn Basis, offset_bytes: u64, bytes: u64) -> Result<(), SinkError> {
        self.file.copy(basis, offset_bytes, bytes)
    }

    fn commit(self: Box<Self>, metadata: &Metadata) -> Result<(), SinkError> {
        let Self { file, path, changes, .. } = *self;
        file.commit(metadata)?;
        report(&changes, Change::Entry { path, touch: Touch::Settled });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use crossbeam_channel::{Receiver, bounded};

    use super::*;
    use crate::adapters::fs::sink::DirectorySink;
    use crate::model::metadata::Kind;
    use crate::model::timestamp::Timestamp;
    use crate::ports::change_feed::{ChangeFeed, Reporter};

    const SOON: Duration = Duration::from_secs(10);

    fn wait_for(reported: &Receiver<Change>, wanted: &RelPath) {
        loop {
            let change = reported.recv_timeout(SOON).unwrap();
            if matches!(&change, Change::Entry { path, touch: Touch::Metadata } if path == wanted) {
                return;
            }
        }
    }

    /// Else whoever read the time in between would keep it for ever.
    #[test]
    fn a_time_that_was_put_back_is_reported() {
        let target = tempfile::tempdir().unwrap();
        let sink = DirectorySink::open(target.path()).unwrap();
        let (relay, mut feed) = RelaySink::new(Arc::new(sink));
        let (reports, reported) = bounded(100);
        feed.start(Reporter::new(reports)).unwrap();
        let metadata = |size_bytes| Metadata {
            kind: Kind::File { size_bytes },
            modified: Timestamp { seconds: 1, nanoseconds: 1 },
            mode: 0o600,
            uid: rustix::process::geteuid().as_raw(),
            gid: rustix::process::getegid().as_raw(),
            attributes: crate::model::attributes::Attributes::None,
            names: 1,
        };
        let path = |text: &str| RelPath::new(text.as_bytes()).unwrap();

        // The second version is made in the private directory, which appears in the root and goes again.
        relay.write_file(&path("d/file"), &metadata(1), b"1").unwrap();
        relay.write_file(&path("d/file"), &metadata(2), b"22").unwrap();
        wait_for(&reported, &RelPath::root());
        wait_for(&reported, &RelPath::root());

        // A new directory is replaced by one that holds its first files.
        relay.make_directory(&path("d/new")).unwrap();
        let metadata = metadata(1);
        let paths = ["a", "b", "c", "d"].map(|name| path(&format!("d/new/{name}")));
        let file =
            |path: &RelPath| NewFile { path: path.clone(), metadata: &metadata, content: b"1" };
        assert!(relay.write_files(&paths.each_ref().map(file)).iter().all(Result::is_ok));
        wait_for(&reported, &path("d"));
    }

    /// A method with a default that is not handed on would silently do less through a relay.
    #[test]
    fn every_method_of_the_ports_is_handed_on() {
        let port = include_str!("../ports/sink.rs");
        let (relay, _) = include_str!("relay.rs").split_once("#[cfg(test)]").unwrap();
        for (name, holder) in [("Sink", "RelaySink"), ("StagedFile", "RelayedFile")] {
            let (_, text) = port.split_once(&format!("pub trait {name}: ")).unwrap();
            let (methods, _) = text.split_once("\n}\n").unwrap();
            let start = format!("impl {name} for {holder} {{");
            let (_, text) = relay.split_once(&start).unwrap();
            let (ours, _) = text.split_once("\n}\n").unwrap();
            let declared = methods.lines().filter_map(|line| line.strip_prefix("    fn "));
            for method in declared.filter_map(|line| line.split(['(', '<']).next()) {
                assert!(ours.contains(&format!("    fn {method}")), "{name}::{method}");
            }
        }
    }
}
