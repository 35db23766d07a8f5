//! The transfer phase of one sink, seen from the source: marks are made and discharged.
//!
//! ```text
//! changes.rs   change feed, registration      -> marks
//! choose.rs    marks, within the window       -> jobs for the readers
//! visits.rs    directories are looked into: where others have been, first
//! links.rs     names that stand for one thing; search.rs: those that nobody knows
//! results.rs   what the readers found         -> messages to the sink
//! large.rs     files in chunks
//! writing.rs   files that somebody is writing are left alone for a moment
//! delta.rs     files of which the sink has an older version
//! grown.rs     files that were extended at the sink, until they are proven
//! answers.rs   what the sink says             -> confirmed, or marks again
//! halts.rs     what cannot be done, for the moment
//! removals.rs  what is to be removed waits until it is clear how much it is
//! limits.rs    how much may be sent a second
//! horizon.rs   up to when everything is at the sink, for the next session
//! send.rs      messages, numbered
//! sync.rs      is the sink in sync, how far behind is it
//! ```
//!
//! A mark that is taken out becomes a piece of work in flight, and ends confirmed or as a mark again;
//! nothing is ever dropped in between.

mod send;
mod changes;
mod choose;
mod visits;
mod search;
mod halts;
mod removals;
mod links;
mod results;
mod large;
mod writing;
mod delta;
mod limits;
mod answers;
mod grown;
mod horizon;
mod sync;
mod deadline;

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;

use crate::model::connection::Channel;
use crate::model::fidelity::Fidelity;
use crate::model::rel_path::RelPath;
use crate::model::session_id::SessionId;
use crate::model::sink_id::SinkId;
use crate::model::timestamp::Timestamp;
use crate::model::work_id::WorkId;
use crate::options::SourceOptions;
use crate::ports::counters::Counters;
use crate::ports::monitor::Event;
use crate::ports::transport::PeerId;
use crate::protocol::sequence::Outbound;
use crate::protocol::source::data_service::DataService;
use crate::protocol::source::job::Job;
use crate::protocol::source::problems::Problems;
use crate::protocol::source::work::{InFlight, What, Work};
use crate::queue::agenda::Agenda;
use crate::queue::links::Links;
use crate::queue::mark::{Extent, Lane, Urgency};
use crate::queue::pace::Pace;
use crate::queue::pressure::Pressure;
use crate::queue::removals::Removals;
use crate::queue::turns::Turns;
use crate::wire::message::Message;

/// What a source's machine wants done.
#[derive(Debug)]
pub enum Output {
    /// Send a frame.
    Send {
        /// On which channel.
        channel: Channel,
        /// To whom.
        peer: PeerId,
        /// What.
        frame: crate::model::frame::Frame,
    },
    /// Read something and report back with the same session and work.
    Job {
        /// Whose work it is: [`SessionId::tag`].
        session: u64,
        /// The piece of work.
        work: WorkId,
        /// How urgent.
        lane: Lane,
        /// What to read.
        job: Job,
        /// At which level to compress what is read; none: not at all.
        pack_level: Option<i32>,
    },
    /// What is wanted from now on must be read after this.
    ReadAnew,
    /// Close the file that this work holds open.
    Forget {
        /// Whose work.
        session: u64,
        /// The piece of work.
        work: WorkId,
    },
    /// Close all files of this session.
    ForgetAll {
        /// Which session.
        session: u64,
    },
    /// Something is so of all that had happened at `asked_at`.
    Horizon {
        /// Which session.
        session: u64,
        /// When.
        asked_at: Instant,
        /// What is so.
        reached: Reached,
    },
    /// Ask the change feed for a fence.
    Fence {
        /// Its cookie.
        cookie: u64,
    },
    /// Tell the host.
    Event(Event),
}

/// How far a session has come with all that had happened at some moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reached {
    /// It has only begun: what changed before is read after it.
    Beginning,
    /// By this moment it had been reported.
    Reported(Instant),
    /// It is at the sink.
    Durable,
    /// It is at this sink, which has ended in agreement and never said what is durable.
    Ended(SinkId),
}

/// One sink during transfer.
#[derive(Debug)]
pub struct Transfer {
    session: u64,
    control: PeerId,
    control_outbound: Outbound,
    data: DataService,
    fidelity: Fidelity,
    owners: send::Owners,
    live: Agenda,
    backlog: Agenda,
    flight: InFlight,
    renames: VecDeque<changes::RenameHint>,
    /// Renames in flight.
    renaming: Vec<WorkId>,
    moves: changes::Moves,
    jobs: [usize; 2],
    larges: [usize; 2],
    ready_larges: [VecDeque<WorkId>; 2],
    pages: visits::Pages,
    common: visits::Common,
    reserved_bytes: u64,
    /// Jobs still out whose work has ended: their lane and what they reserved.
    orphans: HashMap<WorkId, (Lane, u64)>,
    pace: Pace,
    problems: Problems,
    /// What the sink was told of them, and when.
    told: sync::Told,
    unsteady: HashMap<RelPath, large::Unsteady>,
    writing: writing::Writing,
    /// Large files on their way that are of no use any more.
    overtaken_larges: Vec<WorkId>,
    pressure: Pressure,
    limits: limits::Limits,
    /// The last thing that kept more from being sent was a limit.
    is_limited: bool,
    deltas: delta::Deltas,
    grown: grown::Grown,
    links: Links,
    search: search::Search,
    sync: Vec<sync::SyncWait>,
    horizon: horizon::Horizon,
    counters: Arc<Counters>,
    presence: halts::Presence,
    /// The target takes nothing.
    trial: Option<halts::Trial>,
    removals: Removals,
    listed: removals::Listed,
    is_draining: bool,
    turns: Turns,
    control_sent_at: Instant,
    data_sent_at: Instant,
}

/// The sink says something it cannot mean: the session is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the sink broke the protocol: {0}")]
pub struct Breach(pub &'static str);

impl Transfer {
    /// The transfer of a session that begins at `now`, without anything marked.
    #[must_use]
    pub fn new(
        session: &SessionId,
        control: PeerId,
        fidelity: Fidelity,
        options: &SourceOptions,
        horizon: Option<Timestamp>,
        counters: Arc<Counters>,
        now: Instant,
    ) -> Self {
        let marks_bytes_max = options.marks_bytes_max / 2;
        Self {
            session: session.tag(),
            data: DataService::new(session, &control, options.window_bytes_max),
            control,
            control_outbound: Outbound::default(),
            fidelity,
            owners: send::Owners::default(),
            live: Agenda::new(marks_bytes_max),
            backlog: Agenda::new(marks_bytes_max),
            flight: InFlight::default(),
            renames: VecDeque::new(),
            renaming: Vec::new(),
            moves: changes::Moves::default(),
            jobs: [0; 2],
            larges: [0; 2],
            ready_larges: [VecDeque::new(), VecDeque::new()],
            pages: visits::Pages::default(),
            common: visits::Common::default(),
            reserved_bytes: 0,
            orphans: HashMap::new(),
            pace: Pace::default(),
            problems: Problems::default(),
            told: sync::Told::default(),
            unsteady: HashMap::new(),
            writing: writing::Writing::default(),
            overtaken_larges: Vec::new(),
            pressure: Pressure::new(options.compression),
            limits: limits::Limits::new(options, now),
            is_limited: false,
            deltas: delta::Deltas::new(session, options),
            grown: grown::Grown::default(),
            links: Links::new(options.links_bytes_max, fidelity.links),
            search: search::Search::default(),
            sync: Vec::new(),
            horizon: horizon::Horizon::new(horizon, now),
            counters,
            presence: halts::Presence::new(now),
            trial: None,
            removals: Removals::new(options.removal_limit),
            listed: removals::Listed::new(options.removal_limit),
            is_draining: false,
            turns: Turns::default(),
            control_sent_at: now,
            data_sent_at: now,
        }
    }

    /// Takes a message of the sink, already known to be in order.
    ///
    /// # Errors
    /// [`Breach`] if it makes no sense: the session must be given up.
    #[expect(clippy::wildcard_enum_match_arm, reason = "every other message is out of place")]
    pub fn on_message(
        &mut self,
        message: Message,
        now: Instant,
        out: &mut Vec<Output>,
    ) -> Result<(), Breach> {
        match message {
            Message::Credit { consumed_bytes, newest, waiting } => {
                self.on_credit(consumed_bytes, newest, waiting, now)?;
            }
            Message::Basis { work, basis } => self.on_basis(work, basis, now, out)?,
            Message::Sums { work, sums } => self.on_sums(work, &sums, now, out)?,
            Message::Answer { work, answer } => self.on_answer(work, answer, now, out)?,
            Message::Applied { work, failures } => self.on_applied(work, &failures, now, out)?,
            Message::Durable { applied } => self.on_durable(applied, now, out)?,
            Message::SyncRequest { cookie } => self.on_sync_request(cookie, now)?,
            Message::Heartbeat => {}
            _ => return Err(Breach("a message that does not belong to the transfer")),
        }
        self.pump(now, out);
        Ok(())
    }

    /// Lets time pass: heartbeats, marks that became due.
    pub fn on_tick(&mut self, now: Instant, out: &mut Vec<Output>) {
        if now.saturating_duration_since(self.control_sent_at)
            >= crate::protocol::HEARTBEAT_INTERVAL
        {
            self.send_control(Message::Heartbeat, now, out);
        }
        // On the data channel only while something is out: a lost last message shows as a gap.
        if self.data.window().in_flight_bytes() > 0
            && now.saturating_duration_since(self.data_sent_at)
                >= crate::protocol::HEARTBEAT_INTERVAL
        {
            self.send_data(Message::Heartbeat, Bytes::new(), now, out);
        }
        if self.told.is_due(now) {
            self.tell_problems(now, out);
        }
        self.ask_for_horizon(now);
        self.move_horizon(now, out);
        self.pump(now, out);
    }

    /// Begins nothing more; what is in flight still ends.
    pub fn drain(&mut self) {
        self.is_draining = true;
    }

    /// Whether nothing is in flight.
    #[must_use]
    pub fn is_drained(&self) -> bool {
        self.flight.works.is_empty()
    }

    /// The number of the next message on the command channel, for whoever ends the session.
    pub fn control_outbound(&mut self) -> &mut Outbound {
        &mut self.control_outbound
    }

    fn agenda(&mut self, lane: Lane) -> &mut Agenda {
        match lane {
            Lane::Live => &mut self.live,
            Lane::Backlog => &mut self.backlog,
        }
    }

    fn mark(
        &mut self,
        lane: Lane,
        path: &RelPath,
        extent: Extent,
        urgency: Urgency,
        born: Instant,
        now: Instant,
    ) {
        self.agenda(lane).marks.insert(path, extent, urgency, born, now);
    }

    /// Begins a piece of work without claims.
    fn begin(&mut self, lane: Lane, born: Instant, what: What) -> WorkId {
        let id = self.flight.next_id();
        let work = Work {
            lane,
            born,
            what,
            is_reading: false,
            is_overtaken: false,
            is_moved: false,
            reserved_bytes: 0,
        };
        self.flight.works.insert(id, work);
        id
    }

    /// Hands `job` to the readers on behalf of `id`.
    fn read(&mut self, id: WorkId, job: Job, reserved_bytes: u64, out: &mut Vec<Output>) {
        let Some(work) = self.flight.works.get_mut(&id) else { return };
        work.is_reading = true;
        work.reserved_bytes = reserved_bytes;
        self.reserved_bytes += reserved_bytes;
        self.jobs[work.lane as usize] += 1;
        let pack_level = self.pressure.level();
        let lane = work.lane;
        out.push(Output::Job { session: self.session, work: id, lane, job, pack_level });
    }

    /// Ends a piece of work; marks that waited for it become due.
    fn end(&mut self, id: WorkId, now: Instant, out: &mut Vec<Output>) {
        let Some((work, parked)) = self.flight.end(id) else { return };
        if work.is_reading {
            self.orphans.insert(id, (work.lane, work.reserved_bytes));
        }
        match work.what {
            What::Large { .. } => {
                self.larges[work.lane as usize] -= 1;
                self.ready_larges[work.lane as usize].retain(|ready| *ready != id);
                self.deltas.forget(id);
                out.push(Output::Forget { session: self.session, work: id });
            }
            What::Page { page, .. } => self.pages.ended(page.as_ref()),
            What::Rename { .. } => self.renaming.retain(|renaming| *renaming != id),
            What::Names { .. } => {}
        }
        for path in parked {
            self.live.marks.unpark(&path, now);
            self.backlog.marks.unpark(&path, now);
        }
    }
}
