//! Removals wait here for a moment: whoever takes a whole tree away takes it name by name.
//!
//! A name that the source was found to lack is held until no further one has been found for [`QUIET`], some seconds
//! at the most. Only then can it be told whether one name has gone, or a thousand, or everything; a name that is
//! there again by then was never gone. What is too much, by the limit or because nothing is left at all, goes on being
//! held, until it is less or somebody allows more.
//!
//! Invariant: a held name is removed only by a look that begins after it was released.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::model::name::Name;
use crate::model::rel_path::RelPath;
use crate::model::removal_limit::RemovalLimit;
use crate::queue::mark::Lane;

/// Nothing more is found missing for this long before names are released.
pub const QUIET: Duration = Duration::from_millis(100);
/// How long names are held at the most while more and more are found: this and [`HELD_PER_NAME`] for each.
const HELD_MIN: Duration = Duration::from_secs(1);
const HELD_PER_NAME: Duration = Duration::from_millis(1);
/// How long at the very most, if they are not too many.
const HELD_MAX: Duration = Duration::from_secs(10);
/// Names held at once. Of more it is known that they are too many to tell, and they are found anew by comparison.
const NAMES_MAX: usize = 50_000;
/// Over which time what was released counts.
const WINDOW: Duration = Duration::from_mins(1);
/// How often names that are too many are counted.
const RECOUNT_INTERVAL: Duration = Duration::from_secs(1);
/// How soon it is looked again whether a source that is empty still is, the first time; then twice as long.
const EMPTY_RETRY_MIN: Duration = Duration::from_secs(1);
/// How long at the most.
const EMPTY_RETRY_MAX: Duration = Duration::from_secs(5);

/// The names that are to be removed at one sink, and are not yet.
#[derive(Debug)]
pub struct Removals {
    limit: RemovalLimit,
    /// By lane, and since when each has been open.
    held: BTreeMap<RelPath, (Lane, Instant)>,
    /// There were more than could be held.
    has_more: bool,
    /// Since when the oldest of them has been open, and when the first and the newest were found.
    born: Option<Instant>,
    first: Option<Instant>,
    newest: Option<Instant>,
    emptied: Option<Emptied>,
    /// They were too many: when to count again.
    recount_at: Option<Instant>,
    /// What was released since then.
    released: u64,
    window_began: Option<Instant>,
}

/// The source is empty.
#[derive(Debug, Clone, Copy)]
struct Emptied {
    since: Instant,
    /// When to look again, and how long to wait the next time.
    retry_at: Instant,
    wait: Duration,
}

/// What is to be done about what is held.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing now.
    Wait,
    /// These may be removed, if they are still missing: by lane and directory.
    Release(Vec<(Lane, RelPath, Vec<Name>)>),
    /// They are more than the limit allows: how many there are, and how many are allowed.
    TooMany(u64, u64),
    /// It is time to look whether the source is still empty.
    LookForMore,
}

impl Removals {
    /// None yet.
    #[must_use]
    pub fn new(limit: RemovalLimit) -> Self {
        Self {
            limit,
            held: BTreeMap::new(),
            has_more: false,
            born: None,
            first: None,
            newest: None,
            emptied: None,
            recount_at: None,
            released: 0,
            window_began: None,
        }
    }

    /// Holds `path`, which the source was found to lack at `now`, and which has been open since `born`.
    pub fn hold(&mut self, path: RelPath, lane: Lane, born: Instant, now: Instant) {
        self.born = Some(self.born.map_or(born, |oldest| oldest.min(born)));
        if let Some((known_lane, known_born)) = self.held.get_mut(&path) {
            (*known_lane, *known_born) = ((*known_lane).min(lane), (*known_born).min(born));
            return;
        }
        self.first.get_or_insert(now);
        self.newest = Some(now);
        if self.held.len() < NAMES_MAX {
            self.held.insert(path, (lane, born));
        } else {
            self.has_more = true;
        }
    }

    /// Something lies at `path`, or nothing needs to be done there; returns since when it was open, if it was held.
    pub fn forget(&mut self, path: &RelPath) -> Option<Instant> {
        let (_, born) = self.held.remove(path)?;
        self.settle();
        Some(born)
    }

    /// Whether `path` itself is held.
    #[must_use]
    pub fn holds(&self, path: &RelPath) -> bool {
        self.held.contains_key(path)
    }

    /// Whether something at or below `path` is held, as far as is known.
    #[must_use]
    pub fn holds_within(&self, path: &RelPath) -> bool {
        let below = self.held.range::<RelPath, _>(path..);
        self.has_more
            || below
                .take_while(|(held, _)| held.as_bytes().starts_with(path.as_bytes()))
                .any(|(held, _)| held.is_within(path))
    }

    /// Forgets everything: the sink has nothing that could be removed.
    pub fn clear(&mut self) {
        self.held.clear();
        self.has_more = false;
        self.emptied = None;
        self.settle();
    }

    /// The source was found to be empty at `now`.
    pub fn on_empty(&mut self, now: Instant) {
        let before = self.emptied.map(|emptied| (emptied.since, emptied.wait));
        let (since, wait) = before.unwrap_or((now, EMPTY_RETRY_MIN));
        let next = (wait * 2).min(EMPTY_RETRY_MAX);
        self.emptied = Some(Emptied { since, retry_at: now + wait, wait: next });
    }

    /// The source was found to have something; returns since when it was empty, if it was.
    pub fn on_something(&mut self) -> Option<Instant> {
        self.emptied.take().map(|emptied| emptied.since)
    }

    /// Whether everything that is held waits for the source to have something.
    #[must_use]
    pub fn is_emptied(&self) -> bool {
        self.emptied.is_some()
    }

    /// Whether they were too many when they were counted last.
    #[must_use]
    pub fn is_too_many(&self) -> bool {
        self.recount_at.is_some()
    }

    /// What is to be done at `now`, if the source has `names`; none if that is not known yet.
    pub fn judge(&mut self, names: Option<u64>, now: Instant) -> Verdict {
        if self.due().is_none_or(|due| due > now) {
            return Verdict::Wait;
        }
        if let Some(emptied) = &mut self.emptied {
            emptied.retry_at = now + emptied.wait;
            return Verdict::LookForMore;
        }
        if self.window_began.is_none_or(|began| now.saturating_duration_since(began) >= WINDOW) {
            (self.window_began, self.released) = (Some(now), 0);
        }
        let count = self.len() + u64::from(self.has_more);
        let allowed = match (self.limit, names) {
            (RemovalLimit::NotAll | RemovalLimit::Percent(100..), _) => None,
            (RemovalLimit::Names(names_max), _) => Some(names_max.saturating_sub(self.released)),
            (RemovalLimit::Percent(_), None) => return Verdict::Wait,
            (RemovalLimit::Percent(percent), Some(names)) => {
                Some(names.saturating_mul(u64::from(percent)) / 100)
            }
        };
        match allowed {
            Some(allowed) if count > allowed => {
                self.recount_at = Some(now + RECOUNT_INTERVAL);
                Verdict::TooMany(count, allowed)
            }
            _ => Verdict::Release(self.release(count)),
        }
    }

    fn release(&mut self, count: u64) -> Vec<(Lane, RelPath, Vec<Name>)> {
        self.released += count;
        self.recount_at = None;
        let mut groups: BTreeMap<(Lane, RelPath), Vec<Name>> = BTreeMap::new();
        for (path, (lane, _)) in &self.held {
            // What lies below a name that goes goes with it.
            let mut above = path.parent();
            let is_below = std::iter::from_fn(|| {
                let parent = above.take()?;
                above = parent.parent();
                Some(parent)
            });
            if is_below.into_iter().any(|parent| self.held.contains_key(&parent)) {
                continue;
            }
            if let Some((directory, name)) = path.split() {
                groups.entry((*lane, directory)).or_default().push(name);
            }
        }
        self.held.clear();
        groups.into_iter().map(|((lane, directory), names)| (lane, directory, names)).collect()
    }

    /// Since when the oldest name has been open; also of those just released.
    #[must_use]
    pub fn born(&self) -> Option<Instant> {
        self.born
    }

    /// Since when the oldest has been open that is held at `path`, above or below it.
    #[must_use]
    pub fn born_at(&self, path: &RelPath) -> Option<Instant> {
        let below = self.held.range::<RelPath, _>(path..);
        let below = below
            .take_while(|(held, _)| held.as_bytes().starts_with(path.as_bytes()))
            .filter(|(held, _)| held.is_within(path));
        let above = std::iter::successors(path.parent(), RelPath::parent);
        let above = above.filter_map(|path| self.held.get(&path));
        let held = below.map(|(_, held)| held).chain(above).map(|(_, born)| *born);
        held.chain(self.born.filter(|_| self.has_more)).min()
    }

    /// Ends a release; returns whether there were names that have to be found anew.
    pub fn end_release(&mut self) -> bool {
        let had_more = std::mem::take(&mut self.has_more);
        self.settle();
        had_more
    }

    fn settle(&mut self) {
        if self.held.is_empty() && !self.has_more {
            (self.born, self.first, self.newest, self.recount_at) = (None, None, None, None);
        }
    }

    /// When there is something to judge.
    #[must_use]
    pub fn due(&self) -> Option<Instant> {
        if let Some(emptied) = self.emptied {
            return Some(emptied.retry_at);
        }
        let (first, newest) = (self.first?, self.newest?);
        let names = u32::try_from(self.held.len()).unwrap_or(u32::MAX);
        let most = (HELD_MIN + HELD_PER_NAME.saturating_mul(names)).min(HELD_MAX);
        Some((newest + QUIET).min(first + most).max(self.recount_at.unwrap_or(first)))
    }

    /// How many names are held.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.held.len() as u64
    }

    /// Whether none is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.held.is_empty() && !self.has_more
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> RelPath {
        RelPath::new(text.as_bytes()).unwrap()
    }

    fn hold(removals: &mut Removals, names: &[&str], now: Instant) {
        for name in names {
            removals.hold(path(name), Lane::Live, now, now);
        }
    }

    /// What is released, as paths.
    fn released(verdict: Verdict) -> Vec<RelPath> {
        let Verdict::Release(groups) = verdict else { panic!("nothing is released: {verdict:?}") };
        let paths = |(_, directory, names): (Lane, RelPath, Vec<Name>)| {
            names.into_iter().map(move |name| directory.join(&name).unwrap())
        };
        groups.into_iter().flat_map(paths).collect()
    }

    #[test]
    fn names_are_released_once_no_further_ones_come() {
        let (mut removals, now) = (Removals::new(RemovalLimit::NotAll), Instant::now());
        hold(&mut removals, &["a"], now);
        hold(&mut removals, &["d/b", "d"], now + QUIET / 2);

        assert_eq!(removals.judge(None, now + QUIET), Verdict::Wait);
        let later = now + QUIET + QUIET / 2;
        assert_eq!(removals.due(), Some(later));

        // What lies below goes with it.
        assert_eq!(released(removals.judge(None, later)), [path("a"), path("d")]);
        assert_eq!(removals.born(), Some(now), "open until that is under way");
        assert!(!removals.end_release());
        assert_eq!((removals.born(), removals.due()), (None, None));
    }

    #[test]
    fn names_are_held_for_some_seconds_at_the_most() {
        let (mut removals, now) = (Removals::new(RemovalLimit::NotAll), Instant::now());
        for index in 0..100_000 {
            let name = index.to_string();
            hold(&mut removals, &[name.as_str()], now + QUIET / 2 * index);
        }

        assert_eq!(removals.due(), Some(now + HELD_MAX));
        assert_eq!(removals.len(), NAMES_MAX as u64);
        assert_eq!(released(removals.judge(None, now + HELD_MAX)).len(), NAMES_MAX);
        assert!(removals.end_release(), "the rest is to be found anew");
    }

    #[test]
    fn what_is_there_again_is_not_removed() {
        let (mut removals, now) = (Removals::new(RemovalLimit::NotAll), Instant::now());
        hold(&mut removals, &["a", "b"], now);

        assert_eq!(removals.forget(&path("a")), Some(now));
        assert_eq!(removals.forget(&path("c")), None);

        assert_eq!(released(removals.judge(None, now + QUIET)), [path("b")]);
    }

    #[test]
    fn more_than_allowed_within_a_minute_wait() {
        let (mut removals, now) = (Removals::new(RemovalLimit::Names(2)), Instant::now());
        hold(&mut removals, &["a"], now);
        assert_eq!(released(removals.judge(None, now + QUIET)), [path("a")]);
        removals.end_release();
        hold(&mut removals, &["b", "c"], now + QUIET);

        assert_eq!(removals.judge(None, now + 2 * QUIET), Verdict::TooMany(2, 1));
        assert!(removals.is_too_many());
        removals.forget(&path("b"));
        assert_eq!(removals.judge(None, now + 2 * QUIET), Verdict::Wait, "perhaps more come back");
        let later = now + 2 * QUIET + RECOUNT_INTERVAL;
        assert_eq!(released(removals.judge(None, later)), [path("c")]);
        removals.end_release();

        hold(&mut removals, &["d", "e"], later);
        assert_eq!(removals.judge(None, later + QUIET), Verdict::TooMany(2, 0));
        assert_eq!(released(removals.judge(None, now + 2 * WINDOW)), [path("d"), path("e")]);
    }

    #[test]
    fn a_share_is_one_of_the_names_that_the_source_has() {
        let (mut removals, now) = (Removals::new(RemovalLimit::Percent(10)), Instant::now());
        hold(&mut removals, &["a", "b"], now);

        assert_eq!(
            removals.judge(None, now + QUIET),
            Verdict::Wait,
            "nobody knows how many it has"
        );
        assert_eq!(removals.judge(Some(19), now + QUIET), Verdict::TooMany(2, 1));
        let later = now + QUIET + RECOUNT_INTERVAL;
        assert_eq!(released(removals.judge(Some(20), later)).len(), 2);
    }

    #[test]
    fn a_source_that_is_empty_is_looked_at_again_and_again() {
        let (mut removals, now) = (Removals::new(RemovalLimit::NotAll), Instant::now());
        hold(&mut removals, &["a"], now);
        removals.on_empty(now);

        assert_eq!(removals.judge(None, now + QUIET), Verdict::Wait);
        assert_eq!(removals.judge(None, now + EMPTY_RETRY_MIN), Verdict::LookForMore);
        assert_eq!(removals.judge(None, now + EMPTY_RETRY_MIN), Verdict::Wait);

        assert_eq!(removals.on_something(), Some(now));
        assert_eq!(released(removals.judge(None, now + EMPTY_RETRY_MIN)), [path("a")]);
    }
}
