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
}
