//! Read once, send many: sinks that want the same share one reading.
//!
//! A job is joined by equal jobs of other sinks while it waits for a reader and while it is under way; what came of it
//! is kept for a moment, because sinks do not keep step.
//!
//! Invariant: since a reading began that is shared, nothing has been reported where it was made. So what is sent next
//! of a place is no older than what was sent because of a report. Whatever has changed since is still in the feed, and
//! will be marked for everybody.
//!
//! Each session gets a reading once: who asks again was not content with it. Nor does it get one that was begun before
//! another of the same names that it has had: what is at its sink would become older. Nothing is kept that makes anything vanish
//! at a sink, or that may change where nothing is reported, as a file of several names does.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use crate::model::change::Change;
use crate::model::name::Name;
use crate::model::rel_path::RelPath;
use crate::model::work_id::WorkId;
use crate::protocol::source::job::{Done, Job, Missing, Outcome, Placed};
use crate::queue::lately::Lately;
use crate::queue::mark::Lane;

/// What is kept at most, in bytes.
const KEPT_BYTES_MAX: usize = 16 * 1024 * 1024;
/// How many readings are kept at most.
const KEPT_MAX: usize = 4_096;
/// For how long a reading may be shared, from its beginning on.
const AGE_MAX: Duration = Duration::from_secs(2);
/// What a name takes in what was found, in bytes, about.
const NAME_BYTES: usize = 256;

/// Whose work: the tag of a session, and its piece of work.
pub type Member = (u64, WorkId);

/// A reading, for who makes it.
#[derive(Debug)]
pub struct Ticket {
    number: u64,
    begun: OnceLock<Instant>,
    members: Mutex<Vec<Member>>,
}

impl Ticket {
    /// The reading begins at `now`.
    pub fn begin(&self, now: Instant) {
        self.begun.get_or_init(|| now);
    }

    fn has_begun(&self) -> bool {
        self.begun.get().is_some()
    }

    /// Who shares it.
    fn members(&self) -> MutexGuard<'_, Vec<Member>> {
        self.members.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_of(&self, session: u64) -> bool {
        self.members().iter().any(|(member, _)| *member == session)
    }
}

/// What becomes of a job.
#[derive(Debug)]
pub enum Shared {
    /// It is to be ordered.
    Ordered(Arc<Ticket>),
    /// Its result comes with that of another.
    Joined,
    /// It is done.
    Done {
        /// What was found.
        done: Box<Done>,
        /// By a reading that began then.
        began: Instant,
    },
}

/// A reading that waits, is under way or is kept, and may be shared.
#[derive(Debug)]
struct Reading {
    lane: Lane,
    is_packed: bool,
    job: Arc<Job>,
    ticket: Arc<Ticket>,
    /// What came of it, and how many bytes that takes.
    kept: Option<(Done, usize)>,
    /// Sessions that have had something newer.
    passed: Vec<u64>,
}

/// The readings that may be shared. Bounded by the jobs that are out, and by what is kept.
#[derive(Debug, Default)]
pub struct Sharing {
    /// By [`Job::place`].
    readings: BTreeMap<RelPath, Vec<Reading>>,
    /// What was kept, the oldest first; it may be gone by now.
    kept: VecDeque<(Arc<Job>, Arc<Ticket>)>,
    kept_bytes: usize,
    lately: Arc<Lately>,
    last: u64,
    /// The first reading that each session may share once it has begun.
    sessions: HashMap<u64, u64>,
}

impl Sharing {
    /// Where something is kept, for those who may want to go there.
    #[must_use]
    pub fn lately(&self) -> Arc<Lately> {
        Arc::clone(&self.lately)
    }

    /// Has `member` share the reading of an equal job, if there is one; else it is to be ordered.
    pub fn join(
        &mut self,
        lane: Lane,
        is_packed: bool,
        job: &Arc<Job>,
        member: Member,
        now: Instant,
    ) -> Shared {
        self.expire(now);
        let (session, place) = (member.0, job.place());
        let first = *self.sessions.entry(session).or_insert(self.last + 1);
        self.lately.use_sinks(self.sessions.len());
        // There is nothing to pack in a listing.
        let is_packed = is_packed && !is_listing(job);
        let is_equal = |reading: &&Reading| {
            (reading.lane, reading.is_packed) == (lane, is_packed) && reading.job == *job
        };
        if !job.holds_file()
            && let Some(reading) = self.readings.get(place).into_iter().flatten().find(is_equal)
        {
            let ticket = Arc::clone(&reading.ticket);
            let is_passed = reading.passed.contains(&session);
            let may_share =
                is_common(job) && ticket.number >= first && !ticket.is_of(session) && !is_passed;
            if may_share || !ticket.has_begun() {
                ticket.members().push(member);
                let Some((done, _)) = &reading.kept else { return Shared::Joined };
                let done = Box::new(done.clone());
                self.pass(job, &ticket, &[member]);
                if self.is_of_all(&ticket) {
                    self.retain(place, |other| other.ticket.number != ticket.number);
                }
                return Shared::Done { done, began: ticket.begun.get().copied().unwrap_or(now) };
            }
            self.retain(place, |other| other.ticket.number != ticket.number);
        }
        self.last += 1;
        let (number, members) = (self.last, Mutex::new(vec![member]));
        let ticket = Arc::new(Ticket { number, begun: OnceLock::new(), members });
        let reading = Reading {
            lane,
            is_packed,
            job: Arc::clone(job),
            ticket: Arc::clone(&ticket),
            kept: None,
            passed: Vec::new(),
        };
        self.readings.entry(place.clone()).or_default().push(reading);
        Shared::Ordered(ticket)
    }

    /// The reading of `ticket` is `done`; returns who waits for it.
    pub fn end(&mut self, job: &Job, ticket: &Ticket, done: &Done, now: Instant) -> Vec<Member> {
        if tells_of_links(done) {
            // They may have changed what was read under another name. Nor is this kept: it may change under another.
            self.void_all();
        }
        let members = ticket.members().clone();
        if self.sessions.len() > 1 {
            self.pass(job, ticket, &members);
        }
        let is_wanted = is_common(job) && !self.is_of_all(ticket);
        let bytes = if is_wanted { kept_bytes(done) } else { None };
        let readings = self.readings.get_mut(job.place()).into_iter().flatten();
        let mut readings = readings.filter(|reading| reading.ticket.number == ticket.number);
        if let Some((reading, bytes)) = readings.next().zip(bytes) {
            reading.kept = Some((done.clone(), bytes));
            self.kept_bytes += bytes;
            self.kept.push_back((Arc::clone(&reading.job), Arc::clone(&reading.ticket)));
            if is_listing(job) {
                self.lately.push(job.place().clone());
            }
            self.expire(now);
        } else {
            self.retain(job.place(), |other| other.ticket.number != ticket.number);
        }
        members
    }

    /// `members` have got what was found by `ticket`: other readings of the same names, or of what lies above them, are
    /// not for them if they were begun before.
    fn pass(&mut self, job: &Job, ticket: &Ticket, members: &[Member]) {
        let Job::Look { directory, names, .. } = job else { return };
        let names: HashSet<&Name> = names.iter().map(|(name, _)| name).collect();
        self.pass_at(directory, ticket, members, |name| names.contains(name));
        let mut below = directory.clone();
        while let Some((above, component)) = below.split() {
            self.pass_at(&above, ticket, members, |name| *name == component);
            below = above;
        }
    }

    fn pass_at(
        &mut self,
        place: &RelPath,
        ticket: &Ticket,
        members: &[Member],
        is_it: impl Fn(&Name) -> bool,
    ) {
        for reading in self.readings.get_mut(place).into_iter().flatten() {
            let is_earlier = reading.ticket.has_begun()
                && reading.ticket.number != ticket.number
                && reading.ticket.begun.get() <= ticket.begun.get();
            if let (Job::Look { names, .. }, true) = (&*reading.job, is_earlier)
                && names.iter().any(|(name, _)| is_it(name))
            {
                reading.passed.extend(members.iter().map(|(session, _)| session));
            }
        }
    }

    /// Something was reported: what was begun to be read there before is shared with nobody any more.
    pub fn on_change(&mut self, change: &Change) {
        match change {
            Change::Entry { path, .. } | Change::Subtree { path } | Change::MovedIn { path } => {
                self.void_at(path);
            }
            Change::Renamed { from, to, .. } => {
                self.void_at(from);
                self.void_at(to);
            }
            // What was lost may be of a further name of something elsewhere.
            Change::Lost { .. }
            | Change::Unwatched { .. }
            | Change::Ready
            | Change::Failed { .. } => self.void_all(),
            Change::Fence { .. } => {}
        }
    }

    /// What is asked for from now on must be read after this.
    pub fn void_all(&mut self) {
        for readings in self.readings.values_mut() {
            readings.retain(|reading| !reading.ticket.has_begun());
        }
        self.readings.retain(|_, readings| !readings.is_empty());
        self.kept_bytes = 0;
    }

    /// A session has ended.
    pub fn leave(&mut self, session: u64) {
        self.sessions.remove(&session);
        self.lately.use_sinks(self.sessions.len());
        if self.sessions.len() < 2 {
            self.void_all();
        }
    }

    /// What was kept too long, or is too much, goes.
    pub fn expire(&mut self, now: Instant) {
        while let Some((job, ticket)) = self.kept.front() {
            let age = ticket.begun.get().map(|began| now.saturating_duration_since(*began));
            let is_old = age.is_none_or(|age| age > AGE_MAX);
            if !is_old && self.kept_bytes <= KEPT_BYTES_MAX && self.kept.len() <= KEPT_MAX {
                break;
            }
            if is_listing(job) {
                self.lately.pop();
            }
            let (place, number) = (job.place().clone(), ticket.number);
            self.retain(&place, |reading| reading.ticket.number != number);
            self.kept.pop_front();
        }
    }

    /// Voids what was read of `path`, as a name and as a directory.
    fn void_at(&mut self, path: &RelPath) {
        let from = self.readings.range::<RelPath, _>((Bound::Included(path), Bound::Unbounded));
        let begins_alike = |place: &&RelPath| place.as_bytes().starts_with(path.as_bytes());
        let places = from.map(|(place, _)| place).take_while(begins_alike);
        let within = places.filter(|place| place.is_within(path)).cloned();
        let places: Vec<RelPath> = within.chain(path.parent()).collect();
        for place in &places {
            self.retain(place, |reading| !reading.ticket.has_begun());
        }
    }

    /// Drops what was or is read of `place`, but for what is to `stay`.
    fn retain(&mut self, place: &RelPath, stays: impl Fn(&Reading) -> bool) {
        let Some(readings) = self.readings.get_mut(place) else { return };
        readings.retain(|reading| {
            let stays = stays(reading);
            if let (false, Some((_, bytes))) = (stays, &reading.kept) {
                self.kept_bytes -= bytes;
            }
            stays
        });
        if readings.is_empty() {
            self.readings.remove(place);
        }
    }

    fn is_of_all(&self, ticket: &Ticket) -> bool {
        self.sessions.keys().all(|session| ticket.is_of(*session))
    }
}

/// Whether a reading of `job` that has begun helps others. What is to be removed, and whether the root is there, is
/// asked anew each time.
fn is_common(job: &Job) -> bool {
    let is_look =
        matches!(job, Job::Look { names, missing: Missing::IsTold, .. } if !names.is_empty());
    is_look || is_listing(job)
}

/// Whether `job` tells of a directory what is to be read there.
fn is_listing(job: &Job) -> bool {
    matches!(job, Job::List { .. } | Job::Names { .. })
}

/// How many bytes what was found takes, if it may be kept.
fn kept_bytes(done: &Done) -> Option<usize> {
    match done {
        Done::Listed(Ok(Some(listed))) => Some(listed.entries.len() * NAME_BYTES),
        Done::Named(Ok(Some(page))) => Some(page.names.len() * NAME_BYTES),
        Done::Looked(Ok(looked)) => {
            let bytes = looked.payload.bytes.len() + looked.outcomes.len() * NAME_BYTES;
            looked.outcomes.iter().all(is_there).then_some(bytes)
        }
        Done::Listed(_)
        | Done::Named(_)
        | Done::Looked(_)
        | Done::Stat(_)
        | Done::Read(_)
        | Done::Weighed(_)
        | Done::Matched(_) => None,
    }
}

fn is_there(outcome: &Outcome) -> bool {
    matches!(
        outcome,
        Outcome::Placed(Placed::Directory | Placed::Other { .. })
            | Outcome::Large
            | Outcome::Left
            | Outcome::LeftOut
    )
}

fn is_linked(outcome: &Outcome) -> bool {
    let Outcome::Placed(Placed::Other { seen, .. }) = outcome else {
        return matches!(outcome, Outcome::Linked(_));
    };
    seen.metadata.is_linked()
}

fn tells_of_links(done: &Done) -> bool {
    matches!(done, Done::Looked(Ok(looked)) if looked.outcomes.iter().any(is_linked))
}
