//! A source that makes its readers wait a millisecond for everything, as one behind a network does.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
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
    /// Has the calls about names of one directory wait for each other.
    turns: Option<Mutex<HashMap<RelPath, Arc<Mutex<()>>>>>,
}

impl Slow {
    fn wait_in(&self, directory: &RelPath) {
        let turn = self
            .turns
            .as_ref()
            .map(|turns| Arc::clone(turns.lock().unwrap().entry(directory.clone()).or_default()));
        let _mine = turn.as_ref().map(|turn| turn.lock().unwrap());
        self.calls.wait();
    }
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
        self.wait_in(&path.parent().unwrap_or_else(RelPath::root));
        self.tree.metadata(path)
    }

    fn list(
        &self,
        directory: &RelPath,
        after: Option<&Name>,
        limit: usize,
    ) -> Result<Option<Page>, SourceError> {
        let page = self.tree.list(directory, after, limit)?;
        page.iter().flat_map(|page| &page.entries).for_each(|_| self.wait_in(directory));
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
fn replicate(source: &MemTree, sink: &MemTree, takes_turns: bool) -> usize {
    let calls = Arc::new(Calls::default());
    let turns = takes_turns.then(Mutex::default);
    let slow = Slow { tree: source.clone(), calls: Arc::clone(&calls), turns };
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

fn some_tree() -> MemTree {
    let tree = MemTree::new();
    for directory in 0..DIRECTORIES {
        tree.mkdir(format!("d{directory}"));
        for file in 0..FILES {
            tree.write(format!("d{directory}/f{file}"), format!("{directory} {file}"));
        }
    }
    tree
}

#[test]
fn many_calls_are_under_way_where_each_is_slow() {
    let (source, sink) = (some_tree(), MemTree::starting_at(2_000_000_000));

    let most = replicate(&source, &sink, false);

    assert_eq!(source.diff(&sink), [""; 0]);
    assert!(most >= 16, "{most} calls at once for the contents");
    let most = replicate(&source, &sink, false);
    assert!(most >= 16, "{most} calls at once for the comparison");
}

#[test]
fn many_directories_are_read_at_once_where_names_of_one_are_looked_up_in_turn() {
    let (source, sink) = (some_tree(), MemTree::starting_at(2_000_000_000));

    replicate(&source, &sink, true);

    assert_eq!(source.diff(&sink), [""; 0]);
    let most = replicate(&source, &sink, true);
    assert!(most >= 8, "{most} calls at once for the comparison");
}
