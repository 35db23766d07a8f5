//! The thread of a sink: everything meets here.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use crossbeam_channel::{Receiver, Sender};

use crate::model::rel_path::RelPath;
use crate::ports::monitor::{Event, Monitor};
use crate::ports::sink::Sink;
use crate::ports::transport::{Arrival, SinkLink};
use crate::protocol::sink::source_controller::{Output, SourceController};
use crate::protocol::sink::task::{Action, Finished, Ticket};
use crate::runtime::source_loop::Ended;
use crate::runtime::syncer::{Synced, Syncer};
use crate::runtime::writer_pool::WriterPool;

/// Of each queue so many are taken in a row before the others have their turn.
const BURST_MAX: usize = 256;

/// What the host asks of a running sink.
#[derive(Debug)]
pub enum Command {
    /// End the session by agreement, then end.
    Stop,
    /// Reply once everything that has happened at the source by now is here.
    AskSync(Sender<Answer>),
    /// Say where the sink stands.
    Report(Sender<Standing>),
}

/// Everything is here.
#[derive(Debug, Clone, Copy)]
pub struct Answer {
    /// Paths not replicated.
    pub problems: u64,
    /// It survives a power cut.
    pub is_durable: bool,
}

/// Where a sink stands.
#[derive(Debug, Clone, Default)]
pub struct Standing {
    /// Tasks under way.
    pub unfinished: u64,
    /// A session is in transfer.
    pub is_connected: bool,
    /// Paths not replicated, when the source spoke of them last.
    pub problems: u64,
    /// Some of them, each with the reason.
    pub named: Vec<(RelPath, String)>,
}

/// Everything a sink's thread owns.
pub struct SinkLoop {
    /// The machine.
    pub machine: SourceController,
    /// The transport.
    pub link: Box<dyn SinkLink>,
    /// The sink, to learn who is who.
    pub sink: Arc<dyn Sink>,
    /// The writers.
    pub writers: WriterPool,
    /// Syncs the sink.
    pub syncer: Syncer,
    /// Hears events.
    pub monitor: Arc<dyn Monitor>,
    /// Frames.
    pub arrivals: Receiver<Arrival>,
    /// Results of tasks.
    pub finished: Receiver<(Ticket, Finished)>,
    /// How syncing went.
    pub synced: Receiver<Synced>,
    /// The host.
    pub commands: Receiver<Command>,
    /// Who waits to be in sync, by cookie.
    pub waiting: HashMap<u64, Sender<Answer>>,
    /// The cookie used last.
    pub last_cookie: u64,
}

impl std::fmt::Debug for SinkLoop {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SinkLoop").finish_non_exhaustive()
    }
}

impl SinkLoop {
    /// Runs until stopped, or until it cannot go on.
    ///
    /// # Errors
    /// [`Ended`] if it ended by itself.
    pub fn run(&mut self) -> Result<(), Ended> {
        let mut out = Vec::new();
        loop {
            let mut select = crossbeam_channel::Select::new();
            select.recv(&self.arrivals);
            select.recv(&self.finished);
            select.recv(&self.synced);
            select.recv(&self.commands);
            match self.machine.next_deadline(Instant::now()) {
                Some(deadline) => drop(select.ready_deadline(deadline)),
                None => drop(select.ready()),
            }
            self.take_arrivals(&mut out)?;
            self.take_finished(&mut out)?;
            if let Ok(synced) = self.synced.try_recv() {
                self.machine.on_synced(synced, Instant::now(), &mut out);
            }
            self.take_commands(&mut out);
            self.machine.on_tick(Instant::now(), &mut out);
            self.carry_out(&mut out)?;
            if self.machine.is_ended() {
                return Ok(());
            }
        }
    }

    /// Where the sink stands.
    #[must_use]
    pub fn standing(&self) -> Standing {
        let (problems, named) = self.machine.problems().clone();
        let (unfinished, is_connected) = (self.machine.unfinished(), self.machine.is_connected());
        Standing { unfinished, is_connected, problems, named }
    }

    fn take_arrivals(&mut self, out: &mut Vec<Output>) -> Result<(), Ended> {
        for _ in 0..BURST_MAX {
            let Ok(arrival) = self.arrivals.try_recv() else { break };
            match arrival {
                Arrival::Frame { channel, frame, .. } => {
                    self.machine.on_frame(channel, frame, Instant::now(), out);
                }
                Arrival::Unreachable { channel, .. } => {
                    self.machine.on_unreachable(channel, Instant::now(), out);
                }
                Arrival::Failed { reason } => return Err(Ended::Transport { reason }),
            }
            self.carry_out(out)?;
        }
        Ok(())
    }

    fn take_finished(&mut self, out: &mut Vec<Output>) -> Result<(), Ended> {
        for _ in 0..BURST_MAX {
            let Ok((ticket, finished)) = self.finished.try_recv() else { break };
            self.machine.on_finished(ticket, finished, Instant::now(), out);
            self.carry_out(out)?;
        }
        Ok(())
    }

    fn take_commands(&mut self, out: &mut Vec<Output>) {
        while let Ok(command) = self.commands.try_recv() {
            match command {
                Command::Stop => self.machine.stop(Instant::now(), out),
                Command::AskSync(reply) => {
                    self.last_cookie += 1;
                    self.waiting.insert(self.last_cookie, reply);
                    self.machine.ask_sync(self.last_cookie, Instant::now(), out);
                }
                // Nobody waiting any more is nobody's concern.
                Command::Report(reply) => reply.send(self.standing()).unwrap_or_default(),
            }
        }
    }

    fn carry_out(&mut self, out: &mut Vec<Output>) -> Result<(), Ended> {
        let failed = |error: crate::ports::transport::TransportError| Ended::Transport {
            reason: error.to_string(),
        };
        for output in out.drain(..) {
            match output {
                Output::Send { channel, frame } => {
                    self.link.send(channel, frame).map_err(failed)?;
                }
                Output::OpenData { session } => self.link.open_data(&session).map_err(failed)?,
                Output::Reset => {
                    self.writers.clear();
                    self.link.reset().map_err(failed)?;
                }
                Output::Task(task) => {
                    // Before any writer begins what comes after it.
                    if let Action::Learn { accounts } = &task.action {
                        self.sink.learn(accounts);
                    }
                    self.writers.order(task);
                }
                Output::Sync { is_settled } => self.syncer.order(is_settled),
                Output::InSync { cookie, problems, named, is_durable } => {
                    let sink = self.machine.id().clone();
                    self.monitor.event(&Event::InSync { sink, problems, named, is_durable });
                    if let Some(reply) = self.waiting.remove(&cookie) {
                        reply.send(Answer { problems, is_durable }).unwrap_or_default();
                    }
                }
                Output::Event(event) => self.monitor.event(&event),
                Output::Hopeless { reason } => return Err(Ended::Hopeless { reason }),
            }
        }
        Ok(())
    }
}
