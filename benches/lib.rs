//! Shared helpers of the benchmarks: trees to replicate, and replication to time.
//!
//! Trees lie in memory (`/dev/shm`) where the machine has that, so that no disk is measured. Whoever
//! reads absolute figures should know the machine; two figures of one run may be compared.

#![expect(clippy::missing_panics_doc, reason = "a benchmark fails by panicking")]

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use criterion::measurement::WallTime;
use criterion::{Bencher, BenchmarkGroup, Criterion, SamplingMode, Throughput};
use osync_core::adapters::feed::inotify::InotifyFeed;
use osync_core::adapters::fs::sink::DirectorySink;
use osync_core::adapters::fs::source::DirectorySource;
use osync_core::adapters::transport::zmq::ZmqTransport;
use osync_core::model::connection::ConnectionDetails;
use osync_core::model::report::TransferReport;
use osync_core::options::{SinkOptions, SourceOptions};
use osync_core::ports::monitor::Event;
use osync_core::{Mirror, SinkEndpoint, SourceEndpoint};
use tempfile::TempDir;

/// Nothing measured here takes longer, unless it is broken.
const DEADLINE: Duration = Duration::from_mins(2);

/// How the two ends are joined.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Join {
    /// As `osync mirror`: crossbeam channels.
    InProcess,
    /// As `osync source` and `osync sink`: ZeroMQ over loopback TCP, though in one process.
    Zmq,
}

/// What is varied between benchmarks of one group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Knobs {
    /// How the two ends are joined.
    pub join: Join,
    /// Threads that read the source.
    pub readers: usize,
    /// Threads that write the sink.
    pub writers: usize,
    /// How much travels at once.
    pub sizes: Sizes,
}

/// How much travels at once, in bytes: see the fields of [`SourceOptions`] of the same names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sizes {
    /// In flight at the most.
    pub window_bytes_max: u64,
    /// Small files in one message.
    pub batch_bytes_max: u64,
    /// A chunk of a large file.
    pub chunk_bytes_max: u64,
}

impl Default for Sizes {
    fn default() -> Self {
        let options = SourceOptions::default();
        Self {
            window_bytes_max: options.window_bytes_max,
            batch_bytes_max: options.batch_bytes_max,
            chunk_bytes_max: options.chunk_bytes_max,
        }
    }
}

impl Knobs {
    /// Both ways to join, each as it comes.
    #[must_use]
    pub fn defaults() -> Vec<Self> {
        let (source, sink) = (SourceOptions::default(), SinkOptions::default());
        let of = |join| Self {
            join,
            readers: source.readers,
            writers: sink.writers,
            sizes: Sizes::default(),
        };
        [Join::InProcess, Join::Zmq].map(of).to_vec()
    }

    /// Over ZeroMQ, with these sizes.
    #[must_use]
    pub fn sized(sizes: Sizes) -> Self {
        let [_, zmq] = Self::defaults()[..] else { unreachable!("there are two ways to join") };
        Self { sizes, ..zmq }
    }

    /// Both ways to join, each with one reader and one writer and as it comes.
    #[must_use]
    pub fn all() -> Vec<Self> {
        let mut all = Self::defaults();
        all.extend(Self::defaults().into_iter().map(|knobs| Self {
            readers: 1,
            writers: 1,
            ..knobs
        }));
        all
    }

    /// For the name of a benchmark.
    #[must_use]
    pub fn name(&self) -> String {
        let join = match self.join {
            Join::InProcess => "in process",
            Join::Zmq => "zmq",
        };
        format!("{join}, {} readers, {} writers", self.readers, self.writers)
    }
}

/// A source tree, and room for targets beside it.
#[derive(Debug)]
pub struct Bed {
    directory: TempDir,
    targets: u64,
}

impl Bed {
    /// An empty source.
    #[must_use]
    pub fn new() -> Self {
        let memory = Path::new("/dev/shm");
        let directory = if memory.is_dir() { TempDir::new_in(memory) } else { TempDir::new() };
        let directory = directory.expect("a temporary directory");
        fs::create_dir(directory.path().join("source")).expect("a directory for the source");
        Self { directory, targets: 0 }
    }

    /// A source of `directories` directories of `files` files of `bytes` bytes each.
    #[must_use]
    pub fn filled(directories: usize, files: usize, bytes: usize) -> Self {
        let bed = Self::new();
        let content: Vec<u8> = (0_u8..=255).cycle().take(bytes).collect();
        for directory in 0..directories {
            let directory = bed.source().join(format!("d{directory:05}"));
            fs::create_dir(&directory).expect("a directory");
            for file in 0..files {
                fs::write(directory.join(format!("f{file:05}")), &content).expect("a file");
            }
        }
        bed
    }

    /// The source's root.
    #[must_use]
    pub fn source(&self) -> PathBuf {
        self.directory.path().join("source")
    }

    /// A target that does not exist, and never did.
    pub fn new_target(&mut self) -> PathBuf {
        self.targets += 1;
        self.directory.path().join(format!("target{}", self.targets))
    }

    /// Replicates the source to `target` until it is in sync; returns how long that took, from the moment
    /// the ends knew each other, and what was done.
    #[must_use]
    pub fn replicate(&self, target: &Path, knobs: Knobs) -> (Duration, TransferReport) {
        let running = Running::start(&self.source(), target, knobs);
        running.wait_in_sync();
        let took = running.registered.get().expect("they are in sync").elapsed();
        let report = running.transfer_report();
        running.end();
        (took, report)
    }
}

impl Default for Bed {
    fn default() -> Self {
        Self::new()
    }
}

/// Both ends, joined and running.
#[derive(Debug)]
pub struct Running {
    ends: Ends,
    registered: Arc<OnceLock<Instant>>,
}

#[derive(Debug)]
enum Ends {
    Mirror(Mirror),
    Zmq(SourceEndpoint, SinkEndpoint),
}

impl Running {
    /// Starts to replicate `from` to `to`.
    #[must_use]
    pub fn start(from: &Path, to: &Path, knobs: Knobs) -> Self {
        let source = Arc::new(DirectorySource::open(from).expect("the source"));
        let feed = Box::new(InotifyFeed::new(from).expect("the change feed"));
        let sink = Arc::new(DirectorySink::open(to).expect("the target"));
        let Sizes { window_bytes_max, batch_bytes_max, chunk_bytes_max } = knobs.sizes;
        let source_options = SourceOptions::default()
            .with_readers(knobs.readers)
            .with_window_bytes_max(window_bytes_max)
            .with_batch_bytes_max(batch_bytes_max)
            .with_chunk_bytes_max(chunk_bytes_max);
        let sink_options = SinkOptions::default().with_writers(knobs.writers);
        let registered = Arc::new(OnceLock::new());
        let first = Arc::clone(&registered);
        let monitor = Arc::new(move |event: &Event| {
            if matches!(event, Event::Registered { .. }) {
                first.get_or_init(Instant::now);
            }
        });
        let ends = match knobs.join {
            Join::InProcess => Ends::Mirror(
                Mirror::start(source, feed, sink, source_options, sink_options, monitor)
                    .expect("a mirror"),
            ),
            Join::Zmq => {
                let any = "tcp://127.0.0.1:*".to_owned();
                let details = ConnectionDetails { control: any.clone(), data: any };
                let transport = ZmqTransport::new();
                let source = SourceEndpoint::start(
                    source,
                    feed,
                    &transport,
                    &details,
                    source_options,
                    Arc::new(()),
                )
                .expect("a source");
                let details = source.details();
                let sink = SinkEndpoint::start(sink, &transport, &details, sink_options, monitor)
                    .expect("a sink");
                Ends::Zmq(source, sink)
            }
        };
        Self { ends, registered }
    }

    /// Waits until the target holds everything.
    pub fn wait_in_sync(&self) {
        let in_sync = match &self.ends {
            Ends::Mirror(mirror) => mirror.wait_in_sync(Some(DEADLINE)),
            Ends::Zmq(_, sink) => sink.wait_in_sync(Some(DEADLINE)),
        };
        let in_sync = in_sync.expect("both ends run").expect("in sync before the deadline");
        assert_eq!(in_sync.problems, 0, "everything can be replicated");
    }

    /// What has been applied.
    #[must_use]
    pub fn transfer_report(&self) -> TransferReport {
        match &self.ends {
            Ends::Mirror(mirror) => mirror.transfer_report(),
            Ends::Zmq(_, sink) => sink.transfer_report(),
        }
    }

    /// Whether there is still something to do in the backlog lane.
    #[must_use]
    pub fn has_backlog(&self) -> bool {
        match &self.ends {
            Ends::Mirror(mirror) => mirror.queue_report().backlog > 0,
            Ends::Zmq(source, _) => source.reports().iter().any(|(_, queue)| queue.backlog > 0),
        }
    }

    /// Ends both.
    pub fn end(self) {
        match self.ends {
            Ends::Mirror(mirror) => mirror.join().expect("a good end"),
            Ends::Zmq(source, sink) => {
                sink.stop();
                sink.join().expect("a good end");
                source.stop();
                source.join().expect("a good end");
            }
        }
    }
}

/// Times how long it takes to copy what is in `bed` into an empty target, again and again; each copy must be as
/// `is_whole` has it.
pub fn time_copies(
    bencher: &mut Bencher<'_>,
    bed: &mut Bed,
    knobs: Knobs,
    is_whole: impl Fn(&TransferReport) -> bool,
) {
    bencher.iter_custom(|iterations| {
        let mut total = Duration::ZERO;
        for _ in 0..iterations {
            let target = bed.new_target();
            let (took, report) = bed.replicate(&target, knobs);
            assert!(is_whole(&report), "{report:?}");
            total += took;
            fs::remove_dir_all(target).expect("the target can be removed");
        }
        total
    });
}

/// A group whose iterations are long: few samples, each as long as the others.
#[must_use]
pub fn group<'a>(
    criterion: &'a mut Criterion,
    name: &str,
    throughput: Throughput,
) -> BenchmarkGroup<'a, WallTime> {
    let mut group = criterion.benchmark_group(name);
    group
        .sample_size(10)
        .sampling_mode(SamplingMode::Flat)
        .warm_up_time(Duration::from_secs(1))
        .measurement_time(Duration::from_secs(10))
        .throughput(throughput);
    group
}
