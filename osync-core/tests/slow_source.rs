//! A source that makes its readers wait a millisecond for everything, as one behind a network does.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use osync_core::Mirror;
use osync_core::adapters::feed::channel::ChannelFeed;
use osync_core::model::metadata::{Metadata, Stamp};
use osync_core::model::name::Name;
use osync_core::model::rel_path::RelPath;
use osync_core::options::{SinkOptions, SourceOptions};
use osync_core::ports::source::{NamePage, Page, Source, SourceError, SourceFile};
use osync_core::testing::mem_tree::MemTree;

const DEADLINE: Duration = Duration::from_mins(1);
const DIRECTORIES: usize = 20;
const FILES: usize = 50;

/// A tree behind a slow wire, and how many calls were under way at once.
struct Slow {
    tree: MemTree,
    calls: Arc<Calls>,
}

#[derive(Default)]
struct Calls {
    now: AtomicUsize,
    most: AtomicUsize,
}

impl Calls {
    fn wait(&self) {
        let now = self.now.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(now, Ordering::SeqCst);
        thread::sleep(Duration::from_millis(1));
        self.now.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Source for Slow {
    fn metadata(&self, path: &RelPath) -> Result<Option<(Metadata, Stamp)>, SourceError> {
        self.calls.wait();
        self.tree.metadata(path)
    }

    fn list(
        &self,
        directory: &RelPath,
        after: Option<&Name>,
        limit: usize,
    ) -> Result<Option<Page>, SourceError> {
        let page = self.tree.list(directory, after, limit)?;
        page.iter().flat_map(|page| &page.entries).for_each(|_| self.calls.wait());
        Ok(page)
    }

    fn names(
        &self,
        directory: &RelPath,
        after: Option<&Name>,
        limit: usize,
    ) -> Result<Option<NamePage>, SourceError> {
        self.calls.wait();
        self.tree.names(directory, after, limit)
    }

    fn open(&self, path: &RelPath) -> Result<Option<Box<dyn SourceFile>>, SourceError> {
        self.calls.wait();
        self.tree.open(path)
    }
}

/// Replicates `source` to `sink` until they are in sync; returns how many calls were under way at once.
fn replicate(source: &MemTree, sink: &MemTree) -> usize {
    let calls = Arc::new(Calls::default());
    let slow = Slow { tree: source.clone(), calls: Arc::clone(&calls) };
    let (feed, _handle) = ChannelFeed::new();
    let mirror = Mirror::start(
        Arc::new(slow),
        Box::new(feed),
        Arc::new(sink.clone()),
        SourceOptions::default(),
        SinkOptions::default(),
        Arc::new(()),
    );
    let mirror = mirror.unwrap();
    let in_sync = mirror.wait_in_sync(Some(DEADLINE)).unwrap();
    assert_eq!(in_sync.expect("in sync within the deadline").problems, 0);
    mirror.join().unwrap();
    calls.most.load(Ordering::SeqCst)
}

#[test]
fn many_calls_are_under_way_where_each_is_slow() {
    let source = MemTree::new();
    for directory in 0..DIRECTORIES {
        source.mkdir(format!("d{directory}"));
        for file in 0..FILES {
            source.write(format!("d{directory}/f{file}"), format!("{directory} {file}"));
        }
    }
    let sink = MemTree::starting_at(2_000_000_000);

    let most = replicate(&source, &sink);

    assert_eq!(source.diff(&sink), [""; 0]);
    assert!(most >= 16, "{most} calls at once for the contents");
    let most = replicate(&source, &sink);
    assert!(most >= 16, "{most} calls at once for the comparison");
}
