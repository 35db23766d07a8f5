//! Changed large files over real threads: what travels, and that it arrives.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use osync_core::Mirror;
use osync_core::adapters::feed::channel::{ChannelFeed, ChannelFeedHandle};
use osync_core::adapters::fs::sink::DirectorySink;
use osync_core::compare::delta::sums;
use osync_core::model::change::{Change, Touch};
use osync_core::model::rel_path::RelPath;
use osync_core::options::{Delta, SinkOptions, SourceOptions};
use osync_core::ports::monitor::{Event, Monitor};
use osync_core::ports::sink::Sink;
use osync_core::testing::mem_tree::MemTree;
use tempfile::TempDir;

const DEADLINE: Duration = Duration::from_mins(1);
const SIZE: usize = 4 << 20;

struct Pair {
    source: MemTree,
    sink: MemTree,
    feed: ChannelFeedHandle,
    mirror: Mirror,
}

impl Pair {
    fn start(options: SourceOptions) -> Self {
        let sink = MemTree::starting_at(2_000_000_000);
        let (source, feed, mirror) = start(Arc::new(sink.clone()), options);
        Self { source, sink, feed, mirror }
    }

    /// Writes the file and reports it; returns the bytes on the wire until it is in sync.
    fn change(&self, content: &[u8]) -> u64 {
        let before = self.mirror.transfer_report().wire_bytes;
        self.source.write("d/big", content);
        report(&self.feed);
        wait_in_sync(&self.mirror);
        assert_eq!(self.source.diff(&self.sink), [""; 0]);
        self.mirror.transfer_report().wire_bytes - before
    }
}

/// A mirror of a tree with one large file into `sink`, in sync.
fn start(sink: Arc<dyn Sink>, options: SourceOptions) -> (MemTree, ChannelFeedHandle, Mirror) {
    start_watched(sink, options, Arc::new(()))
}

/// The same, whose events `monitor` hears.
fn start_watched(
    sink: Arc<dyn Sink>,
    options: SourceOptions,
    monitor: Arc<dyn Monitor>,
) -> (MemTree, ChannelFeedHandle, Mirror) {
    let source = MemTree::new();
    source.write("d/big", noise(SIZE, 1));
    let (feed, handle) = ChannelFeed::new();
    let tree = Arc::new(source.clone());
    let mirror =
        Mirror::start(tree, Box::new(feed), sink, options, SinkOptions::default(), monitor);
    let mirror = mirror.unwrap();
    wait_in_sync(&mirror);
    (source, handle, mirror)
}

fn wait_in_sync(mirror: &Mirror) {
    let answer = mirror.wait_in_sync(Some(DEADLINE)).unwrap();
    assert_eq!(answer.expect("in sync within the deadline").problems, 0);
}

fn big() -> RelPath {
    RelPath::new(b"d/big").unwrap()
}

fn report(feed: &ChannelFeedHandle) {
    feed.report(Change::Entry { path: big(), touch: Touch::Settled }).unwrap();
}

/// `bytes` bytes that look like nothing else.
fn noise(bytes: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    (0..bytes.div_ceil(8)).flat_map(|_| next().to_le_bytes()).take(bytes).collect()
}

#[test]
fn of_a_changed_large_file_only_the_change_travels() {
    let pair = Pair::start(SourceOptions::default());
    let content = noise(SIZE, 1);
    let mut in_place = content.clone();
    in_place[1_000_000..1_004_096].copy_from_slice(&noise(4_096, 2));
    let in_front = [&b"x"[..], &in_place].concat();
    let cut = in_front[..3_000_000].to_vec();
    let grown = [&cut[..], &noise(100_000, 3)].concat();

    for (file, change_bytes) in [(in_place, 8_192), (in_front, 4_096), (cut, 0), (grown, 100_000)] {
        let wire_bytes = pair.change(&file);

        assert!(wire_bytes < change_bytes + 8_000, "{wire_bytes} bytes for {change_bytes}");
    }
}

#[test]
fn a_byte_more_in_each_block_costs_no_session() {
    let ended = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&ended);
    let monitor = move |event: &Event| {
        count.fetch_add(usize::from(matches!(event, Event::Disconnected { .. })), Ordering::SeqCst);
    };
    let sink = MemTree::starting_at(2_000_000_000);
    let options = SourceOptions::default().with_delta(Delta::Always);
    let (source, feed, mirror) = start_watched(Arc::new(sink.clone()), options, Arc::new(monitor));
    let content = noise(SIZE, 1);
    let block_bytes = sums::block_bytes(SIZE as u64).unwrap() as usize;

    let blocks = content.chunks(block_bytes).flat_map(|block| [block, b"!"].concat());
    source.write("d/big", blocks.collect::<Vec<u8>>());
    report(&feed);
    wait_in_sync(&mirror);

    assert_eq!(source.diff(&sink), [""; 0]);
    assert_eq!(ended.load(Ordering::SeqCst), 0);
}

#[test]
fn what_has_nothing_in_common_travels_and_so_does_everything_without_deltas() {
    for (delta, seed) in [(Delta::Auto, 4), (Delta::Always, 5), (Delta::Off, 1)] {
        let pair = Pair::start(SourceOptions::default().with_delta(delta));

        let wire_bytes = pair.change(&[&noise(SIZE, seed)[..], b"!"].concat());

        assert!(wire_bytes > SIZE as u64, "{delta:?}: {wire_bytes}");
    }
}

/// Writes a new version beside the file, moves it over, and returns the bytes on the wire until all is in sync.
fn replaced(pair: &Pair, write: impl FnOnce(&RelPath, &[u8])) -> u64 {
    let before = pair.mirror.transfer_report().wire_bytes;
    let new = RelPath::new(b"d/new").unwrap();
    let began = Instant::now();
    write(&new, &[&noise(SIZE, 1)[..], b"more"].concat());
    assert!(pair.source.rename("d/new", "d/big"));
    let renamed = Change::Renamed { from: new, to: big(), is_directory: false };
    pair.feed.report(renamed).unwrap();
    wait_in_sync(&pair.mirror);
    assert!(began.elapsed() < DEADLINE / 2, "what has no name any more was waited for");
    assert_eq!(pair.source.diff(&pair.sink), [""; 0]);
    pair.mirror.transfer_report().wire_bytes - before
}

#[test]
fn a_new_version_is_not_sent_while_it_is_written_beside_the_old_one() {
    let pair = Pair::start(SourceOptions::default());

    let wire_bytes = replaced(&pair, |new, content| {
        for part in content.chunks(SIZE / 20) {
            pair.source.append(new.as_bytes(), part);
            let path = new.clone();
            pair.feed.report(Change::Entry { path, touch: Touch::Writing }).unwrap();
            std::thread::sleep(Duration::from_millis(20));
        }
    });

    assert!(wire_bytes < 1 << 20, "{wire_bytes}");
}

#[test]
fn a_file_that_is_renamed_on_its_way_is_not_sent_to_its_end() {
    let pair = Pair::start(SourceOptions::default().with_rate_max(Some(4 << 20)));

    let wire_bytes = replaced(&pair, |new, content| {
        pair.source.write(new.as_bytes(), content);
        let path = new.clone();
        pair.feed.report(Change::Entry { path, touch: Touch::Settled }).unwrap();
        std::thread::sleep(Duration::from_millis(200));
    });

    assert!(wire_bytes < 2 << 20, "{wire_bytes}");
}

#[test]
fn a_large_file_that_was_only_touched_is_not_sent() {
    let pair = Pair::start(SourceOptions::default());

    let wire_bytes = pair.change(&noise(SIZE, 1));

    assert!(wire_bytes < 8_000, "{wire_bytes}");
}

/// A mirror into a directory that extends files of 1 MiB in place.
struct Growing {
    source: MemTree,
    feed: ChannelFeedHandle,
    mirror: Mirror,
    sink: Arc<DirectorySink>,
    file: PathBuf,
    directory: TempDir,
}

impl Growing {
    fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let sink = Arc::new(DirectorySink::open(directory.path()).unwrap());
        let options = SourceOptions::default().with_extend_bytes_min(Some(1 << 20));
        let (source, feed, mirror) = start(Arc::clone(&sink) as Arc<dyn Sink>, options);
        let file = directory.path().join("d/big");
        Self { source, feed, mirror, sink, file, directory }
    }

    fn is_equal(&self) -> bool {
        fs::read(&self.file).ok() == self.source.content("d/big")
    }

    fn inode(&self) -> u64 {
        fs::metadata(&self.file).unwrap().ino()
    }
}

#[test]
fn a_file_that_has_grown_is_extended_in_place_and_proven_before_it_is_in_sync() {
    let pair = Growing::start();
    let inode = pair.inode();
    let before = pair.mirror.transfer_report().wire_bytes;

    pair.source.append("d/big", noise(50_000, 2));
    report(&pair.feed);
    let deadline = Instant::now() + DEADLINE;
    while !pair.is_equal() {
        assert!(Instant::now() < deadline, "it never grew");
        std::thread::sleep(Duration::from_millis(1));
    }
    wait_in_sync(&pair.mirror);

    assert_eq!(pair.inode(), inode);
    let found = pair.sink.metadata(&big()).unwrap().unwrap();
    assert_eq!(found.modified, pair.source.look("d/big").unwrap().modified);
    let wire_bytes = pair.mirror.transfer_report().wire_bytes - before;
    assert!(wire_bytes < 58_000, "{wire_bytes}");
}

#[test]
fn a_file_that_changed_inside_as_well_is_right_before_it_is_in_sync() {
    let pair = Growing::start();

    // One page of a thousand: samples hardly ever see it.
    let mut content = [pair.source.content("d/big").unwrap(), noise(50_000, 2)].concat();
    content[2_000_000..2_000_010].fill(7);
    pair.source.write("d/big", &content);
    report(&pair.feed);
    wait_in_sync(&pair.mirror);

    assert!(pair.is_equal());
}

#[test]
fn a_file_with_further_names_is_never_extended_in_place() {
    let pair = Growing::start();
    let (inode, other) = (pair.inode(), pair.directory.path().join("d/other"));
    let old = fs::read(&pair.file).unwrap();
    fs::hard_link(&pair.file, &other).unwrap();

    pair.source.append("d/big", "more");
    report(&pair.feed);
    wait_in_sync(&pair.mirror);

    assert!(pair.is_equal());
    assert_ne!(pair.inode(), inode);
    assert!(fs::read(other).unwrap() == old);
}
