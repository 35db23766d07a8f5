//! What is to be removed waits until it is clear how much it is.

use std::time::Instant;

use crate::model::need::Need;
use crate::model::rel_path::RelPath;
use crate::model::removal_limit::RemovalLimit;
use crate::model::work_id::WorkId;
use crate::protocol::source::job::{Missing, Outcome, Placed};
use crate::protocol::source::problems::Halt;
use crate::protocol::source::transfer::{Output, Transfer};
use crate::protocol::source::work::{Page, What};
use crate::queue::agenda::{Parcel, Visit};
use crate::queue::mark::{Extent, Lane, Urgency};
use crate::queue::removals::Verdict;

/// What the source was found to have when everything was compared last.
#[derive(Debug)]
pub(super) struct Listed {
    limit: RemovalLimit,
    /// How many names; none before the first comparison.
    names: Option<u64>,
}

impl Listed {
    pub(super) fn new(limit: RemovalLimit) -> Self {
        Self { limit, names: None }
    }
}

/// Whether something lies where a look had this outcome, and then whether it is a directory.
pub(super) fn found(outcome: &Outcome) -> Option<bool> {
    match outcome {
        Outcome::Placed(placed) => Some(*placed == Placed::Directory),
        Outcome::Linked(_) | Outcome::Large | Outcome::LeftOut => Some(false),
        Outcome::Left
        | Outcome::Unsteady
        | Outcome::Missing
        | Outcome::Changed
        | Outcome::Failed(_) => None,
    }
}

impl Transfer {
    /// What a look makes of names that are missing.
    pub(super) fn missing(&self, may_remove: bool) -> Missing {
        match may_remove {
            false => Missing::IsTold,
            true if self.listed.limit.allows_all() => Missing::IsRemovedAlways,
            true => Missing::IsRemoved,
        }
    }

    /// Releases what may be removed by now.
    pub(super) fn drive_removals(&mut self, now: Instant, out: &mut Vec<Output>) {
        let is_compared = self.backlog.visits.is_empty() && self.pages.count == 0;
        let names = self.listed.names.filter(|_| is_compared);
        match self.removals.judge(names, now) {
            Verdict::Wait => {}
            Verdict::LookForMore => {
                self.mark(Lane::Backlog, &RelPath::root(), Extent::Subtree, Urgency::Now, now, now);
            }
            Verdict::TooMany(count, allowed) => {
                let cause = format!(
                    "{count} names are to be removed, and {allowed} may be (--max-delete): nothing is removed \
                     until it is fewer; if that is meant, start the source again with a higher limit"
                );
                self.halt(Halt::TooMany, &cause, now, out);
            }
            Verdict::Release(groups) => {
                let born = self.removals.born().unwrap_or(now);
                for (lane, directory, names) in groups {
                    let names = names.into_iter();
                    let names = names.map(|name| (name, Need::Content, 0));
                    let parcel =
                        Parcel { directory, names: names.collect(), may_remove: true, born };
                    self.agenda(lane).parcels.push_back(parcel);
                }
                if self.removals.end_release() {
                    let root = RelPath::root();
                    self.mark(Lane::Backlog, &root, Extent::Subtree, Urgency::Now, born, now);
                }
            }
        }
        if self.removals.is_empty() || !self.removals.is_too_many() {
            self.resume(Halt::TooMany, out);
        }
    }

    /// The source has become empty: what `id` was to remove stays, until something is there or the sink is found to
    /// be empty too.
    pub(super) fn on_emptied(&mut self, id: WorkId, now: Instant, out: &mut Vec<Output>) {
        let Some(work) = self.flight.works.get(&id) else { return };
        let (lane, born) = (work.lane, work.born);
        if let What::Names { directory, names, .. } = &work.what {
            for (name, _) in names {
                let path = crate::queue::mark_set::entry_path(directory, name);
                self.removals.hold(path, lane, born, now);
            }
        }
        self.removals.on_empty(now);
        let root = RelPath::root();
        self.mark(Lane::Backlog, &root, Extent::Subtree, Urgency::Now, born, now);
        self.end(id, now, out);
    }

    /// So many names were found in a part of a directory of the source.
    pub(super) fn on_names_listed(
        &mut self,
        lane: Lane,
        visit: &Visit,
        names: usize,
        now: Instant,
        out: &mut Vec<Output>,
    ) {
        let is_root = visit.directory.is_root() && visit.after.is_none();
        if is_root
            && names > 0
            && let Some(since) = self.removals.on_something()
        {
            self.resume(Halt::Emptied, out);
            // Nothing was compared while it was empty, and that may have been this session's first comparison.
            self.mark_all(since, now);
        }
        if is_root && visit.is_deep {
            self.listed.names = Some(0);
        }
        if lane == Lane::Backlog && visit.is_deep {
            self.listed.names = self.listed.names.map(|known| known + names as u64);
        }
    }

    /// A part of the root was compared, with what the sink has besides if there is anything.
    pub(super) fn on_root_compared(
        &mut self,
        visit: &Visit,
        page: &Page,
        has_extra: bool,
        now: Instant,
        out: &mut Vec<Output>,
    ) {
        let is_empty = page.entries.is_empty() && page.until.is_none() && visit.after.is_none();
        if !visit.directory.is_root() || !is_empty || !self.removals.is_emptied() {
            return;
        }
        if has_extra {
            let cause = "the source directory is empty: nothing is removed until something is in it; \
                         if that is meant, start the source again with --max-delete 100%";
            self.halt(Halt::Emptied, cause, now, out);
        } else {
            self.removals.clear();
            self.resume(Halt::Emptied, out);
        }
    }
}
