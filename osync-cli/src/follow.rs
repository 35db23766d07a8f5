//! Stays with a running endpoint until it ends, or until it is time to end it.
//!
//! The main thread looks now and then: has a signal come, has the endpoint ended, what is there to show.
//! A thread that waits for signals wakes it at once. Beside it one thread asks the sink, once, whether it is in sync with everything that had
//! happened by then; asked again and again, the answer would move on with a tree that never rests.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, Thread};
use std::time::Duration;

use osync_core::model::rel_path::RelPath;
use osync_core::model::report::{QueueReport, TransferReport};
use osync_core::ports::monitor::Problem;
use osync_core::sink_endpoint::InSync;
use osync_core::{Error, Mirror, SinkEndpoint, SourceEndpoint};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1};
use signal_hook::iterator::Signals;

use crate::render::Renderer;

/// How often the progress line is drawn on a terminal.
const TICK_TERMINAL: Duration = Duration::from_millis(100);
/// How often the end is looked for where nobody watches: an idle osync hardly wakes.
const TICK: Duration = Duration::from_secs(1);
/// How often the end is looked for while ending, when somebody waits.
const TICK_ENDING: Duration = Duration::from_millis(5);

/// Set by the first SIGTERM or SIGINT.
static ASKED_TO_END: AtomicBool = AtomicBool::new(false);

/// Set by SIGUSR1.
static ASKED_TO_REPORT: AtomicBool = AtomicBool::new(false);

/// Problems that are named when somebody asks, and at the end.
const PROBLEMS_NAMED_MAX: usize = 100;

/// From here on the first SIGTERM or SIGINT is remembered, and a second one ends the process at once.
pub(crate) fn handle_signals() -> std::io::Result<()> {
    for signal in [SIGTERM, SIGINT] {
        // The order matters: at the first signal the flag is still down when the first action looks.
        signal_hook::flag::register_conditional_shutdown(signal, 128 + signal, &ASKED_TO_END)?;
        signal_hook::flag::register(signal, &ASKED_TO_END)?;
    }
    signal_hook::flag::register(SIGUSR1, &ASKED_TO_REPORT)?;
    Ok(())
}

/// Whether a signal has asked the process to end.
pub(crate) fn is_asked_to_end() -> bool {
    ASKED_TO_END.load(Ordering::Relaxed)
}

/// Has `waiting` look at once when a signal comes, on a thread that lives as long as the process.
fn wake_on_signal(waiting: Thread) -> std::io::Result<()> {
    let mut signals = Signals::new([SIGTERM, SIGINT, SIGUSR1])?;
    let waker = thread::Builder::new().name("osync-signals".to_owned());
    waker.spawn(move || signals.forever().for_each(|_| waiting.unpark()))?;
    Ok(())
}

/// Does this for every SIGHUP, on a thread that lives as long as the process.
pub(crate) fn on_hangup(mut reload: impl FnMut() + Send + 'static) -> std::io::Result<()> {
    let mut signals = Signals::new([SIGHUP])?;
    let reloader = thread::Builder::new().name("osync-reload".to_owned());
    reloader.spawn(move || signals.forever().for_each(|_| reload()))?;
    Ok(())
}

/// What runs in this process.
#[derive(Debug)]
pub(crate) enum Endpoint {
    /// Both ends.
    Mirror(Mirror),
    /// The sending end.
    Source(SourceEndpoint),
    /// The receiving end.
    Sink(SinkEndpoint),
    /// A receiving end, and a sending end of what it receives.
    Relay(SinkEndpoint, SourceEndpoint),
}

/// Shows `endpoint`'s progress until it has ended; returns how many paths are not replicated.
///
/// It is ended when a signal asks for it and, if `once`, as soon as the sink is in sync.
pub(crate) fn follow(
    endpoint: Endpoint,
    once: bool,
    renderer: &Renderer,
) -> Result<u64, Box<dyn std::error::Error>> {
    wake_on_signal(thread::current())?;
    let answer = OnceLock::new();
    let asker = thread::Builder::new().name("osync-in-sync".to_owned());
    let mut missing = 0;
    let open = thread::scope(|scope| {
        let (answer, endpoint, main) = (&answer, &endpoint, thread::current());
        asker.spawn_scoped(scope, move || {
            answer.get_or_init(|| endpoint.wait_in_sync());
            main.unpark();
        })?;
        let mut is_ending = false;
        let mut open = Vec::new();
        while !endpoint.is_finished() {
            let is_asked = ASKED_TO_END.load(Ordering::Relaxed);
            if ASKED_TO_REPORT.swap(false, Ordering::Relaxed) {
                renderer.report(&endpoint.done(), &endpoint.queues(), &endpoint.problems());
            }
            if !is_ending && (is_asked || once && answer.get().is_some()) {
                is_ending = true;
                // A source forgets its sessions with all that is known of their problems.
                (missing, open) = endpoint.missing();
                endpoint.stop();
            }
            if is_ending {
                // Sessions are on their way out: there is nothing left to show but the summary.
                thread::park_timeout(TICK_ENDING);
            } else {
                renderer.tick(&endpoint.done(), &endpoint.queues());
                thread::park_timeout(if renderer.is_on_terminal() { TICK_TERMINAL } else { TICK });
            }
        }
        if let Endpoint::Sink(_) | Endpoint::Relay(..) = endpoint {
            // A sink is told of them once more as it goes.
            (missing, open) = endpoint.missing();
        }
        Ok::<_, std::io::Error>(open)
    })?;
    let done = endpoint.done();
    renderer.clear();
    endpoint.join()?;
    if once && !ASKED_TO_END.load(Ordering::Relaxed) {
        let in_sync = answer.into_inner().transpose()?.flatten();
        missing = in_sync.ok_or("ended before the target was in sync: run it again")?.problems;
    }
    renderer.summary(&done, missing, &open);
    Ok(missing)
}

impl Endpoint {
    /// Asks whether the sink is in sync and waits for the answer; `None` where there is no sink to ask.
    fn wait_in_sync(&self) -> Result<Option<InSync>, Error> {
        match self {
            Self::Mirror(mirror) => mirror.wait_in_sync(None),
            Self::Source(_) => Ok(None),
            Self::Sink(sink) | Self::Relay(sink, _) => sink.wait_in_sync(None),
        }
    }

    fn done(&self) -> TransferReport {
        match self {
            Self::Mirror(mirror) => mirror.transfer_report(),
            Self::Source(source) => source.transfer_report(),
            Self::Sink(sink) | Self::Relay(sink, _) => sink.transfer_report(),
        }
    }

    /// One report per sink.
    fn queues(&self) -> Vec<QueueReport> {
        match self {
            Self::Mirror(mirror) => vec![mirror.queue_report()],
            Self::Source(source) => source.reports().into_iter().map(|(_, queue)| queue).collect(),
            Self::Sink(sink) | Self::Relay(sink, _) => vec![sink.queue_report()],
        }
    }

    /// How many paths are not replicated, and some of them with the reason.
    fn missing(&self) -> (u64, Vec<(RelPath, String)>) {
        (self.queues().iter().map(|queue| queue.problems).sum(), self.problems())
    }

    /// Some paths that are not replicated, each with the reason.
    fn problems(&self) -> Vec<(RelPath, String)> {
        let named = |problem: Problem| (problem.path, problem.cause);
        match self {
            Self::Mirror(mirror) => {
                mirror.problems(PROBLEMS_NAMED_MAX).into_iter().map(named).collect()
            }
            Self::Source(source) => {
                let by_sink = source.problems(PROBLEMS_NAMED_MAX).into_iter();
                by_sink.flat_map(|(_, problems)| problems).map(named).collect()
            }
            Self::Sink(sink) | Self::Relay(sink, _) => sink.problems(),
        }
    }

    fn is_finished(&self) -> bool {
        match self {
            Self::Mirror(mirror) => mirror.is_finished(),
            Self::Source(source) => source.is_finished(),
            Self::Sink(sink) => sink.is_finished(),
            // One end without the other is of no use.
            Self::Relay(sink, source) => sink.is_finished() || source.is_finished(),
        }
    }

    fn stop(&self) {
        match self {
            Self::Mirror(mirror) => mirror.stop(),
            Self::Source(source) => source.stop(),
            Self::Sink(sink) => sink.stop(),
            Self::Relay(sink, source) => {
                sink.stop();
                source.stop();
            }
        }
    }

    fn join(self) -> Result<(), Error> {
        match self {
            Self::Mirror(mirror) => mirror.join(),
            Self::Source(source) => source.join(),
            Self::Sink(sink) => sink.join(),
            Self::Relay(sink, source) => {
                sink.stop();
                source.stop();
                sink.join().and(source.join())
            }
        }
    }
}
