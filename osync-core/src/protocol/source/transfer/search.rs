//! The search for names that nobody knows.
//!
//! That something got a second name is reported where the new one lies; the first may be anywhere. So if
//! a look finds more names than are known, the whole tree is compared once more, some time later, and not
//! again for the same number of names: the rest lies outside of the tree.

use std::time::{Duration, Instant};

use crate::model::rel_path::RelPath;
use crate::protocol::source::transfer::Transfer;
use crate::protocol::source::work::What;
use crate::queue::agenda::Agenda;
use crate::queue::mark::{Extent, Lane, Urgency};

/// How long a search waits: most names turn up by themselves.
const WAIT_MIN: Duration = Duration::from_millis(500);
/// How long it waits after many.
const WAIT_MAX: Duration = Duration::from_mins(1);
/// How long it waits for live changes to pause, which may bring the names.
const PAUSE_WAIT: Duration = Duration::from_secs(5);
/// How long it waits for the large files of the backlog: what the sink still lacks would be found to differ.
const LARGES_WAIT: Duration = Duration::from_mins(1);

/// When the tree is searched.
#[derive(Debug)]
pub(super) struct Search {
    wished: Option<Wish>,
    running: Option<Running>,
    ended_at: Option<Instant>,
    wait: Duration,
}

/// A search under way.
#[derive(Debug, Clone, Copy)]
struct Running {
    began_at: Instant,
    /// Since when what is being searched for may differ.
    born: Instant,
}

/// A search that shall begin.
#[derive(Debug, Clone, Copy)]
struct Wish {
    due: Instant,
    born: Instant,
}

impl Default for Search {
    fn default() -> Self {
        Self { wished: None, running: None, ended_at: None, wait: WAIT_MIN }
    }
}

impl Search {
    /// Since when the names may differ that are, or will be, searched for.
    pub(super) fn born(&self) -> Option<Instant> {
        let running = self.running.map(|running| running.born);
        self.wished.map(|wish| wish.born).into_iter().chain(running).min()
    }

    /// When something is to be done at the latest.
    pub(super) fn due(&self, now: Instant) -> Option<Instant> {
        let wish = self.wished?;
        let dues = [wish.due, wish.due + PAUSE_WAIT, wish.due + LARGES_WAIT];
        dues.into_iter().find(|&due| due > now)
    }

    fn wish(&mut self, born: Instant, now: Instant) {
        // The search under way finds whatever there was when it began.
        let born = self.running.map_or(born, |running| born.max(running.began_at));
        if self.ended_at.is_some_and(|ended_at| now > ended_at + self.wait * 2) {
            self.wait = WAIT_MIN;
        }
        let wish = self.wished.get_or_insert(Wish { due: now + self.wait, born });
        wish.born = wish.born.min(born);
    }
}

impl Transfer {
    /// Plans a search if the names ask for one.
    pub(super) fn wish_search(&mut self, born: Instant, now: Instant) {
        if self.links.take_news() {
            self.search.wish(born, now);
        }
    }

    /// Begins and ends searches.
    pub(super) fn drive_search(&mut self, now: Instant) {
        if self.search.running.is_none() && self.search.wished.is_none_or(|wish| wish.due > now) {
            return;
        }
        if !self.is_quiet(Lane::Backlog, now) {
            return;
        }
        if let Some(Running { began_at, .. }) = self.search.running.take() {
            self.search.ended_at = Some(now);
            if self.links.search_ended() {
                self.search.wish(began_at, now);
            }
        }
        let Some(wish) = self.search.wished.filter(|wish| wish.due <= now) else { return };
        if !self.is_quiet(Lane::Live, now) && wish.due + PAUSE_WAIT > now {
            return;
        }
        let has_larges = !self.backlog.larges.is_empty() || self.larges[Lane::Backlog as usize] > 0;
        if has_larges && wish.due + LARGES_WAIT > now {
            return;
        }
        self.search.wished = None;
        if self.links.needs_search() {
            log::debug!("something has names that are not known: the tree is compared");
            self.links.search_begins();
            self.search.running = Some(Running { began_at: now, born: wish.born });
            self.search.wait = (self.search.wait * 2).min(WAIT_MAX);
            let root = RelPath::root();
            self.mark(Lane::Backlog, &root, Extent::Subtree, Urgency::Now, wish.born, now);
        }
    }

    /// Whether nothing is to be looked at at present, and nothing but large files is on its way.
    fn is_quiet(&self, lane: Lane, now: Instant) -> bool {
        let agenda: &Agenda = if lane == Lane::Live { &self.live } else { &self.backlog };
        agenda.visits.is_empty()
            && agenda.parcels.is_empty()
            && agenda.marks.peek_due(now).is_none()
            && self
                .flight
                .works
                .values()
                .all(|work| work.lane != lane || matches!(work.what, What::Large { .. }))
    }
}
