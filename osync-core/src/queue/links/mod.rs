//! Which names of the source stand for one thing, as far as one session knows, and which of them the sink has so.
//!
//! The feed names the one path by which something was changed. So the names of each thing that has several are
//! remembered: what changes through one of them is sent by that one, which *leads*, and the others *follow*, as
//! further names of what the sink has by then. Things of one name that were sent a moment ago are remembered too,
//! because another name often comes right after the first.
//!
//! All of it is a guess that the sink checks. What is wrong here costs a message that the sink refuses, and after
//! `STRIKES_MAX` of them one name is sent with its content, whatever the sink has.
//!
//! Invariants, after every call (tested as properties): each path is a name of one thing at the most; a name is
//! followed only if it has been confirmed since the content changed last; memory is within the budget.

mod reports;
mod thing;
mod names;
mod search;

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};

use crate::model::metadata::Sighting;
use crate::model::need::Need;
use crate::model::rel_path::RelPath;
use crate::model::work_id::WorkId;
use crate::queue::links::thing::{Content, Standing, Thing};

pub use crate::queue::links::names::Found;

/// What a name costs besides its path, which is held twice, in bytes: nodes of two trees, rounded up.
const NAME_BYTES: usize = 256;
/// What a thing costs besides its names, in bytes.
const THING_BYTES: usize = 384;
/// Things of one name that are remembered.
const RECENT_MAX: usize = 4_096;
/// So many refusals of the sink, and nothing that it has is built upon.
const STRIKES_MAX: u32 = 3;

/// The names of one session.
#[derive(Debug)]
pub struct Links {
    things: HashMap<u64, Thing>,
    /// Of which thing a path is a name.
    objects: BTreeMap<RelPath, u64>,
    /// Things of one name, oldest first, and some that are none by now.
    recent: VecDeque<u64>,
    /// Things that seem to have names nobody knows.
    incomplete: HashSet<u64>,
    /// One of them lost the last name that was known before the others were searched for.
    is_one_lost: bool,
    /// Names to be looked at once more, and what for: they lost another through which what they stand for may have been
    /// changed or which they followed, or others changed it while they were on their way.
    doubtful: Vec<(RelPath, Need)>,
    bytes: usize,
    bytes_max: usize,
    room: Room,
    /// The sink keeps links; otherwise every name is a file of its own there, and has to be told every change.
    can_follow: bool,
    has_news: bool,
}

/// Whether all names have room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Room {
    Enough,
    /// Some have none: no thing is known for certain to be complete any more.
    Lacking {
        is_told: bool,
    },
}

/// How a name shall travel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Course {
    /// As if it were the only one; with its content, whatever was asked for, if so said.
    Lead {
        /// The sink may have the wrong content.
        needs_content: bool,
    },
    /// As another name of what lies here at the sink.
    Follow(RelPath),
    /// Once this one has arrived.
    Wait(RelPath),
}

impl Links {
    /// An empty table that uses about `bytes_max` bytes at the most, for a sink that `keeps_links` or does not.
    #[must_use]
    pub fn new(bytes_max: usize, keeps_links: bool) -> Self {
        Self {
            things: HashMap::new(),
            objects: BTreeMap::new(),
            recent: VecDeque::new(),
            incomplete: HashSet::new(),
            is_one_lost: false,
            doubtful: Vec::new(),
            bytes: 0,
            bytes_max,
            room: Room::Enough,
            can_follow: keeps_links,
            has_news: false,
        }
    }

    /// Takes what was seen at `path`; returns the names that have to be looked at now, and what of each: the others,
    /// if the sink has to be told the content anew.
    ///
    /// `was_touched` says that this very name may have been written to: then a new stamp means new content.
    pub fn see(
        &mut self,
        path: &RelPath,
        seen: &Sighting,
        was_touched: bool,
    ) -> Vec<(RelPath, Need)> {
        let object = seen.stamp.object;
        if self.objects.get(path).is_some_and(|known| *known != object) {
            self.replaced(path);
        }
        let is_new_name = !self.objects.contains_key(path);
        let is_known = self.join(path, seen);
        let Some(thing) = self.things.get_mut(&object).filter(|_| is_known) else {
            self.has_news |= was_touched && seen.metadata.is_linked();
            return Vec::new();
        };
        let (is_news, may_be_old) = thing.renew(seen);
        // Another look has seen something younger, perhaps, and this may be what reaches the sink last.
        self.doubtful.extend(may_be_old.then(|| (path.clone(), Need::Metadata)));
        let mut gone = Vec::new();
        if thing.names_seen == 1 && thing.len() > 1 {
            // The others are names of something else or of nothing by now, or came after this look.
            gone = thing.names_other_than(path);
            self.keep_only(path, object, &gone);
        }
        let Some(thing) = self.things.get_mut(&object) else { return Vec::new() };
        if thing.lacks_names() {
            let is_settled = thing.settled == Some(thing.names_seen);
            self.has_news |= !is_settled && self.incomplete.insert(object);
            self.has_news |= was_touched && self.room != Room::Enough;
        }
        let is_rewritten =
            was_touched && thing.is_confirmed(path) && thing.sighting.stamp != seen.stamp;
        let is_same = thing.sighting.metadata.has_content_of(&seen.metadata);
        if !is_same || is_rewritten || thing.strikes >= STRIKES_MAX {
            thing.is_distrusted |= thing.strikes >= STRIKES_MAX;
            thing.begin_anew(path, seen);
            gone.extend(thing.names_other_than(path));
            return with_need(gone, Need::Content);
        }
        if is_news && !self.can_follow {
            return with_need(thing.names_other_than(path), Need::Content);
        }
        if is_new_name && (thing.len() == 2 || thing.has_stale_names()) {
            // The only one was nothing to be told of, nor is one of which more are known than there are.
            let others = thing.names_other_than(path);
            return with_need(others, Need::Metadata);
        }
        with_need(gone, Need::Content)
    }

    /// How `path`, which was just seen, shall travel. `is_under_way` tells whether a name is being sent.
    pub fn course(
        &mut self,
        path: &RelPath,
        need: Need,
        is_under_way: impl Fn(&RelPath) -> bool,
    ) -> Course {
        let thing = self.objects.get(path).and_then(|object| self.things.get_mut(object));
        let Some(thing) = thing else { return Course::Lead { needs_content: false } };
        // It is a name of the others already: what is asked for is whether they have the right content.
        let is_believed = thing.content == Content::Believed && thing.is_confirmed(path);
        let mut is_doubted = is_believed && need == Need::Content;
        if self.can_follow && !(thing.is_confirmed(path) && need == Need::Metadata) {
            is_doubted |= thing.reports.are_open();
            if let Some(other) = thing.confirmed_other_than(path).filter(|_| !is_doubted) {
                return Course::Follow(other.clone());
            }
            // What followed a name that is gone by now is still on its way: what leads beside it would be another thing.
            let ahead = thing.leader().into_iter().chain(thing.sent());
            if let Some(ahead) =
                ahead.filter(|ahead| *ahead != path).find(|ahead| is_under_way(ahead))
            {
                return Course::Wait(ahead.clone());
            }
            thing.lead(path);
        }
        let is_new = thing.content == Content::New;
        if need == Need::Content || is_new {
            // What the sink has at this name will be another thing there.
            thing.set(path, Standing::Unknown);
        }
        Course::Lead { needs_content: is_new || is_doubted }
    }

    /// Whether the content was read since `seen` was, so that `path` may not be a name of that. Said once of one look:
    /// a clock may have been set back.
    pub fn is_overtaken(&mut self, path: &RelPath, seen: &Sighting) -> bool {
        let Some(thing) = self.thing_of(path) else { return false };
        let is_overtaken = seen.stamp.changed < thing.sighting.stamp.changed;
        if is_overtaken {
            thing.sighting.stamp = seen.stamp;
        }
        is_overtaken
    }

    /// `path` is on its way with `work`, as another name of what the sink has if it `follows`.
    pub fn sent(&mut self, path: &RelPath, work: WorkId, follows: bool) {
        if let Some(thing) = self.thing_of(path) {
            let edition = thing.edition;
            thing.set(path, Standing::Sent { work, follows, edition, is_lost: false });
            if !follows {
                thing.lead(path);
            }
        }
    }

    /// `path` is on its way with `work` and the content that was read as `seen`: it becomes a thing of its own at
    /// the sink. Returns the names that were others of what it was there, and have to follow it.
    pub fn sent_whole(&mut self, path: &RelPath, work: WorkId, seen: &Sighting) -> Vec<RelPath> {
        let Some(thing) = self.thing_of(path) else { return Vec::new() };
        let left = thing.leave_behind(path);
        if seen.stamp.object == thing.sighting.stamp.object {
            thing.sighting = seen.digested();
            thing.content = Content::New;
            thing.reports.read_by(work);
        }
        let edition = thing.edition;
        thing.set(path, Standing::Sent { work, follows: false, edition, is_lost: false });
        thing.lead(path);
        left
    }

    /// The sink has `path` as `work` brought it; returns the names that may have waited for that.
    pub fn confirmed(&mut self, path: &RelPath, work: WorkId) -> Vec<RelPath> {
        let Some(thing) = self.thing_of(path) else { return Vec::new() };
        let Some(Standing::Sent { work: of, edition, is_lost, .. }) = thing.standing(path) else {
            return Vec::new();
        };
        if of != work {
            return Vec::new();
        }
        if is_lost {
            thing.set(path, Standing::Unknown);
            self.doubtful.push((path.clone(), Need::Content));
            return Vec::new();
        }
        if edition != thing.edition {
            // Another name brought newer metadata meanwhile, and the sink may have set this later.
            self.doubtful.push((path.clone(), Need::Metadata));
        }
        let Some(thing) = self.thing_of(path) else { return Vec::new() };
        let is_first = !thing.has_confirmed();
        thing.set(path, Standing::Confirmed);
        thing.settle();
        if !is_first {
            return Vec::new();
        }
        thing.lead(path);
        thing.names_other_than(path)
    }

    /// The sink does not have `path` as `work` would have it. Returns the other names, the leader first, if it
    /// followed and the sink `is_stale`: nothing is known of them any more.
    pub fn refused(&mut self, path: &RelPath, work: WorkId, is_stale: bool) -> Vec<RelPath> {
        let Some(thing) = self.thing_of(path) else { return Vec::new() };
        let Some(Standing::Sent { work: of, follows, .. }) = thing.standing(path) else {
            return Vec::new();
        };
        if of != work {
            return Vec::new();
        }
        thing.set(path, Standing::Unknown);
        if !is_stale {
            return Vec::new();
        }
        thing.strikes += 1;
        if !follows {
            return Vec::new();
        }
        thing.doubt();
        let mut others = thing.names_other_than(path);
        if let Some(index) = others.iter().position(|name| Some(name) == thing.leader()) {
            others.swap(0, index);
        }
        others
    }

    /// Whether anything is known of `path`, or of the source's `object`.
    #[must_use]
    pub fn knows(&self, path: &RelPath, object: u64) -> bool {
        self.things.contains_key(&object) || self.objects.contains_key(path)
    }

    /// Whether what lies at `path` had several names when it was looked at.
    #[must_use]
    pub fn is_linked(&self, path: &RelPath) -> bool {
        let thing = self.objects.get(path).and_then(|object| self.things.get(object));
        thing.is_some_and(|thing| thing.names_seen > 1)
    }

    /// Whether what the sink has at `path` must give way, because it has wrong names, whatever its content is.
    #[must_use]
    pub fn must_replace(&self, path: &RelPath) -> bool {
        let thing = self.objects.get(path).and_then(|object| self.things.get(object));
        thing.is_some_and(|thing| thing.is_distrusted)
    }

    /// What is to be sent of `path`, which the sink had otherwise than thought.
    #[must_use]
    pub fn need_again(&self, path: &RelPath) -> Need {
        let thing = self.objects.get(path).and_then(|object| self.things.get(object));
        // A name too many at the sink may just be about to go.
        let may_wait = thing.is_some_and(|thing| thing.is_shrinking && thing.strikes < STRIKES_MAX);
        if may_wait { Need::Metadata } else { Need::Content }
    }

    /// What lay elsewhere at the sink was moved to `path`; returns the names that are to be looked at, for nothing is
    /// known of them any more.
    pub fn moved(&mut self, path: &RelPath) -> Vec<RelPath> {
        let Some(thing) = self.thing_of(path) else { return Vec::new() };
        thing.doubt();
        let is_linked = thing.names_seen > 1 || thing.len() > 1;
        if is_linked { thing.names().cloned().collect() } else { Vec::new() }
    }

    /// Whether the sink is known to have `path` as a name of what it is.
    #[must_use]
    pub fn is_confirmed(&self, path: &RelPath) -> bool {
        let thing = self.objects.get(path).and_then(|object| self.things.get(object));
        thing.is_some_and(|thing| thing.is_confirmed(path))
    }

    /// Whether there was no room for some names, so that links among them are not kept: said once.
    pub fn take_overflow(&mut self) -> bool {
        let is_news = self.room == Room::Lacking { is_told: false };
        if is_news {
            self.room = Room::Lacking { is_told: true };
        }
        is_news
    }

    /// What the table occupies, in bytes, estimated.
    #[must_use]
    pub fn used_bytes(&self) -> usize {
        self.bytes
    }

    fn thing_of(&mut self, path: &RelPath) -> Option<&mut Thing> {
        self.things.get_mut(self.objects.get(path)?)
    }

    /// Makes `path` a name of what was seen; `false` if there is no room for it.
    fn join(&mut self, path: &RelPath, seen: &Sighting) -> bool {
        if self.objects.contains_key(path) {
            return true;
        }
        let object = seen.stamp.object;
        let is_single = seen.metadata.names == 1;
        let wanted_bytes = name_bytes(path) + THING_BYTES;
        while self.bytes + wanted_bytes > self.bytes_max || self.recent.len() >= RECENT_MAX {
            let Some(oldest) = self.recent.pop_front() else { break };
            self.drop_single(oldest);
        }
        if self.bytes + wanted_bytes > self.bytes_max {
            // A single name is remembered for convenience only.
            if !is_single && self.room == Room::Enough {
                self.room = Room::Lacking { is_told: false };
            }
            return false;
        }
        if is_single {
            self.recent.push_back(object);
        }
        let thing = self.things.entry(object).or_insert_with(|| {
            self.bytes += THING_BYTES;
            Thing::new(seen)
        });
        thing.set(path, Standing::Unknown);
        self.objects.insert(path.clone(), object);
        self.bytes += name_bytes(path);
        true
    }
}

fn with_need(names: Vec<RelPath>, need: Need) -> Vec<(RelPath, Need)> {
    names.into_iter().map(|name| (name, need)).collect()
}

fn name_bytes(path: &RelPath) -> usize {
    NAME_BYTES + 2 * path.as_bytes().len()
}
