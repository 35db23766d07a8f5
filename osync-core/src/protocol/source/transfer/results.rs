//! What the readers found becomes messages.

use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::model::metadata::{Entry, Metadata};
use crate::model::name::Name;
use crate::model::need::Need;
use crate::model::work_id::WorkId;
use crate::ports::source::NamePage;
use crate::protocol::source::job::{Done, JobError, Listed, Looked, Outcome, Placed};
use crate::protocol::source::transfer::changes::RenameHint;
use crate::protocol::source::transfer::halts::RETRY_PAUSE;
use crate::protocol::source::transfer::links::Linked;
use crate::protocol::source::transfer::removals::found;
use crate::protocol::source::transfer::{Output, Transfer};
use crate::protocol::source::work::{Page, Sent, What, Work};
use crate::queue::agenda::{Parcel, Visit};
use crate::queue::links::Found;
use crate::queue::mark::{Distrust, Extent, Lane, Urgency};
use crate::wire::encode;
use crate::wire::message::{Message, Range};

/// How long a file that changed while it was read is left alone, the first time.
pub(super) const UNSTEADY_WAIT: Duration = Duration::from_millis(20);
/// What an entry is taken to hold that was never looked at, in bytes: most files are small, and a batch
/// that fills up early leaves the rest to the next.
const PUSHED_BYTES: u64 = 1024;

impl Transfer {
    /// Takes the result of a job that [`Output::Job`] asked for.
    pub fn on_done(&mut self, id: WorkId, done: Done, now: Instant, out: &mut Vec<Output>) {
        if let Some((lane, reserved_bytes)) = self.orphans.remove(&id) {
            self.reserved_bytes -= reserved_bytes;
            self.jobs[lane as usize] -= 1;
            out.push(Output::Forget { session: self.session, work: id });
            self.pump(now, out);
            return;
        }
        let Some(work) = self.flight.works.get_mut(&id) else { return };
        work.is_reading = false;
        self.reserved_bytes -= std::mem::take(&mut work.reserved_bytes);
        let lane = work.lane;
        self.jobs[lane as usize] -= 1;
        if self.on_probed(id, matches!(done, Done::Looked(Ok(_))), now, out) {
            // Nothing is to be sent because of it.
            self.end(id, now, out);
            return self.pump(now, out);
        }
        match done {
            Done::Listed(Ok(Some(listed))) => self.on_listed(id, listed, now, out),
            Done::Named(Ok(Some(page))) => self.on_named(id, page, now, out),
            Done::Looked(Ok(looked)) => self.on_looked(id, looked, now, out),
            Done::Stat(Ok(Some(metadata))) => self.on_stat(id, metadata, now, out),
            Done::Read(Ok(Some(piece))) => self.on_piece(id, piece, now, out),
            Done::Weighed(Ok(Some(weighed))) => self.on_weighed(id, weighed, now, out),
            Done::Matched(Ok(Some(matched))) => self.on_matched(id, matched, now, out),
            Done::Listed(Ok(None))
            | Done::Named(Ok(None))
            | Done::Stat(Ok(None))
            | Done::Read(Ok(None))
            | Done::Weighed(Ok(None))
            | Done::Matched(Ok(None)) => {
                self.look_again(id, Urgency::Now, now, out);
            }
            Done::Listed(Err(error))
            | Done::Named(Err(error))
            | Done::Looked(Err(error))
            | Done::Stat(Err(error))
            | Done::Read(Err(error))
            | Done::Weighed(Err(error))
            | Done::Matched(Err(error)) => self.on_job_error(id, &error, now, out),
        }
        self.pump(now, out);
    }

    fn on_job_error(&mut self, id: WorkId, error: &JobError, now: Instant, out: &mut Vec<Output>) {
        if error.is_root_lost {
            self.on_source_lost(&error.text, now, out);
            return self.look_again(id, Urgency::At(now + RETRY_PAUSE), now, out);
        }
        if error.is_emptied {
            return self.on_emptied(id, now, out);
        }
        let born = self.flight.works.get(&id).map_or(now, |work| work.born);
        let path = match self.flight.works.get(&id).map(|work| &work.what) {
            Some(
                What::Page { visit: Visit { directory, .. }, .. } | What::Names { directory, .. },
            ) => Some((directory.clone(), Need::Metadata)),
            Some(What::Large { directory, name, .. }) => {
                directory.join(name).ok().map(|path| (path, Need::Content))
            }
            Some(What::Rename { .. }) | None => None,
        };
        if let Some((path, need)) = path {
            self.problem(&path, need, born, &error.text, now, out);
            self.look_again(id, Urgency::At(now + RETRY_PAUSE), now, out);
        } else {
            self.end(id, now, out);
        }
    }

    /// Ends a piece of work whose object is not what it was thought to be, and marks it instead.
    fn look_again(&mut self, id: WorkId, urgency: Urgency, now: Instant, out: &mut Vec<Output>) {
        let Some(work) = self.flight.works.get(&id) else { return };
        let (lane, born) = (work.lane, work.born);
        let mut marks = Vec::new();
        let mut distrust = Distrust::Nothing;
        let mut renamed = None;
        match &work.what {
            What::Page { visit, .. } => {
                let extent = match (urgency, visit.is_deep) {
                    (Urgency::Now, _) => Extent::Entry(Need::Content),
                    (_, true) => Extent::Subtree,
                    (_, false) => Extent::Directory,
                };
                distrust = visit.distrust;
                // A root that is gone is reported as lost; an entry mark on it would change nothing.
                marks.push((visit.directory.clone(), extent));
            }
            What::Names { directory, names, .. } => {
                let path = |name| crate::queue::mark_set::entry_path(directory, name);
                marks.extend(names.iter().map(|(name, need)| (path(name), Extent::Entry(*need))));
                if names.is_empty() {
                    marks.push((directory.clone(), Extent::Entry(Need::Metadata)));
                }
            }
            What::Large { directory, name, is_over, .. } => {
                if !is_over {
                    let path = crate::queue::mark_set::entry_path(directory, name);
                    marks.push((path, Extent::Entry(Need::Content)));
                }
            }
            What::Rename { from, to, is_directory } => {
                let (from, to) = (from.clone(), to.clone());
                renamed = Some(RenameHint { from, to, is_directory: *is_directory, born });
            }
        }
        let is_open_large = matches!(work.what, What::Large { is_open: true, .. });
        if let Some(renamed) = renamed {
            self.send_instead(renamed, now);
        }
        for (path, extent) in marks {
            self.mark(lane, &path, extent, urgency, born, now);
            self.agenda(lane).marks.distrust(&path, distrust);
        }
        if is_open_large {
            self.abort_large(id, now, out);
        } else {
            self.end(id, now, out);
        }
    }

    fn on_listed(&mut self, id: WorkId, listed: Listed, now: Instant, out: &mut Vec<Output>) {
        let Some(work) = self.flight.works.get_mut(&id) else { return };
        let What::Page { visit, .. } = &mut work.what else { return };
        let Listed { own, entries, has_more, digest, suspects } = listed;
        let until = if has_more { entries.last().map(|entry| entry.name.clone()) } else { None };
        let (lane, visit) = (work.lane, visit.clone());
        self.on_names_listed(lane, &visit, entries.len(), now, out);
        self.mark_missing(lane, &visit, until.as_ref(), now, |name| {
            let found = entries.binary_search_by(|entry| entry.name.as_bytes().cmp(name));
            found.ok().map(|index| Found::of(&entries[index].metadata))
        });
        let Some(Work { what: What::Page { page, .. }, .. }) = self.flight.works.get_mut(&id)
        else {
            return;
        };
        let range = Range {
            directory: visit.directory.clone(),
            after: visit.after.clone(),
            until: until.clone(),
        };
        self.pages.listed(entries.len());
        *page = Some(Page {
            entries,
            until: until.clone(),
            own,
            digest,
            suspects,
            wanted: std::collections::HashSet::new(),
        });
        self.overtake(&visit.directory);
        self.visit_rest(lane, &visit, until);
        self.send_data(Message::Compare { work: id, range, digest }, Bytes::new(), now, out);
    }

    fn on_named(&mut self, id: WorkId, page: NamePage, now: Instant, out: &mut Vec<Output>) {
        let NamePage { names, has_more } = page;
        let Some(work) = self.flight.works.get(&id) else { return };
        let What::Page { visit, .. } = &work.what else { return };
        let until = if has_more { names.last().map(|(name, _)| name.clone()) } else { None };
        let (lane, visit) = (work.lane, visit.clone());
        self.visit_rest(lane, &visit, until.clone());
        self.on_names_listed(lane, &visit, names.len(), now, out);
        self.mark_missing(lane, &visit, until.as_ref(), now, |name| {
            let found = names.binary_search_by(|(known, _)| known.as_bytes().cmp(name)).ok()?;
            Some(Found::named(names[found].1))
        });
        self.end(id, now, out);
        let unread = |(name, is_directory)| (name, is_directory, PUSHED_BYTES);
        let names = names.into_iter().map(unread).collect();
        self.push_page(lane, &visit, until.as_ref(), names, now);
    }

    /// Queues everything of a page for a sink that has nothing of it: names, whether they are
    /// directories, and how many bytes of content they are thought to have.
    pub(super) fn push_page(
        &mut self,
        lane: Lane,
        visit: &Visit,
        until: Option<&Name>,
        names: Vec<(Name, bool, u64)>,
        now: Instant,
    ) {
        self.compared(lane, visit, until, now, |name| {
            let found = names.binary_search_by(|(known, _, _)| known.cmp(name));
            found.is_ok_and(|index| names[index].1)
        });
        if visit.is_deep {
            for (name, _, _) in names.iter().rev().filter(|(_, is_directory, _)| *is_directory) {
                let directory = crate::queue::mark_set::entry_path(&visit.directory, name);
                let is_push = !self.flight.claims.is_busy(&directory);
                let visit = Visit { directory, after: None, is_push, ..visit.clone() };
                self.agenda(lane).visits.push(visit);
            }
        }
        let names = names.into_iter().map(|(name, is_directory, content_bytes)| {
            let need = if is_directory { Need::Directory } else { Need::Content };
            (name, need, content_bytes)
        });
        let (directory, names) = (visit.directory.clone(), names.collect());
        let parcel = Parcel { directory, names, may_remove: false, born: visit.born };
        self.agenda(lane).parcels.push_back(parcel);
    }

    #[expect(clippy::too_many_lines, reason = "each outcome has its few lines")]
    fn on_looked(&mut self, id: WorkId, looked: Looked, now: Instant, out: &mut Vec<Output>) {
        let Some(work) = self.flight.works.get_mut(&id) else { return };
        let (lane, mut born, is_overtaken) = (work.lane, work.born, work.is_overtaken);
        let What::Names { directory, names, sent, may_remove } = &mut work.what else { return };
        let (directory, may_remove) = (directory.clone(), *may_remove);
        let asked = std::mem::take(names);
        let wants_own_only = asked.is_empty();
        let (mut left, mut again) = (Vec::new(), Vec::new());
        let (mut failed, mut unsteady) = (Vec::new(), Vec::new());
        let mut larges = Vec::new();
        let mut made = Vec::new();
        let mut left_out = Vec::new();
        let mut linked = Vec::new();
        let (mut missing, mut back, mut seen_now) = (Vec::new(), Vec::new(), Vec::new());
        for ((name, need), outcome) in asked.into_iter().zip(looked.outcomes) {
            if !matches!(outcome, Outcome::Placed(_)) {
                self.flight.claims.release(&directory, &name);
            }
            if let Some(is_directory) = found(&outcome).filter(|_| !self.removals.is_empty()) {
                let path = crate::queue::mark_set::entry_path(&directory, &name);
                if let Some(held) = self.removals.forget(&path) {
                    // What the sink has there differs since then.
                    born = born.min(held);
                    work.born = born;
                    back.extend(is_directory.then_some(path));
                }
            }
            match outcome {
                Outcome::Placed(placed) => {
                    let is_directory = placed == Placed::Directory;
                    count(sent, &placed);
                    let path = crate::queue::mark_set::entry_path(&directory, &name);
                    match placed {
                        Placed::Directory => self.links.forget(&path),
                        Placed::Absent => self.links.forget_within(&path),
                        Placed::Other { seen, .. } => {
                            seen_now.push((path.clone(), need, seen));
                        }
                    }
                    if !is_directory {
                        self.problems.void_below(&path);
                    } else if need != Need::Directory {
                        self.flight.claims.relax(id, &directory, &name);
                        made.push((name.clone(), need));
                    }
                    if is_overtaken {
                        let need = if is_directory { need } else { Need::Content };
                        again.push((name.clone(), need));
                    }
                    names.push((name, need));
                }
                Outcome::Linked(_) if work.is_moved => again.push((name, Need::Content)),
                Outcome::Linked(seen) => {
                    self.problems
                        .void_below(&crate::queue::mark_set::entry_path(&directory, &name));
                    linked.push((name, need, seen));
                }
                Outcome::Large => larges.push(name),
                Outcome::Left => left.push((name, need)),
                Outcome::Unsteady => unsteady.push(name),
                Outcome::LeftOut => left_out.push(name),
                Outcome::Missing => missing.push(name),
                Outcome::Changed => again.push((name, Need::Content)),
                Outcome::Failed(text) => failed.push((name, text)),
            }
        }
        // What is left out may have come or gone, and with it the directory's own time.
        let wants_own = wants_own_only || !left_out.is_empty();
        let has_items = !names.is_empty();
        self.note_placed(id, lane, seen_now, born, now);
        for (name, need) in again {
            let path = crate::queue::mark_set::entry_path(&directory, &name);
            self.mark(lane, &path, Extent::Entry(need), Urgency::Now, born, now);
        }
        for name in left_out {
            let path = crate::queue::mark_set::entry_path(&directory, &name);
            self.links.forget_within(&path);
            self.left_out(&directory, &name);
        }
        for path in back {
            // The sink may still have the directory that was there before. What was reported below went with the name.
            self.mark_made_anew(lane, &path, born, now);
        }
        for name in missing {
            // Of its other names, if it has any, those that are left are told once it is removed.
            let path = crate::queue::mark_set::entry_path(&directory, &name);
            self.problems.void_below(&path);
            self.links.missed(&path);
            self.unsteady.remove(&path);
            self.removals.hold(path, lane, born, now);
        }
        for name in unsteady {
            self.on_unsteady(lane, &directory, name, born, now);
        }
        for (name, text) in failed {
            let path = crate::queue::mark_set::entry_path(&directory, &name);
            self.problem(&path, Need::Content, born, &text, now, out);
        }
        for (name, need) in made {
            let path = crate::queue::mark_set::entry_path(&directory, &name);
            if need == Need::Content {
                // The sink may have another directory there, and what was reported below went with the name.
                self.mark_made_anew(lane, &path, born, now);
            } else {
                // A directory's own metadata is told with the directory itself.
                let parcel = Parcel { directory: path, names: [].into(), may_remove: false, born };
                self.agenda(lane).parcels.push_front(parcel);
            }
        }
        for name in larges {
            self.queue_large(lane, &directory, name, born, now);
        }
        self.requeue(lane, &directory, left, may_remove, born);
        let own = self.flight.claims.newest_own(&directory, looked.own_read_at, looked.own);
        let linked =
            Linked { directory: directory.clone(), own: own.clone(), names: linked, lane, born };
        if has_items || (wants_own && own.is_some()) {
            let Looked { payload, items_bytes, .. } = looked;
            let unpacked_bytes = payload.unpacked_bytes;
            let (payload, own_bytes) = encode::with_own(payload.bytes, own.as_ref());
            let message =
                Message::Put { work: id, directory, items_bytes, own_bytes, unpacked_bytes };
            self.send_data(message, payload, now, out);
        } else {
            self.end(id, now, out);
        }
        self.start_linked(linked, now, out);
        self.mark_doubtful(Some(id), lane, born, now);
    }

    fn on_stat(&mut self, id: WorkId, mut metadata: Metadata, now: Instant, out: &mut Vec<Output>) {
        let Some(What::Rename { from, to, .. }) = self.flight.works.get(&id).map(|work| &work.what)
        else {
            return;
        };
        metadata.attributes = metadata.attributes.digested();
        let message = Message::Rename { work: id, from: from.clone(), to: to.clone(), metadata };
        self.send_data(message, Bytes::new(), now, out);
    }
}

/// How many bytes of content are to be read without a further look.
pub(super) fn unread_bytes(entry: &Entry) -> u64 {
    // What has other names is looked at first, however large: perhaps one of them has been sent.
    if entry.metadata.is_linked() { 0 } else { entry.metadata.kind.size_bytes() }
}

fn count(sent: &mut Sent, placed: &Placed) {
    match placed {
        Placed::Absent => sent.removed += 1,
        Placed::Directory => {}
        Placed::Other { content_bytes, .. } => {
            sent.files += u64::from(*content_bytes > 0);
            sent.content_bytes += content_bytes;
        }
    }
}
