//! The world of one run: a source and its sinks, trees and machines, what lies between them, and a clock that only
//! moves when something happens.
//!
//! Everything is chosen by one seed, so a run repeats itself exactly.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use osync_core::model::durability::Durability;
use osync_core::model::metadata::Kind;
use osync_core::model::rel_path::RelPath;
use osync_core::model::sink_id::SinkId;
use osync_core::model::timestamp::Timestamp;
use osync_core::ports::sink::Sink;
use osync_core::testing::mem_tree::MemTree;

use crate::event::Event;
use crate::mood::{Fault, Mood, mood, sinks};
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
    pub(crate) sinks: Vec<SinkSide>,
    pub(crate) network: Network,
    /// Operations and faults are over.
    pub(crate) is_quiet: bool,
    /// How long a job takes at the most.
    pub(crate) read_micros: u64,
    /// Files that have grown are extended at the sink; then nobody changes one in the middle too.
    pub(crate) extend_bytes_min: Option<u64>,
    /// Every sink has registered once.
    pub(crate) all_have_come: bool,
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
    settled_by: Instant,
    /// How often in a row everything was the same.
    content_checks: u32,
    failure: Option<String>,
}

/// What a run was like.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub(crate) events: u64,
    pub(crate) virtual_time: Duration,
    /// Readings that were saved because several sinks wanted the same.
    pub(crate) readings_shared: u64,
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
        let mut sides = vec![SinkSide::new(write_micros)];
        // The others are slower or faster.
        let others = 1..sinks(seed);
        sides.extend(others.map(|_| SinkSide::new(*random.pick(&[300, 5_000, 50_000]))));
        Self {
            extend_bytes_min,
            mood: mood(seed),
            random,
            now,
            events: BTreeMap::new(),
            oracle: Oracle::default(),
            source,
            sinks: sides,
            network: Network::new(sinks(seed), latency_micros, notice_micros, now),
            is_quiet: false,
            read_micros,
            all_have_come: false,
            version: 0,
            begun_at: now,
            ticks: Vec::new(),
            horizons: BTreeMap::new(),
            is_traced,
            scheduled: 0,
            events_taken: 0,
            rounds: 0,
            settled_by: now,
            content_checks: 0,
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
        let readings_shared = self.source.readings_shared;
        Ok(Outcome { events: self.events_taken, virtual_time, readings_shared })
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

    /// What lies at `sink` before anybody watches.
    fn prepare_sink(&mut self, sink: usize) {
        if self.random.chance(500) {
            copy(&self.source.tree, &self.sinks[sink].tree);
            self.link_sink(sink);
        }
        let side = &mut self.sinks[sink];
        for name in ["a", "b", "stray"] {
            if self.random.chance(200) {
                side.tree.write(format!("{name}/junk"), "junk");
            }
        }
        side.held.begin_with(&side.tree, self.now);
        if self.mood.faults.contains(&Fault::CutPower) {
            side.tree.set_durability(Durability::Batch);
            side.tree.watch_power();
            side.promises.is_judged = true;
        }
    }

    /// What lies everywhere before anybody watches, and what will happen when.
    fn prepare(&mut self) {
        let before = self.random.between(0, 40);
        (0..before).for_each(|_| self.operate());
        (0..self.sinks.len()).for_each(|sink| self.prepare_sink(sink));
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
            let sink = self.some_sink();
            self.schedule_in(at, Event::Ask { sink });
        }
        if self.random.chance(200) {
            let (at, lasts) = (self.random.below(active_micros), self.random.millis(500, 6_000));
            let (path, until) = (RelPath::new(b"hot").expect("a path"), self.now + lasts);
            self.schedule_in(at, Event::Hammer { path, until });
        }
        let (source_at, sink_at) = (self.random.below(500_000), self.random.below(500_000));
        self.schedule_in(source_at, Event::StartSource);
        self.schedule_in(sink_at, Event::StartSink { sink: 0 });
        for sink in 1..self.sinks.len() {
            // At about the same time, or at any.
            let until = if self.random.chance(500) { 500_000 } else { active_micros };
            let at = self.random.below(until);
            self.schedule_in(at, Event::StartSink { sink });
        }
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
        let deadlines = self.sinks.iter().map(|sink| sink.deadline).chain([self.source.deadline]);
        let Some(at) = deadlines.flatten().chain(next).min() else {
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
        } else if let Some(sink) = self.sinks.iter().position(|sink| sink.deadline == Some(at)) {
            self.after_sink(sink);
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
            Event::Ask { sink } => self.ask(sink),
            Event::Repair => self.repair(),
            Event::CutSink { sink } => self.cut_sink(sink),
            Event::SourceGone => {
                self.cut_all();
                let down = self.random.millis(1, 1_500);
                self.schedule(self.now + down, Event::StartSource);
            }
            Event::StartSource => self.start_source(),
            Event::StartSink { sink } => self.start_sink(sink),
            Event::FeedReady { incarnation } => {
                if incarnation == self.source.incarnation {
                    self.on_feed_ready();
                }
            }
            Event::Report { incarnation, change } => {
                self.trace(|| format!("feed {change:?}"));
                self.source.hear(incarnation, &change);
                self.with_source(incarnation, |machine, now, out| {
                    machine.on_change(&change, now, out);
                });
            }
            Event::Reading(reading) => self.on_reading(*reading),
            Event::Read(read) => self.on_read(*read),
            Event::Writing { sink, incarnation, index } => {
                self.on_writing(sink, incarnation, index);
            }
            Event::Written(written) => self.on_written(*written),
            Event::Synced { sink, incarnation, synced } => {
                self.with_sink(sink, incarnation, |machine, now, out| {
                    machine.on_synced(synced, now, out);
                });
            }
            Event::Established { connection } => self.on_established(connection),
            Event::ToSource { connection, frame } => {
                if let Some((_, channel, peer)) = self.arrives(connection) {
                    self.with_source(self.source.incarnation, |machine, now, out| {
                        machine.on_frame(channel, &peer, &frame, now, out);
                    });
                }
            }
            Event::ToSink { connection, frame } => {
                if let Some((sink, channel, _)) = self.arrives(connection) {
                    self.with_sink(sink, self.sinks[sink].incarnation, |machine, now, out| {
                        machine.on_frame(channel, frame, now, out);
                    });
                }
            }
            Event::UnreachableAtSource { incarnation, channel, peer } => {
                self.with_source(incarnation, |machine, _, out| {
                    machine.on_unreachable(channel, &peer, out);
                });
            }
            Event::UnreachableAtSink { sink, incarnation, channel } => {
                self.with_sink(sink, incarnation, |machine, now, out| {
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
        let sinks = 0..self.sinks.len();
        let answered = sinks.clone().filter(|sink| self.is_answered(*sink)).count();
        let is_settled = answered == sinks.len()
            && self.source.is_idle(sinks.len(), self.now)
            && sinks.clone().all(|sink| self.is_alike(sink));
        self.content_checks = if is_settled { self.content_checks + 1 } else { 0 };
        if !is_settled && self.now > self.settled_by {
            let sides = sinks.map(|sink| {
                let (differences, shared) = (self.differences(sink), self.shared(sink));
                format!("{differences:#?} {shared:?}\n{}", self.sinks[sink].describe())
            });
            let sides: Vec<String> = sides.collect();
            let source = self.source.describe(self.now);
            self.fail(&format!("not settled: {}\n{source}", sides.join("\n")));
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
