//! `SourceEndpoint`: the sending end, ready to use.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};

use crate::error::Error;
use crate::model::connection::ConnectionDetails;
use crate::model::report::TransferReport;
use crate::model::session_id::SessionId;
use crate::options::SourceOptions;
use crate::ports::change_feed::{ChangeFeed, Reporter};
use crate::ports::counters::Counters;
use crate::ports::monitor::Monitor;
use crate::ports::source::Source;
use crate::ports::transport::Transport;
use crate::protocol::source::control_service::SourceControlService;
use crate::runtime::reader_pool::ReaderPool;
use crate::runtime::sharing::Sharing;
use crate::runtime::source_loop::{Command, Ended, Named, Reports, SourceLoop};
use crate::runtime::worker::Worker;
use crate::runtime::{ARRIVALS_MAX, CHANGES_MAX, COMMANDS_MAX};

/// How often a waiting host checks whether the endpoint is still there to answer.
const ANSWER_CHECK: Duration = Duration::from_millis(50);

/// A source that serves its sinks on threads of its own.
///
/// Dropping it stops it as [`SourceEndpoint::stop`] and [`SourceEndpoint::join`] do.
#[derive(Debug)]
pub struct SourceEndpoint {
    details: ConnectionDetails,
    commands: Sender<Command>,
    counters: Arc<Counters>,
    ended: Receiver<Result<(), Ended>>,
    worker: Option<Worker>,
}

impl SourceEndpoint {
    /// Binds both channels at `details` and begins to serve; returns at once.
    ///
    /// `monitor` is called from the endpoint's thread.
    ///
    /// # Errors
    /// [`Error::Transport`] if an address cannot be used, [`Error::Feed`] if changes cannot be followed,
    /// [`Error::System`] if there are no threads to be had.
    #[expect(clippy::needless_pass_by_value, reason = "the source is handed over")]
    pub fn start(
        source: Arc<dyn Source>,
        mut feed: Box<dyn ChangeFeed>,
        transport: &dyn Transport,
        details: &ConnectionDetails,
        options: SourceOptions,
        monitor: Arc<dyn Monitor>,
    ) -> Result<Self, Error> {
        let (arrivals_sender, arrivals) = bounded(ARRIVALS_MAX);
        let (changes_sender, changes) = bounded(CHANGES_MAX);
        let (commands, command_receiver) = bounded(COMMANDS_MAX);
        let (ended_sender, ended) = bounded(1);
        let mut random = Random::new()?;
        let (readers, results) = ReaderPool::start(&source, options.readers)?;
        let link = transport.bind(details, arrivals_sender)?;
        let details = link.details();
        feed.start(Reporter::new(changes_sender))?;
        let fidelity = source.fidelity();
        let roster = source.roster().unwrap_or_default();
        let counters = Arc::new(Counters::default());
        let mut machine = SourceControlService::new(
            options,
            fidelity,
            move || random.session(),
            Arc::clone(&counters),
            Instant::now(),
        );
        machine.use_roster(roster);
        let sharing = Sharing::default();
        machine.use_lately(sharing.lately());
        let source_loop = SourceLoop {
            machine,
            link,
            feed,
            readers,
            monitor,
            arrivals,
            changes,
            results,
            commands: command_receiver,
            files: HashMap::new(),
            sharing,
            counters: Arc::clone(&counters),
        };
        let worker = Worker::start("source", move || {
            let result = source_loop.run();
            // The owner may have gone; then nobody wants to know.
            ended_sender.send(result).unwrap_or_default();
        })?;
        Ok(Self { details, commands, counters, ended, worker: Some(worker) })
    }

    /// The addresses in use, wildcards resolved.
    #[must_use]
    pub fn details(&self) -> ConnectionDetails {
        self.details.clone()
    }

    /// Where the queue of each connected sink stands. Empty once the endpoint has ended.
    #[must_use]
    pub fn reports(&self) -> Reports {
        self.ask(Command::Report)
    }

    /// The first `limit` paths of each connected sink that are not replicated at present, or only
    /// inexactly; [`QueueReport::problems`] counts them all. Empty once the endpoint has ended.
    ///
    /// [`QueueReport::problems`]: crate::model::report::QueueReport::problems
    #[must_use]
    pub fn problems(&self, limit: usize) -> Named {
        self.ask(|reply| Command::Problems(limit, reply))
    }

    /// Has everything compared again, in the backlog lane: for what no change feed reports; returns at once.
    pub fn audit(&self) {
        // An endpoint that has ended has nothing to audit.
        self.commands.send(Command::Audit).unwrap_or_default();
    }

    fn ask<T: Default>(&self, question: impl FnOnce(Sender<T>) -> Command) -> T {
        let (sender, receiver) = bounded(1);
        if self.commands.send(question(sender)).is_err() {
            return T::default();
        }
        // The endpoint may end with the question still in its queue.
        while !self.is_finished() {
            match receiver.recv_timeout(ANSWER_CHECK) {
                Ok(answer) => return answer,
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        T::default()
    }

    /// What all sinks have confirmed since the start, added up.
    #[must_use]
    pub fn transfer_report(&self) -> TransferReport {
        self.counters.report()
    }

    /// Begins to end every session by agreement; returns at once.
    pub fn stop(&self) {
        // An endpoint that has ended needs no stopping.
        self.commands.send(Command::Stop).unwrap_or_default();
    }

    /// Whether the endpoint has ended, stopped or by itself.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.worker.as_ref().is_none_or(Worker::is_finished)
    }

    /// Waits for the end: after [`SourceEndpoint::stop`] about 3 s at the most.
    ///
    /// # Errors
    /// [`Error::Ended`] if it ended by itself, [`Error::Panicked`] for a defect.
    pub fn join(mut self) -> Result<(), Error> {
        if let Some(worker) = self.worker.take() {
            worker.join()?;
        }
        Ok(self.ended.try_recv().unwrap_or(Ok(()))?)
    }
}

impl Drop for SourceEndpoint {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Session ids from the operating system's random source, taken in advance so that it cannot fail later.
struct Random(blake3::OutputReader);

impl Random {
    fn new() -> std::io::Result<Self> {
        let mut seed = [0; 32];
        getrandom::fill(&mut seed).map_err(std::io::Error::other)?;
        Ok(Self(blake3::Hasher::new_keyed(&seed).finalize_xof()))
    }

    fn session(&mut self) -> SessionId {
        let mut bytes = [0; 16];
        self.0.fill(&mut bytes);
        SessionId::from_random(bytes)
    }
}
