//! What every [`ChangeFeed`] must do.
//!
//! The suite changes a real directory tree and checks that the reports cover the changes. Each function
//! is one test and panics where the contract is broken:
//!
//! ```ignore
//! #[test]
//! fn covers_single_changes() {
//!     conformance::change_feed::covers_single_changes(&MyFixture::new());
//! }
//! ```

#![expect(clippy::missing_panics_doc, reason = "these are tests: a panic is how they fail")]

mod deeds;
mod mirror;
mod watcher;

mod churn;

use std::path::Path;

use crate::model::change::Change;
use crate::model::rel_path::RelPath;
use crate::ports::change_feed::{ChangeFeed, FeedError, Reporter};
pub use crate::testing::conformance::change_feed::churn::churn_converges;
use crate::testing::conformance::change_feed::deeds::Deeds;
use crate::testing::conformance::change_feed::watcher::Watcher;

/// What the suite needs: feeds, and a tree for them to watch.
pub trait Fixture: Sync {
    /// A feed of the tree at [`Fixture::root`], not started.
    fn feed(&self) -> Box<dyn ChangeFeed>;

    /// The directory the feed is about, empty at first.
    fn root(&self) -> &Path;

    /// An empty directory outside of it on the same file system.
    fn outside(&self) -> &Path;

    /// Takes what the suite has just done to the tree, for feeds that only know what they are told.
    fn done(&self, change: Change) {
        drop(change);
    }
}

/// Every kind of change is covered, and covered before a fence sent after it.
pub fn covers_single_changes(fixture: &dyn Fixture) {
    let deeds = Deeds::new(fixture);
    deeds.write("old");
    deeds.make_directories("olddir/sub");
    let mut watcher = Watcher::start(fixture);

    deeds.write("file");
    watcher.expect_covered(&["file"]);
    deeds.write("file");
    watcher.expect_covered(&["file"]);
    deeds.append("old");
    watcher.expect_covered(&["old"]);
    deeds.set_mode("file", 0o600);
    watcher.expect_covered(&["file"]);
    deeds.touch("file");
    watcher.expect_covered(&["file"]);
    deeds.link_symbolically("link");
    watcher.expect_covered(&["link"]);
    deeds.link("file", "hardlink");
    watcher.expect_covered(&["hardlink"]);
    deeds.rename("file", "olddir/renamed");
    watcher.expect_covered(&["file", "olddir/renamed"]);
    deeds.rename("olddir/renamed", "old");
    watcher.expect_covered(&["olddir/renamed", "old"]);
    deeds.remove("old");
    watcher.expect_covered(&["old"]);
    deeds.make_directories("dir");
    watcher.expect_covered(&["dir"]);
    deeds.set_mode("dir", 0o700);
    watcher.expect_covered(&["dir"]);
    deeds.remove("dir");
    watcher.expect_covered(&["dir"]);
    deeds.write("olddir/sub/deep");
    watcher.expect_covered(&["olddir/sub/deep"]);
    deeds.rename("olddir", "newdir");
    watcher.expect_covered(&["olddir", "newdir"]);
    deeds.append("newdir/sub/deep");
    watcher.expect_covered(&["newdir/sub/deep"]);
    watcher.stop();
}

/// What appears in a directory that was itself only just made is covered.
pub fn covers_new_directories(fixture: &dyn Fixture) {
    let deeds = Deeds::new(fixture);
    let mut watcher = Watcher::start(fixture);

    for round in 0..100 {
        deeds.make_directories(&format!("{round}/a/b/c"));
        deeds.write(&format!("{round}/a/b/c/file"));
        let paths = ["", "/a", "/a/b", "/a/b/c", "/a/b/c/file"];
        let paths = paths.map(|path| format!("{round}{path}"));
        watcher.expect_covered(&paths);

        deeds.append(&format!("{round}/a/b/c/file"));
        watcher.expect_covered(&[format!("{round}/a/b/c/file")]);
    }
    watcher.stop();
}

/// Directories that leave the tree, come back, and are replaced by others of the same name are covered.
pub fn covers_moves_across_the_border(fixture: &dyn Fixture) {
    let deeds = Deeds::new(fixture);
    deeds.make_directories("dir/sub");
    let mut watcher = Watcher::start(fixture);

    for _ in 0..20 {
        deeds.move_out("dir", "parked");
        watcher.expect_covered(&["dir"]);
        deeds.move_in("parked", "dir");
        watcher.expect_covered(&["dir"]);
        deeds.write("dir/sub/file");
        watcher.expect_covered(&["dir/sub/file"]);

        deeds.move_out("dir", "parked");
        deeds.make_directories("dir/sub");
        watcher.expect_covered(&["dir", "dir/sub"]);
        deeds.write("dir/sub/file");
        watcher.expect_covered(&["dir/sub/file"]);
        deeds.discard_outside("parked");
    }
    watcher.stop();
}

/// A directory that takes the place of an empty one is watched, even while somebody has that one open.
pub fn covers_directories_that_replace_others(fixture: &dyn Fixture) {
    let deeds = Deeds::new(fixture);
    deeds.make_directories("dir/sub");
    deeds.make_directories("other");
    let mut watcher = Watcher::start(fixture);

    let held_open = std::fs::File::open(deeds.at("other")).expect("it exists");
    deeds.rename("dir", "other");
    watcher.expect_covered(&["dir", "other", "other/sub"]);
    deeds.write("other/file");
    watcher.expect_covered(&["other/file"]);
    drop(held_open);
    deeds.write("other/sub/file");
    watcher.expect_covered(&["other/sub/file"]);
    watcher.stop();
}

/// Renames within the tree are reported as such when nothing else goes on.
pub fn pairs_renames(fixture: &dyn Fixture) {
    let deeds = Deeds::new(fixture);
    deeds.write("file");
    deeds.make_directories("dir/sub");
    let mut watcher = Watcher::start(fixture);

    for (from, to, is_directory) in [("file", "dir/sub/file", false), ("dir", "dir2", true)] {
        deeds.rename(from, to);
        let renamed = Change::Renamed { from: path(from), to: path(to), is_directory };
        let reports = watcher.fence();
        assert!(reports.contains(&renamed), "{renamed:?} not in {reports:?}");
    }
    watcher.stop();
}

/// A fence comes after everything that happened before it, and each comes once and in order.
pub fn fences_follow_what_they_fence(fixture: &dyn Fixture) {
    let deeds = Deeds::new(fixture);
    deeds.make_directories("dir");
    let mut watcher = Watcher::start(fixture);

    for round in 0..300 {
        let name = format!("dir/{round}");
        deeds.write(&name);
        watcher.expect_covered(&[name]);
    }
    for _ in 0..50 {
        watcher.send_fence();
    }
    let reports = watcher.fence();
    let is_fence = |change: &&Change| matches!(change, Change::Fence { .. });
    assert_eq!(reports.iter().filter(is_fence).count(), 51);
    watcher.stop();
}

/// A feed stops at once, whoever listens; stopping twice, or before the start, is harmless.
pub fn stops(fixture: &dyn Fixture) {
    let deeds = Deeds::new(fixture);
    fixture.feed().stop();

    // Nobody takes the reports, and there are more than fit.
    let (sender, receiver) = crossbeam_channel::bounded(1);
    let mut feed = fixture.feed();
    feed.start(Reporter::new(sender)).expect("it starts");
    for round in 0..10 {
        deeds.write(&format!("unheard{round}"));
    }
    let (stopped, has_stopped) = crossbeam_channel::bounded(1);
    std::thread::scope(|scope| {
        scope.spawn(move || {
            feed.stop();
            feed.stop();
            let after = feed.fence(1);
            stopped.send(matches!(after, Err(FeedError::Ended)))
        });
        let is_ended = has_stopped
            .recv_timeout(Watcher::PATIENCE)
            .expect("a full channel of reports does not keep the feed from stopping");
        assert!(is_ended, "a stopped feed takes no fence");
    });
    drop(receiver);

    // The engine is gone.
    let (sender, receiver) = crossbeam_channel::bounded(1);
    let mut feed = fixture.feed();
    feed.start(Reporter::new(sender)).expect("it starts");
    drop(receiver);
    deeds.write("unheard");
    feed.stop();
}

fn path(text: &str) -> RelPath {
    RelPath::new(text.as_bytes()).expect("the suite names paths well")
}
