//! What cannot be done for the moment: a single path, or everything.
//!
//! Every few seconds it is looked whether the source is there. While it is not, that is all that begins, until its
//! root is found to be the one it was: what is read meanwhile through the old root proves nothing.

use std::time::{Duration, Instant};

use crate::model::need::Need;
use crate::model::rel_path::RelPath;
use crate::model::work_id::WorkId;
use crate::ports::counters::Counters;
use crate::ports::monitor::{Event, Problem};
use crate::protocol::source::problems::Halt;
use crate::protocol::source::transfer::{Output, Transfer};
use crate::queue::agenda::Parcel;
use crate::queue::mark::{Extent, Lane, Urgency};
use crate::wire::encode;

/// How long everything waits while the source is not there, and a directory that cannot be read.
pub(super) const RETRY_PAUSE: Duration = Duration::from_secs(1);
/// How often it is looked whether the source is there, if nothing else shows it.
const CHECK_INTERVAL: Duration = Duration::from_secs(5);
/// After so long a halt is an answer: who asks "in sync?" is told of it.
const ANSWER_AFTER: Duration = Duration::from_secs(10);

/// Whether the source is there.
#[derive(Debug)]
pub(super) struct Presence {
    is_lost: bool,
    /// When to look for it.
    check_at: Instant,
    /// The job that looks.
    probe: Option<WorkId>,
}

impl Presence {
    pub(super) fn new(now: Instant) -> Self {
        Self { is_lost: false, check_at: now + CHECK_INTERVAL, probe: None }
    }

    pub(super) fn due(&self) -> Option<Instant> {
        self.probe.is_none().then_some(self.check_at)
    }
}

/// How soon a target that takes nothing is tried again, the first time; then twice as long.
const TARGET_RETRY_MIN: Duration = Duration::from_secs(1);
/// How long at the most.
const TARGET_RETRY_MAX: Duration = Duration::from_secs(5);
/// How many pieces of work try; twice as many as soon as all of them have gone well.
const TRIES_MIN: u32 = 4;

/// How a target that takes nothing is tried.
#[derive(Debug)]
pub(super) struct Trial {
    /// When, and how long to wait the next time.
    at: Instant,
    wait: Duration,
    /// How many pieces of work may begin now, and how many if they go well.
    tries: u32,
    tries_next: u32,
}

impl Transfer {
    /// Records that `need` of `path`, open since `born`, could not be replicated, and marks it for later.
    pub(super) fn problem(
        &mut self,
        path: &RelPath,
        need: Need,
        born: Instant,
        cause: &str,
        now: Instant,
        out: &mut Vec<Output>,
    ) {
        let cause = encode::text(&cause.escape_debug().to_string());
        let (retry_in, is_new) = self.problems.add(path, &cause, now);
        Counters::add(&self.counters.problems, u64::from(is_new));
        log::debug!("problem: {path}: {cause}; again in {retry_in:?}");
        let extent = Extent::Entry(need);
        self.mark(Lane::Backlog, path, extent, Urgency::At(now + retry_in), born, now);
        let (path, is_inexact) = (path.clone(), false);
        let problem = Problem { path, cause, retry_in, is_inexact };
        out.push(Output::Event(Event::Problem(problem)));
    }

    /// Says that `halt` holds from now on, if that is not known.
    pub(super) fn halt(&mut self, halt: Halt, cause: &str, now: Instant, out: &mut Vec<Output>) {
        let cause = encode::text(&cause.escape_debug().to_string());
        if self.problems.halt(halt, &cause, now) {
            Counters::add(&self.counters.problems, 1);
            log::debug!("halted: {cause}");
            out.push(Output::Event(Event::Halted { cause }));
        }
    }

    /// Says that `halt` is over, if it held.
    pub(super) fn resume(&mut self, halt: Halt, out: &mut Vec<Output>) {
        if let Some(cause) = self.problems.resume(halt) {
            log::debug!("over: {cause}");
            out.push(Output::Event(Event::Resumed { cause }));
        }
    }

    /// Whether something has stood still for so long that nobody should wait for it.
    pub(super) fn is_stuck(&self, now: Instant) -> bool {
        let since = self.problems.halted_since();
        since.is_some_and(|since| now.saturating_duration_since(since) >= ANSWER_AFTER)
    }

    /// The source is not there, says a job.
    pub(super) fn on_source_lost(&mut self, cause: &str, now: Instant, out: &mut Vec<Output>) {
        let cause = format!("nothing is sent or removed: {cause}");
        self.halt(Halt::Source, &cause, now, out);
        self.presence.is_lost = true;
        self.presence.check_at = now + RETRY_PAUSE;
    }

    /// A job that looked for the source is back; returns whether `id` was one, and it is there.
    pub(super) fn on_probed(
        &mut self,
        id: WorkId,
        is_there: bool,
        now: Instant,
        out: &mut Vec<Output>,
    ) -> bool {
        if self.presence.probe != Some(id) {
            return false;
        }
        self.presence.probe = None;
        self.presence.check_at = now + if is_there { CHECK_INTERVAL } else { RETRY_PAUSE };
        if is_there {
            self.presence.is_lost = false;
            self.resume(Halt::Source, out);
        }
        is_there
    }

    /// Whether anything may begin; now and then looks whether the source is there.
    pub(super) fn may_begin(&mut self, now: Instant, out: &mut Vec<Output>) -> bool {
        if self.presence.due().is_some_and(|due| due <= now) {
            // Of the root itself, which nothing else claims.
            let directory = RelPath::root();
            let parcel = Parcel { directory, names: [].into(), may_remove: false, born: now };
            self.presence.probe = self.start_names(Lane::Live, parcel, false, now, out);
        }
        !self.presence.is_lost
    }

    /// The target does not take `path`, nor anything else.
    pub(super) fn on_target_failed(
        &mut self,
        path: &RelPath,
        need: Need,
        born: Instant,
        cause: &str,
        now: Instant,
        out: &mut Vec<Output>,
    ) {
        let wait = match &self.trial {
            // One failure of a trial is as good as many.
            Some(trial) if now < trial.at => None,
            Some(trial) => Some(trial.wait),
            None => Some(TARGET_RETRY_MIN),
        };
        if let Some(wait) = wait {
            let next = (wait * 2).min(TARGET_RETRY_MAX);
            self.trial =
                Some(Trial { at: now + wait, wait: next, tries: 0, tries_next: TRIES_MIN });
        }
        if !self.problems.has_of_target() {
            let cause = format!("the target takes nothing, and is tried again and again: {cause}");
            self.halt(Halt::Target, &cause, now, out);
        }
        let retry_at = self.trial.as_ref().map_or(now, |trial| trial.at);
        self.problems.add_of_target(path, retry_at);
        let extent = Extent::Entry(need);
        self.mark(Lane::Backlog, path, extent, Urgency::At(retry_at), born, now);
    }

    /// Something has been confirmed: perhaps all that the target did not take.
    pub(super) fn on_target_confirmed(&mut self, out: &mut Vec<Output>) {
        if self.trial.is_some() && !self.problems.has_of_target() {
            self.trial = None;
            self.resume(Halt::Target, out);
        }
    }

    /// Whether another piece of work may begin at a target that may take nothing.
    pub(super) fn may_try(&mut self, now: Instant) -> bool {
        let is_drained = self.flight.works.is_empty();
        let Some(trial) = &mut self.trial else { return true };
        if now < trial.at {
            return false;
        }
        if trial.tries == 0 && is_drained {
            // The ones before have gone well.
            (trial.tries, trial.tries_next) =
                (trial.tries_next, trial.tries_next.saturating_mul(2));
        }
        trial.tries > 0
    }

    /// A piece of work has begun.
    pub(super) fn tried(&mut self) {
        if let Some(trial) = &mut self.trial {
            trial.tries = trial.tries.saturating_sub(1);
        }
    }

    /// When the target is to be tried again.
    pub(super) fn trial_due(&self) -> Option<Instant> {
        self.trial.as_ref().map(|trial| trial.at)
    }
}
