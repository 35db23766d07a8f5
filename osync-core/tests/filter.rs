//! Names that are left out: neither sent nor removed, whatever happens to them.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Arc;
use std::time::Duration;

use osync_core::Mirror;
use osync_core::adapters::feed::channel::{ChannelFeed, ChannelFeedHandle};
use osync_core::adapters::filters::{Filter, FilteredFeed, FilteredSource, Rules};
use osync_core::model::change::{Change, Touch};
use osync_core::model::name::Name;
use osync_core::model::rel_path::RelPath;
use osync_core::model::removal_limit::RemovalLimit;
use osync_core::options::{SinkOptions, SourceOptions};
use osync_core::ports::source::Source;
use osync_core::testing::mem_tree::MemTree;

/// Far more than any of it takes.
const DEADLINE: Duration = Duration::from_mins(1);

struct Pair {
    source: MemTree,
    sink: MemTree,
    feed: ChannelFeedHandle,
    mirror: Mirror,
}

impl Pair {
    /// Replicates what `make` leaves of `source` to `sink`.
    fn start(source: &MemTree, sink: &MemTree, filter: Filter) -> Self {
        let (feed, handle) = ChannelFeed::new();
        let filter = Arc::new(filter);
        let feed = FilteredFeed::new(Box::new(feed), Arc::clone(&filter));
        let mirror = Mirror::start(
            Arc::new(FilteredSource::new(Arc::new(source.clone()), filter)),
            Box::new(feed),
            Arc::new(sink.clone()),
            // What is left of some of these trees is nothing.
            SourceOptions::default().with_removal_limit(RemovalLimit::Percent(100)),
            SinkOptions::default(),
            Arc::new(()),
        );
        let (source, sink) = (source.clone(), sink.clone());
        Self { source, sink, feed: handle, mirror: mirror.unwrap() }
    }

    fn wait_in_sync(&self) {
        let answer = self.mirror.wait_in_sync(Some(DEADLINE)).unwrap();
        assert_eq!(answer.expect("in sync within the deadline").problems, 0);
    }

    fn report(&self, change: Change) {
        self.feed.report(change).unwrap();
        self.wait_in_sync();
    }

    fn write(&self, path: &str, content: &str) {
        self.source.write(path, content);
        self.report(Change::Entry { path: rel_path(path), touch: Touch::Settled });
    }

    fn rename(&self, from: &str, to: &str, is_directory: bool) {
        assert!(self.source.rename(from, to));
        self.report(Change::Renamed { from: rel_path(from), to: rel_path(to), is_directory });
    }

    /// What lies at the sink, directories left out.
    fn files(&self) -> Vec<String> {
        let snapshot = self.sink.snapshot();
        let files = snapshot.iter().filter(|(_, (metadata, _))| !metadata.kind.is_directory());
        files.map(|(path, _)| path.to_string()).collect()
    }
}

fn rel_path(path: impl AsRef<[u8]>) -> RelPath {
    RelPath::new(path.as_ref()).unwrap()
}

fn filter(lines: &[&str]) -> Filter {
    Filter::new(Rules::new(lines.iter().map(|line| line.as_bytes())).unwrap())
}

fn with_files(source: &MemTree) -> Filter {
    let source: Arc<dyn Source> = Arc::new(source.clone());
    filter(&[]).with_ignore_files(Name::new(*b".osyncignore").unwrap(), source)
}

#[test]
fn what_is_left_out_is_neither_sent_nor_removed() {
    let (source, sink) = (MemTree::new(), MemTree::new());
    for path in ["a/keep", "a/x.o", "build/deep/out", "d/build", "notes"] {
        source.write(path, path);
    }
    for path in ["a/y.o", "build/mine", "z.o", "extra"] {
        sink.write(path, "the sink's own");
    }

    let pair = Pair::start(&source, &sink, filter(&["*.o", "build/"]));
    pair.wait_in_sync();
    assert_eq!(pair.files(), ["a/keep", "a/y.o", "build/mine", "d/build", "notes", "z.o"]);
    assert_eq!(sink.content("build/mine").unwrap(), b"the sink's own");
    assert_eq!(sink.look("a"), source.look("a"), "the time of a directory with both");

    pair.write("a/new.o", "x");
    assert_eq!(sink.look("a/new.o"), None);
    assert_eq!(sink.look("a"), source.look("a"), "a name that is left out moved its time");
    source.remove("a/new.o");
    pair.write("build/deep/more", "x");
    assert_eq!(sink.look("build/deep"), None);
}

#[test]
fn nothing_is_sent_again_because_the_sink_has_more() {
    let (source, sink) = (MemTree::new(), MemTree::new());
    source.write("a/keep", "x");
    sink.write("a/y.o", "the sink's own");
    let pair = Pair::start(&source, &sink, filter(&["*.o"]));
    pair.wait_in_sync();
    pair.mirror.join().unwrap();

    let pair = Pair::start(&source, &sink, filter(&["*.o"]));
    pair.wait_in_sync();

    assert_eq!(pair.mirror.transfer_report().entries, 0);
    assert!(pair.mirror.queue_report().is_idle);
}

#[test]
fn what_is_left_out_is_removed_if_asked_for() {
    let (source, sink) = (MemTree::new(), MemTree::new());
    source.write("keep", "x");
    source.write("x.o", "x");
    sink.write("x.o", "x");
    sink.write("y.o", "x");

    let pair = Pair::start(&source, &sink, filter(&["*.o"]).with_delete_excluded());
    pair.wait_in_sync();

    assert_eq!(pair.files(), ["keep"]);
}

#[test]
fn another_filter_sends_only_what_it_adds() {
    let (source, sink) = (MemTree::new(), MemTree::new());
    for path in ["a.c", "a.o", "b.tmp"] {
        source.write(path, path);
    }
    let pair = Pair::start(&source, &sink, filter(&["*.o", "*.tmp"]));
    pair.wait_in_sync();
    pair.mirror.join().unwrap();

    let pair = Pair::start(&source, &sink, filter(&["*.tmp", "*.c"]));
    pair.wait_in_sync();

    assert_eq!(pair.files(), ["a.c", "a.o"]);
    assert_eq!(pair.mirror.transfer_report().files, 1);
}

#[test]
fn a_name_renamed_across_the_border_comes_or_goes() {
    let (source, sink) = (MemTree::new(), MemTree::new());
    for path in ["x.o", "y.c", "build/in", "d/in"] {
        source.write(path, path);
    }
    // It looks like the source's, and is not to be moved for it.
    sink.write("x.o", "own");
    sink.set_modified("x.o", source.look("x.o").unwrap().modified);
    let pair = Pair::start(&source, &sink, filter(&["*.o", "build/"]));
    pair.wait_in_sync();
    assert_eq!(pair.files(), ["d/in", "x.o", "y.c"]);

    pair.rename("x.o", "x.c", false);
    assert_eq!(pair.files(), ["d/in", "x.c", "x.o", "y.c"]);
    assert_eq!(sink.content("x.c").unwrap(), b"x.o");
    assert_eq!(sink.content("x.o").unwrap(), b"own");

    pair.rename("y.c", "y.o", false);
    pair.rename("build", "built", true);
    assert_eq!(pair.files(), ["built/in", "d/in", "x.c", "x.o"]);

    pair.rename("d", "build", true);
    assert_eq!(pair.files(), ["built/in", "x.c", "x.o"]);
}

#[test]
fn a_directory_that_is_left_out_and_a_file_of_its_name_replace_each_other() {
    let (source, sink) = (MemTree::new(), MemTree::new());
    source.write("build", "a file");
    let pair = Pair::start(&source, &sink, filter(&["build/"]));
    pair.wait_in_sync();
    assert_eq!(pair.files(), ["build"]);

    source.remove("build");
    source.write("build/in", "x");
    pair.report(Change::Subtree { path: rel_path("build") });
    assert_eq!(pair.files(), Vec::<String>::new());

    // The sink's own directory is left alone, also when the source has nothing there.
    sink.write("build/mine", "x");
    source.remove("build");
    pair.report(Change::Entry { path: rel_path("build"), touch: Touch::Settled });
    assert_eq!(pair.files(), ["build/mine"]);
}

#[test]
fn an_ignore_file_rules_its_directory_and_takes_effect_when_it_changes() {
    let (source, sink) = (MemTree::new(), MemTree::new());
    source.write(".osyncignore", "*.log\n/only\n");
    source.write("d/.osyncignore", "!kept.log\nlocal\n");
    for path in ["only", "d/only", "d/kept.log", "d/other.log", "d/local", "local", "e/kept.log"] {
        source.write(path, path);
    }
    let pair = Pair::start(&source, &sink, with_files(&source));
    pair.wait_in_sync();
    assert_eq!(pair.files(), [".osyncignore", "d/.osyncignore", "d/kept.log", "d/only", "local"]);

    pair.write("d/.osyncignore", "only\n");
    // What was sent before stays.
    let files = [".osyncignore", "d/.osyncignore", "d/kept.log", "d/local", "d/only", "local"];
    assert_eq!(pair.files(), files);
    pair.write("d/only", "not sent");
    assert_eq!(sink.content("d/only").unwrap(), b"d/only");

    pair.rename(".osyncignore", "aside", false);
    let paths = pair.files();
    for path in ["only", "d/other.log", "e/kept.log", "aside"] {
        assert!(paths.contains(&path.to_owned()), "{path} in {paths:?}");
    }
}

#[test]
fn an_ignore_file_that_cannot_be_read_is_a_problem_and_leaves_nothing_to_chance() {
    let (source, sink) = (MemTree::new(), MemTree::new());
    source.write("d/.osyncignore", "secret\n");
    source.write("d/secret", "x");
    source.write("e/in", "x");
    sink.write("d/extra", "x");
    source.fail_reads("d/.osyncignore");

    let pair = Pair::start(&source, &sink, with_files(&source));
    let answer = pair.mirror.wait_in_sync(Some(DEADLINE)).unwrap().unwrap();
    assert!(answer.problems > 0);
    assert_eq!(pair.files(), ["d/extra", "e/in"]);

    source.clear_failures();
    let solved = || pair.mirror.wait_in_sync(Some(DEADLINE)).unwrap().unwrap().problems == 0;
    let deadline = std::time::Instant::now() + DEADLINE;
    while !solved() {
        assert!(std::time::Instant::now() < deadline, "{:?}", pair.files());
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(pair.files(), ["d/.osyncignore", "e/in"]);
}

#[test]
fn a_directory_of_names_left_out_is_paged_through() {
    let (source, sink) = (MemTree::new(), MemTree::new());
    for index in 0..5_000 {
        source.write(format!("d/{index:04}.o"), "");
    }
    source.write("d/last", "x");

    let pair = Pair::start(&source, &sink, filter(&["*.o"]));
    pair.wait_in_sync();

    assert_eq!(pair.files(), ["d/last"]);
}

#[test]
fn names_that_are_not_utf_8_are_left_out_as_others() {
    let (source, sink) = (MemTree::new(), MemTree::new());
    source.write(b"\xff\xfe.o", "x");
    source.write(b"\xffdir/in", "x");
    source.write(b"\xff", "x");
    let rules = Rules::new([&b"*.o"[..], b"\xffdir/"]).unwrap();

    let pair = Pair::start(&source, &sink, Filter::new(rules));
    pair.wait_in_sync();

    assert_eq!(sink.snapshot().len(), 2, "the root and one file");
    assert!(sink.content(b"\xff").is_some());
}
