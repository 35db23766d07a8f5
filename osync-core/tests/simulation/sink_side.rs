//! The sinks, each a machine with two writers.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use osync_core::model::connection::Channel;
use osync_core::model::fidelity::Fidelity;
use osync_core::model::frame::Frame;
use osync_core::model::rel_path::RelPath;
use osync_core::model::sink_id::SinkId;
use osync_core::model::work_id::WorkId;
use osync_core::ports::counters::Counters;
use osync_core::ports::monitor::Event as Told;
use osync_core::ports::sink::Sink as _;
use osync_core::protocol::TERMINATION_MAX;
use osync_core::protocol::sink::source_controller::{Output, SourceController};
use osync_core::protocol::sink::task::Action;
use osync_core::testing::mem_tree::MemTree;
use osync_core::wire::decode;
use osync_core::wire::message::Message;

use crate::event::Event;
use crate::filter::Snapshot;
use crate::held::Held;
use crate::mood::Fault;
use crate::promises::Promises;
use crate::source_side::describe;
use crate::world::World;
use crate::writers::{Order, Writer, writer_of, writers};

#[derive(Debug)]
pub(crate) struct SinkSide {
    pub(crate) tree: MemTree,
    pub(crate) held: Held,
    pub(crate) incarnation: u64,
    /// How long a task takes at the most.
    pub(crate) write_micros: u64,
    /// Of the data connection.
    session: u64,
    machine: Option<Box<SourceController>>,
    pub(crate) writers: [Writer; 2],
    /// Where the files that arrive in chunks will appear.
    pub(crate) larges: HashMap<WorkId, RelPath>,
    pub(crate) counters: Counters,
    /// Open questions, and when they were asked.
    questions: BTreeMap<u64, Instant>,
    last_cookie: u64,
    pub(crate) promises: Promises,
    /// The last answer spoke of problems.
    had_problems: bool,
    /// It was asked after everything had happened.
    was_asked: bool,
    /// The source's tree and its own when they were found to be the same last.
    pub(crate) alike: Option<[Arc<Snapshot>; 2]>,
    ends_by: Option<Instant>,
    pub(crate) deadline: Option<Instant>,
    out: Vec<Output>,
}

impl SinkSide {
    pub(crate) fn new(write_micros: u64) -> Self {
        Self {
            tree: MemTree::starting_at(2_000_000_000),
            held: Held::default(),
            incarnation: 0,
            write_micros,
            session: 0,
            machine: None,
            writers: writers(),
            larges: HashMap::new(),
            counters: Counters::default(),
            questions: BTreeMap::new(),
            last_cookie: 0,
            promises: Promises::default(),
            had_problems: false,
            was_asked: false,
            alike: None,
            ends_by: None,
            deadline: None,
            out: Vec::new(),
        }
    }

    pub(crate) fn is_up(&self) -> bool {
        self.machine.is_some()
    }

    fn has_questions(&self) -> bool {
        !self.questions.is_empty()
    }

    pub(crate) fn describe(&self) -> String {
        let machine = self.machine.as_ref();
        let state = machine.map(|machine| (machine.is_connected(), machine.unfinished()));
        format!("connected and unfinished: {state:?}, questions {:?}", self.questions)
    }
}

impl World {
    pub(crate) fn start_sink(&mut self, sink: usize) {
        let id = SinkId::new(["sink", "other"][sink]).expect("a few letters");
        let side = &mut self.sinks[sink];
        side.incarnation += 1;
        side.machine = Some(Box::new(SourceController::new(id, Fidelity::FULL, true, self.now)));
        (side.writers, side.ends_by) = (writers(), None);
        side.larges.clear();
        side.questions.clear();
        self.connect(sink, Channel::Control, None);
        self.after_sink(sink);
    }

    /// The process is gone, with tasks it had not begun and files that were arriving.
    pub(crate) fn kill_sink(&mut self, sink: usize) {
        self.end_sink(sink);
        self.start_sink_later(sink);
    }

    fn start_sink_later(&mut self, sink: usize) {
        // One of two may be away while the other goes on.
        let is_long = self.sinks.len() > 1 && self.random.chance(300);
        let down = self.random.millis(1, if is_long { 9_000 } else { 1_500 });
        self.schedule(self.now + down, Event::StartSink { sink });
    }

    pub(crate) fn stop_sink(&mut self, sink: usize) {
        let now = self.now;
        let side = &mut self.sinks[sink];
        let Some(machine) = &mut side.machine else { return };
        machine.stop(now, &mut side.out);
        side.ends_by.get_or_insert(now + TERMINATION_MAX + Duration::from_secs(1));
        self.after_sink(sink);
    }

    fn end_sink(&mut self, sink: usize) {
        let side = &mut self.sinks[sink];
        (side.machine, side.deadline, side.ends_by) = (None, None, None);
        side.writers = writers();
        side.incarnation += 1;
        self.disconnect(sink, Channel::Control);
        self.disconnect(sink, Channel::Data);
    }

    /// Asks whether everything is at `sink` by now.
    pub(crate) fn ask(&mut self, sink: usize) {
        let now = self.now;
        let side = &mut self.sinks[sink];
        let Some(machine) = &mut side.machine else { return };
        // A sink that ends answers nobody.
        if side.ends_by.is_some() {
            return;
        }
        side.last_cookie += 1;
        side.questions.insert(side.last_cookie, now);
        machine.ask_sync(side.last_cookie, now, &mut side.out);
        self.after_sink(sink);
    }

    /// Whether `sink` has answered that everything is there, asked after all of it had happened.
    pub(crate) fn is_answered(&mut self, sink: usize) -> bool {
        let side = &self.sinks[sink];
        let is_answered = side.was_asked && !side.has_questions() && !side.had_problems;
        if !is_answered && !side.has_questions() && side.is_up() {
            self.ask(sink);
            let side = &mut self.sinks[sink];
            side.was_asked = side.has_questions();
        }
        is_answered
    }

    pub(crate) fn with_sink(
        &mut self,
        sink: usize,
        incarnation: u64,
        give: impl FnOnce(&mut SourceController, Instant, &mut Vec<Output>),
    ) {
        let now = self.now;
        let side = &mut self.sinks[sink];
        if let Some(machine) = side.machine.as_mut().filter(|_| side.incarnation == incarnation) {
            give(machine, now, &mut side.out);
            self.after_sink(sink);
        }
    }

    pub(crate) fn after_sink(&mut self, sink: usize) {
        self.carry_out_sink(sink);
        let (now, side) = (self.now, &mut self.sinks[sink]);
        let Some(machine) = &mut side.machine else { return };
        machine.on_tick(now, &mut side.out);
        self.carry_out_sink(sink);
        let side = &mut self.sinks[sink];
        let Some(machine) = &mut side.machine else { return };
        side.deadline = machine.next_deadline(now);
        if machine.unfinished() > 2 * 1_024 {
            self.fail("too many tasks wait at the sink");
        } else if machine.is_ended() {
            self.trace(|| format!("sink {sink} has ended"));
            self.end_sink(sink);
            self.start_sink_later(sink);
        } else if side.ends_by.is_some_and(|ends_by| ends_by < now) {
            self.fail("the sink did not end in time");
        }
    }

    fn carry_out_sink(&mut self, sink: usize) {
        let mut out = std::mem::take(&mut self.sinks[sink].out);
        for output in out.drain(..) {
            match output {
                Output::Send { channel, frame } => {
                    self.trace(|| format!("sink {sink} > {channel:?} {}", describe(&frame)));
                    self.note_promise(sink, &frame);
                    self.send_to_source(sink, channel, frame);
                }
                Output::OpenData { session } => {
                    let side = &mut self.sinks[sink];
                    side.promises.begin_session();
                    side.session = session.tag();
                    self.connect(sink, Channel::Data, Some(session));
                }
                Output::Reset => {
                    for index in 0..self.sinks[sink].writers.len() {
                        self.sinks[sink].writers[index].orders.push_back(Order::Clear);
                        self.drive_writer(sink, index);
                    }
                    self.disconnect(sink, Channel::Data);
                    self.connect(sink, Channel::Control, None);
                }
                Output::Task(task) => {
                    let side = &mut self.sinks[sink];
                    if let Action::Open { work, path, .. } | Action::Inquire { work, path, .. } =
                        &task.action
                    {
                        side.larges.insert(*work, path.clone());
                    }
                    let index = writer_of(&task);
                    let order = Order::Do(side.session, Box::new(task));
                    side.writers[index].orders.push_back(order);
                    self.drive_writer(sink, index);
                }
                Output::Sync { is_settled } => {
                    // What it covers is done at once; that it is done is heard of later.
                    let side = &self.sinks[sink];
                    let synced = side.tree.sync(is_settled).map_err(|error| error.to_string());
                    let incarnation = side.incarnation;
                    let at = self.now + self.random.delay(side.write_micros * 20);
                    self.schedule(at, Event::Synced { sink, incarnation, synced });
                }
                Output::InSync { cookie, problems, named, .. } => {
                    self.trace(|| {
                        format!(
                            "sink {sink} in sync: question {cookie}, {problems} problems {named:?}"
                        )
                    });
                    self.on_in_sync(sink, cookie, problems);
                }
                Output::Event(event) => {
                    self.trace(|| format!("sink {sink}: {event:?}"));
                    if let Told::Disconnected { reason, .. } = event {
                        self.on_disconnected(&reason);
                    }
                }
                Output::Hopeless { reason } => self.fail(&format!("hopeless: {reason}")),
            }
        }
        self.sinks[sink].out = out;
    }

    fn note_promise(&mut self, sink: usize, frame: &Frame) {
        let promises = &mut self.sinks[sink].promises;
        match decode::envelope(frame).map(|envelope| envelope.message) {
            Ok(Message::Applied { work, .. }) => promises.confirmed(work),
            Ok(Message::Durable { applied }) => {
                let judged = promises.durable(applied);
                self.expect(judged);
            }
            _ => {}
        }
    }

    fn on_in_sync(&mut self, sink: usize, cookie: u64, problems: u64) {
        let Some(asked_at) = self.sinks[sink].questions.remove(&cookie) else {
            return self.fail("an answer to no question");
        };
        self.sinks[sink].had_problems = problems > 0;
        if problems == 0 {
            let (differences, shared) = (self.differences(sink), self.shared(sink));
            let may_refuse = self.mood.faults.contains(&Fault::FailWrites);
            let judged = self.oracle.judge_in_sync(asked_at, &differences, &shared, may_refuse);
            self.expect(judged);
        }
    }
}
