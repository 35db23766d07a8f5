//! What a run took: wall time, CPU seconds of every process it waited for, bytes over loopback.

use std::fs;
use std::time::{Duration, Instant};

/// Ticks a second in `/proc/self/stat`: fixed by Linux for user space.
const TICKS_PER_SECOND: f64 = 100.0;

/// What one run took.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Usage {
    /// From the start to the moment when the work was done.
    pub(crate) wall: Duration,
    /// User and system time of all processes of the run, helpers and daemons included.
    pub(crate) cpu: Duration,
    /// Bytes sent over the loopback interface meanwhile, headers of TCP and IP included.
    pub(crate) wire_bytes: u64,
}

/// A clock for one run. Processes count once they have been waited for.
#[derive(Debug)]
pub(crate) struct Meter {
    cpu: Duration,
    wire_bytes: u64,
    started: Instant,
    took: Option<Duration>,
}

impl Meter {
    /// Starts the clock.
    pub(crate) fn start() -> Self {
        Self {
            cpu: children_cpu(),
            wire_bytes: loopback_bytes(),
            started: Instant::now(),
            took: None,
        }
    }

    /// Starts the wall clock once more: what came before was set-up.
    pub(crate) fn begin(&mut self) {
        self.started = Instant::now();
    }

    /// Since the clock was started.
    pub(crate) fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// The work is done; what follows is tidying up.
    pub(crate) fn done(&mut self) {
        self.took.get_or_insert(self.started.elapsed());
    }

    /// What the run took, once everything it started has been waited for.
    pub(crate) fn usage(&self) -> Usage {
        Usage {
            wall: self.took.unwrap_or_else(|| self.started.elapsed()),
            cpu: children_cpu().saturating_sub(self.cpu),
            wire_bytes: loopback_bytes().saturating_sub(self.wire_bytes),
        }
    }
}

/// CPU time of all children waited for so far, and of theirs.
fn children_cpu() -> Duration {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // The name in parentheses may hold anything; numbers follow the last one.
    let numbers: Vec<&str> =
        stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks: f64 = [13, 14].iter().filter_map(|&at| numbers.get(at)?.parse::<f64>().ok()).sum();
    Duration::from_secs_f64(ticks / TICKS_PER_SECOND)
}

fn loopback_bytes() -> u64 {
    let text = fs::read_to_string("/sys/class/net/lo/statistics/tx_bytes").unwrap_or_default();
    text.trim().parse().unwrap_or(0)
}

/// The middle one, of each figure by itself.
pub(crate) fn median(runs: &[Usage]) -> Usage {
    fn middle<T: Ord + Copy>(values: impl Iterator<Item = T>) -> T {
        let mut sorted: Vec<T> = values.collect();
        sorted.sort_unstable();
        sorted[sorted.len() / 2]
    }
    Usage {
        wall: middle(runs.iter().map(|run| run.wall)),
        cpu: middle(runs.iter().map(|run| run.cpu)),
        wire_bytes: middle(runs.iter().map(|run| run.wire_bytes)),
    }
}

/// The value below which `percent` of `samples` lie.
pub(crate) fn percentile(samples: &mut [Duration], percent: usize) -> Duration {
    samples.sort_unstable();
    let last = samples.len().saturating_sub(1);
    samples.get((samples.len() * percent / 100).min(last)).copied().unwrap_or_default()
}
