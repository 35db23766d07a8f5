//! The sink's machine with its two writers: the tasks of one directory are done in order by one of
//! them, and what each of them does is judged at once.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};
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
use osync_core::protocol::sink::task::{Action, Finished, Task, Ticket};
use osync_core::runtime::delta_write::Bases;
use osync_core::runtime::write::{self, Staging};
use osync_core::testing::mem_tree::MemTree;
use osync_core::wire::decode;
use osync_core::wire::message::Message;

use crate::actions::line;
use crate::event::Event;
use crate::mood::Fault;
use crate::promises::{Left, Promises};
use crate::source_side::describe;
use crate::world::World;

#[derive(Debug)]
enum Order {
    Do(Box<Task>),
    Clear,
}

#[derive(Debug)]
struct Writer {
    orders: VecDeque<Order>,
    staging: Staging,
    is_busy: bool,
}

#[derive(Debug)]
pub(crate) struct SinkSide {
    pub(crate) tree: MemTree,
    pub(crate) incarnation: u64,
    machine: Option<Box<SourceController>>,
    writers: [Writer; 2],
    /// Where the files that arrive in chunks will appear.
    pub(crate) larges: HashMap<WorkId, RelPath>,
    counters: Counters,
    /// Open questions, and when they were asked.
    questions: BTreeMap<u64, Instant>,
    last_cookie: u64,
    pub(crate) promises: Promises,
    /// The last answer spoke of problems.
    pub(crate) had_problems: bool,
    ends_by: Option<Instant>,
    pub(crate) deadline: Option<Instant>,
    out: Vec<Output>,
}

impl SinkSide {
    pub(crate) fn new() -> Self {
        Self {
            tree: MemTree::starting_at(2_000_000_000),
            incarnation: 0,
            machine: None,
            writers: writers(),
            larges: HashMap::new(),
            counters: Counters::default(),
            questions: BTreeMap::new(),
            last_cookie: 0,
            promises: Promises::default(),
            had_problems: false,
            ends_by: None,
            deadline: None,
            out: Vec::new(),
        }
    }

    pub(crate) fn is_up(&self) -> bool {
        self.machine.is_some()
    }

    pub(crate) fn has_questions(&self) -> bool {
        !self.questions.is_empty()
    }

    pub(crate) fn describe(&self) -> String {
        let machine = self.machine.as_ref();
        let state = machine.map(|machine| (machine.is_connected(), machine.unfinished()));
        format!("connected and unfinished: {state:?}, questions {:?}", self.questions)
    }
}

impl World {
    pub(crate) fn start_sink(&mut self) {
        let id = SinkId::new("sink").expect("four letters");
        let side = &mut self.sink;
        side.incarnation += 1;
        side.machine = Some(Box::new(SourceController::new(id, Fidelity::FULL, true, self.now)));
        (side.writers, side.ends_by) = (writers(), None);
        side.larges.clear();
        side.questions.clear();
        self.connect(Channel::Control, None);
        self.after_sink();
    }

    /// The process is gone, with tasks it had not begun and files that were arriving.
    pub(crate) fn kill_sink(&mut self) {
        self.end_sink();
        let down = self.random.millis(1, 1_500);
        self.schedule(self.now + down, Event::StartSink);
    }

    pub(crate) fn stop_sink(&mut self) {
        let now = self.now;
        let side = &mut self.sink;
        let Some(machine) = &mut side.machine else { return };
        machine.stop(now, &mut side.out);
        side.ends_by.get_or_insert(now + TERMINATION_MAX + Duration::from_secs(1));
        self.after_sink();
    }

    fn end_sink(&mut self) {
        let side = &mut self.sink;
        (side.machine, side.deadline, side.ends_by) = (None, None, None);
        side.writers = writers();
        side.incarnation += 1;
        self.disconnect(Channel::Control);
        self.disconnect(Channel::Data);
    }

    /// Asks whether everything is there by now.
    pub(crate) fn ask(&mut self) {
        let now = self.now;
        let side = &mut self.sink;
        let Some(machine) = &mut side.machine else { return };
        // A sink that ends answers nobody.
        if side.ends_by.is_some() {
            return;
        }
        side.last_cookie += 1;
        side.questions.insert(side.last_cookie, now);
        machine.ask_sync(side.last_cookie, now, &mut side.out);
        self.after_sink();
    }

    pub(crate) fn with_sink(
        &mut self,
        incarnation: u64,
        give: impl FnOnce(&mut SourceController, Instant, &mut Vec<Output>),
    ) {
        let now = self.now;
        let side = &mut self.sink;
        if let Some(machine) = side.machine.as_mut().filter(|_| side.incarnation == incarnation) {
            give(machine, now, &mut side.out);
            self.after_sink();
        }
    }

    /// A writer does the next thing it was ordered to.
    pub(crate) fn on_writing(&mut self, incarnation: u64, index: usize) {
        if incarnation != self.sink.incarnation {
            return;
        }
        let writer = &mut self.sink.writers[index];
        writer.is_busy = false;
        let task = loop {
            match writer.orders.pop_front() {
                Some(Order::Clear) => writer.staging.clear(),
                Some(Order::Do(task)) => break *task,
                None => return,
            }
        };
        let Task { directory, ticket, action } = task;
        let affected = self.affected(&directory, &action);
        let read_at = match &action {
            Action::Put { work, .. } | Action::Close { work, .. } => {
                self.source.read_at.get(work).copied()
            }
            _ => None,
        };
        self.trace(|| format!("writer {index} in {directory}: {}", line(&action)));
        let (put_by, extended) = match &action {
            // The directory itself, which comes last, is not put there.
            Action::Put { work, .. } => (Some((*work, affected.len() - 1)), None),
            Action::Close { work, .. } => (Some((*work, affected.len())), None),
            Action::Chunk { work, .. } => (None, self.sink.larges.get(work).cloned()),
            _ => (None, None),
        };
        let renamed = match &action {
            Action::Rename { from, to, .. } => Some((from.clone(), to.clone())),
            _ => None,
        };
        let side = &mut self.sink;
        let writer = &mut side.writers[index];
        let finished =
            write::perform(&side.tree, &directory, action, &mut writer.staging, &side.counters);
        writer.is_busy = true;
        let is_done = matches!(&finished.replies[..],
            [Message::Applied { failures, .. }] if failures.is_empty());
        if let Some((work, count)) = put_by {
            side.promises.did(work, &affected[..count], &side.tree);
            // It may have been made in place of a file, by its own metadata.
            if side.tree.look(directory.as_bytes()).is_some_and(|it| it.kind.is_directory()) {
                side.promises.disturbed(&directory, Left::Directory);
            }
        }
        if let Some(path) = extended {
            side.promises.disturbed(&path, Left::Extended);
        }
        if let Some((from, to)) = renamed.filter(|_| is_done) {
            side.promises.disturbed(&from, Left::Moved);
            side.promises.disturbed(&to, Left::Moved);
            let judged = self.oracle.judge_rename(&from, &to, &self.sink.tree);
            self.expect(judged);
        }
        let judged = self.oracle.judge(affected, &self.sink.tree, read_at);
        self.expect(judged);
        let at = self.now + self.random.delay(self.write_micros);
        self.schedule(
            at,
            Event::Written(Box::new(Written { incarnation, index, ticket, finished })),
        );
    }

    pub(crate) fn on_written(&mut self, written: Written) {
        let Written { incarnation, index, ticket, finished } = written;
        if incarnation != self.sink.incarnation {
            return;
        }
        self.trace(|| format!("writer {index}: {finished:?}"));
        self.sink.writers[index].is_busy = false;
        self.drive_writer(index);
        self.with_sink(incarnation, |machine, now, out| {
            machine.on_finished(ticket, finished, now, out);
        });
    }

    pub(crate) fn after_sink(&mut self) {
        self.carry_out_sink();
        let now = self.now;
        let Some(machine) = &mut self.sink.machine else { return };
        machine.on_tick(now, &mut self.sink.out);
        self.carry_out_sink();
        let Some(machine) = &mut self.sink.machine else { return };
        self.sink.deadline = machine.next_deadline(now);
        if machine.unfinished() > 2 * 1_024 {
            self.fail("too many tasks wait at the sink");
        } else if machine.is_ended() {
            self.trace(|| "the sink has ended".to_owned());
            self.end_sink();
            let down = self.random.millis(1, 1_500);
            self.schedule(now + down, Event::StartSink);
        } else if self.sink.ends_by.is_some_and(|ends_by| ends_by < now) {
            self.fail("the sink did not end in time");
        }
    }

    fn carry_out_sink(&mut self) {
        let mut out = std::mem::take(&mut self.sink.out);
        for output in out.drain(..) {
            match output {
                Output::Send { channel, frame } => {
                    self.trace(|| format!("sink > {channel:?} {}", describe(&frame)));
                    self.note_promise(&frame);
                    self.send_to_source(channel, frame);
                }
                Output::OpenData { session } => {
                    self.sink.promises.begin_session();
                    self.connect(Channel::Data, Some(session));
                }
                Output::Reset => {
                    for index in 0..self.sink.writers.len() {
                        self.sink.writers[index].orders.push_back(Order::Clear);
                        self.drive_writer(index);
                    }
                    self.disconnect(Channel::Data);
                    self.connect(Channel::Control, None);
                }
                Output::Task(task) => {
                    if let Action::Open { work, path, .. } | Action::Inquire { work, path, .. } =
                        &task.action
                    {
                        self.sink.larges.insert(*work, path.clone());
                    }
                    let index = writer_of(&task);
                    self.sink.writers[index].orders.push_back(Order::Do(Box::new(task)));
                    self.drive_writer(index);
                }
                Output::Sync { is_settled } => {
                    // What it covers is done at once; that it is done is heard of later.
                    let synced = self.sink.tree.sync(is_settled).map_err(|error| error.to_string());
                    let at = self.now + self.random.delay(self.write_micros * 20);
                    let incarnation = self.sink.incarnation;
                    self.schedule(at, Event::Synced { incarnation, synced });
                }
                Output::InSync { cookie, problems, named, .. } => {
                    self.trace(|| {
                        format!("in sync: question {cookie}, {problems} problems {named:?}")
                    });
                    self.on_in_sync(cookie, problems);
                }
                Output::Event(event) => {
                    self.trace(|| format!("sink: {event:?}"));
                    if let Told::Disconnected { reason, .. } = event {
                        self.on_disconnected(&reason);
                    }
                }
                Output::Hopeless { reason } => self.fail(&format!("hopeless: {reason}")),
            }
        }
        self.sink.out = out;
    }

    fn note_promise(&mut self, frame: &Frame) {
        match decode::envelope(frame).map(|envelope| envelope.message) {
            Ok(Message::Applied { work, .. }) => self.sink.promises.confirmed(work),
            Ok(Message::Durable { applied }) => {
                let judged = self.sink.promises.durable(applied);
                self.expect(judged);
            }
            _ => {}
        }
    }

    fn on_in_sync(&mut self, cookie: u64, problems: u64) {
        let Some(asked_at) = self.sink.questions.remove(&cookie) else {
            return self.fail("an answer to no question");
        };
        self.sink.had_problems = problems > 0;
        if problems == 0 {
            let (differences, shared) = (self.differences(), self.shared());
            let may_refuse = self.mood.faults.contains(&Fault::FailWrites);
            let judged = self.oracle.judge_in_sync(asked_at, &differences, &shared, may_refuse);
            self.expect(judged);
        }
    }

    /// Has the writer begin, some time from now, if it has something to do.
    fn drive_writer(&mut self, index: usize) {
        let writer = &mut self.sink.writers[index];
        if writer.is_busy || writer.orders.is_empty() {
            return;
        }
        writer.is_busy = true;
        let at = self.now + self.random.delay(self.write_micros);
        self.schedule(at, Event::Writing { incarnation: self.sink.incarnation, index });
    }
}

/// A task's result on the way back.
#[derive(Debug)]
pub(crate) struct Written {
    incarnation: u64,
    index: usize,
    ticket: Ticket,
    finished: Finished,
}

/// As the runtime chooses it.
fn writer_of(task: &Task) -> usize {
    let mut hasher = DefaultHasher::new();
    task.directory.as_bytes().hash(&mut hasher);
    usize::from((hasher.finish() % 2 == 1) != task.action.is_aside())
}

fn writers() -> [Writer; 2] {
    let bases = Bases::default();
    [(); 2].map(|()| Writer {
        orders: VecDeque::new(),
        staging: Staging::new(bases.clone()),
        is_busy: false,
    })
}
