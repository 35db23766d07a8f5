//! Staleness: from `close()` of a changed file at the source to its content at the target.

use std::collections::VecDeque;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, TryRecvError, channel};
use std::thread;
use std::time::{Duration, Instant};

use crate::cases::Plan;
use crate::measure::percentile;
use crate::report::{Case, Row};
use crate::session::{Session, wait_until};
use crate::tool::Tool;
use crate::tree;

const FILES_PER_DIRECTORY: usize = 100;
const FILE_BYTES: usize = 4 * 1024;
/// A probe that takes longer is counted as this long.
const PROBE_MAX: Duration = Duration::from_mins(2);
/// How often the target is looked at.
const LOOK_INTERVAL: Duration = Duration::from_micros(100);

const TOOLS: [Tool; 5] =
    [Tool::Osync, Tool::Lsyncd, Tool::RsyncDaemon, Tool::Unison, Tool::Syncthing];

/// Changes on a tree of 20,000 files that is in sync, 50 a second.
pub(crate) fn in_sync(plan: &Plan) -> Vec<Case> {
    let directories = plan.scaled(200);
    let title =
        format!("live: 50 changes a second on {} files in sync", directories * FILES_PER_DIRECTORY);
    vec![probed(plan, &title, directories, Duration::from_millis(20), 250, true)]
}

/// Changes while the tree is being copied for the first time, 200 a second.
pub(crate) fn during_copy(plan: &Plan) -> Vec<Case> {
    let directories = plan.scaled(3_000);
    let title = format!(
        "live: 200 changes a second during the first copy of {} files",
        directories * FILES_PER_DIRECTORY
    );
    vec![probed(plan, &title, directories, Duration::from_millis(5), 400, false)]
}

fn probed(
    plan: &Plan,
    title: &str,
    directories: usize,
    interval: Duration,
    probes: usize,
    waits: bool,
) -> Case {
    let mut rows = Vec::new();
    for tool in TOOLS.into_iter().filter(|tool| tool.is_installed()) {
        let bed = plan.bed();
        let (source, target) = (bed.path().join("source"), bed.path().join("target"));
        tree::fill(&source, directories, FILES_PER_DIRECTORY, FILE_BYTES);
        let session = Session::start(tool, &source, &target, bed.path());
        if waits {
            // Cheap questions first: the last directory, then everything.
            wait_until(Duration::from_millis(100), title, || {
                tree::difference(&source, &target, tool.closeness()).is_none()
            });
        } else {
            wait_until(Duration::from_millis(1), title, || {
                fs::read_dir(&target).is_ok_and(|mut entries| entries.next().is_some())
            });
        }
        let mut samples = probe(&source, &target, directories, interval, probes);
        session.end();
        let (p50, p99) = (percentile(&mut samples, 50), percentile(&mut samples, 99));
        eprintln!("{title}: {}: p50 {p50:.2?}, p99 {p99:.2?}", tool.name());
        rows.push(Row::probed(tool.name(), p50, p99));
    }
    Case::new(title, rows)
}

/// One changed file that has not been seen at the target yet.
struct Probe {
    path: PathBuf,
    content: Vec<u8>,
    closed: Instant,
}

/// Changes files one after the other, each once; returns how long each took to arrive.
fn probe(
    source: &Path,
    target: &Path,
    directories: usize,
    interval: Duration,
    probes: usize,
) -> Vec<Duration> {
    let (sender, receiver) = channel();
    thread::scope(|scope| {
        let watcher = scope.spawn(move || watch(&receiver));
        let began = Instant::now();
        for number in 0..probes {
            // Spread over the tree: neighbours are far apart.
            let directory = (number * 7_919) % directories;
            let name = format!("d{directory:05}/f{:05}", (number * 31) % FILES_PER_DIRECTORY);
            let mut content = format!("probe {number} ").into_bytes();
            content.resize(1_000, b'x');
            fs::write(source.join(&name), &content).expect("a probe");
            let probe = Probe { path: target.join(name), content, closed: Instant::now() };
            sender.send(probe).expect("somebody watches");
            let next = interval * u32::try_from(number + 1).expect("few");
            thread::sleep((began + next).saturating_duration_since(Instant::now()));
        }
        drop(sender);
        watcher.join().expect("the watcher goes well")
    })
}

fn watch(probes: &Receiver<Probe>) -> Vec<Duration> {
    let (mut open, mut samples) = (VecDeque::<Probe>::new(), Vec::new());
    let mut found = Vec::new();
    loop {
        loop {
            match probes.try_recv() {
                Ok(probe) => open.push_back(probe),
                Err(TryRecvError::Disconnected) if open.is_empty() => return samples,
                Err(TryRecvError::Empty | TryRecvError::Disconnected) => break,
            }
        }
        open.retain(|probe| {
            found.clear();
            let read =
                fs::File::open(&probe.path).and_then(|mut file| file.read_to_end(&mut found));
            let age = probe.closed.elapsed();
            let is_over = (read.is_ok() && found == probe.content) || age >= PROBE_MAX;
            if is_over {
                samples.push(age);
            }
            !is_over
        });
        thread::sleep(LOOK_INTERVAL);
    }
}
