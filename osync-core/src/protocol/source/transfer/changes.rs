//! Change hints become marks.

use std::time::{Duration, Instant};

use crate::model::change::{Change, Touch};
use crate::model::need::Need;
use crate::model::rel_path::RelPath;
use crate::model::work_id::WorkId;
use crate::protocol::source::job::Job;
use crate::protocol::source::transfer::{Output, Transfer};
use crate::protocol::source::work::{What, Work};
use crate::queue::mark::{Extent, Lane, Urgency};

/// How long a rename waits for other work on its two paths before it is left to the marks.
pub(super) const RENAME_PATIENCE: Duration = Duration::from_secs(1);

/// Renames that wait; further ones are left to the marks.
const RENAMES_MAX: usize = 1_024;

/// A rename at the source that might be done as one at the sink.
///
/// It is a hint beside the marks that cover both paths: if it is dropped or fails, they do the work.
#[derive(Debug)]
pub(super) struct RenameHint {
    pub(super) from: RelPath,
    pub(super) to: RelPath,
    pub(super) born: Instant,
}

impl Transfer {
    /// Takes one hint of the change feed.
    pub fn on_change(&mut self, change: &Change, now: Instant) {
        self.horizon.hear(change, now);
        match change {
            Change::Entry { path, touch } => self.on_entry(path, *touch, now),
            Change::Subtree { path } => {
                // Not doubtful: what is in a directory that has just appeared was sent a moment ago, if at all.
                self.mark(Lane::Live, path, Extent::Subtree, Urgency::Now, now, now);
            }
            Change::Renamed { from, to, is_directory } => {
                self.on_renamed(from, to, *is_directory, now);
            }
            Change::Lost { scope, .. } | Change::Unwatched { scope, .. } => {
                self.mark(Lane::Backlog, scope, Extent::Subtree, Urgency::Now, now, now);
                self.backlog.marks.doubt(scope);
            }
            Change::Ready | Change::Fence { .. } | Change::Failed { .. } => {}
        }
    }

    fn on_entry(&mut self, path: &RelPath, touch: Touch, now: Instant) {
        let need = if touch == Touch::Metadata { Need::Metadata } else { Need::Content };
        let held_until = self.writing.hear(path, touch, now).unwrap_or(now);
        let allowed_at = self.pace.allowed_at(path, now).max(held_until);
        let urgency = match touch {
            _ if allowed_at > now => Urgency::At(allowed_at),
            Touch::Writing => Urgency::WhenQuiet,
            Touch::Settled | Touch::Metadata => Urgency::Now,
        };
        if need == Need::Content && self.grown.is_proven_now(path) {
            self.overtaken_larges.extend(self.large_at(path));
        }
        if need == Need::Content {
            self.links.reported(path, self.flight.newest_id());
        }
        self.mark(Lane::Live, path, Extent::Entry(need), urgency, now, now);
    }

    fn on_renamed(&mut self, from: &RelPath, to: &RelPath, is_directory: bool, now: Instant) {
        if from.is_root() || to.is_root() || from.is_within(to) || to.is_within(from) {
            self.mark(Lane::Live, &RelPath::root(), Extent::Subtree, Urgency::Now, now, now);
            return;
        }
        self.grown.rebase(from, to);
        self.writing.forget(from);
        self.links.rebase(from, to);
        self.flight.moved(from);
        self.mark_doubtful(None, Lane::Live, now, now);
        let is_doubted = self.is_doubted(from);
        let is_pending =
            is_doubted || self.live.marks.covers(from) || !self.flight.within(from).is_empty();
        let moved_born = self.born_at(from).map_or(now, |born| born.min(now));
        let mut from_born = now;
        if is_directory {
            let below = [&self.live, &self.backlog].map(|agenda| agenda.marks.born_below(from));
            from_born = below.into_iter().flatten().fold(moved_born, Instant::min);
            // What is under way below the old place is compared again below the new one, and is as old there.
            for (lane, born) in self.flight.within(from) {
                self.mark(lane, to, Extent::Subtree, Urgency::Now, born, now);
                self.agenda(lane).marks.doubt(to);
            }
            self.live.withdraw(from, now);
            self.backlog.withdraw(from, now);
            self.live.marks.rebase(from, to, now);
            self.backlog.marks.rebase(from, to, now);
            self.mark(Lane::Live, to, Extent::Subtree, Urgency::Now, moved_born, now);
            self.doubt_if(is_doubted, Lane::Live, to);
        } else {
            // A name whose content the sink may not have yet must not carry it to the new name.
            self.overtaken_larges.extend(self.large_at(from));
            let is_hint = !is_pending && self.renames.len() < RENAMES_MAX;
            let need = if is_hint { Need::Metadata } else { Need::Content };
            self.mark(Lane::Live, to, Extent::Entry(need), Urgency::Now, moved_born, now);
        }
        // Unless the sink renames too, what was open below the old place is open there still. At a file's name it is so
        // anyway, and else would be as old as the first of all files that had this name for a moment.
        self.mark(Lane::Live, from, Extent::Entry(Need::Content), Urgency::Now, from_born, now);
        if (is_directory || !is_pending) && self.renames.len() < RENAMES_MAX {
            self.renames.push_back(RenameHint { from: from.clone(), to: to.clone(), born: now });
        }
    }

    /// Whether something is open that would see that content at `path` differs, though size and time do not.
    fn is_doubted(&self, path: &RelPath) -> bool {
        let sees = |work: &Work| match &work.what {
            What::Page { visit, .. } => visit.is_doubtful && path.is_within(&visit.directory),
            What::Names { .. } | What::Large { .. } | What::Rename { .. } => false,
        };
        self.live.is_doubtful(path)
            || self.backlog.is_doubtful(path)
            // What was reported of it was looked for where it is no more.
            || self.removals.holds_within(path)
            || self.pages.count > 0 && self.flight.works.values().any(sees)
    }

    /// Since when the oldest thing is open that concerns `path` or what lies below it: what it was about may move
    /// with a rename. What concerns other names beside it does not count, else everything would be as old as the first
    /// thing of a time in which something was always open.
    pub(super) fn born_at(&self, path: &RelPath) -> Option<Instant> {
        let in_flight = self.flight.works.values().filter(|work| match &work.what {
            What::Names { directory, names, .. } => {
                crate::queue::agenda::concerns(directory, names.iter().map(|(name, _)| name), path)
            }
            What::Large { directory, name, .. } => {
                crate::queue::agenda::concerns(directory, [name], path)
            }
            What::Page { visit, .. } => visit.concerns(path),
            What::Rename { from, to } => overlap(from, path) || overlap(to, path),
        });
        let agendas =
            [&self.live, &self.backlog].into_iter().filter_map(|agenda| agenda.born_at(path));
        let removals = self.removals.born_at(path);
        in_flight.map(|work| work.born).chain(agendas).chain(removals).min()
    }

    /// Begins the rename that has waited longest, if nothing in flight touches its paths.
    pub(super) fn start_rename(&mut self, now: Instant, out: &mut Vec<Output>) -> bool {
        while let Some(hint) = self.renames.front() {
            if now.saturating_duration_since(hint.born) > RENAME_PATIENCE {
                if let Some(RenameHint { to, born, .. }) = self.renames.pop_front() {
                    self.send_instead(&to, born, now);
                }
                continue;
            }
            let (from, to) = (hint.from.clone(), hint.to.clone());
            if let Some(id) = [&from, &to].into_iter().find_map(|path| self.conflict(path)) {
                self.abort_large(id, now, out);
                return false;
            }
            if self.is_compared(&from) || self.is_compared(&to) {
                return false;
            }
            let born = hint.born;
            self.renames.pop_front();
            let id =
                self.begin(Lane::Live, born, What::Rename { from: from.clone(), to: to.clone() });
            self.renaming.push(id);
            for path in [&from, &to] {
                if let Some((directory, name)) = path.split() {
                    self.flight.claims.begin(id, &directory);
                    self.flight.claims.claim(
                        id,
                        &directory,
                        &name,
                        crate::queue::claims::Claim::Exclusive,
                    );
                }
            }
            let nodes = self.fidelity.nodes;
            self.read(id, Job::Stat { path: to, moved_from: from, nodes }, 256, out);
            return true;
        }
        false
    }

    /// Has what was renamed to `to` sent, because no rename brought it there: what the sink has at `to` may
    /// look the same and be something else.
    pub(super) fn send_instead(&mut self, to: &RelPath, born: Instant, now: Instant) {
        self.mark(Lane::Live, to, Extent::Entry(Need::Content), Urgency::Now, born, now);
    }

    /// The large file on its way to `path`. Sent to its end it would arrive where it is not any more.
    pub(super) fn large_at(&self, path: &RelPath) -> Option<WorkId> {
        let (parent, entry) = path.split()?;
        let works = self.flight.works.iter();
        works.rev().find_map(|(id, work)| match &work.what {
            What::Large { directory, name, is_over: false, .. } => {
                (*directory == parent && *name == entry).then_some(*id)
            }
            What::Large { .. } | What::Names { .. } | What::Page { .. } | What::Rename { .. } => {
                None
            }
        })
    }

    /// Gives up the large files that changes have made useless while they were on their way.
    pub(super) fn drop_overtaken(&mut self, now: Instant, out: &mut Vec<Output>) {
        for id in std::mem::take(&mut self.overtaken_larges) {
            if !self.put_proof_off(id, now, out) {
                self.abort_large(id, now, out);
            }
        }
    }

    /// Whether a comparison is in flight that sees what is at or below `path`.
    ///
    /// Its answer would be about the sink before the rename, and what it says is missing, and is sent
    /// without comparing, would meet what the rename has brought.
    fn is_compared(&self, path: &RelPath) -> bool {
        self.pages.count > 0
            && self.flight.works.values().any(|work| match &work.what {
                What::Page { visit, .. } => overlap(&visit.directory, path),
                What::Names { .. } | What::Large { .. } | What::Rename { .. } => false,
            })
    }

    /// Whether a rename waits or is in flight that a comparison of `directory` would see.
    pub(super) fn is_renamed(&self, directory: &RelPath) -> bool {
        let waiting = self.renames.iter().map(|hint| [&hint.from, &hint.to]);
        let in_flight = self.renaming.iter().filter_map(|id| {
            match self.flight.works.get(id).map(|work| &work.what) {
                Some(What::Rename { from, to }) => Some([from, to]),
                Some(What::Names { .. } | What::Page { .. } | What::Large { .. }) | None => None,
            }
        });
        waiting.chain(in_flight).flatten().any(|path| overlap(directory, path))
    }

    /// The work that stands in the way of an exclusive claim on `path`.
    fn conflict(&self, path: &RelPath) -> Option<WorkId> {
        let (directory, name) = path.split()?;
        let claims = &self.flight.claims;
        claims.conflict_above(&directory).or_else(|| {
            claims.conflict_at(&directory, &name, crate::queue::claims::Claim::Exclusive)
        })
    }
}

fn overlap(one: &RelPath, other: &RelPath) -> bool {
    one.is_within(other) || other.is_within(one)
}
