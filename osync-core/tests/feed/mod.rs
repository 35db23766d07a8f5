//! Trees for feeds to watch.

mod mounted;

use std::path::{Path, PathBuf};
use std::sync::Mutex;

use osync_core::adapters::feed::channel::{ChannelFeed, ChannelFeedHandle};
use osync_core::adapters::feed::fanotify::FanotifyFeed;
use osync_core::adapters::feed::inotify::InotifyFeed;
use osync_core::model::change::Change;
use osync_core::ports::change_feed::ChangeFeed;
use osync_core::testing::conformance::change_feed::Fixture;
use tempfile::TempDir;

use crate::feed::mounted::Mounted;

/// A directory watched by inotify.
pub(crate) struct InotifyFixture {
    tree: Tree,
}

/// A directory watched by fanotify, on a file system of its own: what happens on the machine's is not of
/// interest.
pub(crate) struct FanotifyFixture {
    tree: Tree,
    // Unmounted after the tree is gone.
    _mounted: Mounted,
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
        Self::at(tempfile::tempdir().unwrap())
    }

    fn at(directory: TempDir) -> Self {
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

impl FanotifyFixture {
    /// On a new tmpfs; `None`, and a word about it, where this process may not do that.
    pub(crate) fn on_tmpfs() -> Option<Self> {
        Mounted::tmpfs().and_then(Self::on)
    }

    /// On a new ext4 in a file; `None`, and a word about it, where this process may not do that.
    pub(crate) fn on_ext4() -> Option<Self> {
        Mounted::ext4().and_then(Self::on)
    }

    fn on(mounted: Mounted) -> Option<Self> {
        let tree = Tree::at(tempfile::tempdir_in(mounted.path()).unwrap());
        match FanotifyFeed::new(&tree.root) {
            Ok(_) => Some(Self { tree, _mounted: mounted }),
            Err(error) => {
                eprintln!("skipped: {error}: {:?}", std::error::Error::source(&error));
                None
            }
        }
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

impl Fixture for FanotifyFixture {
    fn feed(&self) -> Box<dyn ChangeFeed> {
        Box::new(FanotifyFeed::new(&self.tree.root).unwrap())
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
