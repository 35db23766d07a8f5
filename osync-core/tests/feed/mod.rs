//! Trees for feeds to watch.

use std::path::{Path, PathBuf};
use std::sync::Mutex;

use osync_core::adapters::feed::channel::{ChannelFeed, ChannelFeedHandle};
use osync_core::adapters::feed::inotify::InotifyFeed;
use osync_core::model::change::Change;
use osync_core::ports::change_feed::ChangeFeed;
use osync_core::testing::conformance::change_feed::Fixture;
use tempfile::TempDir;

/// A directory watched by inotify.
pub(crate) struct InotifyFixture {
    tree: Tree,
}

/// A directory whose changes are told to a [`ChannelFeed`].
pub(crate) struct ChannelFixture {
    tree: Tree,
    handle: Mutex<Option<ChannelFeedHandle>>,
}

struct Tree {
    // Removed when dropped.
    _directory: TempDir,
    root: PathBuf,
    outside: PathBuf,
}

impl Tree {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().join("root");
        let outside = directory.path().join("outside");
        std::fs::create_dir(&root).unwrap();
        std::fs::create_dir(&outside).unwrap();
        Self { _directory: directory, root, outside }
    }
}

impl InotifyFixture {
    pub(crate) fn new() -> Self {
        let tree = Tree::new();
        Self { tree }
    }
}

impl ChannelFixture {
    pub(crate) fn new() -> Self {
        let tree = Tree::new();
        let handle = Mutex::default();
        Self { tree, handle }
    }
}

impl Fixture for InotifyFixture {
    fn feed(&self) -> Box<dyn ChangeFeed> {
        Box::new(InotifyFeed::new(&self.tree.root).unwrap())
    }

    fn root(&self) -> &Path {
        &self.tree.root
    }

    fn outside(&self) -> &Path {
        &self.tree.outside
    }
}

impl Fixture for ChannelFixture {
    fn feed(&self) -> Box<dyn ChangeFeed> {
        let (feed, handle) = ChannelFeed::new();
        *self.handle.lock().unwrap() = Some(handle);
        Box::new(feed)
    }

    fn root(&self) -> &Path {
        &self.tree.root
    }

    fn outside(&self) -> &Path {
        &self.tree.outside
    }

    fn done(&self, change: Change) {
        let handle = self.handle.lock().unwrap().clone();
        // Before the first feed, and after the last, nobody needs to know.
        let _unheard = handle.map(|handle| handle.report(change));
    }
}
