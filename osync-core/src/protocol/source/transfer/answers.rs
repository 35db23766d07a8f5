//! What the sink says: confirmed, or marks again.

use std::time::{Duration, Instant};

use crate::model::name::Name;
use crate::model::need::Need;
use crate::model::rel_path::RelPath;
use crate::model::work_id::WorkId;
use crate::ports::counters::Counters;
use crate::protocol::source::transfer::changes::RenameHint;
use crate::protocol::source::transfer::delta::Way;
use crate::protocol::source::transfer::results::{UNSTEADY_WAIT, unread_bytes};
use crate::protocol::source::transfer::{Breach, Output, Transfer};
use crate::protocol::source::work::{Page, What};
use crate::queue::agenda::{Parcel, Visit};
use crate::queue::mark::{Extent, Lane, Urgency};
use crate::wire::encode;
use crate::wire::message::{Answer, Failure, Message, Range};

/// How long a directory that the sink could not look into is left alone.
const PROBLEM_WAIT: Duration = Duration::from_secs(1);

impl Transfer {
    pub(super) fn on_answer(
        &mut self,
        id: WorkId,
        answer: Answer,
        now: Instant,
        out: &mut Vec<Output>,
    ) -> Result<(), Breach> {
        let work = self.flight.works.get_mut(&id).ok_or(Breach("an answer to nothing"))?;
        let lane = work.lane;
        let What::Page { visit, page: Some(page) } = &mut work.what else {
            return Err(Breach("an answer to what was no question"));
        };
        match answer {
            Answer::Equal => {
                Counters::add(&self.counters.directories_equal, 1);
                let (visit, page) = self.end_page(id, now, out)?;
                self.send_suspects(lane, &visit, &page);
                self.on_root_compared(&visit, &page, false, now, out);
                self.visit_below(lane, &visit, &page, now);
            }
            Answer::Differs => {
                let range = Range {
                    directory: visit.directory.clone(),
                    after: visit.after.clone(),
                    until: page.until.clone(),
                };
                let own = page.own.clone();
                let payload = encode::entries(&page.entries);
                self.send_data(Message::Listing { work: id, range, own }, payload, now, out);
            }
            Answer::Missing => {
                let (visit, page) = self.end_page(id, now, out)?;
                let extent = Extent::Entry(Need::Directory);
                if !visit.directory.is_root() {
                    self.mark(lane, &visit.directory, extent, Urgency::Now, visit.born, now);
                }
                let Page { entries, until, .. } = page;
                let names = entries.into_iter().map(|entry| {
                    let bytes = unread_bytes(&entry);
                    (entry.name, entry.metadata.kind.is_directory(), bytes)
                });
                self.push_page(lane, &visit, until.as_ref(), names.collect(), now);
            }
            Answer::Entries { own, wanted, extra, is_last } => {
                let (is_root, has_extra) = (visit.directory.is_root(), !extra.is_empty());
                // While nothing is left at the source they are held already.
                let extra = if is_root && self.removals.is_emptied() { Vec::new() } else { extra };
                let parcel = parcel_of(visit, page, own, wanted, extra)?;
                let agenda = match lane {
                    Lane::Live => &mut self.live,
                    Lane::Backlog => &mut self.backlog,
                };
                agenda.parcels.extend(parcel);
                if is_last {
                    let (visit, page) = self.end_page(id, now, out)?;
                    self.send_suspects(lane, &visit, &page);
                    self.on_root_compared(&visit, &page, has_extra, now, out);
                    self.visit_below(lane, &visit, &page, now);
                }
            }
            Answer::Failed { text } => {
                let (visit, _) = self.end_page(id, now, out)?;
                let born = visit.born;
                let extent = if visit.is_deep { Extent::Subtree } else { Extent::Directory };
                let urgency = Urgency::At(now + PROBLEM_WAIT);
                self.mark(lane, &visit.directory, extent, urgency, visit.born, now);
                self.agenda(lane).marks.distrust(&visit.directory, visit.distrust);
                self.problem(&visit.directory, Need::Metadata, born, &text, now, out);
            }
        }
        Ok(())
    }

    fn end_page(
        &mut self,
        id: WorkId,
        now: Instant,
        out: &mut Vec<Output>,
    ) -> Result<(Visit, Page), Breach> {
        let taken = match self.flight.works.get_mut(&id).map(|work| &mut work.what) {
            Some(What::Page { visit, page }) => page.take().map(|page| (visit.clone(), page)),
            Some(What::Names { .. } | What::Large { .. } | What::Rename { .. }) | None => None,
        };
        if let Some((_, page)) = &taken {
            self.pages.taken(page);
        }
        self.end(id, now, out);
        taken.ok_or(Breach("an answer to what was no question"))
    }

    /// Queues the directories of a page; those the sink lacks are sent without comparing, unless work under way
    /// is about to make them, and perhaps names in them that are gone by now.
    fn visit_below(&mut self, lane: Lane, visit: &Visit, page: &Page, now: Instant) {
        self.compared(lane, visit, page.until.as_ref(), now, |name| {
            let found = page.entries.binary_search_by(|entry| entry.name.cmp(name));
            found.is_ok_and(|index| page.entries[index].metadata.kind.is_directory())
        });
        self.tell_linked(lane, visit, page);
        for (index, entry) in page.entries.iter().enumerate().rev() {
            let is_missing = page.wanted.contains(&index);
            if entry.metadata.kind.is_directory() && (visit.is_deep || is_missing) {
                let directory = crate::queue::mark_set::entry_path(&visit.directory, &entry.name);
                let is_push = is_missing && !self.flight.claims.is_busy(&directory);
                let visit =
                    Visit { directory, after: None, is_deep: true, is_push, ..visit.clone() };
                self.agenda(lane).visits.push(visit);
            }
        }
    }

    /// What was wrong in a part of a directory, up to `until`, that both ends could list, and what may be wrong there
    /// soon: work that began when a name was a directory makes it one after the sink has listed it.
    pub(super) fn compared(
        &mut self,
        lane: Lane,
        visit: &Visit,
        until: Option<&Name>,
        now: Instant,
        is_directory: impl Fn(&Name) -> bool,
    ) {
        for name in self.flight.claims.busy_below(&visit.directory) {
            let is_in_part = visit.after.as_ref().is_none_or(|after| name > *after)
                && until.is_none_or(|until| name <= *until);
            if is_in_part && !is_directory(&name) {
                let path = crate::queue::mark_set::entry_path(&visit.directory, &name);
                let extent = Extent::Entry(Need::Metadata);
                self.mark(lane, &path, extent, Urgency::Now, visit.born, now);
            }
        }
        if self.problems.is_empty() {
            return;
        }
        if visit.after.is_none() {
            self.problems.solved(&visit.directory, Need::Metadata);
        }
        self.problems.compared(&visit.directory, visit.after.as_ref(), until, is_directory);
    }

    pub(super) fn on_applied(
        &mut self,
        id: WorkId,
        failures: &[Failure],
        now: Instant,
        out: &mut Vec<Output>,
    ) -> Result<(), Breach> {
        let entries = self.flight.entries_of(id);
        self.flight.confirmed.applied(entries);
        let work = self.flight.works.get(&id).ok_or(Breach("a confirmation of nothing"))?;
        if work.is_reading && !matches!(work.what, What::Large { .. }) {
            return Err(Breach("a confirmation of what was not sent"));
        }
        match &work.what {
            What::Page { .. } => return Err(Breach("a confirmation of a question")),
            What::Rename { from, to, is_directory } => {
                let (from, to) = (from.clone(), to.clone());
                let hint = RenameHint { from, to, is_directory: *is_directory, born: work.born };
                if let Some(failure) = failures.first() {
                    log::debug!("rename of {} left to comparison: {}", hint.from, failure.text);
                    self.send_instead(hint, now);
                } else {
                    Counters::add(&self.counters.renamed, 1);
                    for name in self.links.moved(&hint.to) {
                        let extent = Extent::Entry(Need::Metadata);
                        self.mark(Lane::Live, &name, extent, Urgency::Now, hint.born, now);
                    }
                }
                self.end(id, now, out);
            }
            What::Names { directory, names, sent, .. } => {
                let (directory, names, sent) = (directory.clone(), names.clone(), *sent);
                if failures
                    .iter()
                    .filter_map(|failure| failure.item)
                    .any(|item| item as usize >= names.len())
                {
                    return Err(Breach("a failure of an item that was not sent"));
                }
                let (lane, born) = (work.lane, work.born);
                self.end(id, now, out);
                self.confirm_names(
                    id, lane, &directory, &names, failures, &directory, born, now, out,
                );
                Counters::add(&self.counters.entries, names.len() as u64);
                Counters::add(&self.counters.files, sent.files);
                Counters::add(&self.counters.content_bytes, sent.content_bytes);
                Counters::add(&self.counters.removed, sent.removed);
            }
            What::Large {
                directory,
                name,
                is_aborted,
                is_inexact,
                offset_bytes,
                is_over,
                course,
                ..
            } => {
                let (directory, name) = (directory.clone(), name.clone());
                let (lane, born, offset_bytes) = (work.lane, work.born, *offset_bytes);
                let (is_over, is_aborted, is_inexact) = (*is_over, *is_aborted, *is_inexact);
                let way = Way::of(course);
                if is_aborted {
                    self.end(id, now, out);
                    return Ok(());
                }
                if failures.is_empty() && !is_over {
                    return Err(Breach("a confirmation of a file that is not complete"));
                }
                self.end(id, now, out);
                let path = crate::queue::mark_set::entry_path(&directory, &name);
                self.on_arrived(&path, way, offset_bytes, failures.is_empty(), born, now);
                // What was never whole solves nothing.
                let need = if is_inexact { Need::Metadata } else { Need::Content };
                let names = [(name, need)];
                self.confirm_names(id, lane, &directory, &names, failures, &path, born, now, out);
                if failures.is_empty() {
                    // It may have taken the place of a directory.
                    self.problems.void_below(&path);
                    Counters::add(&self.counters.entries, 1);
                    Counters::add(&self.counters.files, 1);
                    Counters::add(&self.counters.content_bytes, offset_bytes);
                    if is_inexact {
                        self.on_inexact(&path, now, out);
                    }
                }
            }
        }
        Ok(())
    }

    pub(super) fn solved(&mut self, directory: &RelPath, name: &Name, need: Need) {
        if (!self.problems.is_empty() || !self.unsteady.is_empty())
            && let Ok(path) = directory.join(name)
        {
            self.problems.solved(&path, need);
            if need == Need::Content {
                self.unsteady.remove(&path);
            }
        }
    }

    /// There is nothing to do at a name that a filter leaves out, and nothing to complain about.
    pub(super) fn left_out(&mut self, directory: &RelPath, name: &Name) {
        self.solved(directory, name, Need::Content);
        if let Ok(path) = directory.join(name) {
            self.problems.void_below(&path);
        }
    }

    /// Marks what failed again, now or later; the rest is done. A failure of no item concerns `whole`.
    #[expect(clippy::too_many_arguments, reason = "the parts of a piece of work and the moment")]
    fn confirm_names(
        &mut self,
        id: WorkId,
        lane: Lane,
        directory: &RelPath,
        names: &[(Name, Need)],
        failures: &[Failure],
        whole: &RelPath,
        born: Instant,
        now: Instant,
        out: &mut Vec<Output>,
    ) {
        // No directory confirms the root as one of its names.
        if directory.is_root() && failures.iter().all(|failure| failure.item.is_some()) {
            self.problems.solved(directory, Need::Metadata);
        }
        for (index, (name, need)) in (0_u32..).zip(names) {
            let is_it =
                |failure: &Failure| failure.item.map_or(whole != directory, |item| item == index);
            let failure = failures.iter().find(|failure| is_it(failure));
            if failure.is_none() {
                self.solved(directory, name, *need);
            }
            let path = crate::queue::mark_set::entry_path(directory, name);
            self.settle_link(id, lane, &path, failure, born, now);
        }
        for failure in failures {
            let item = failure.item.and_then(|item| names.get(item as usize));
            let path = match item {
                Some((name, _)) => crate::queue::mark_set::entry_path(directory, name),
                None => whole.clone(),
            };
            let need = if path == *directory {
                // Of the directory itself only the metadata is sent with names in it.
                Need::Metadata
            } else if failure.is_stale {
                self.links.need_again(&path)
            } else {
                Need::Content
            };
            if failure.is_stale {
                log::debug!("{path} to be looked at again: {}", failure.text);
                let urgency = Urgency::At(now + UNSTEADY_WAIT);
                self.mark(lane, &path, Extent::Entry(need), urgency, born, now);
                // What is above it may not be what it was thought to be either.
                self.mark(lane, directory, Extent::Entry(Need::Metadata), urgency, born, now);
            } else if failure.is_target {
                self.on_target_failed(&path, need, born, &failure.text, now, out);
            } else {
                self.problem(&path, need, born, &failure.text, now, out);
            }
        }
    }
}

/// What of a page is to be sent, as the sink sees it.
fn parcel_of(
    visit: &Visit,
    page: &mut Page,
    own: bool,
    wanted: Vec<(u32, Need)>,
    extra: Vec<Name>,
) -> Result<Option<Parcel>, Breach> {
    if !own && wanted.is_empty() && extra.is_empty() {
        return Ok(None);
    }
    let mut names = std::collections::VecDeque::with_capacity(wanted.len() + extra.len());
    for (index, need) in wanted {
        let entry =
            page.entries.get(index as usize).ok_or(Breach("an entry that was not listed"))?;
        let kind = &entry.metadata.kind;
        page.wanted.insert(index as usize);
        // What the sink says of the kind is not believed.
        let need = match (kind.is_directory(), need) {
            (true, _) => Need::Directory,
            (false, Need::Directory) => Need::Content,
            (false, _) if page.suspects.binary_search(&entry.name).is_ok() => Need::Content,
            (false, need) => need,
        };
        let content_bytes = if need == Need::Content { unread_bytes(entry) } else { 0 };
        names.push_back((entry.name.clone(), need, content_bytes));
    }
    names.extend(extra.into_iter().map(|name| (name, Need::Content, 0)));
    let (directory, born) = (visit.directory.clone(), visit.born);
    Ok(Some(Parcel { directory, names, may_remove: false, born }))
}
