//! Up to when everything is at the sink, by the clock of the source: where the next session begins to doubt.
//!
//! A file whose size and time are as before, though it changed, is found by its own report, if there is anybody to
//! report it. For the time in which there was nobody a session has a *horizon*: files that changed since, as their
//! inodes say, are proven whatever the sink's answer.
//!
//! The horizon moves on by the questions that the sink asks ([`sync`]) and by such of the source's own: once one is
//! answered without problems, and what was confirmed by then is durable, all is there that had happened when it was
//! asked.
//!
//! [`sync`]: crate::protocol::source::transfer::sync

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::model::change::Change;
use crate::model::need::Need;
use crate::model::rel_path::RelPath;
use crate::model::timestamp::Timestamp;
use crate::protocol::source::transfer::{Output, Transfer};
use crate::protocol::source::work::Page;
use crate::queue::agenda::Visit;
use crate::queue::mark::{Extent, Lane, Urgency};

/// From one question to the next, while anything changes.
const INTERVAL: Duration = Duration::from_secs(5);

/// A sink that does not say that things are durable leaves it to its operating system, which takes no longer.
const DURABLE_AFTER: Duration = Duration::from_mins(1);

/// Answers that may wait for that.
const ANSWERED_MAX: usize = 64;

/// What is doubted, and since when all is known.
#[derive(Debug)]
pub(super) struct Horizon {
    at: Option<Timestamp>,
    /// What was to be compared then is compared for the first time in this session.
    compared_at: Instant,
    /// Something may have changed since the last question.
    has_news: bool,
    asked_at: Option<Instant>,
    is_open: bool,
    answered: VecDeque<Answered>,
    /// The latest moment that was told.
    told_at: Option<Instant>,
}

/// A question that was answered, and until which confirmation what it was about must be durable.
#[derive(Debug)]
struct Answered {
    asked_at: Instant,
    at: Instant,
    applied: u64,
}

impl Horizon {
    pub(super) fn new(at: Option<Timestamp>, now: Instant) -> Self {
        Self {
            at,
            compared_at: now,
            has_news: true,
            asked_at: None,
            is_open: false,
            answered: VecDeque::new(),
            told_at: None,
        }
    }

    /// Everything is to be compared from now on.
    pub(super) fn compare(&mut self, now: Instant) {
        self.compared_at = now;
    }

    /// Something may have changed.
    pub(super) fn hear(&mut self) {
        self.has_news = true;
    }

    /// Since when what `visit` finds is doubted, if it is.
    pub(super) fn of(&self, visit: &Visit) -> Option<Timestamp> {
        self.at.filter(|_| visit.born <= self.compared_at)
    }

    fn ask_due(&self) -> Option<Instant> {
        let last = self.asked_at.unwrap_or(self.compared_at);
        (self.has_news && !self.is_open).then(|| last + INTERVAL)
    }

    pub(super) fn due(&self) -> Option<Instant> {
        let believed = self.answered.front().map(|answered| answered.at + DURABLE_AFTER);
        [self.ask_due(), believed].into_iter().flatten().min()
    }

    /// Whether it is time for a question.
    pub(super) fn take_question(&mut self, now: Instant) -> bool {
        let is_due = self.ask_due().is_some_and(|due| due <= now);
        if is_due {
            (self.asked_at, self.is_open, self.has_news) = (Some(now), true, false);
        }
        is_due
    }

    /// All that had happened at `asked_at` is `applied` so far.
    pub(super) fn answer(&mut self, asked_at: Instant, applied: u64, now: Instant) {
        if self.answered.len() < ANSWERED_MAX {
            self.answered.push_back(Answered { asked_at, at: now, applied });
        }
    }

    /// The source's own question of `asked_at` has been answered: if not with all, it is asked again.
    pub(super) fn close_question(&mut self, asked_at: Instant) {
        self.is_open = false;
        let is_there = self.told_at.is_some_and(|told_at| told_at >= asked_at)
            || self.answered.iter().any(|answered| answered.asked_at >= asked_at);
        self.has_news |= !is_there;
    }

    /// So much is durable: when the last question was asked of which all is.
    fn reached(&mut self, durable: u64, now: Instant) -> Option<Instant> {
        let is_safe = |answered: &&Answered| {
            answered.applied <= durable
                || now.saturating_duration_since(answered.at) >= DURABLE_AFTER
        };
        let safe = self.answered.iter().take_while(is_safe).count();
        let newest = self.answered.drain(..safe).map(|answered| answered.asked_at).max();
        let newest = newest.filter(|newest| self.told_at.is_none_or(|told_at| told_at < *newest));
        self.told_at = newest.or(self.told_at);
        newest
    }
}

impl Transfer {
    /// Has the suspects of `page` sent or proven.
    pub(super) fn mark_suspects(&mut self, visit: &Visit, page: &Page, now: Instant) {
        for name in &page.suspects {
            let path = crate::queue::mark_set::entry_path(&visit.directory, name);
            let extent = Extent::Entry(Need::Content);
            self.mark(Lane::Backlog, &path, extent, Urgency::Now, visit.born, now);
        }
    }

    /// Has everything compared, for what happened while nobody looked.
    pub(in crate::protocol::source) fn compare_all(&mut self, now: Instant, out: &mut Vec<Output>) {
        self.horizon.compare(now);
        self.compare_again(now, out);
    }

    /// Has everything compared, for what nobody reported.
    pub(in crate::protocol::source) fn compare_again(
        &mut self,
        now: Instant,
        out: &mut Vec<Output>,
    ) {
        let everything = Change::Lost { scope: RelPath::root(), reason: String::new() };
        self.on_change(&everything, now);
        self.on_tick(now, out);
    }

    /// Tells how far the horizon has come.
    pub(super) fn move_horizon(&mut self, now: Instant, out: &mut Vec<Output>) {
        if let Some(asked_at) = self.horizon.reached(self.flight.confirmed.durable_parts(), now) {
            let session = self.session;
            out.push(Output::Horizon { session, asked_at, is_beginning: false });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_moves_to_what_was_asked_once_that_is_durable() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut horizon = Horizon::new(None, start);
        assert!(!horizon.take_question(at(4)));
        assert!(horizon.take_question(at(5)));
        horizon.hear();
        assert!(!horizon.take_question(at(20)), "one at a time");
        horizon.answer(at(5), 3, at(21));
        horizon.close_question(at(5));
        assert!(horizon.take_question(at(21)));
        horizon.close_question(at(21));
        assert!(horizon.take_question(at(26)), "asked again, because there was a problem");
        horizon.answer(at(26), 7, at(27));
        horizon.close_question(at(26));

        assert_eq!(horizon.reached(2, at(27)), None);
        assert_eq!(horizon.reached(6, at(27)), Some(at(5)));
        assert_eq!(horizon.reached(6, at(86)), None);
        assert_eq!(horizon.reached(6, at(87)), Some(at(26)), "a silent sink is believed late");
        assert_eq!(horizon.due(), None, "nothing has changed");
    }
}
