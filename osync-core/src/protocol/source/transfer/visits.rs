//! Directories are looked into: in the backlog where others have been, first.

use std::sync::Arc;

use crate::model::name::Name;
use crate::model::rel_path::RelPath;
use crate::protocol::source::job::Job;
use crate::protocol::source::transfer::choose::NAME_BYTES;
use crate::protocol::source::transfer::{Output, Transfer};
use crate::protocol::source::work::{Page, What};
use crate::queue::agenda::Visit;
use crate::queue::lately::Lately;
use crate::queue::mark::Lane;
use crate::wire::ITEMS_MAX;

/// Parts of directories under comparison at once: small ones cost their messages more than their entries, and what is in
/// many of them is read, sent and looked through together.
const PAGES_MAX: usize = 128;
/// Entries of those that have been listed.
const PAGED_ENTRIES_MAX: usize = 16 * PAGE_ENTRIES_MAX;
/// Entries in one part of a directory.
pub(super) const PAGE_ENTRIES_MAX: usize = ITEMS_MAX / 2;
/// With more visits that wait none is brought forward: what it leads to comes on top of them.
const VISITS_MAX: usize = 4 * 1024;

/// Directories with names that wait to be sent, where there are other sinks.
const AHEAD_MAX: usize = 8;
/// Names in them.
const AHEAD_NAMES_MAX: usize = 512;

/// What is under comparison.
#[derive(Debug, Default)]
pub(super) struct Pages {
    /// Parts of directories.
    pub(super) count: usize,
    /// Entries of those that have been listed.
    entries: usize,
}

impl Pages {
    /// A part has been listed and has so many entries.
    pub(super) fn listed(&mut self, entries: usize) {
        self.entries += entries;
    }

    /// A part is done with, and what was listed of it if that has not been taken.
    pub(super) fn ended(&mut self, page: Option<&Page>) {
        self.count -= 1;
        if let Some(page) = page {
            self.taken(page);
        }
    }

    /// What has been listed of a part is done with.
    pub(super) fn taken(&mut self, page: &Page) {
        self.entries -= page.entries.len();
    }
}

/// Where others have been.
#[derive(Debug, Default)]
pub(super) struct Common {
    lately: Arc<Lately>,
    /// How much of that it knows.
    seen: u64,
}

impl Transfer {
    /// Goes where something has been read `lately`.
    pub(in crate::protocol::source) fn use_lately(&mut self, lately: Arc<Lately>) {
        self.common.lately = lately;
    }

    /// Looks into the next directory.
    pub(super) fn start_visit(&mut self, lane: Lane, out: &mut Vec<Output>) -> bool {
        let agenda = if lane == Lane::Live { &self.live } else { &self.backlog };
        let has_enough = self.pages.count >= PAGES_MAX || self.pages.entries >= PAGED_ENTRIES_MAX;
        if has_enough || agenda.has_enough_to_send() {
            return false;
        }
        if lane == Lane::Backlog && self.is_ahead_of_others() {
            return false;
        }
        let common = if lane == Lane::Backlog { self.common_visit() } else { None };
        let agenda = if lane == Lane::Live { &self.live } else { &self.backlog };
        let is_free = |visit: &Visit| !self.is_renamed(&visit.directory);
        let Some(index) = common.or_else(|| agenda.visits.iter().rposition(is_free)) else {
            return false;
        };
        let visit = self.agenda(lane).visits.remove(index);
        let (directory, after) = (visit.directory.clone(), visit.after.clone());
        let fidelity = self.fidelity;
        let job = if visit.is_push {
            Job::Names { directory, after, names_max: PAGE_ENTRIES_MAX, nodes: fidelity.nodes }
        } else {
            let doubt = self.horizon.of(&visit);
            Job::List { directory, after, entries_max: PAGE_ENTRIES_MAX, fidelity, doubt }
        };
        let id = self.begin(lane, visit.born, What::Page { visit, page: None });
        self.pages.count += 1;
        self.read(id, job, NAME_BYTES, out);
        true
    }

    /// What is being read of `directory` may reach the sink after a comparison that saw what came later, so it
    /// is looked at again.
    pub(super) fn overtake(&mut self, directory: &RelPath) {
        for id in self.flight.claims.works_in(directory) {
            let Some(work) = self.flight.works.get_mut(&id) else { continue };
            work.is_overtaken |= match &work.what {
                What::Names { .. } => work.is_reading,
                What::Large { is_over, .. } => !is_over,
                What::Page { .. } | What::Rename { .. } => false,
            };
        }
    }

    /// Queues the rest of a directory of which a part up to `until` is in hand.
    pub(super) fn visit_rest(&mut self, lane: Lane, visit: &Visit, until: Option<Name>) {
        if until.is_some() {
            self.agenda(lane).visits.push(Visit { after: until, ..visit.clone() });
        }
    }

    /// Whether so much waits to be sent that what is read for others meanwhile would be gone by then.
    fn is_ahead_of_others(&self) -> bool {
        let backlog = &self.backlog;
        (backlog.parcels.len() >= AHEAD_MAX || backlog.names_len() >= AHEAD_NAMES_MAX)
            && self.has_others()
    }

    /// Whether there are other sinks.
    pub(super) fn has_others(&self) -> bool {
        self.common.lately.is_common()
    }

    /// The visit that leads to where something has been read for others.
    fn common_visit(&mut self) -> Option<usize> {
        if self.backlog.visits.len() > VISITS_MAX {
            return None;
        }
        while let Some((place, next)) = self.common.lately.next(self.common.seen) {
            let leads = |visit: &Visit| {
                visit.directory == place || visit.is_deep && place.is_within(&visit.directory)
            };
            let index = self.backlog.visits.iter().rposition(leads);
            if let Some(index) = index
                && !self.is_renamed(&self.backlog.visits[index].directory)
            {
                let is_there = self.backlog.visits[index].directory == place;
                self.common.seen = if is_there { next } else { next - 1 };
                return Some(index);
            }
            self.common.seen = next;
        }
        None
    }
}
