//! What is begun next: live before backlog, within the window.

use std::collections::VecDeque;
use std::time::Instant;

use crate::model::name::Name;
use crate::model::need::Need;
use crate::model::rel_path::RelPath;
use crate::model::work_id::WorkId;
use crate::protocol::source::job::Job;
use crate::protocol::source::transfer::{Output, Transfer};
use crate::protocol::source::work::{Sent, What, Work};
use crate::queue::agenda::{Parcel, Visit};
use crate::queue::claims::Claim;
use crate::queue::larges::Large;
use crate::queue::mark::{Distrust, Extent, Lane, Mark, Urgency};

/// Jobs out at once, by lane: enough to keep the readers busy while results travel.
const JOBS_MAX: [usize; 2] = [16, 16];
/// Bytes by which the live lane may exceed the window, so that backlog in flight never blocks it.
const LIVE_RESERVE_BYTES: u64 = 256 * 1024;
/// Names in one message.
const BATCH_NAMES_MAX: usize = 256;
/// Longer files travel in chunks.
pub(super) const INLINE_BYTES_MAX: u64 = 128 * 1024;
/// What a name costs on the wire besides its content, in bytes, about.
pub(super) const NAME_BYTES: u64 = 64;
/// What a changed file is taken to hold before it has been looked at, in bytes.
const UNKNOWN_BYTES: u64 = 4 * 1024;
/// Directories taken out of the marks ahead of looking into them.
const VISITS_AHEAD_MAX: usize = 64;

impl Transfer {
    /// Begins as much work as the window has room for.
    pub(super) fn pump(&mut self, now: Instant, out: &mut Vec<Output>) {
        self.on_target_confirmed(out);
        self.drop_overtaken(now, out);
        self.tell_losses(out);
        self.prove_due(now);
        if self.flight.works.is_empty() && self.live.is_empty() && self.backlog.is_empty() {
            self.moves.is_strange = false;
        }
        self.limits.on_time(now);
        self.is_limited = false;
        self.data.set_window_bytes_max(self.limits.window_bytes_max(self.larges != [0; 2]));
        if !self.is_draining && self.may_begin(now, out) {
            self.drive_removals(now, out);
            self.drive_search(now);
            while self.step(now, out) {}
        }
        self.answer_sync(now, out);
    }

    /// Begins one thing; `false` if there is nothing or no room.
    fn step(&mut self, now: Instant, out: &mut Vec<Output>) -> bool {
        let mut turns = std::mem::take(&mut self.turns);
        let has_begun = turns.take(|lane| self.step_of(lane, now, out));
        self.turns = turns;
        has_begun
    }

    /// Begins one thing of `lane`.
    fn step_of(&mut self, lane: Lane, now: Instant, out: &mut Vec<Output>) -> bool {
        if self.is_beyond_limit(lane, now) {
            return false;
        }
        let reserve_bytes = if lane == Lane::Live { LIVE_RESERVE_BYTES } else { 0 };
        if self.jobs[lane as usize] >= JOBS_MAX[lane as usize]
            || self.data.window().room_bytes(reserve_bytes) <= self.reserved_bytes
        {
            return false;
        }
        if !self.may_try(now) {
            // What has begun goes on.
            return self.read_large(lane, out);
        }
        let has_begun = self.start_something(lane, now, out);
        if has_begun {
            self.tried();
        }
        has_begun
    }

    fn start_something(&mut self, lane: Lane, now: Instant, out: &mut Vec<Output>) -> bool {
        if lane == Lane::Live && self.start_rename(now, out) {
            return true;
        }
        // A rename that waits for others to end must not wait for ever: nothing new begins meanwhile.
        let may_claim = self.renames.is_empty();
        match lane {
            Lane::Live => {
                (may_claim && self.start_known(lane, now, out))
                    || self.start_visit(lane, out)
                    || (may_claim && self.start_large(lane, now, out))
                    || self.read_large(lane, out)
            }
            Lane::Backlog => self.start_backlog(may_claim, now, out),
        }
    }

    /// Begins one thing of the backlog: what has been found to differ before looking further.
    fn start_backlog(&mut self, may_claim: bool, now: Instant, out: &mut Vec<Output>) -> bool {
        let lane = Lane::Backlog;
        if may_claim && self.start_parcel(lane, now, out) {
            return true;
        }
        if (may_claim && self.start_large(lane, now, out)) || self.read_large(lane, out) {
            return true;
        }
        (may_claim && self.start_marks(lane, now, out)) || self.start_visit(lane, out)
    }

    /// Begins what is known to differ.
    fn start_known(&mut self, lane: Lane, now: Instant, out: &mut Vec<Output>) -> bool {
        self.start_marks(lane, now, out) || self.start_parcel(lane, now, out)
    }

    /// Takes marks that are due: directories become visits, entries of one directory a message.
    fn start_marks(&mut self, lane: Lane, now: Instant, out: &mut Vec<Output>) -> bool {
        let Some((_, extent)) = self.agenda(lane).marks.peek_due(now) else { return false };
        if !matches!(extent, Extent::Entry(_)) {
            if self.agenda(lane).visits.len() >= VISITS_AHEAD_MAX {
                return false;
            }
            let Some(mark) = self.agenda(lane).marks.pop_due(now) else { return false };
            let visit = Visit {
                directory: mark.path,
                after: None,
                is_deep: mark.extent == Extent::Subtree,
                is_push: false,
                born: mark.born,
                distrust: mark.distrust,
            };
            // It covers its place in the one above too, whose times may need mending; the sink makes what is missing.
            if let Some((parent, name)) = visit.directory.split() {
                let names = [(name, Need::Directory, 0)].into();
                let parcel =
                    Parcel { directory: parent, names, may_remove: false, born: visit.born };
                self.agenda(lane).parcels.push_back(parcel);
            }
            // Below those already there: what was begun ends first.
            self.agenda(lane).visits.insert(0, visit);
            return true;
        }
        let Some(first) = self.agenda(lane).marks.pop_due(now) else { return false };
        let Some((directory, name)) = first.path.split() else {
            let (directory, born) = (first.path, first.born);
            let parcel = Parcel { directory, names: [].into(), may_remove: false, born };
            self.agenda(lane).parcels.push_front(parcel);
            return true;
        };
        let mut born = first.born;
        let mut names = VecDeque::from([(name, need_of(&first), UNKNOWN_BYTES)]);
        while names.len() < BATCH_NAMES_MAX
            && let Some((path, Extent::Entry(_))) = self.agenda(lane).marks.peek_due(now)
            && let Some((parent, name)) = path.split()
            && parent == directory
            && let Some(mark) = self.agenda(lane).marks.pop_due(now)
        {
            born = born.min(mark.born);
            names.push_back((name, need_of(&mark), UNKNOWN_BYTES));
        }
        if lane == Lane::Live {
            for (name, _, _) in &names {
                if let Ok(path) = directory.join(name) {
                    self.pace.on_sent(&path, now);
                }
            }
        }
        let parcel = Parcel { directory, names, may_remove: false, born };
        self.start_names(lane, parcel, false, now, out);
        true
    }

    /// Takes as many names of the first parcel as fit one message.
    fn start_parcel(&mut self, lane: Lane, now: Instant, out: &mut Vec<Output>) -> bool {
        let batch_bytes_max = self.batch_bytes_max();
        let Some(mut parcel) = self.agenda(lane).parcels.pop_front() else { return false };
        let mut names = VecDeque::new();
        let mut bytes = 0;
        while names.len() < BATCH_NAMES_MAX
            && let Some((_, _, content_bytes)) = parcel.names.front()
            && (names.is_empty() || bytes + content_bytes <= batch_bytes_max)
            && let Some((name, need, content_bytes)) = parcel.names.pop_front()
        {
            if need == Need::Content && content_bytes > self.inline_bytes_max() {
                self.queue_large(lane, &parcel.directory, name, parcel.born, now);
                if parcel.names.is_empty() && names.is_empty() {
                    // The directory's own metadata goes with the large file.
                    return true;
                }
                continue;
            }
            bytes += content_bytes;
            names.push_back((name, need, content_bytes));
        }
        let first = Parcel { names, directory: parcel.directory.clone(), ..parcel };
        if !parcel.names.is_empty() {
            self.agenda(lane).parcels.push_front(parcel);
        }
        self.start_names(lane, first, false, now, out);
        true
    }

    /// Files up to this many bytes travel with others.
    pub(super) fn inline_bytes_max(&self) -> u64 {
        INLINE_BYTES_MAX.min(self.batch_bytes_max())
    }

    /// Begins work on a parcel; names that something in flight touches become marks that wait for it.
    pub(super) fn start_names(
        &mut self,
        lane: Lane,
        Parcel { directory, names, may_remove, born }: Parcel,
        takes_linked: bool,
        now: Instant,
        out: &mut Vec<Output>,
    ) -> Option<WorkId> {
        let directory = &directory;
        let above = self.flight.claims.conflict_above(directory);
        if names.is_empty()
            && let Some(blocker) = above
        {
            self.park(lane, directory, Need::Metadata, blocker, born, now, out);
            return None;
        }
        let wants_own_only = names.is_empty();
        let mut free = Vec::with_capacity(names.len());
        let mut reserved_bytes = NAME_BYTES;
        for (name, need, content_bytes) in names {
            let claim = claim_of(need);
            let blocker = above.or_else(|| self.flight.claims.conflict_at(directory, &name, claim));
            if let Some(blocker) = blocker {
                let path = crate::queue::mark_set::entry_path(directory, &name);
                self.park(lane, &path, need, blocker, born, now, out);
            } else {
                reserved_bytes += NAME_BYTES + content_bytes;
                free.push((name, need));
            }
        }
        if free.is_empty() && !wants_own_only {
            return None;
        }
        let what = What::Names {
            directory: directory.clone(),
            names: free.clone(),
            sent: Sent::default(),
            may_remove,
        };
        let id = self.begin(lane, born, what);
        self.flight.claims.begin(id, directory);
        for (name, need) in &free {
            self.flight.claims.claim(id, directory, name, claim_of(*need));
        }
        let job = Job::Look {
            directory: directory.clone(),
            names: free,
            inline_bytes_max: self.inline_bytes_max(),
            takes_linked,
            batch_bytes_max: usize::try_from(self.batch_bytes_max()).unwrap_or(usize::MAX),
            missing: self.missing(may_remove),
            nodes: self.fidelity.nodes,
        };
        self.read(id, job, reserved_bytes, out);
        Some(id)
    }

    /// Marks `path` until `blocker` has ended.
    #[expect(clippy::too_many_arguments, reason = "the parts of a mark and the moment")]
    pub(super) fn park(
        &mut self,
        lane: Lane,
        path: &RelPath,
        need: Need,
        blocker: WorkId,
        born: Instant,
        now: Instant,
        out: &mut Vec<Output>,
    ) {
        let extent = Extent::Entry(need);
        if !self.flight.works.contains_key(&blocker) {
            // A large file that another name of the same batch has just put an end to.
            return self.mark(lane, path, extent, Urgency::Now, born, now);
        }
        let distrust = Distrust::Nothing;
        let mark = Mark { path: path.clone(), extent, born, distrust };
        self.agenda(lane).marks.park(&mark, now);
        self.flight.park(blocker, path.clone());
        // What is to be removed or replaced does not wait for large files inside it, which would begin in turn.
        if need == Need::Content {
            let is_inside = |work: &Work| matches!(&work.what, What::Large { directory, .. } if directory.is_within(path));
            let inside = self.flight.works.iter().filter(|(_, work)| is_inside(work));
            let inside: Vec<WorkId> = inside.map(|(id, _)| *id).collect();
            for id in inside {
                self.abort_large_into(lane, id, now, out);
            }
        }
    }

    /// Queues a large file. It is read as it will be then, so a mark at its name has nothing to add;
    /// left there, its look and the file would take turns in waiting for each other.
    pub(super) fn queue_large(
        &mut self,
        lane: Lane,
        directory: &RelPath,
        name: Name,
        mut born: Instant,
        now: Instant,
    ) {
        let path = crate::queue::mark_set::entry_path(directory, &name);
        let agenda = self.agenda(lane);
        match agenda.marks.take(&path) {
            Some(Mark { extent: Extent::Entry(_), born: marked, .. }) => born = born.min(marked),
            Some(mark) => agenda.marks.put_back(&mark, now),
            None => {}
        }
        agenda.larges.push(Large { directory: directory.clone(), name, born });
    }

    /// Puts names back to be sent soon.
    pub(super) fn requeue(
        &mut self,
        lane: Lane,
        directory: &RelPath,
        names: Vec<(Name, Need)>,
        may_remove: bool,
        born: Instant,
    ) {
        if !names.is_empty() {
            let names = names.into_iter().map(|(name, need)| (name, need, UNKNOWN_BYTES)).collect();
            let directory = directory.clone();
            self.agenda(lane).parcels.push_front(Parcel { directory, names, may_remove, born });
        }
    }
}

fn need_of(mark: &Mark) -> Need {
    match mark.extent {
        Extent::Entry(need) => need,
        Extent::Directory | Extent::Subtree => Need::Content,
    }
}

fn claim_of(need: Need) -> Claim {
    match need {
        // Neither destroys anything: a directory is made, or metadata is set on what is there.
        Need::Directory | Need::Metadata => Claim::Make,
        Need::Content => Claim::Exclusive,
    }
}
