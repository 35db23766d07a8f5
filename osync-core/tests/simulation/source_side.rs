//! The source's machine with its readers: jobs are done after a while, and in any order.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use osync_core::model::change::Change;
use osync_core::model::fidelity::Fidelity;
use osync_core::model::removal_limit::RemovalLimit;
use osync_core::model::report::QueueReport;
use osync_core::model::session_id::SessionId;
use osync_core::model::sink_id::SinkId;
use osync_core::model::work_id::WorkId;
use osync_core::options::SourceOptions;
use osync_core::ports::monitor::Event as Told;
use osync_core::protocol::TERMINATION_MAX;
use osync_core::protocol::source::control_service::SourceControlService;
use osync_core::protocol::source::job::Done;
use osync_core::protocol::source::transfer::Output;
use osync_core::runtime::content::OpenFile;
use osync_core::runtime::read;
use osync_core::runtime::reader_pool::{self, Order};
use osync_core::runtime::sharing::{Member, Shared, Sharing};
use osync_core::runtime::waiting::Waiting;
use osync_core::testing::mem_tree::MemTree;
use osync_core::wire::packing::Packer;

use crate::event::Event;
use crate::feed::Feed;
use crate::filter::View;
use crate::random::Random;
use crate::world::World;

type Machine = SourceControlService<fn() -> SessionId>;

thread_local! {
    /// Where session ids come from; a plain function leaves the machine printable.
    static SESSIONS: RefCell<Random> = RefCell::new(Random::new(0));
}

fn next_session() -> SessionId {
    let bytes = SESSIONS.with_borrow_mut(|random| [random.next(), random.next()]);
    let bytes = bytes.map(u64::to_le_bytes).concat();
    SessionId::from_random(bytes.try_into().expect("twice eight"))
}

pub(crate) struct SourceSide {
    pub(crate) tree: MemTree,
    pub(crate) view: View,
    /// Nothing is in the tree at present, though nothing was removed.
    pub(crate) is_hidden: bool,
    pub(crate) feed: Feed,
    /// Counts restarts: what was meant for an earlier one is dropped.
    pub(crate) incarnation: u64,
    /// `None` while it is down.
    machine: Option<Box<Machine>>,
    /// As the runtime keeps them.
    files: HashMap<(u64, WorkId), Box<OpenFile>>,
    sharing: Sharing,
    /// How many readings more there would have been without that.
    pub(crate) readings_shared: u64,
    /// When the work of a session was last begun to be read: what its sink then holds is as old as that.
    pub(crate) read_at: HashMap<(u64, WorkId), Instant>,
    /// Once it was told to stop, when that must be done.
    ends_by: Option<Instant>,
    pub(crate) deadline: Option<Instant>,
    out: Vec<Output>,
}

/// A job on its way through a reader.
#[derive(Debug)]
pub(crate) struct Reading {
    incarnation: u64,
    order: Order,
}

/// Its result on the way back.
#[derive(Debug)]
pub(crate) struct Read {
    incarnation: u64,
    /// When it was begun, unless it goes on with a file.
    began: Option<Instant>,
    result: reader_pool::Result,
}

impl SourceSide {
    pub(crate) fn new(now: Instant, random: &mut Random) -> Self {
        let tree = MemTree::new();
        Self {
            view: View::new(&tree, random),
            tree,
            is_hidden: false,
            feed: Feed::new(0, now),
            incarnation: 0,
            machine: None,
            files: HashMap::new(),
            sharing: Sharing::default(),
            readings_shared: 0,
            read_at: HashMap::new(),
            ends_by: None,
            deadline: None,
            out: Vec::new(),
        }
    }

    pub(crate) fn is_up(&self) -> bool {
        self.machine.is_some()
    }

    /// What was reported is read anew.
    pub(crate) fn hear(&mut self, incarnation: u64, change: &Change) {
        if incarnation == self.incarnation {
            self.sharing.on_change(change);
        }
    }

    /// How many sinks have registered since this source was started.
    pub(crate) fn known_sinks(&self, now: Instant) -> usize {
        self.machine.as_ref().map_or(0, |machine| machine.reports(now).len())
    }

    /// Whether nothing is open, marked, queued or in flight for any of the `sinks`.
    pub(crate) fn is_idle(&self, sinks: usize, now: Instant) -> bool {
        let Some(machine) = &self.machine else { return false };
        let reports = machine.reports(now);
        let is_idle = |(_, queue): &(SinkId, QueueReport)| {
            queue.is_idle && (queue.live, queue.backlog, queue.in_flight) == (0, 0, 0)
        };
        reports.len() == sinks && reports.iter().all(is_idle) && self.files.is_empty()
    }

    /// What is open still, for the message of a failure.
    pub(crate) fn describe(&self, now: Instant) -> String {
        let reports = self.machine.as_ref().map(|machine| machine.reports(now));
        format!("{} files open, {reports:?}\n{:#?}", self.files.len(), self.machine)
    }

    /// Checks that what is held does not grow without limit.
    pub(crate) fn check_bounds(&self, now: Instant) -> Result<(), String> {
        let Some(machine) = &self.machine else { return Ok(()) };
        for (_, queue) in machine.reports(now) {
            // A window of messages, and what may be read ahead of it.
            if queue.in_flight > 512 + 256 {
                return Err(format!("{} pieces of work in flight", queue.in_flight));
            }
            // A job may bring more than was reserved for it: 24 batches of 256 KiB at the worst.
            if queue.in_flight_bytes > queue.window_bytes.max(4 << 20) + (7 << 20) {
                return Err(format!("{} bytes in flight", queue.in_flight_bytes));
            }
            if queue.live + queue.backlog > 20_000 {
                return Err(format!("{} and {} queued", queue.live, queue.backlog));
            }
        }
        Ok(())
    }
}

impl World {
    pub(crate) fn start_source(&mut self) {
        SESSIONS.set(Random::new(self.random.next()));
        let limit = if self.mood.keeps_all {
            *self.random.pick(&[RemovalLimit::NotAll, RemovalLimit::Names(10_000)])
        } else {
            RemovalLimit::Percent(100)
        };
        let horizons = self.horizons.clone();
        let mut options =
            SourceOptions::default().with_removal_limit(limit).with_horizons(horizons);
        if self.random.chance(300) {
            options = options.with_marks_bytes_max(0); // As few as there may be.
        }
        options = options.with_extend_bytes_min(self.extend_bytes_min);
        if self.random.chance(200) {
            options = options.with_rate_max(Some(self.random.between(300_000, 3_000_000)));
        }
        let counters = Arc::default();
        let mut machine = SourceControlService::new(
            options,
            Fidelity::FULL,
            next_session as fn() -> SessionId,
            counters,
            self.now,
        );
        let side = &mut self.source;
        side.incarnation += 1;
        side.sharing = Sharing::default();
        machine.use_lately(side.sharing.lately());
        side.machine = Some(Box::new(machine));
        side.ends_by = None;
        let lateness = *self.random.pick(&[1_000, 10_000, 300_000]);
        self.source.feed = Feed::new(lateness, self.now);
        let ready_at = self.now + self.random.delay(3_000_000);
        self.schedule(ready_at, Event::FeedReady { incarnation: self.source.incarnation });
        self.after_source();
    }

    /// The process is gone, with everything it knew.
    pub(crate) fn kill_source(&mut self) {
        let side = &mut self.source;
        (side.machine, side.deadline) = (None, None);
        side.files.clear();
        side.incarnation += 1;
        self.cut_all();
        let down = self.random.millis(1, 1_500);
        self.schedule(self.now + down, Event::StartSource);
    }

    pub(crate) fn stop_source(&mut self) {
        let now = self.now;
        let side = &mut self.source;
        let Some(machine) = &mut side.machine else { return };
        machine.stop(now, &mut side.out);
        side.ends_by.get_or_insert(now + TERMINATION_MAX + Duration::from_millis(1));
        self.after_source();
    }

    pub(crate) fn on_reading(&mut self, reading: Reading) {
        let Reading { incarnation, order } = reading;
        if incarnation != self.source.incarnation {
            return;
        }
        let now = self.now;
        let Order { ticket, lane: _, job, pack_level, mut open } = order;
        ticket.begin(now);
        self.trace(|| format!("read {ticket:?} {job:?}"));
        let continues = open.is_some();
        let source = self.source.view.source();
        let mut done = read::perform(source, &Waiting::never(), &job, &mut open, || now);
        if let Some(level) = pack_level {
            let mut packer = Packer::default();
            done.payloads().into_iter().for_each(|payload| packer.pack(payload, level));
        }
        if let Done::Looked(Ok(looked)) = &done {
            self.trace(|| format!("read {ticket:?} {:?}", looked.outcomes));
        }
        let most_micros = self.read_micros;
        let at = now + self.random.delay(most_micros);
        let began = (!continues).then_some(now);
        let result = reader_pool::Result { ticket, job, done, open };
        self.schedule(at, Event::Read(Box::new(Read { incarnation, began, result })));
    }

    /// Lets the machine take something, if it is still the one it was meant for.
    pub(crate) fn with_source(
        &mut self,
        incarnation: u64,
        give: impl FnOnce(&mut Machine, Instant, &mut Vec<Output>),
    ) {
        let now = self.now;
        let side = &mut self.source;
        if let Some(machine) = side.machine.as_mut().filter(|_| side.incarnation == incarnation) {
            give(machine, now, &mut side.out);
            self.after_source();
        }
    }

    /// As the runtime's loop takes a result.
    pub(crate) fn on_read(&mut self, read: Read) {
        let Read { incarnation, began, result } = read;
        if incarnation != self.source.incarnation {
            return;
        }
        let side = &mut self.source;
        let reader_pool::Result { ticket, job, done, open } = result;
        let mut members = side.sharing.end(&job, &ticket, &done, self.now);
        if let Some(began) = began {
            side.read_at.extend(members.iter().map(|member| (*member, began)));
        }
        let Some(last) = members.pop() else { return };
        if let Some(open) = open {
            side.files.insert(last, open);
        }
        side.readings_shared += members.len() as u64;
        for (session, work) in members {
            let done = done.clone();
            self.with_source(incarnation, |machine, now, out| {
                machine.on_done(session, work, done, now, out);
            });
        }
        let (session, work) = last;
        self.with_source(incarnation, |machine, now, out| {
            machine.on_done(session, work, done, now, out);
        });
    }

    /// As the runtime's loop does after each thing it takes.
    pub(crate) fn after_source(&mut self) {
        self.carry_out_source();
        let now = self.now;
        let Some(machine) = &mut self.source.machine else { return };
        machine.on_tick(now, &mut self.source.out);
        self.carry_out_source();
        let Some(machine) = &mut self.source.machine else { return };
        self.source.deadline = machine.next_deadline(now);
        if machine.is_ended() {
            self.trace(|| "the source has ended".to_owned());
            // What was said last is still delivered.
            self.source.machine = None;
            (self.source.deadline, self.source.ends_by) = (None, None);
            self.source.files.clear();
            self.source.incarnation += 1;
            self.schedule(now + Duration::from_millis(200), Event::SourceGone);
        } else if self.source.ends_by.is_some_and(|ends_by| ends_by < now) {
            self.fail("the source did not end in time");
        }
    }

    /// As the runtime's loop carries out what the machine wants.
    fn carry_out_source(&mut self) {
        loop {
            let read_before = self.carry_out_source_once();
            if read_before.is_empty() {
                return;
            }
            let (now, side) = (self.now, &mut self.source);
            side.readings_shared += read_before.len() as u64;
            let Some(machine) = &mut side.machine else { return };
            for ((session, work), done) in read_before {
                machine.on_done(session, work, done, now, &mut side.out);
            }
        }
    }

    fn carry_out_source_once(&mut self) -> Vec<(Member, Done)> {
        let mut out = std::mem::take(&mut self.source.out);
        let (mut told, mut read_before) = (Vec::new(), Vec::new());
        for output in out.drain(..) {
            match output {
                Output::Send { channel, peer, frame } => {
                    self.trace(|| format!("source > {channel:?} {peer:?} {}", describe(&frame)));
                    self.send_to_sink(channel, &peer, &frame);
                }
                Output::Job { session, work, lane, job, pack_level } => {
                    let (member, job) = ((session, work), Arc::new(job));
                    let side = &mut self.source;
                    let (open, incarnation) = (side.files.remove(&member), side.incarnation);
                    let is_packed = pack_level.is_some();
                    match side.sharing.join(lane, is_packed, &job, member, self.now) {
                        Shared::Ordered(ticket) => {
                            let at = self.now + self.random.delay(self.read_micros);
                            let order = Order { ticket, lane, job, pack_level, open };
                            let reading = Reading { incarnation, order };
                            self.schedule(at, Event::Reading(Box::new(reading)));
                        }
                        Shared::Joined => {}
                        Shared::Done { done, began } => {
                            self.trace(|| format!("read before for {member:?}: {job:?}"));
                            self.source.read_at.insert(member, began);
                            read_before.push((member, *done));
                        }
                    }
                }
                Output::Forget { session, work } => {
                    self.source.files.remove(&(session, work));
                }
                Output::ReadAnew => self.source.sharing.void_all(),
                Output::ForgetAll { session } => {
                    self.source.sharing.leave(session);
                    self.source.files.retain(|(holder, _), _| *holder != session);
                }
                Output::Horizon { session, asked_at, reached } => {
                    told.push((session, asked_at, reached));
                }
                Output::Fence { cookie } => self.ask_fence(cookie),
                Output::Event(event) => {
                    self.trace(|| format!("source: {event:?}"));
                    if let Told::Disconnected { reason, .. } = event {
                        self.on_disconnected(&reason);
                    }
                }
            }
        }
        self.source.out = out;
        for (session, asked_at, reached) in told {
            let at = self.tick_before(asked_at);
            let Some(machine) = &mut self.source.machine else { continue };
            machine.on_horizon(session, reached, at, &mut self.source.out);
            for output in std::mem::take(&mut self.source.out) {
                if let Output::Event(Told::Horizon { sink, at }) = output {
                    self.horizons.insert(sink, at);
                }
            }
        }
        read_before
    }
}

/// A frame in a line.
pub(crate) fn describe(frame: &osync_core::model::frame::Frame) -> String {
    match osync_core::wire::decode::envelope(frame) {
        Ok(envelope) => format!("{} {:?}", envelope.sequence, envelope.message),
        Err(error) => error.to_string(),
    }
}
