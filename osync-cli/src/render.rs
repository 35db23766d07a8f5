//! What the user sees: a progress line on a terminal, log lines on standard error, a summary at the end.
//!
//! Log lines are written through the progress line, so that one never tears the other.

use std::io::{self, Write};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{HumanBytes, HumanCount, ProgressBar, ProgressDrawTarget, ProgressStyle};
use osync_core::model::rel_path::RelPath;
use osync_core::model::report::{QueueReport, TransferReport};
use osync_core::ports::monitor::{Event, Monitor};

/// How often a busy osync says in the log how far it is, where no progress line does.
const LOG_INTERVAL: Duration = Duration::from_secs(10);
/// Over how much time the rate shown is averaged.
const RATE_INTERVAL: Duration = Duration::from_secs(1);

/// Shows where replication stands; hears the engine's events.
#[derive(Debug)]
pub(crate) struct Renderer {
    /// Hidden where standard error is no terminal.
    bar: ProgressBar,
    start: Instant,
    rate: Mutex<Rate>,
}

/// Bytes per second since the last look.
#[derive(Debug)]
struct Rate {
    since: Instant,
    bytes: u64,
    bytes_per_second: f64,
    logged: Instant,
}

impl Renderer {
    /// Sets up the progress line and the logger; call once.
    pub(crate) fn install() -> Self {
        let style = ProgressStyle::with_template("{spinner} {wide_msg}")
            .expect("the template is a constant");
        let bar =
            ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr()).with_style(style);
        env_logger::Builder::from_env(env_logger::Env::default().default_filter_or("info"))
            .format(|line, record| {
                let (time, level) = (line.timestamp(), record.level());
                writeln!(line, "{time} {level:<5} {}", printable(&record.args().to_string()))
            })
            .target(env_logger::Target::Pipe(Box::new(Above(bar.clone()))))
            .init();
        let now = Instant::now();
        let rate = Rate { since: now, bytes: 0, bytes_per_second: 0.0, logged: now };
        Self { bar, start: now, rate: Mutex::new(rate) }
    }

    /// Whether there is a progress line.
    pub(crate) fn is_on_terminal(&self) -> bool {
        !self.bar.is_hidden()
    }

    /// Draws the progress line anew, or logs it now and then while there is something to do.
    pub(crate) fn tick(&self, done: &TransferReport, queues: &[QueueReport]) {
        let mut rate = self.rate.lock().unwrap_or_else(PoisonError::into_inner);
        let elapsed = rate.since.elapsed();
        if elapsed >= RATE_INTERVAL {
            let bytes = done.content_bytes.saturating_sub(rate.bytes);
            #[expect(clippy::cast_precision_loss, reason = "it is shown with three digits")]
            let bytes_per_second = bytes as f64 / elapsed.as_secs_f64();
            *rate = Rate {
                since: Instant::now(),
                bytes: done.content_bytes,
                bytes_per_second,
                ..*rate
            };
        }
        let is_idle = queues.iter().all(|queue| queue.is_idle);
        if !self.bar.is_hidden() {
            self.bar.set_message(progress(done, queues, rate.bytes_per_second));
            self.bar.tick();
        } else if !is_idle && rate.logged.elapsed() >= LOG_INTERVAL {
            rate.logged = Instant::now();
            log::info!("{}", progress(done, queues, rate.bytes_per_second));
        }
    }

    /// Takes the progress line away.
    pub(crate) fn clear(&self) {
        self.bar.finish_and_clear();
    }

    /// Logs what was done, how many paths are `missing`, and those of them that are `named`.
    pub(crate) fn summary(&self, done: &TransferReport, missing: u64, named: &[(RelPath, String)]) {
        log::info!("done: {}; {:.1} s", totals(done), self.start.elapsed().as_secs_f64());
        if missing > 0 {
            log::error!("{} paths are not replicated", HumanCount(missing));
            log_problems(named);
        }
    }

    /// Logs where everything stands at present.
    pub(crate) fn report(
        &self,
        done: &TransferReport,
        queues: &[QueueReport],
        named: &[(RelPath, String)],
    ) {
        log::info!("report: {}; {:.1} s", totals(done), self.start.elapsed().as_secs_f64());
        for queue in queues {
            log::info!("report: {queue:?}");
        }
        log_problems(named);
    }
}

fn log_problems(named: &[(RelPath, String)]) {
    for (path, cause) in named {
        log::error!("not replicated: {path}: {cause}");
    }
}

/// What was done, in a line.
fn totals(done: &TransferReport) -> String {
    format!(
        "{} files, {} of content; {} entries, {} of them durable, {} removed, {} renamed; {} problems met, {} sent inexactly",
        HumanCount(done.files),
        HumanBytes(done.content_bytes),
        HumanCount(done.entries),
        HumanCount(done.durable_entries),
        HumanCount(done.removed),
        HumanCount(done.renamed),
        HumanCount(done.problems),
        HumanCount(done.inexact),
    )
}

impl Monitor for Renderer {
    fn event(&self, event: &Event) {
        match event {
            Event::Registered { sink } => log::info!("registered: {sink}"),
            Event::Disconnected { sink, reason } => log::warn!("disconnected: {sink}: {reason}"),
            Event::Terminated { sink } => log::info!("ended in agreement: {sink}"),
            Event::InSync { sink, problems: 0, is_durable, .. } => {
                log::info!("in sync: {sink}{}", durably(*is_durable));
            }
            Event::InSync { sink, problems, is_durable, .. } => {
                log::warn!("in sync but for {problems} problems: {sink}{}", durably(*is_durable));
            }
            Event::Halted { cause } => log::error!("halted: {cause}"),
            Event::Resumed { cause } => log::info!("goes on, for this is over: {cause}"),
            Event::FeedLost { scope, reason } => {
                log::warn!("changes lost below {scope}, comparing it again: {reason}");
            }
            Event::Problem(problem) => {
                let (path, cause, wait) = (&problem.path, &problem.cause, problem.retry_in);
                log::warn!("problem: {path}: {cause}; next try in {:.0} s", wait.as_secs_f64());
            }
            Event::Horizon { .. } => {}
            other => log::info!("{other:?}"),
        }
    }
}

fn durably(is_durable: bool) -> &'static str {
    if is_durable { ", durable" } else { "" }
}

/// `text` on one line, without anything that could drive a terminal.
pub(crate) fn printable(text: &str) -> String {
    let mut printable = String::with_capacity(text.len());
    for character in text.trim_end().chars() {
        if character.is_control() {
            printable.extend(character.escape_default());
        } else {
            printable.push(character);
        }
    }
    printable
}

/// Files and bytes done, rate, queue by lane, lag.
fn progress(done: &TransferReport, queues: &[QueueReport], bytes_per_second: f64) -> String {
    let sum = |count: fn(&QueueReport) -> u64| HumanCount(queues.iter().map(count).sum());
    let lag = queues.iter().map(|queue| queue.lag).max().unwrap_or_default();
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a rate is positive"
    )]
    let rate = HumanBytes(bytes_per_second as u64);
    format!(
        "{} files, {}, {rate}/s; queue: {} live, {} backlog, {} in flight, {} not durable; lag {:.2} s",
        HumanCount(done.files),
        HumanBytes(done.content_bytes),
        sum(|queue| queue.live),
        sum(|queue| queue.backlog),
        sum(|queue| queue.in_flight),
        sum(|queue| queue.undurable),
        lag.as_secs_f64()
    )
}

/// Standard error, above the progress line.
struct Above(ProgressBar);

impl Write for Above {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.suspend(|| io::stderr().write_all(bytes))?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}
