//! The thread of a source: everything meets here, and nothing here waits for anything else.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant, UNIX_EPOCH};

use crossbeam_channel::{Receiver, Sender};
use rustix::time::{ClockId, Timespec, clock_getres, clock_gettime};

use crate::model::change::Change;
use crate::model::report::QueueReport;
use crate::model::session_id::SessionId;
use crate::model::sink_id::SinkId;
use crate::model::timestamp::Timestamp;
use crate::model::work_id::WorkId;
use crate::ports::change_feed::ChangeFeed;
use crate::ports::counters::Counters;
use crate::ports::monitor::{Monitor, Problem};
use crate::ports::transport::{Arrival, SourceLink};
use crate::protocol::source::control_service::SourceControlService;
use crate::protocol::source::job::Done;
use crate::protocol::source::transfer::{Output, Reached};
use crate::runtime::content::OpenFile;
use crate::runtime::reader_pool::{self, Order, ReaderPool};
use crate::runtime::sharing::{Member, Shared, Sharing};

/// Of each queue so many are taken in a row before the others have their turn.
const BURST_MAX: usize = 256;

/// Where each sink stands.
pub type Reports = Vec<(SinkId, QueueReport)>;

/// What is not replicated at each sink.
pub type Named = Vec<(SinkId, Vec<Problem>)>;

/// What the host asks of a running source.
#[derive(Debug)]
pub enum Command {
    /// End every session by agreement, then end.
    Stop,
    /// Say where each sink stands.
    Report(Sender<Reports>),
    /// Compare everything again.
    Audit,
    /// Name what is not replicated: so many paths of each sink.
    Problems(usize, Sender<Named>),
}

/// Why a source's thread ended by itself.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Ended {
    /// The change feed has ended.
    #[error("the change feed has ended: {reason}")]
    Feed {
        /// Why.
        reason: String,
    },
    /// The transport has ended.
    #[error("the transport has ended: {reason}")]
    Transport {
        /// Why.
        reason: String,
    },
    /// The two ends cannot work together.
    #[error("{reason}")]
    Hopeless {
        /// Why, and what to do.
        reason: String,
    },
}

/// Everything a source's thread owns.
pub struct SourceLoop<R> {
    /// The machine.
    pub machine: SourceControlService<R>,
    /// The transport.
    pub link: Box<dyn SourceLink>,
    /// The change feed, started.
    pub feed: Box<dyn ChangeFeed>,
    /// The readers.
    pub readers: ReaderPool,
    /// Hears events.
    pub monitor: Arc<dyn Monitor>,
    /// Frames.
    pub arrivals: Receiver<Arrival>,
    /// Change hints.
    pub changes: Receiver<Change>,
    /// Results of jobs.
    pub results: Receiver<reader_pool::Result>,
    /// The host.
    pub commands: Receiver<Command>,
    /// Files open between chunks.
    pub files: HashMap<(u64, WorkId), Box<OpenFile>>,
    /// Readings that other sinks may share.
    pub sharing: Sharing,
    /// Totals.
    pub counters: Arc<Counters>,
}

impl<R> std::fmt::Debug for SourceLoop<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SourceLoop").finish_non_exhaustive()
    }
}

impl<R: FnMut() -> SessionId> SourceLoop<R> {
    /// Runs until stopped, or until it cannot go on.
    ///
    /// # Errors
    /// [`Ended`] if it ended by itself.
    pub fn run(mut self) -> Result<(), Ended> {
        let result = self.serve();
        // A feed that waits for room must see that there is nobody left before it is joined.
        self.changes = crossbeam_channel::never();
        self.feed.stop();
        result
    }

    fn serve(&mut self) -> Result<(), Ended> {
        let mut out = Vec::new();
        loop {
            let mut select = crossbeam_channel::Select::new();
            select.recv(&self.arrivals);
            select.recv(&self.results);
            select.recv(&self.changes);
            select.recv(&self.commands);
            match self.machine.next_deadline(Instant::now()) {
                Some(deadline) => drop(select.ready_deadline(deadline)),
                None => drop(select.ready()),
            }
            self.take_arrivals(&mut out)?;
            self.take_results(&mut out)?;
            self.take_changes(&mut out)?;
            self.take_commands(&mut out);
            self.machine.on_tick(Instant::now(), &mut out);
            self.sharing.expire(Instant::now());
            self.carry_out(&mut out)?;
            if self.machine.is_ended() {
                return Ok(());
            }
        }
    }

    fn take_arrivals(&mut self, out: &mut Vec<Output>) -> Result<(), Ended> {
        for _ in 0..BURST_MAX {
            let Ok(arrival) = self.arrivals.try_recv() else { break };
            match arrival {
                Arrival::Frame { channel, peer, frame } => {
                    self.machine.on_frame(channel, &peer, &frame, Instant::now(), out);
                }
                Arrival::Unreachable { channel, peer } => {
                    self.machine.on_unreachable(channel, &peer, out);
                }
                Arrival::Failed { reason } => return Err(Ended::Transport { reason }),
            }
            self.carry_out(out)?;
        }
        Ok(())
    }

    fn take_results(&mut self, out: &mut Vec<Output>) -> Result<(), Ended> {
        for _ in 0..BURST_MAX {
            let Ok(result) = self.results.try_recv() else { break };
            let reader_pool::Result { ticket, job, done, open } = result;
            let mut members = self.sharing.end(&job, &ticket, &done, Instant::now());
            let Some((session, work)) = members.pop() else { continue };
            if let Some(open) = open {
                self.files.insert((session, work), open);
            }
            Counters::add(&self.counters.readings_shared, members.len() as u64);
            for (session, work) in members {
                self.machine.on_done(session, work, done.clone(), Instant::now(), out);
                self.carry_out(out)?;
            }
            self.machine.on_done(session, work, done, Instant::now(), out);
            self.carry_out(out)?;
        }
        Ok(())
    }

    fn take_changes(&mut self, out: &mut Vec<Output>) -> Result<(), Ended> {
        let now = Instant::now();
        for _ in 0..BURST_MAX {
            match self.changes.try_recv() {
                Ok(Change::Failed { reason }) => return Err(Ended::Feed { reason }),
                Ok(change) => {
                    self.sharing.on_change(&change);
                    self.machine.on_change(&change, now, out);
                }
                Err(_) => break,
            }
        }
        Ok(())
    }

    fn take_commands(&mut self, out: &mut Vec<Output>) {
        while let Ok(command) = self.commands.try_recv() {
            match command {
                Command::Stop => self.machine.stop(Instant::now(), out),
                Command::Report(reply) => {
                    // Nobody waiting any more is nobody's concern.
                    reply.send(self.machine.reports(Instant::now())).unwrap_or_default();
                }
                Command::Audit => self.machine.audit(Instant::now(), out),
                Command::Problems(limit, reply) => {
                    reply.send(self.machine.problems(limit, Instant::now())).unwrap_or_default();
                }
            }
        }
    }

    fn carry_out(&mut self, out: &mut Vec<Output>) -> Result<(), Ended> {
        // What others have had read leads to more at once; the window ends that.
        loop {
            let read_before = self.carry_out_once(out)?;
            if read_before.is_empty() {
                return Ok(());
            }
            Counters::add(&self.counters.readings_shared, read_before.len() as u64);
            for ((session, work), done) in read_before {
                self.machine.on_done(session, work, done, Instant::now(), out);
            }
        }
    }

    /// Carries out what the machine wants; returns what is done by that, because others have had it read.
    fn carry_out_once(&mut self, out: &mut Vec<Output>) -> Result<Vec<(Member, Done)>, Ended> {
        let (mut told, mut read_before) = (Vec::new(), Vec::new());
        for output in out.drain(..) {
            match output {
                Output::Horizon { session, asked_at, reached } => {
                    if let Some(at) = oldest_change_after(asked_at, &reached) {
                        self.machine.on_horizon(session, reached, at, &mut told);
                    }
                }
                Output::Send { channel, peer, frame } => self
                    .link
                    .send(channel, &peer, frame)
                    .map_err(|error| Ended::Transport { reason: error.to_string() })?,
                Output::Job { session, work, lane, job, pack_level } => {
                    let (member, job) = ((session, work), Arc::new(job));
                    let (open, is_packed) = (self.files.remove(&member), pack_level.is_some());
                    match self.sharing.join(lane, is_packed, &job, member, Instant::now()) {
                        Shared::Ordered(ticket) => {
                            self.readers.order(Order { ticket, lane, job, pack_level, open });
                        }
                        Shared::Joined => {}
                        Shared::Done { done, .. } => read_before.push((member, *done)),
                    }
                }
                Output::Forget { session, work } => {
                    self.files.remove(&(session, work));
                }
                Output::ReadAnew => self.sharing.void_all(),
                Output::ForgetAll { session } => {
                    self.sharing.leave(session);
                    self.files.retain(|(holder, _), _| *holder != session);
                }
                Output::Fence { cookie } => self
                    .feed
                    .fence(cookie)
                    .map_err(|error| Ended::Feed { reason: error.to_string() })?,
                Output::Event(event) => self.monitor.event(&event),
            }
        }
        for output in told {
            if let Output::Event(event) = output {
                self.monitor.event(&event);
            }
        }
        Ok(read_before)
    }
}

/// The oldest time of change that a file can have which changed after `moment`: file systems take it from a clock
/// that moves on by ticks. At the beginning of a session, a moment that no older change can have: what changes in its
/// first ticks is reported, and read later still.
fn oldest_change_after(moment: Instant, reached: &Reached) -> Option<Timestamp> {
    let tick = duration(clock_getres(ClockId::RealtimeCoarse))?;
    let clock = duration(clock_gettime(ClockId::RealtimeCoarse))?;
    let since_epoch = if *reached == Reached::Beginning {
        clock.checked_add(2 * tick)
    } else {
        clock.checked_sub(moment.elapsed() + tick)
    };
    Timestamp::from_system(UNIX_EPOCH.checked_add(since_epoch?)?)
}

fn duration(time: Timespec) -> Option<Duration> {
    Duration::try_from(time).ok()
}
