//! Is the sink in sync, and how far behind is it?

use std::time::{Duration, Instant};

use crate::model::rel_path::RelPath;
use crate::model::report::QueueReport;
use crate::ports::counters::Counters;
use crate::ports::monitor::Problem;
use crate::protocol::source::transfer::{Breach, Output, Reached, Transfer};
use crate::queue::agenda::Agenda;
use crate::queue::mark::Lane;
use crate::wire::message::Message;

/// Questions of one sink that may be open at once.
const QUESTIONS_MAX: usize = 64;

/// A question of the sink: is everything here that had happened when I asked?
#[derive(Debug)]
pub(super) struct SyncWait {
    /// `None`: the question is the source's own, for the horizon.
    cookie: Option<u64>,
    asked_at: Instant,
    /// When the change feed had reported everything that had happened before the question.
    fenced_at: Option<Instant>,
    is_asked: bool,
}

/// How often a sink is told at the most which problems there are.
const TELL_INTERVAL: Duration = Duration::from_secs(1);

/// What a sink knows of its problems.
#[derive(Debug, Default)]
pub(super) struct Told {
    /// [`Problems::changes`] then; `None` as long as it knows nothing of this session.
    ///
    /// [`Problems::changes`]: crate::protocol::source::problems::Problems::changes
    changes: Option<u64>,
    at: Option<Instant>,
}

impl Told {
    /// Whether it is time to look if there is something to tell.
    pub(super) fn is_due(&self, now: Instant) -> bool {
        self.at.is_none_or(|at| now.saturating_duration_since(at) >= TELL_INTERVAL)
    }
}

impl Transfer {
    /// Tells the sink which problems there are, if it does not know. That there are none is said once
    /// everything has been looked at.
    pub(in crate::protocol::source) fn tell_problems(
        &mut self,
        now: Instant,
        out: &mut Vec<Output>,
    ) {
        let changes = self.problems.changes();
        let is_known = self.told.changes == Some(changes);
        let is_early = self.told.changes.is_none() && changes == 0 && self.is_open_since(now);
        if is_known || is_early {
            return;
        }
        self.told = Told { changes: Some(changes), at: Some(now) };
        let (count, named) = (self.problems.len() as u64, self.problems.named());
        self.send_control(Message::Problems { count, named }, now, out);
    }

    pub(super) fn on_sync_request(&mut self, cookie: u64, now: Instant) -> Result<(), Breach> {
        if self.sync.len() >= QUESTIONS_MAX {
            return Err(Breach("too many questions at once"));
        }
        self.sync.push(SyncWait {
            cookie: Some(cookie),
            asked_at: now,
            fenced_at: None,
            is_asked: false,
        });
        Ok(())
    }

    /// Asks for the horizon, if it is time.
    pub(super) fn ask_for_horizon(&mut self, now: Instant) {
        if self.horizon.take_question(now) {
            self.sync.push(SyncWait {
                cookie: None,
                asked_at: now,
                fenced_at: None,
                is_asked: false,
            });
        }
    }

    /// Whether a question needs a fence; it counts as asked for from now on.
    pub fn take_fence_wish(&mut self) -> bool {
        let mut wishes = false;
        for wait in &mut self.sync {
            wishes |= !std::mem::replace(&mut wait.is_asked, true);
        }
        wishes
    }

    /// A fence passed that was asked for after every question up to now that counts as asked for.
    pub fn on_fence(&mut self, now: Instant, out: &mut Vec<Output>) {
        let mut last = None;
        for wait in self.sync.iter_mut().filter(|wait| wait.is_asked && wait.fenced_at.is_none()) {
            wait.fenced_at = Some(now);
            last = last.max(Some(wait.asked_at));
        }
        let (session, reached) = (self.session, Reached::Reported(now));
        out.extend(last.map(|asked_at| Output::Horizon { session, asked_at, reached }));
        self.answer_sync(now, out);
    }

    /// Answers the questions whose time has come.
    pub(super) fn answer_sync(&mut self, now: Instant, out: &mut Vec<Output>) {
        while let Some(index) = self.next_question() {
            let Some(fenced_at) = self.sync[index].fenced_at else { return };
            if self.is_open_since(fenced_at) && !self.is_stuck(now) {
                return;
            }
            let problems = self.problems.len() as u64;
            let SyncWait { cookie, asked_at, .. } = self.sync.swap_remove(index);
            if problems == 0 && !self.is_open_since(fenced_at) {
                self.horizon.answer(asked_at, self.flight.confirmed.parts(), now);
                self.move_horizon(now, out);
            }
            let Some(cookie) = cookie else {
                self.horizon.close_question(asked_at);
                continue;
            };
            let named = self.problems.named();
            self.send_control(Message::InSync { cookie, problems, named }, now, out);
        }
    }

    /// So many confirmations are durable.
    pub(super) fn on_durable(
        &mut self,
        applied: u64,
        now: Instant,
        out: &mut Vec<Output>,
    ) -> Result<(), Breach> {
        let durable = self.flight.confirmed.durable(applied);
        let entries =
            durable.ok_or(Breach("more is durable than was confirmed, or less than before"))?;
        Counters::add(&self.counters.durable_entries, entries);
        self.move_horizon(now, out);
        Ok(())
    }

    /// When everything had been reported that the latest question is about.
    pub(super) fn asked_at(&self) -> Option<Instant> {
        self.sync.iter().filter_map(|wait| wait.fenced_at).max()
    }

    /// The question that was fenced first.
    fn next_question(&self) -> Option<usize> {
        let fenced =
            self.sync.iter().enumerate().filter_map(|(index, wait)| Some((wait.fenced_at?, index)));
        fenced.min().map(|(_, index)| index)
    }

    /// Whether anything is open that was so at `at`, known problems aside.
    fn is_open_since(&self, at: Instant) -> bool {
        self.flight.works.values().any(|work| work.born <= at)
            || self.renames.iter().any(|hint| hint.born <= at)
            || self.grown.is_open_since(at)
            || self.search.born().is_some_and(|born| born <= at)
            || self.removals_born().is_some_and(|born| born <= at)
            || is_open_since(&self.live, at, |_| true)
            // A problem is tried again in the backlog; what is live at such a path was reported since.
            || is_open_since(&self.backlog, at, |path| !self.problems.contains(path))
    }

    /// Since when the oldest removal waits that nobody is known to have to do something about.
    fn removals_born(&self) -> Option<Instant> {
        self.removals.born().filter(|_| !self.problems.holds_removals())
    }

    /// The first `limit` paths that are not replicated at present, or only inexactly.
    #[must_use]
    pub fn problems(&self, limit: usize, now: Instant) -> Vec<Problem> {
        self.problems.list(limit, now)
    }

    /// Where the queue stands.
    #[must_use]
    pub fn queue_report(&self, now: Instant) -> QueueReport {
        let live = [self.flight.oldest_born(Lane::Live), self.live.oldest_born()];
        let live_since = live.into_iter().chain([self.removals_born()]);
        let lag = live_since.flatten().min();
        QueueReport {
            live: self.live.len() as u64 + self.removals.len(),
            backlog: self.backlog.len() as u64,
            in_flight: self.flight.works.len() as u64,
            in_flight_bytes: self.data.window().in_flight_bytes(),
            window_bytes: self.data.window().size_bytes(),
            lag: lag.map_or(Duration::ZERO, |since| now.saturating_duration_since(since)),
            is_idle: !self.is_open_since(now),
            problems: self.problems.len() as u64,
            inexact: self.problems.inexact() as u64,
            undurable: self.flight.confirmed.undurable(),
        }
    }
}

/// Whether anything in `agenda` was open at `at`, of its marks those at a path that `counts`.
fn is_open_since(agenda: &Agenda, at: Instant, counts: impl Fn(&RelPath) -> bool) -> bool {
    agenda.visits.iter().any(|visit| visit.born <= at)
        || agenda.parcels.iter().any(|parcel| parcel.born <= at)
        || agenda.larges.iter().any(|large| large.born <= at)
        || agenda.marks.iter().any(|mark| mark.born <= at && counts(&mark.path))
}
