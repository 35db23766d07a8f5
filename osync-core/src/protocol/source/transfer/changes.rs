//! Change hints become marks.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::model::change::{Change, Touch};
use crate::model::need::Need;
use crate::model::rel_path::RelPath;
use crate::model::work_id::WorkId;
use crate::protocol::source::job::Job;
use crate::protocol::source::transfer::{Output, Transfer};
use crate::protocol::source::work::What;
use crate::queue::mark::{Distrust, Extent, Lane, Urgency};

/// How long a rename waits for other work on its two paths before it is left to the marks.
pub(super) const RENAME_PATIENCE: Duration = Duration::from_secs(1);

/// Renames that wait; further ones are left to the marks.
const RENAMES_MAX: usize = 1_024;

/// Directories last renamed that are remembered: the two renames of an exchange come one after the other, but for what
/// others did meanwhile.
const LATELY_MAX: usize = 8;

/// A rename at the source that might be done as one at the sink.
///
/// It is a hint beside the marks that cover both paths: if it is dropped or fails, they do the work.
#[derive(Debug, Clone)]
pub(super) struct RenameHint {
    pub(super) from: RelPath,
    pub(super) to: RelPath,
    pub(super) is_directory: bool,
    pub(super) born: Instant,
}

/// What was moved lately.
#[derive(Debug, Default)]
pub(super) struct Moves {
    /// Directories last renamed, from and to.
    lately: VecDeque<(RelPath, RelPath)>,
    /// Something strange was marked: what is open may be part of that, until nothing is open.
    pub(super) is_strange: bool,
}

impl Moves {
    /// What a rename makes of what is open below it.
    fn distrust(&self) -> Distrust {
        if self.is_strange { Distrust::Everything } else { Distrust::Edits }
    }

    /// Takes a rename of a directory; returns whether the opposite was reported just before, as it is if two were
    /// exchanged: there is something else at `from`, then, and was not made there.
    fn are_exchanged(&mut self, from: &RelPath, to: &RelPath) -> bool {
        let are_exchanged = self.lately.iter().any(|(of, at)| of == to && at == from);
        if self.lately.len() >= LATELY_MAX {
            self.lately.pop_front();
        }
        self.lately.push_back((from.clone(), to.clone()));
        are_exchanged
    }
}

impl Transfer {
    /// Takes one hint of the change feed.
    pub fn on_change(&mut self, change: &Change, now: Instant) {
        self.horizon.hear(change, now);
        match change {
            Change::Entry { path, touch } => self.on_entry(path, *touch, now),
            Change::Subtree { path } => {
                // Trusted: what is in a directory that has just appeared was sent a moment ago, if at all.
                self.mark(Lane::Live, path, Extent::Subtree, Urgency::Now, now, now);
            }
            Change::MovedIn { path } => self.mark_strange(path, now, now),
            Change::Renamed { from, to, is_directory } => {
                self.on_renamed(from, to, *is_directory, now);
            }
            Change::Lost { scope, .. } | Change::Unwatched { scope, .. } => {
                self.mark(Lane::Backlog, scope, Extent::Subtree, Urgency::Now, now, now);
                self.backlog.marks.distrust(scope, Distrust::Edits);
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
        let is_redirected = is_directory && self.redirect(from, to);
        let distrust = self.distrust_of(from);
        let is_pending = distrust > Distrust::Nothing
            || self.live.marks.covers(from)
            || !self.flight.within(from).is_empty();
        let moved_born = self.born_at(from).map_or(now, |born| born.min(now));
        let mut from_born = now;
        if is_directory {
            let below = [&self.live, &self.backlog].map(|agenda| agenda.marks.born_below(from));
            from_born = below.into_iter().flatten().fold(moved_born, Instant::min);
            let open = self.moves.distrust();
            // What is under way below the old place is compared again below the new one, and is as old there.
            for (lane, born) in self.flight.within(from) {
                self.mark(lane, to, Extent::Subtree, Urgency::Now, born, now);
                self.agenda(lane).marks.distrust(to, open);
            }
            self.distrust_pages(from, to);
            self.distrust_awaited(from, to, now);
            self.live.withdraw(from, open, now);
            self.backlog.withdraw(from, open, now);
            self.live.marks.rebase(from, to, now);
            self.backlog.marks.rebase(from, to, now);
            self.mark(Lane::Live, to, Extent::Subtree, Urgency::Now, moved_born, now);
            self.live.marks.distrust(to, distrust);
            if self.moves.are_exchanged(from, to) {
                self.mark_strange(from, now, now);
            }
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
        if is_redirected || (!is_directory && is_pending) {
            return;
        }
        let hint = RenameHint { from: from.clone(), to: to.clone(), is_directory, born: now };
        if self.renames.len() < RENAMES_MAX {
            self.renames.push_back(hint);
        } else if is_directory {
            self.send_instead(hint, now);
        }
    }

    /// What is being compared at or below either may be another directory at one end than at the other.
    fn distrust_pages(&mut self, from: &RelPath, to: &RelPath) {
        for work in self.flight.works.values_mut() {
            if let What::Page { visit, .. } = &mut work.what
                && [from, to].into_iter().any(|path| visit.directory.is_within(path))
            {
                visit.distrust = Distrust::Everything;
            }
        }
    }

    /// Renames that were to bring something into what was at `from` and is at `to` now may fail yet, or must.
    fn distrust_awaited(&mut self, from: &RelPath, to: &RelPath, now: Instant) {
        let is_inside = |path: &RelPath| path != from && path.is_within(from);
        let under_way = self.renames_under_way();
        let awaited: Vec<_> = under_way
            .filter(|(_, inside, _)| is_inside(inside))
            .filter_map(|(_, inside, is_directory)| {
                Some((inside.rebased(from, to).ok()??, is_directory))
            })
            .collect();
        for (path, is_directory) in awaited {
            if is_directory {
                self.mark_strange(&path, now, now);
            } else {
                self.mark(Lane::Live, &path, Extent::Entry(Need::Content), Urgency::Now, now, now);
            }
        }
    }

    /// Has the last rename that waits, if it was one to `from`, lead to `to` at once; returns whether it was. One back
    /// again is left alone, as two directories may have been exchanged, and one into what has taken its old name.
    fn redirect(&mut self, from: &RelPath, to: &RelPath) -> bool {
        let Some(last) = self.renames.back_mut() else { return false };
        let leads_on = last.is_directory && last.to == *from && !overlap(&last.from, to);
        if leads_on {
            last.to = to.clone();
        }
        leads_on
    }

    /// Has everything at and below `path` compared that is a directory there: what the sink has may be another one.
    pub(in crate::protocol::source) fn mark_strange(
        &mut self,
        path: &RelPath,
        born: Instant,
        now: Instant,
    ) {
        self.moves.is_strange = true;
        self.mark(Lane::Live, path, Extent::Subtree, Urgency::Now, born, now);
        self.live.marks.distrust(path, Distrust::Everything);
    }

    /// Has everything at and below `path` compared that is a directory there. What the sink has may be another one, but
    /// this one was made here: what moved into it since is reported, or was changed by that, as its inode says.
    pub(super) fn mark_made_anew(
        &mut self,
        lane: Lane,
        path: &RelPath,
        born: Instant,
        now: Instant,
    ) {
        self.mark(lane, path, Extent::Subtree, Urgency::Now, born, now);
        self.agenda(lane).marks.distrust(path, Distrust::Edits);
    }

    /// What is open that would see at `path` what looks the same and differs.
    fn distrust_of(&self, path: &RelPath) -> Distrust {
        let seen = self.flight.works.values().filter_map(|work| match &work.what {
            What::Page { visit, .. } => path.is_within(&visit.directory).then_some(visit.distrust),
            What::Names { .. } | What::Large { .. } | What::Rename { .. } => None,
        });
        // What was reported of it was looked for where it is no more.
        let is_held = self.removals.holds_within(path);
        let held = if is_held { Distrust::Edits } else { Distrust::Nothing };
        let agendas = [&self.live, &self.backlog].map(|agenda| agenda.distrust_of(path));
        // A rename that was to bring it there may fail yet.
        let mut under_way = self.renames_under_way();
        let is_awaited = under_way.any(|(_, to, is_directory)| is_directory && path.is_within(to));
        let awaited = if is_awaited { Distrust::Everything } else { Distrust::Nothing };
        seen.chain(agendas).chain([held, awaited]).max().unwrap_or_default()
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
            What::Rename { from, to, .. } => overlap(from, path) || overlap(to, path),
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
                if let Some(late) = self.renames.pop_front() {
                    self.send_instead(late, now);
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
            let (born, is_directory) = (hint.born, hint.is_directory);
            self.renames.pop_front();
            let what = What::Rename { from: from.clone(), to: to.clone(), is_directory };
            let id = self.begin(Lane::Live, born, what);
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

    /// Has what was renamed sent, because no rename brought it there: what the sink has at the new name, and still at the
    /// old one, may look the same and be something else. So may what other renames were to take on from there.
    pub(super) fn send_instead(&mut self, renamed: RenameHint, now: Instant) {
        let mut failed = VecDeque::from([renamed]);
        while let Some(RenameHint { from, to, is_directory, born }) = failed.pop_front() {
            if is_directory {
                self.mark_made_anew(Lane::Live, &from, born, now);
                self.mark_strange(&to, born, now);
            } else {
                self.mark(Lane::Live, &to, Extent::Entry(Need::Content), Urgency::Now, born, now);
            }
            self.renames.retain(|hint| {
                let is_further = hint.from.is_within(&to);
                failed.extend(is_further.then(|| hint.clone()));
                !is_further
            });
        }
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
        let mut under_way = self.renames_under_way();
        under_way.any(|(from, to, _)| overlap(directory, from) || overlap(directory, to))
    }

    /// From where and to where renames wait or are in flight, and whether of directories.
    fn renames_under_way(&self) -> impl Iterator<Item = (&RelPath, &RelPath, bool)> {
        let waiting = self.renames.iter().map(|hint| (&hint.from, &hint.to, hint.is_directory));
        let in_flight = self.renaming.iter().filter_map(|id| {
            match self.flight.works.get(id).map(|work| &work.what) {
                Some(What::Rename { from, to, is_directory }) => Some((from, to, *is_directory)),
                Some(What::Names { .. } | What::Page { .. } | What::Large { .. }) | None => None,
            }
        });
        waiting.chain(in_flight)
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
