//! `SinkEndpoint`: the receiving end, ready to use.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};

use crate::error::Error;
use crate::model::connection::ConnectionDetails;
use crate::model::durability::Durability;
use crate::model::rel_path::RelPath;
use crate::model::report::{QueueReport, TransferReport};
use crate::options::SinkOptions;
use crate::ports::counters::Counters;
use crate::ports::monitor::Monitor;
use crate::ports::sink::Sink;
use crate::ports::transport::Transport;
use crate::protocol::sink::source_controller::SourceController;
use crate::runtime::sink_loop::{Answer, Command, SinkLoop, Standing};
use crate::runtime::source_loop::Ended;
use crate::runtime::syncer::Syncer;
use crate::runtime::worker::Worker;
use crate::runtime::writer_pool::WriterPool;
use crate::runtime::{ARRIVALS_MAX, COMMANDS_MAX};

/// How often a waiting host checks whether the endpoint is still there to answer.
const ANSWER_CHECK: Duration = Duration::from_millis(50);
/// How long a report may take before the endpoint counts as idle.
const REPORT_WAIT: Duration = Duration::from_secs(1);

/// A sink that follows its source on threads of its own, across restarts of either.
///
/// Dropping it stops it as [`SinkEndpoint::stop`] and [`SinkEndpoint::join`] do.
#[derive(Debug)]
pub struct SinkEndpoint {
    commands: Sender<Command>,
    ended: Receiver<Result<(), Ended>>,
    worker: Option<Worker>,
    counters: Arc<Counters>,
    sink: SinkHandle,
    /// Where it stood when it ended.
    last: Arc<OnceLock<Standing>>,
}

/// The sink, for tidying on the host's thread.
struct SinkHandle(Arc<dyn Sink>);

impl std::fmt::Debug for SinkHandle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Sink")
    }
}

/// The sink holds everything that had happened at the source when it was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InSync {
    /// Paths that could not be replicated and are tried again.
    pub problems: u64,
    /// It survives a power cut of the sink, as far as the file system says.
    pub is_durable: bool,
}

impl SinkEndpoint {
    /// Connects to the source at `details`, which need not be there yet; returns at once.
    ///
    /// `monitor` is called from the endpoint's thread.
    ///
    /// # Errors
    /// [`Error::Transport`] if an address makes no sense, [`Error::System`] if there are no threads to be had.
    pub fn start(
        sink: Arc<dyn Sink>,
        transport: &dyn Transport,
        details: &ConnectionDetails,
        options: SinkOptions,
        monitor: Arc<dyn Monitor>,
    ) -> Result<Self, Error> {
        let (arrivals_sender, arrivals) = bounded(ARRIVALS_MAX);
        let (commands, command_receiver) = bounded(COMMANDS_MAX);
        let (ended_sender, ended) = bounded(1);
        let counters = Arc::new(Counters::default());
        sink.set_durability(options.durability);
        let is_synced = options.durability != Durability::None;
        let (syncer, sync_results) = Syncer::start(&sink, &counters)?;
        let (writers, finished) = WriterPool::start(&sink, options.writers, &counters)?;
        let link = transport.connect(details, arrivals_sender)?;
        let now = Instant::now();
        let machine = SourceController::new(options.name, sink.fidelity(), is_synced, now);
        let mut sink_loop = SinkLoop {
            machine,
            link,
            sink: Arc::clone(&sink),
            writers,
            syncer,
            monitor,
            arrivals,
            finished,
            synced: sync_results,
            commands: command_receiver,
            waiting: HashMap::new(),
            last_cookie: 0,
        };
        let last = Arc::new(OnceLock::new());
        let left = Arc::clone(&last);
        let worker = Worker::start("sink", move || {
            let result = sink_loop.run();
            left.get_or_init(|| sink_loop.standing());
            drop(sink_loop);
            // The owner may have gone; then nobody wants to know.
            ended_sender.send(result).unwrap_or_default();
        })?;
        Ok(Self { commands, ended, worker: Some(worker), counters, sink: SinkHandle(sink), last })
    }

    /// Waits until the sink holds everything that had happened at the source when this was called, durably if that
    /// can be had and [`SinkOptions::durability`] asks for it, for `timeout` at the most (for ever, if `None`); `None` if that was too short.
    ///
    /// # Errors
    /// [`Error::HasEnded`] if the endpoint has ended or ends meanwhile.
    pub fn wait_in_sync(&self, timeout: Option<Duration>) -> Result<Option<InSync>, Error> {
        let (sender, receiver) = bounded(1);
        self.commands.send(Command::AskSync(sender)).map_err(|_| Error::HasEnded)?;
        let deadline = timeout.map(|timeout| Instant::now() + timeout);
        loop {
            let wait = deadline.map_or(ANSWER_CHECK, |deadline| {
                deadline.saturating_duration_since(Instant::now()).min(ANSWER_CHECK)
            });
            match receiver.recv_timeout(wait) {
                Ok(Answer { problems, is_durable }) => {
                    self.sink.0.tidy();
                    return Ok(Some(InSync { problems, is_durable }));
                }
                // The endpoint may end with the question still in its queue.
                Err(_) if self.is_finished() => return Err(Error::HasEnded),
                Err(RecvTimeoutError::Disconnected) => return Err(Error::HasEnded),
                Err(RecvTimeoutError::Timeout) => {
                    if deadline.is_some_and(|deadline| deadline <= Instant::now()) {
                        return Ok(None);
                    }
                }
            }
        }
    }

    /// What has arrived and is not yet written, and how many paths the source last said it could not
    /// replicate, also after the endpoint has ended. What the source still has to send only the source knows.
    #[must_use]
    pub fn queue_report(&self) -> QueueReport {
        let (standing, done) = (self.standing(), self.transfer_report());
        QueueReport {
            in_flight: standing.unfinished,
            is_idle: standing.is_connected && standing.unfinished == 0,
            problems: standing.problems,
            undurable: done.entries.saturating_sub(done.durable_entries),
            ..QueueReport::default()
        }
    }

    /// Some of the paths that the source last said it could not replicate, or only inexactly, each with
    /// the reason; [`QueueReport::problems`] counts them all.
    #[must_use]
    pub fn problems(&self) -> Vec<(RelPath, String)> {
        self.standing().named
    }

    fn standing(&self) -> Standing {
        let (sender, receiver) = bounded(1);
        // An endpoint that has ended says nothing more.
        let is_asked = self.commands.send(Command::Report(sender)).is_ok();
        let standing = receiver.recv_timeout(if is_asked { REPORT_WAIT } else { Duration::ZERO });
        standing.unwrap_or_else(|_| self.last.get().cloned().unwrap_or_default())
    }

    /// What has been applied since the start.
    #[must_use]
    pub fn transfer_report(&self) -> TransferReport {
        self.counters.report()
    }

    /// Begins to end the session by agreement; returns at once.
    pub fn stop(&self) {
        // An endpoint that has ended needs no stopping.
        self.commands.send(Command::Stop).unwrap_or_default();
    }

    /// Whether the endpoint has ended, stopped or by itself.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.worker.as_ref().is_none_or(Worker::is_finished)
    }

    /// Waits for the end: after [`SinkEndpoint::stop`] about 3 s at the most, longer if a write does not return.
    ///
    /// # Errors
    /// [`Error::Ended`] if it ended by itself, [`Error::Panicked`] for a defect.
    pub fn join(mut self) -> Result<(), Error> {
        if let Some(worker) = self.worker.take() {
            worker.join()?;
        }
        self.sink.0.tidy();
        Ok(self.ended.try_recv().unwrap_or(Ok(()))?)
    }
}

impl Drop for SinkEndpoint {
    fn drop(&mut self) {
        self.stop();
    }
}
