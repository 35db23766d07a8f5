//! Live latency: from `close()` of a new small file at the source to its content at the sink, when nothing
//! else is to be done, and while a backlog of 20,000 files of 4 KiB is being copied.
//!
//! Criterion prints the mean and its rate; the percentiles of all probes follow.

use std::fs;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput};
use osync_benches::{Bed, Knobs, Running, group};

const BACKLOG_DIRECTORIES: usize = 200;
const FILES_PER_DIRECTORY: usize = 100;
const FILE_BYTES: usize = 4 * 1024;
/// How often the target is looked at: the error of one probe.
const LOOK_INTERVAL: Duration = Duration::from_micros(100);
/// Pause between two probes, so that they do not wait for each other.
const PROBE_INTERVAL: Duration = Duration::from_millis(5);
/// A probe that takes longer is lost.
const PROBE_MAX: Duration = Duration::from_secs(30);

/// One replication that is probed, and begun anew with an empty target when it has run out of backlog.
struct Probed {
    bed: Bed,
    knobs: Knobs,
    wants_backlog: bool,
    running: Option<(Running, PathBuf)>,
    probes: u64,
    samples: Vec<Duration>,
}

impl Probed {
    fn new(bed: Bed, knobs: Knobs, wants_backlog: bool) -> Self {
        Self { bed, knobs, wants_backlog, running: None, probes: 0, samples: Vec::new() }
    }

    /// The time of one probe of the wanted sort.
    fn sample(&mut self) -> Duration {
        loop {
            self.make_ready();
            thread::sleep(PROBE_INTERVAL);
            let took = self.probe();
            // One that outlived the backlog is of the other sort.
            if self.has_backlog() == self.wants_backlog {
                self.samples.push(took);
                return took;
            }
        }
    }

    fn make_ready(&mut self) {
        if self.running.is_some() && (!self.wants_backlog || self.has_backlog()) {
            return;
        }
        self.end();
        let target = self.bed.new_target();
        let running = Running::start(&self.bed.source(), &target, self.knobs);
        let began = Instant::now();
        if self.wants_backlog {
            while !running.has_backlog() {
                assert!(began.elapsed() < PROBE_MAX, "the backlog never began");
                thread::sleep(LOOK_INTERVAL);
            }
        } else {
            running.wait_in_sync();
        }
        self.running = Some((running, target));
    }

    fn has_backlog(&self) -> bool {
        self.running.as_ref().is_some_and(|(running, _)| running.has_backlog())
    }

    fn probe(&mut self) -> Duration {
        let (_, target) = self.running.as_ref().expect("made ready");
        self.probes += 1;
        let name = format!("probe{}", self.probes);
        let content = format!("{name} {}", "x".repeat(1_000));
        fs::write(self.bed.source().join(&name), &content).expect("a probe");
        let closed = Instant::now();
        let arrived = target.join(&name);
        while fs::read(&arrived).ok().as_deref() != Some(content.as_bytes()) {
            assert!(closed.elapsed() < PROBE_MAX, "{name} never came");
            thread::sleep(LOOK_INTERVAL);
        }
        closed.elapsed()
    }

    fn end(&mut self) {
        if let Some((running, target)) = self.running.take() {
            running.end();
            fs::remove_dir_all(target).expect("the target can be removed");
        }
    }

    fn print(mut self, name: &str) {
        self.end();
        self.samples.sort_unstable();
        let (count, samples) = (self.samples.len(), &self.samples);
        let Some(last) = count.checked_sub(1) else { return };
        let [p50, p99] = [count / 2, count * 99 / 100].map(|index| samples[index.min(last)]);
        println!("{name}: {count} probes, p50 {p50:.2?}, p99 {p99:.2?}, max {:.2?}", samples[last]);
    }
}

fn live_latency(criterion: &mut Criterion) {
    let mut group = group(criterion, "live_latency", Throughput::Elements(1));
    for knobs in Knobs::defaults() {
        for (state, directories) in [("idle", 1), ("under backlog", BACKLOG_DIRECTORIES)] {
            let bed = Bed::filled(directories, FILES_PER_DIRECTORY, FILE_BYTES);
            let mut probed = Probed::new(bed, knobs, directories > 1);
            let name = format!("{state}, {}", knobs.name());
            group.bench_function(&name, |bencher| {
                bencher.iter_custom(|iterations| (0..iterations).map(|_| probed.sample()).sum());
            });
            probed.print(&name);
        }
    }
    group.finish();
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    live_latency(&mut criterion);
    criterion.final_summary();
}
