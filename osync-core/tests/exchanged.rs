//! Directories that take each other's places, though all their files have the same sizes and times.

#![expect(clippy::unwrap_used, reason = "a failing helper fails its test")]

use std::collections::BTreeMap;
use std::fs::{self, FileTimes};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use osync_core::Mirror;
use osync_core::adapters::feed::fanotify::FanotifyFeed;
use osync_core::adapters::feed::inotify::InotifyFeed;
use osync_core::adapters::fs::sink::DirectorySink;
use osync_core::adapters::fs::source::DirectorySource;
use osync_core::options::{SinkOptions, SourceOptions};
use osync_core::ports::change_feed::ChangeFeed;
use rustix::fs::{CWD, RenameFlags, renameat_with};
use tempfile::TempDir;

const DEADLINE: Duration = Duration::from_secs(30);
const FILES: usize = 5;

/// Where the directories `one` and `other` are, and one beside the tree.
struct Place {
    directory: TempDir,
}

impl Place {
    fn new() -> Self {
        let place = Self { directory: TempDir::new().unwrap() };
        for (name, content) in [("source/one", "1"), ("source/other", "2"), ("outside", "3")] {
            fill(&place.at(name), content);
        }
        place
    }

    fn at(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn one(&self) -> PathBuf {
        self.at("source/one")
    }

    fn other(&self) -> PathBuf {
        self.at("source/other")
    }

    fn outside(&self) -> PathBuf {
        self.at("outside")
    }
}

/// Makes a directory whose files look the same whatever is in them.
fn fill(directory: &Path, content: &str) {
    fs::create_dir_all(directory.join("below")).unwrap();
    for name in (0..FILES).flat_map(|file| [format!("{file}"), format!("below/{file}")]) {
        let path = directory.join(name);
        fs::write(&path, content).unwrap();
        let times = FileTimes::new().set_modified(SystemTime::UNIX_EPOCH);
        fs::File::options().write(true).open(path).unwrap().set_times(times).unwrap();
    }
}

fn exchange(one: &Path, other: &Path) {
    renameat_with(CWD, one, CWD, other, RenameFlags::EXCHANGE).unwrap();
}

fn rename(from: &Path, to: &Path) {
    fs::rename(from, to).unwrap();
}

/// What is in the files of a tree, the private directory of a sink left out.
fn contents(root: &Path) -> BTreeMap<PathBuf, String> {
    let mut found = BTreeMap::new();
    let mut directories = vec![root.to_path_buf()];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.ends_with(".osync") {
                continue;
            }
            if path.is_dir() {
                directories.push(path);
            } else {
                let content = fs::read_to_string(&path).unwrap();
                found.insert(path.strip_prefix(root).unwrap().to_path_buf(), content);
            }
        }
    }
    found
}

/// What is done, and how.
type Deed = (&'static str, fn(&Place));

/// Everything that puts another directory in the place of one.
const DEEDS: [Deed; 9] = [
    ("the place of a renamed one is taken", |place| {
        rename(&place.one(), &place.at("source/aside"));
        rename(&place.other(), &place.one());
    }),
    ("the place of a removed one is taken", |place| {
        fs::remove_dir_all(place.one()).unwrap();
        rename(&place.other(), &place.one());
    }),
    ("two exchange their names by way of a third", |place| {
        rename(&place.one(), &place.at("source/aside"));
        rename(&place.other(), &place.one());
        rename(&place.at("source/aside"), &place.other());
    }),
    ("two are exchanged at once", |place| exchange(&place.one(), &place.other())),
    ("one is exchanged for one outside", |place| exchange(&place.one(), &place.outside())),
    ("one moves out and another one in", |place| {
        rename(&place.one(), &place.at("aside"));
        rename(&place.outside(), &place.one());
    }),
    ("one is changed outside", |place| {
        rename(&place.one(), &place.at("aside"));
        fill(&place.at("aside"), "4");
        rename(&place.at("aside"), &place.one());
    }),
    ("one takes the place of that above it", |place| {
        rename(&place.one(), &place.other().join("one"));
        rename(&place.other(), &place.one());
    }),
    ("one is renamed and made anew", |place| {
        rename(&place.one(), &place.at("source/aside"));
        fill(&place.one(), "5");
    }),
];

fn are_followed(feed: impl Fn(&Path) -> Box<dyn ChangeFeed>) {
    for (what, deed) in DEEDS {
        let place = Place::new();
        let (root, target) = (place.at("source"), place.at("target"));
        let source = Arc::new(DirectorySource::open(&root).unwrap());
        let sink = Arc::new(DirectorySink::open(&target).unwrap());
        let mirror = Mirror::start(
            source,
            feed(&root),
            sink,
            SourceOptions::default(),
            SinkOptions::default(),
            Arc::new(()),
        )
        .unwrap();
        let wait_in_sync = || mirror.wait_in_sync(Some(DEADLINE)).unwrap().expect("in sync");
        wait_in_sync();

        deed(&place);

        assert_eq!(wait_in_sync().problems, 0);
        assert_eq!(contents(&target), contents(&root), "{what}");
        mirror.stop();
        mirror.join().unwrap();
    }
}

#[test]
fn exchanges_seen_by_inotify_are_followed() {
    are_followed(|root| Box::new(InotifyFeed::new(root).unwrap()));
}

#[test]
fn exchanges_seen_by_fanotify_are_followed() {
    let directory = TempDir::new().unwrap();
    if let Err(error) = FanotifyFeed::new(directory.path()) {
        println!("skipped: {error}");
        return;
    }
    are_followed(|root| Box::new(FanotifyFeed::new(root).unwrap()));
}
