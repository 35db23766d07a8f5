//! Names that stand for one thing are sent as names of one thing.
//!
//! A look only tells of such names. Then one of them leads: it travels as any file does, looked at once more
//! if its content is needed. The others wait until the sink has it, and follow as names of that. Which
//! leads, and who has to follow anew, [`Links`] knows.
//!
//! [`Links`]: crate::queue::links::Links

use std::collections::{HashSet, VecDeque};
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::model::metadata::{Metadata, Sighting};
use crate::model::name::Name;
use crate::model::need::Need;
use crate::model::rel_path::RelPath;
use crate::model::work_id::WorkId;
use crate::protocol::source::transfer::{Output, Transfer};
use crate::protocol::source::work::{Page, Sent, What};
use crate::queue::agenda::{Agenda, Parcel, Visit};
use crate::queue::claims::{Claim, Claims};
use crate::queue::links::{Course, Found};
use crate::queue::mark::{Distrust, Extent, Lane, Mark, Urgency};
use crate::wire::encode;
use crate::wire::message::{Failure, Item, Message, State};

/// How long a name waits for one that is to lead and has not begun, if nobody wakes it.
const LEADER_WAIT: Duration = Duration::from_secs(1);
/// How long names wait that the sink had otherwise than thought: the one that leads goes first.
const FOLLOWER_WAIT: Duration = Duration::from_millis(20);
/// Names, paths and attributes in one message, in bytes, about.
const BATCH_BYTES_MAX: usize = 256 * 1024;

/// Names of one directory that were seen to have others.
#[derive(Debug)]
pub(super) struct Linked {
    pub(super) directory: RelPath,
    /// The directory's own metadata, newest known.
    pub(super) own: Option<Metadata>,
    pub(super) names: Vec<(Name, Need, Box<Sighting>)>,
    pub(super) lane: Lane,
    pub(super) born: Instant,
}

impl Transfer {
    /// Takes what was seen at `path`. If that makes other names differ, they are marked.
    pub(super) fn note(
        &mut self,
        lane: Lane,
        path: &RelPath,
        seen: &Sighting,
        need: Need,
        born: Instant,
        now: Instant,
    ) {
        let others = self.links.see(path, seen, need == Need::Content);
        // What is seen here may have been reported earlier, here or at another of the names.
        let names =
            others.iter().map(|(other, _)| other).chain((!others.is_empty()).then_some(path));
        let reported = names.filter_map(|name| self.born_at(name)).min();
        let oldest = reported.map_or(born, |reported| reported.min(born));
        for (other, need) in others {
            self.mark(lane, &other, Extent::Entry(need), Urgency::Now, oldest, now);
        }
        if self.links.take_overflow() {
            log::warn!("too many hard links to know them all: from {path} on, names become files");
        }
        self.wish_search(born, now);
    }

    /// Takes that these are on their way with `id`, each as the only one of its names, and are no directories.
    pub(super) fn note_placed(
        &mut self,
        id: WorkId,
        lane: Lane,
        placed: Vec<(RelPath, Need, Box<Sighting>)>,
        born: Instant,
        now: Instant,
    ) {
        if self.flight.works.get(&id).is_some_and(|work| work.is_moved) {
            // Of what these are names by now nobody knows, nor what others of them have to follow.
            for (path, _, seen) in placed {
                if seen.metadata.is_linked() || self.links.knows(&path, seen.stamp.object) {
                    self.mark(lane, &path, Extent::Entry(Need::Content), Urgency::Now, born, now);
                }
            }
            return;
        }
        for (path, need, seen) in placed {
            for below in self.links.below(&path) {
                self.mark(lane, &below, Extent::Entry(Need::Content), Urgency::Now, born, now);
            }
            let is_single = !seen.metadata.is_linked();
            if lane == Lane::Backlog && is_single && !self.links.knows(&path, seen.stamp.object) {
                // Another name comes right after the first only where things are made just now.
                continue;
            }
            self.note(lane, &path, &seen, need, born, now);
            if need == Need::Content {
                self.note_whole(id, lane, &path, &seen, born, now);
            } else {
                self.links.sent(&path, id, false);
            }
        }
    }

    /// Marks the names that are to be looked at once more: once `id` has ended, which may remove another of them.
    pub(super) fn mark_doubtful(
        &mut self,
        id: Option<WorkId>,
        lane: Lane,
        born: Instant,
        now: Instant,
    ) {
        let id = id.filter(|id| self.flight.works.contains_key(id));
        for (path, need) in self.links.take_doubtful() {
            let extent = Extent::Entry(need);
            if let Some(id) = id {
                let distrust = Distrust::Nothing;
                let mark = Mark { path: path.clone(), extent, born, distrust };
                self.agenda(lane).marks.park(&mark, now);
                self.flight.park(id, path);
            } else {
                self.mark(lane, &path, extent, Urgency::Now, born, now);
            }
        }
    }

    /// Has the names looked at that a listing should have and has not, or has otherwise: other names of the same things
    /// have to know.
    pub(super) fn mark_missing(
        &mut self,
        lane: Lane,
        visit: &Visit,
        until: Option<&Name>,
        now: Instant,
        listed: impl Fn(&[u8]) -> Option<Found>,
    ) {
        let after = visit.after.as_ref();
        for path in self.links.missing(&visit.directory, after, until, listed) {
            let extent = Extent::Entry(Need::Content);
            self.mark(lane, &path, extent, Urgency::Now, visit.born, now);
        }
    }

    /// Takes that `path` is on its way with its content, so that other names have to follow it anew.
    pub(super) fn note_whole(
        &mut self,
        id: WorkId,
        lane: Lane,
        path: &RelPath,
        seen: &Sighting,
        born: Instant,
        now: Instant,
    ) {
        for other in self.links.sent_whole(path, id, seen) {
            self.mark(lane, &other, Extent::Entry(Need::Content), Urgency::Now, born, now);
        }
    }

    /// Sends names that have others, or has them wait.
    pub(super) fn start_linked(&mut self, linked: Linked, now: Instant, out: &mut Vec<Output>) {
        let Linked { directory, own, names, lane, born } = linked;
        // What leads in this very batch, and is not under way yet.
        let mut begun = HashSet::new();
        let mut leading = VecDeque::new();
        let mut items = Vec::new();
        let mut waiting = Vec::new();
        for (name, need, seen) in names {
            let path = crate::queue::mark_set::entry_path(&directory, &name);
            self.note(lane, &path, &seen, need, born, now);
            if self.links.is_overtaken(&path, &seen) {
                self.mark(lane, &path, Extent::Entry(need), Urgency::Now, born, now);
                continue;
            }
            let mut course = self.links.course(&path, need, |leader| {
                begun.contains(leader)
                    || is_under_way(&self.flight.claims, [&self.live, &self.backlog], leader)
            });
            if let Course::Follow(to) = &course
                && self.is_content_open(to)
            {
                // What was reported there has not reached the sink, and may never do so from that name. Where both are
                // only to be sent anew, one goes first: else they would lead in turn for ever.
                course = if *to < path && self.is_sent_soon(to) {
                    Course::Wait(to.clone())
                } else {
                    Course::Lead { needs_content: true }
                };
            }
            if matches!(course, Course::Lead { .. }) {
                begun.insert(path.clone());
            }
            let metadata = seen.metadata;
            let bytes = metadata.kind.size_bytes();
            match course {
                Course::Lead { needs_content } if needs_content || need == Need::Content => {
                    if bytes > self.inline_bytes_max() {
                        self.queue_large(lane, &directory, name, born, now);
                    } else {
                        leading.push_back((name, Need::Content, bytes));
                    }
                }
                Course::Lead { .. } => {
                    items.push((Item { name, state: State::Kept(metadata) }, need));
                }
                Course::Follow(to) => {
                    items.push((Item { name, state: State::Linked { metadata, to } }, need));
                }
                Course::Wait(leader) => waiting.push((path, need, leader)),
            }
        }
        if !leading.is_empty() {
            let parcel =
                Parcel { directory: directory.clone(), names: leading, may_remove: false, born };
            self.start_names(lane, parcel, true, now, out);
        }
        self.send_linked(lane, &directory, own.as_ref(), items, born, now, out);
        for (path, need, leader) in waiting {
            self.wait_for(lane, &path, need, &leader, born, now);
        }
    }

    /// Whether the content at `path` has been reported to differ, or that nothing is there any more.
    fn is_content_open(&self, path: &RelPath) -> bool {
        let is_marked = |agenda: &Agenda| agenda.marks.has_content_at(path);
        [&self.live, &self.backlog].into_iter().any(is_marked) || self.removals.holds(path)
    }

    /// Whether nothing is known that keeps `path`, which is marked, from being sent.
    fn is_sent_soon(&self, path: &RelPath) -> bool {
        let has_problem = |path: &RelPath| self.problems.contains(path);
        let is_stuck = has_problem(path) || path.parent().is_some_and(|above| has_problem(&above));
        !is_stuck && !self.removals.holds(path)
    }

    /// Marks `path` until the name that leads has arrived.
    fn wait_for(
        &mut self,
        lane: Lane,
        path: &RelPath,
        need: Need,
        leader: &RelPath,
        born: Instant,
        now: Instant,
    ) {
        let extent = Extent::Entry(need);
        let leading = leader.split().and_then(|(directory, name)| {
            self.flight.claims.conflict_at(&directory, &name, Claim::Make)
        });
        if let Some(work) = leading.filter(|work| self.flight.works.contains_key(work)) {
            let distrust = Distrust::Nothing;
            let mark = Mark { path: path.clone(), extent, born, distrust };
            self.agenda(lane).marks.park(&mark, now);
            self.flight.park(work, path.clone());
        } else {
            self.mark(lane, path, extent, Urgency::At(now + LEADER_WAIT), born, now);
        }
    }

    /// Sends names without content; those that something in flight touches become marks that wait for it.
    #[expect(clippy::too_many_arguments, reason = "the parts of a piece of work and the moment")]
    fn send_linked(
        &mut self,
        lane: Lane,
        directory: &RelPath,
        own: Option<&Metadata>,
        items: Vec<(Item, Need)>,
        born: Instant,
        now: Instant,
        out: &mut Vec<Output>,
    ) {
        let mut items = VecDeque::from(items);
        while !items.is_empty() {
            let what = What::Names {
                directory: directory.clone(),
                names: vec![],
                sent: Sent::default(),
                may_remove: false,
            };
            let id = self.begin(lane, born, what);
            self.flight.claims.begin(id, directory);
            let mut free = Vec::new();
            let mut bytes = 0;
            while bytes < BATCH_BYTES_MAX
                && let Some((item, need)) = items.pop_front()
            {
                let path = crate::queue::mark_set::entry_path(directory, &item.name);
                let followed =
                    if let State::Linked { to, .. } = &item.state { Some(to) } else { None };
                let follows = followed.is_some();
                let claim = if follows { Claim::Exclusive } else { Claim::Make };
                let claims = &self.flight.claims;
                let blocker = claims
                    .conflict_above(directory)
                    .or_else(|| claims.conflict_at(directory, &item.name, claim))
                    .or_else(|| claims.conflict_of_follower(followed?));
                if let Some(blocker) = blocker {
                    self.park(lane, &path, need, blocker, born, now, out);
                    continue;
                }
                self.flight.claims.claim(id, directory, &item.name, claim);
                if let Some(to) = followed {
                    self.flight.claims.follow(id, to);
                    bytes += to.as_bytes().len();
                }
                self.links.sent(&path, id, follows);
                bytes += item.name.as_bytes().len();
                bytes += item.state.metadata().map_or(0, |m| m.attributes.len_bytes());
                free.push((item, need));
            }
            if free.is_empty() {
                self.end(id, now, out);
                continue;
            }
            let (items, names): (Vec<Item>, Vec<(Name, Need)>) =
                free.into_iter().map(|(item, need)| (item.clone(), (item.name, need))).unzip();
            if let Some(What::Names { names: sent, .. }) =
                self.flight.works.get_mut(&id).map(|work| &mut work.what)
            {
                *sent = names;
            }
            let mut payload = Vec::new();
            let items_bytes = encode::append_items(&items, &mut payload);
            let (payload, own_bytes) = encode::with_own(Bytes::from(payload), own);
            let directory = directory.clone();
            let message =
                Message::Put { work: id, directory, items_bytes, own_bytes, unpacked_bytes: None };
            self.send_data(message, payload, now, out);
        }
    }

    /// The sink has `path` as `id` brought it, or says why not.
    pub(super) fn settle_link(
        &mut self,
        id: WorkId,
        lane: Lane,
        path: &RelPath,
        failure: Option<&Failure>,
        born: Instant,
        now: Instant,
    ) {
        match failure {
            None => {
                for waiting in self.links.confirmed(path, id) {
                    self.live.marks.hasten(&waiting, now);
                    self.backlog.marks.hasten(&waiting, now);
                }
                self.mark_doubtful(None, lane, born, now);
            }
            Some(failure) => {
                let mut urgency = Urgency::Now;
                for other in self.links.refused(path, id, failure.is_stale) {
                    self.mark(lane, &other, Extent::Entry(Need::Metadata), urgency, born, now);
                    urgency = Urgency::At(now + FOLLOWER_WAIT);
                }
            }
        }
    }

    /// Has the names of a page looked at that have others elsewhere: only by telling them the sink can see
    /// whether they stand for one thing there.
    pub(super) fn tell_linked(&mut self, lane: Lane, visit: &Visit, page: &Page) {
        // It may have become something strange since it was read.
        let is_strange = visit.distrust == Distrust::Everything;
        let need = if is_strange { Need::Content } else { Need::Metadata };
        let entries = page.entries.iter().enumerate();
        let names: VecDeque<(Name, Need, u64)> = entries
            .filter(|(index, entry)| entry.metadata.is_linked() && !page.wanted.contains(index))
            // What is suspect is sent anyway, and no proof of what other names should be.
            .filter(|(_, entry)| page.suspects.binary_search(&entry.name).is_err())
            .filter(|(_, entry)| {
                let path = visit.directory.join(&entry.name);
                path.is_ok_and(|path| !self.links.is_confirmed(&path))
            })
            .map(|(_, entry)| (entry.name.clone(), need, 0))
            .collect();
        if !names.is_empty() {
            let (directory, born) = (visit.directory.clone(), visit.born);
            let parcel = Parcel { directory, names, may_remove: false, born };
            self.agenda(lane).parcels.push_back(parcel);
        }
    }
}

/// Whether `path` is being looked at, on its way, or about to be.
fn is_under_way(claims: &Claims, agendas: [&Agenda; 2], path: &RelPath) -> bool {
    let Some((directory, name)) = path.split() else { return false };
    claims.conflict_at(&directory, &name, Claim::Make).is_some()
        || agendas.into_iter().any(|agenda| agenda.larges.contains(&directory, &name))
}
