//! The world of one run: two trees, two machines, what lies between them, and a clock that only moves
//! when something happens.
//!
//! Everything is chosen by one seed, so a run repeats itself exactly.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use osync_core::model::durability::Durability;
use osync_core::model::metadata::Kind;
use osync_core::model::rel_path::RelPath;
use osync_core::model::sink_id::SinkId;
use osync_core::model::timestamp::Timestamp;
use osync_core::ports::sink::Sink;
use osync_core::testing::mem_tree::MemTree;

use crate::event::Event;
use crate::filter::Snapshot;
use crate::mood::{Fault, Mood, mood};
use crate::network::Network;
use crate::oracle::Oracle;
use crate::random::Random;
use crate::sink_side::SinkSide;
use crate::source_side::SourceSide;

/// From the last operation and fault on, both trees must be equal within this.
const SETTLE_MAX: Duration = Duration::from_secs(200);
/// How often it is looked whether they are.
const CHECK_INTERVAL: Duration = Duration::from_millis(250);
/// How often in a row they must be found so: what has settled stays so.
const CONTENT_CHECKS: u32 = 8;
/// More rounds of a machine than this at one moment, and it would keep a processor busy for nothing.
const ROUNDS_MAX: u32 = 100;
/// More events than this, and something feeds on itself.
const EVENTS_MAX: u64 = 2_000_000;

pub(crate) struct World {
    pub(crate) mood: &'static Mood,
    pub(crate) random: Random,
    pub(crate) now: Instant,
    pub(crate) events: BTreeMap<(Instant, u64), Event>,
    pub(crate) oracle: Oracle,
    pub(crate) source: SourceSide,
    pub(crate) sink: SinkSide,
    pub(crate) network: Network,
    /// Operations and faults are over.
    pub(crate) is_quiet: bool,
    /// How long a job and a task take at the most.
    pub(crate) read_micros: u64,
    pub(crate) write_micros: u64,
    /// Files that have grown are extended at the sink; then nobody changes one in the middle too.
    pub(crate) extend_bytes_min: Option<u64>,
    /// Makes contents and times unique.
    pub(crate) version: u64,
    pub(crate) begun_at: Instant,
    /// What the clock of the source's tree said when.
    ticks: Vec<(Instant, Timestamp)>,
    /// As a host keeps them from one source to the next.
    pub(crate) horizons: BTreeMap<SinkId, Timestamp>,
    is_traced: bool,
    scheduled: u64,
    events_taken: u64,
    /// How often a machine wanted to be called again at the same moment.
    rounds: u32,
    was_asked: bool,
    settled_by: Instant,
    /// How often in a row everything was the same.
    content_checks: u32,
    /// The two trees when they were found to be the same last.
    pub(crate) alike: Option<[Arc<Snapshot>; 2]>,
    failure: Option<String>,
}

/// What a run was like.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub(crate) events: u64,
    pub(crate) virtual_time: Duration,
}

impl World {
    pub(crate) fn new(seed: u64, is_traced: bool) -> Self {
        let now = Instant::now();
        let mut random = Random::new(seed);
        let latency_micros = *random.pick(&[200, 2_000, 20_000, 150_000]);
        let notice_micros = *random.pick(&[1_000, 50_000, 8_000_000]);
        let read_micros = *random.pick(&[300, 5_000, 100_000]);
        let write_micros = *random.pick(&[300, 5_000, 50_000]);
        let source = SourceSide::new(now, &mut random);
        let extend_bytes_min = random.chance(500).then_some(1);
        Self {
            extend_bytes_min,
            mood: mood(seed),
            random,
            now,
            events: BTreeMap::new(),
            oracle: Oracle::default(),
            source,
            sink: SinkSide::new(),
            network: Network::new(latency_micros, notice_micros, now),
            is_quiet: false,
            read_micros,
            write_micros,
            version: 0,
            begun_at: now,
            ticks: Vec::new(),
            horizons: BTreeMap::new(),
            is_traced,
            scheduled: 0,
            events_taken: 0,
            rounds: 0,
            was_asked: false,
            settled_by: now,
            content_checks: 0,
            alike: None,
            failure: None,
        }
    }

    /// Runs to the end.
    ///
    /// # Errors
    /// What went wrong.
    pub(crate) fn run(mut self) -> Result<Outcome, String> {
        self.prepare();
        while self.content_checks < CONTENT_CHECKS {
            self.step();
            if let Some(failure) = self.failure {
                return Err(failure);
            }
        }
        let virtual_time = self.now.duration_since(self.begun_at);
        Ok(Outcome { events: self.events_taken, virtual_time })
    }

    pub(crate) fn schedule(&mut self, at: Instant, event: Event) {
        self.scheduled += 1;
        self.events.insert((at.max(self.now), self.scheduled), event);
    }

    pub(crate) fn trace(&self, line: impl FnOnce() -> String) {
        if self.is_traced {
            let at = self.now.duration_since(self.begun_at).as_micros();
            eprintln!("{at:>10} {}", line());
        }
    }

    pub(crate) fn fail(&mut self, reason: &str) {
        self.trace(|| format!("FAILURE {reason}"));
        self.failure.get_or_insert(reason.to_owned());
    }

    pub(crate) fn expect(&mut self, judged: Result<(), String>) {
        if let Err(reason) = judged {
            self.fail(&reason);
        }
    }

    /// Without faults of the connection no session ever ends.
    pub(crate) fn on_disconnected(&mut self, reason: &str) {
        if matches!(self.mood.name, "calm" | "problems") {
            self.fail(&format!("a session ended on a good day: {reason}"));
        }
    }

    /// What lies at both ends before anybody watches, and what will happen when.
    fn prepare(&mut self) {
        let before = self.random.between(0, 40);
        (0..before).for_each(|_| self.operate());
        if self.random.chance(500) {
            copy(&self.source.tree, &self.sink.tree);
            self.link_sink();
        }
        for name in ["a", "b", "stray"] {
            if self.random.chance(200) {
                self.sink.tree.write(format!("{name}/junk"), "junk");
            }
        }
        self.oracle.begin_with(&self.sink.tree, self.now);
        if self.mood.faults.contains(&Fault::CutPower) {
            self.sink.tree.set_durability(Durability::Batch);
            self.sink.tree.watch_power();
            self.sink.promises.is_judged = true;
        }
        (0..self.random.between(0, 20)).for_each(|_| self.operate());
        let active_micros = self.random.between(200_000, 12_000_000);
        let bursts: Vec<u64> = (0..10).map(|_| self.random.below(active_micros)).collect();
        for _ in 0..self.random.between(1, self.mood.operations_max) {
            let at = match self.random.below(10) {
                0..4 => self.random.pick(&bursts) + self.random.below(20_000),
                4..7 => self.random.pick(&bursts) + self.random.below(500_000),
                _ => self.random.below(active_micros),
            };
            self.schedule_in(at.min(active_micros), Event::Operate);
        }
        for _ in 0..self.random.between(0, self.mood.faults_max) {
            let at = self.random.below(active_micros);
            self.schedule_in(at, Event::Strike);
        }
        for _ in 0..self.random.between(0, 4) {
            let at = self.random.below(active_micros);
            self.schedule_in(at, Event::Ask);
        }
        if self.random.chance(200) {
            let (at, lasts) = (self.random.below(active_micros), self.random.millis(500, 6_000));
            let (path, until) = (RelPath::new(b"hot").expect("a path"), self.now + lasts);
            self.schedule_in(at, Event::Hammer { path, until });
        }
        let (source_at, sink_at) = (self.random.below(500_000), self.random.below(500_000));
        self.schedule_in(source_at, Event::StartSource);
        self.schedule_in(sink_at, Event::StartSink);
        self.schedule_in(active_micros, Event::Quiet);
    }

    fn schedule_in(&mut self, micros: u64, event: Event) {
        self.schedule(self.now + Duration::from_micros(micros), event);
    }

    /// Lets the next thing happen.
    /// What the clock of the source's tree had said last before `at`.
    pub(crate) fn tick_before(&self, at: Instant) -> Timestamp {
        let earlier = self.ticks.partition_point(|(when, _)| *when < at);
        earlier.checked_sub(1).map_or(Timestamp::default(), |index| self.ticks[index].1)
    }

    fn step(&mut self) {
        let tick = self.source.tree.clock();
        if self.ticks.last().is_none_or(|(_, last)| *last != tick) {
            self.ticks.push((self.now, tick));
        }
        let next = self.events.first_key_value().map(|((at, _), _)| *at);
        let deadlines = [self.source.deadline, self.sink.deadline];
        let Some(at) = deadlines.into_iter().flatten().chain(next).min() else {
            return self.fail("nothing will ever happen again");
        };
        self.rounds = if at > self.now { 0 } else { self.rounds + 1 };
        self.events_taken += 1;
        if self.events_taken > EVENTS_MAX {
            return self.fail("events without end");
        }
        self.now = at.max(self.now);
        if next == Some(at) {
            if let Some((_, event)) = self.events.pop_first() {
                self.rounds = 0;
                self.take(event);
            }
        } else if self.rounds > ROUNDS_MAX {
            self.fail("a machine is never content");
        } else if self.source.deadline == Some(at) {
            self.after_source();
        } else {
            self.after_sink();
        }
        if self.events_taken.is_multiple_of(64) {
            let checked = self.source.check_bounds(self.now);
            self.expect(checked);
        }
    }

    fn take(&mut self, event: Event) {
        match event {
            // Nobody works in a tree that is not there.
            Event::Operate | Event::Hammer { .. } if self.source.is_hidden => {}
            Event::Operate => self.operate(),
            Event::Hammer { path, until } => self.hammer(path, until),
            Event::Strike => self.strike(),
            Event::Quiet => self.on_quiet(),
            Event::Check => self.check(),
            Event::Ask => self.ask(),
            Event::Repair => self.repair(),
            Event::CutAll => self.cut_all(),
            Event::SourceGone => {
                self.cut_all();
                let down = self.random.millis(1, 1_500);
                self.schedule(self.now + down, Event::StartSource);
            }
            Event::StartSource => self.start_source(),
            Event::StartSink => self.start_sink(),
            Event::FeedReady { incarnation } => {
                if incarnation == self.source.incarnation {
                    self.on_feed_ready();
                }
            }
            Event::Report { incarnation, change } => {
                self.trace(|| format!("feed {change:?}"));
                self.with_source(incarnation, |machine, now, out| {
                    machine.on_change(&change, now, out);
                });
            }
            Event::Reading(reading) => self.on_reading(*reading),
            Event::Read(read) => self.on_read(*read),
            Event::Writing { incarnation, index } => self.on_writing(incarnation, index),
            Event::Written(written) => self.on_written(*written),
            Event::Synced { incarnation, synced } => {
                self.with_sink(incarnation, |machine, now, out| {
                    machine.on_synced(synced, now, out);
                });
            }
            Event::Established { connection } => self.on_established(connection),
            Event::ToSource { connection, frame } => {
                if let Some((channel, peer)) = self.arrives(connection) {
                    self.with_source(self.source.incarnation, |machine, now, out| {
                        machine.on_frame(channel, &peer, &frame, now, out);
                    });
                }
            }
            Event::ToSink { connection, frame } => {
                if let Some((channel, _)) = self.arrives(connection) {
                    self.with_sink(self.sink.incarnation, |machine, now, out| {
                        machine.on_frame(channel, frame, now, out);
                    });
                }
            }
            Event::UnreachableAtSource { incarnation, channel, peer } => {
                self.with_source(incarnation, |machine, _, out| {
                    machine.on_unreachable(channel, &peer, out);
                });
            }
            Event::UnreachableAtSink { incarnation, channel } => {
                self.with_sink(incarnation, |machine, now, out| {
                    machine.on_unreachable(channel, now, out);
                });
            }
        }
    }

    fn on_quiet(&mut self) {
        self.trace(|| "quiet".to_owned());
        self.is_quiet = true;
        self.settled_by = self.now + SETTLE_MAX;
        self.repair();
        if self.mood.keeps_all {
            // A source without anything would keep the sink as it is.
            self.write(&RelPath::new(b"anchor").expect("a path"), 10);
        }
        self.schedule(self.now, Event::Check);
    }

    /// Looks whether everything is the same; asks the engine once.
    fn check(&mut self) {
        let is_answered = self.was_asked && !self.sink.has_questions() && !self.sink.had_problems;
        if !is_answered && !self.sink.has_questions() && self.sink.is_up() {
            self.ask();
            self.was_asked = self.sink.has_questions();
        }
        let is_settled = is_answered && self.source.is_idle(self.now) && self.is_alike();
        self.content_checks = if is_settled { self.content_checks + 1 } else { 0 };
        if !is_settled && self.now > self.settled_by {
            let (differences, shared) = (self.differences(), self.shared());
            let (source, sink) = (self.source.describe(self.now), self.sink.describe());
            self.fail(&format!("not settled: {differences:#?} {shared:?}\n{source}\n{sink}"));
        }
        self.schedule(self.now + CHECK_INTERVAL, Event::Check);
    }
}

/// Makes the empty tree `to` like `from`.
fn copy(from: &MemTree, to: &MemTree) {
    let entries = from.snapshot();
    for (path, (metadata, content)) in &*entries {
        let made = match metadata.kind {
            Kind::Directory => to.make_directory(path).map(drop),
            Kind::File { .. } => to.write_file(path, metadata, content),
            _ => to.make_special(path, metadata),
        };
        made.expect("an empty tree takes everything");
    }
    for (path, (metadata, _)) in entries.iter().rev() {
        to.set_metadata(path, metadata).expect("just made");
    }
}
