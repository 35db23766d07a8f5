//! Up to when everything is at the sink, by the clock of the source: where the next session begins to doubt.
//!
//! A file whose size and time are as before, though it changed, is found by its own report, if there is anybody to
//! report it. For the time in which there was nobody a session has a *horizon*: files that changed since, as their
//! inodes say, are proven whatever the sink's answer.
//!
//! The horizon moves on by the questions that the sink asks ([`sync`]) and by such of the source's own: once one is
//! answered without problems, and what was confirmed by then is durable, all is there that had happened when it was
//! asked. Of a sink that does not say what is durable that is believed a minute later, or when it ends in agreement:
//! otherwise runs that end within that minute would prove the same files each time.
//!
//! While a session lasts, a change is found by its own report. Where that is taken up by a mark of a directory, or may
//! have been lost, the comparison that comes of it distrusts *edits*: files are proven whose time was put back since the
//! last moment of which everything had been reported when that mark was born. A fence tells of such a moment, and so
//! does the loss of everything, which has been made good by a comparison of its own. A directory that came to its name by
//! a rename that the sink has not made is distrusted in *everything*: what lies there at the sink may be another one,
//! whose files look the same.
//!
//! [`sync`]: crate::protocol::source::transfer::sync

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::model::change::Change;
use crate::model::name::Name;
use crate::model::need::Need;
use crate::model::rel_path::RelPath;
use crate::model::sink_id::SinkId;
use crate::model::timestamp::Timestamp;
use crate::protocol::source::job::Doubt;
use crate::protocol::source::transfer::results::unread_bytes;
use crate::protocol::source::transfer::{Output, Reached, Transfer};
use crate::protocol::source::work::Page;
use crate::queue::agenda::{Parcel, Visit};
use crate::queue::mark::{Distrust, Extent, Lane, Urgency};

/// From one question to the next, while anything changes.
const INTERVAL: Duration = Duration::from_secs(5);
/// The same while nothing but losses is reported, by a feed that knows no better and answers each question by another.
const LOST_INTERVAL: Duration = Duration::from_mins(10);

/// A sink that does not say that things are durable leaves it to its operating system, which takes no longer.
const DURABLE_AFTER: Duration = Duration::from_mins(1);

/// Answers that may wait for that.
const ANSWERED_MAX: usize = 64;
/// Moments that are remembered; of older marks more is doubted than need be.
const REPORTED_MAX: usize = 8;

/// What is doubted, and since when all is known.
#[derive(Debug)]
pub(super) struct Horizon {
    at: Option<Timestamp>,
    /// What was to be compared then is compared for the first time in this session.
    compared_at: Instant,
    /// When the next question is due after the last: something may have changed since.
    news: Option<Duration>,
    asked_at: Option<Instant>,
    is_open: bool,
    answered: VecDeque<Answered>,
    /// The latest moment that was told.
    told_at: Option<Instant>,
    /// What has never been compared in this session is believed up to here.
    floor: Option<Timestamp>,
    /// By then all had been reported, or found by a comparison, that had changed before.
    reported: VecDeque<(Instant, Timestamp)>,
    /// When everything was lost, which nobody has been asked to put into the time of files yet.
    lost: Vec<Instant>,
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
            news: Some(INTERVAL),
            asked_at: None,
            is_open: false,
            answered: VecDeque::new(),
            told_at: None,
            floor: at,
            reported: VecDeque::new(),
            lost: Vec::new(),
        }
    }

    /// Everything is to be compared from now on.
    pub(super) fn compare(&mut self, now: Instant) {
        self.compared_at = now;
    }

    /// Takes what the feed reports.
    pub(super) fn hear(&mut self, change: &Change, now: Instant) {
        let interval = match change {
            Change::Ready | Change::Fence { .. } | Change::Failed { .. } => return,
            Change::Lost { scope, .. } => {
                self.lost.extend(scope.is_root().then_some(now));
                LOST_INTERVAL
            }
            Change::Entry { .. }
            | Change::Subtree { .. }
            | Change::MovedIn { .. }
            | Change::Renamed { .. }
            | Change::Unwatched { .. } => INTERVAL,
        };
        if interval == INTERVAL || !self.is_open {
            self.news = Some(self.news.map_or(interval, |before| before.min(interval)));
        }
    }

    /// What is doubted of what `visit` finds, if anything is.
    pub(super) fn of(&self, visit: &Visit) -> Option<Doubt> {
        if visit.distrust == Distrust::Everything {
            return Some(Doubt::ALL);
        }
        if let Some(since) = self.at.filter(|_| visit.born <= self.compared_at) {
            return Some(Doubt { since, spares_written: false });
        }
        if visit.distrust == Distrust::Nothing {
            return None;
        }
        let earlier = self.reported.partition_point(|(by, _)| *by < visit.born);
        let since = match earlier.checked_sub(1) {
            // A clock may be put back.
            Some(last) => self.reported.range(last..).map(|(_, at)| *at).min(),
            None => self.floor,
        };
        Some(Doubt { since: since?, spares_written: true })
    }

    fn reported(&mut self, by: Instant, at: Timestamp) {
        if self.reported.back().is_some_and(|(last, _)| *last > by) {
            return;
        }
        if self.reported.len() >= REPORTED_MAX {
            self.reported.pop_front();
        }
        self.reported.push_back((by, at));
    }

    fn ask_due(&self) -> Option<Instant> {
        let last = self.asked_at.unwrap_or(self.compared_at);
        self.news.filter(|_| !self.is_open).map(|interval| last + interval)
    }

    pub(super) fn due(&self) -> Option<Instant> {
        let believed = self.answered.front().map(|answered| answered.at + DURABLE_AFTER);
        [self.ask_due(), believed].into_iter().flatten().min()
    }

    /// Whether it is time for a question.
    pub(super) fn take_question(&mut self, now: Instant) -> bool {
        let is_due = self.ask_due().is_some_and(|due| due <= now);
        if is_due {
            (self.asked_at, self.is_open, self.news) = (Some(now), true, None);
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
        if !is_there {
            self.news = Some(INTERVAL);
        }
    }

    /// When the last question was asked that has been answered, durable or not.
    fn last_answered(&self) -> Option<Instant> {
        self.answered.iter().map(|answered| answered.asked_at).max()
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
    /// Has the suspects of `page` sent or proven, but for those that the sink asked for. As a parcel: so many marks
    /// might become one of the directory, which would be compared again.
    pub(super) fn send_suspects(&mut self, lane: Lane, visit: &Visit, page: &Page) {
        let entries = page.entries.iter().enumerate();
        let names: VecDeque<(Name, Need, u64)> = entries
            .filter(|(index, entry)| {
                page.suspects.binary_search(&entry.name).is_ok() && !page.wanted.contains(index)
            })
            .map(|(_, entry)| (entry.name.clone(), Need::Content, unread_bytes(entry)))
            .collect();
        if !names.is_empty() {
            let (directory, born) = (visit.directory.clone(), visit.born);
            let parcel = Parcel { directory, names, may_remove: false, born };
            self.agenda(lane).parcels.push_back(parcel);
        }
    }

    /// Takes when, by the times of files, something was reached.
    pub(in crate::protocol::source) fn on_reached(&mut self, reached: &Reached, at: Timestamp) {
        match reached {
            Reached::Beginning => self.horizon.floor = Some(at),
            Reached::Reported(by) => self.horizon.reported(*by, at),
            Reached::Durable | Reached::Ended(_) => {}
        }
    }

    /// Asks what time files had when everything was lost.
    pub(super) fn tell_losses(&mut self, out: &mut Vec<Output>) {
        let session = self.session;
        let lost = self.horizon.lost.drain(..);
        out.extend(lost.map(|at| Output::Horizon {
            session,
            asked_at: at,
            reached: Reached::Reported(at),
        }));
    }

    /// Has everything compared, for what happened while nobody looked.
    pub(in crate::protocol::source) fn compare_all(&mut self, now: Instant, out: &mut Vec<Output>) {
        self.mark_all(now, now);
        self.on_tick(now, out);
    }

    /// Marks everything as if nothing had been compared in this session; it may differ since `born`.
    pub(super) fn mark_all(&mut self, born: Instant, now: Instant) {
        // What changed in this session before everything was watched is doubted even where no horizon is known.
        let is_doubtful = self.horizon.at.is_some() || self.horizon.compared_at < now;
        self.horizon.compare(now);
        self.mark(Lane::Backlog, &RelPath::root(), Extent::Subtree, Urgency::Now, born, now);
        let distrust = if is_doubtful { Distrust::Edits } else { Distrust::Nothing };
        self.backlog.marks.distrust(&RelPath::root(), distrust);
    }

    /// Has everything compared, for what nobody reported.
    pub(in crate::protocol::source) fn compare_again(
        &mut self,
        now: Instant,
        out: &mut Vec<Output>,
    ) {
        self.mark(Lane::Backlog, &RelPath::root(), Extent::Subtree, Urgency::Now, now, now);
        self.on_tick(now, out);
    }

    /// The latest moment of which it is known that all is durable that had happened by then.
    pub(in crate::protocol::source) fn agreed_at(&self) -> Option<Instant> {
        self.horizon.told_at
    }

    /// The session ends in agreement: if the sink never said what is durable, nobody will say more than is known now.
    pub(in crate::protocol::source) fn end_horizon(
        &mut self,
        sink: &SinkId,
        out: &mut Vec<Output>,
    ) {
        if self.flight.confirmed.durable_parts() > 0 {
            return;
        }
        let (session, reached) = (self.session, Reached::Ended(sink.clone()));
        let last = self.horizon.last_answered();
        out.extend(last.map(|asked_at| Output::Horizon { session, asked_at, reached }));
    }

    /// Tells how far the horizon has come.
    pub(super) fn move_horizon(&mut self, now: Instant, out: &mut Vec<Output>) {
        if let Some(asked_at) = self.horizon.reached(self.flight.confirmed.durable_parts(), now) {
            let session = self.session;
            out.push(Output::Horizon { session, asked_at, reached: Reached::Durable });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::change::Touch;

    fn change() -> Change {
        Change::Entry { path: RelPath::root(), touch: Touch::Settled }
    }

    #[test]
    fn a_feed_that_answers_each_question_by_a_loss_is_not_asked_for_ever() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let loss = Change::Lost { scope: RelPath::root(), reason: String::new() };
        let mut horizon = Horizon::new(None, start);
        assert!(horizon.take_question(at(5)));
        horizon.hear(&loss, at(5));
        horizon.answer(at(5), 0, at(6));
        horizon.close_question(at(5));
        assert!(horizon.reached(0, at(6)).is_some() && horizon.due().is_none());

        horizon.hear(&loss, at(60));
        assert_eq!(horizon.due(), Some(at(5) + LOST_INTERVAL));
        horizon.hear(&change(), at(61));
        assert_eq!(horizon.due(), Some(at(10)));
    }

    #[test]
    fn where_edits_are_distrusted_what_changed_since_all_was_reported_last_is_doubted() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let time = |seconds| Timestamp { seconds, nanoseconds: 0 };
        let visit = |born, distrust| Visit {
            directory: RelPath::root(),
            after: None,
            is_deep: true,
            is_push: false,
            born,
            distrust,
        };
        let mut horizon = Horizon::new(None, start);
        horizon.floor = Some(time(100));
        horizon.reported(at(10), time(110));
        horizon.reported(at(20), time(105));
        let since = |born, distrust| {
            let doubt = horizon.of(&visit(born, distrust));
            doubt.map(|doubt| (doubt.since, doubt.spares_written))
        };

        assert_eq!(since(at(5), Distrust::Edits), Some((time(100), true)));
        let put_back = since(at(15), Distrust::Edits);
        assert_eq!(put_back, Some((time(105), true)), "the clock was put back");
        assert_eq!(since(at(15), Distrust::Nothing), None);
        let all = Some((Doubt::ALL.since, false));
        assert_eq!(since(at(15), Distrust::Everything), all);
    }

    #[test]
    fn it_moves_to_what_was_asked_once_that_is_durable() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut horizon = Horizon::new(None, start);
        assert!(!horizon.take_question(at(4)));
        assert!(horizon.take_question(at(5)));
        horizon.hear(&change(), at(6));
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
