//! A change feed as inotify allows one: late, repeating itself, blind for a while, never silently.
//!
//! A directory that appears is watched some time after, and what happens below it until then may go
//! unreported; the `Subtree` that follows covers it. Whatever else is lost is covered by a `Lost`.

use std::time::{Duration, Instant};

use osync_core::model::change::{Change, Touch};
use osync_core::model::rel_path::RelPath;

use crate::event::Event;
use crate::operations::Notice;
use crate::oracle::Shape;
use crate::world::World;

/// What comes between the tree and the source's machine.
#[derive(Debug)]
pub(crate) struct Feed {
    is_ready: bool,
    /// How late reports are at the most.
    lateness_micros: u64,
    /// Reports are made one after the other: the next is not released before this.
    free_at: Instant,
    /// Directories that appeared, and when they will be watched.
    walks: Vec<(RelPath, Instant)>,
    blind_until: Option<Instant>,
    /// A file is reported as itself, never as part of a directory.
    pub(crate) is_exact: bool,
    /// When the last report is made that waits for something.
    settled_at: Instant,
}

impl Feed {
    pub(crate) fn new(lateness_micros: u64, now: Instant) -> Self {
        let (walks, blind_until) = (Vec::new(), None);
        let settled_at = now;
        Self {
            is_ready: false,
            lateness_micros,
            free_at: now,
            walks,
            blind_until,
            is_exact: false,
            settled_at,
        }
    }

    /// Whether nothing goes unreported but for what happens in directories that have just appeared.
    pub(crate) fn sees_all(&self, now: Instant) -> bool {
        self.is_ready && self.blind_until.is_none_or(|until| until <= now)
    }
}

impl World {
    /// Tells the feed what happened, if there is one.
    pub(crate) fn notice(&mut self, notice: Notice) {
        self.trace(|| format!("operation {notice:?}"));
        if !self.source.is_up() {
            return;
        }
        match notice {
            Notice::Written(path) => {
                if self.sees(&path) {
                    self.report_writing(path);
                }
            }
            Notice::Touched(path) => {
                if self.sees(&path) {
                    self.report_entry(path, Touch::Metadata);
                }
            }
            Notice::Made(path) => {
                if self.sees(&path) {
                    if self.oracle.shape(&path) == Some(Shape::File) {
                        self.report_writing(path);
                    } else {
                        self.report_entry(path, Touch::Settled);
                    }
                }
            }
            Notice::Removed(path) => {
                if self.sees(&path) {
                    self.report_entry(path, Touch::Settled);
                }
            }
            Notice::MadeDirectory(path) => {
                if self.sees(&path) {
                    self.walk(path, subtree);
                }
            }
            Notice::Renamed { from, to } => self.notice_rename(from, to),
        }
    }

    pub(crate) fn on_feed_ready(&mut self) {
        self.source.feed.is_ready = true;
        self.report(Change::Ready, Duration::ZERO);
    }

    /// Comes after everything that happened before, directories not yet watched included.
    pub(crate) fn ask_fence(&mut self, cookie: u64) {
        let settled_in = self.source.feed.settled_at.saturating_duration_since(self.now);
        self.report(Change::Fence { cookie }, settled_in);
    }

    /// What waits to be reported at or below `scope` is lost, and what happens for a while.
    pub(crate) fn overflow(&mut self, scope: RelPath) {
        let incarnation = self.source.incarnation;
        let over_at = self.now + self.random.delay(300_000);
        let mut fences = Vec::new();
        self.events.retain(|_, event| {
            let Event::Report { incarnation: of, change } = event else { return true };
            if *of != incarnation {
                return true;
            }
            match change {
                Change::Fence { cookie } => {
                    fences.push(*cookie);
                    false
                }
                Change::Entry { path, .. } => !is_strictly_within(path, &scope),
                Change::Renamed { from, to, .. } => {
                    !(is_strictly_within(from, &scope) && is_strictly_within(to, &scope))
                }
                _ => true,
            }
        });
        if scope.is_root() {
            self.source.feed.blind_until = Some(over_at);
        }
        let lost_in = over_at.saturating_duration_since(self.now);
        self.report(Change::Lost { scope, reason: "a fault".to_owned() }, lost_in);
        for cookie in fences {
            self.ask_fence(cookie);
        }
    }

    /// Whether anybody watches what happens to the name `path` now.
    fn sees(&mut self, path: &RelPath) -> bool {
        let now = self.now;
        let feed = &mut self.source.feed;
        feed.walks.retain(|(_, at)| *at > now);
        let is_blind = feed.blind_until.is_some_and(|until| now < until);
        let is_below_walk = feed.walks.iter().any(|(walk, _)| is_strictly_within(path, walk));
        let may_miss = !feed.is_ready || is_blind || is_below_walk;
        !(may_miss && self.random.chance(600))
    }

    /// Whether `path` lies in a directory that is not watched yet.
    pub(crate) fn is_below_walk(&self, path: &RelPath) -> bool {
        let mut walks = self.source.feed.walks.iter().filter(|(_, at)| *at > self.now);
        walks.any(|(walk, _)| is_strictly_within(path, walk))
    }

    fn notice_rename(&mut self, from: RelPath, to: RelPath) {
        let (departs, arrives) = (self.sees(&from), self.sees(&to));
        let is_directory = self.oracle.shape(&to) == Some(Shape::Directory);
        if departs && arrives && !self.random.chance(50) {
            self.report(Change::Renamed { from, to: to.clone(), is_directory }, Duration::ZERO);
            if is_directory {
                self.walk(to, subtree);
            }
            return;
        }
        // The halves did not find each other.
        let moved_in = |path| Change::MovedIn { path };
        let halves =
            [departs.then_some((from, subtree as fn(_) -> _)), arrives.then_some((to, moved_in))];
        for (path, change) in halves.into_iter().flatten() {
            if self.oracle.shape(&path) == Some(Shape::Directory) {
                self.walk(path, change);
            } else {
                self.report_entry(path, Touch::Settled);
            }
        }
    }

    /// Watches what is at and below `path`, and reports it as a whole then.
    fn walk(&mut self, path: RelPath, change: fn(RelPath) -> Change) {
        let walk_micros = if self.random.chance(50) { 1_500_000 } else { 20_000 };
        let takes = self.random.delay(walk_micros);
        self.source.feed.walks.push((path.clone(), self.now + takes));
        self.report(change(path), takes);
    }

    fn report_writing(&mut self, path: RelPath) {
        if self.random.chance(400) {
            self.report_entry(path.clone(), Touch::Writing);
            if self.random.chance(100) {
                return; // It stays open.
            }
        }
        self.report_entry(path, Touch::Settled);
    }

    fn report_entry(&mut self, path: RelPath, touch: Touch) {
        let change = match self.random.below(100) {
            _ if self.source.feed.is_exact => Change::Entry { path, touch },
            0..2 => Change::Subtree { path },
            2..3 if !path.is_root() => {
                Change::Subtree { path: path.parent().unwrap_or_else(RelPath::root) }
            }
            _ => Change::Entry { path, touch },
        };
        self.report(change, Duration::ZERO);
    }

    /// Hands `change` on, not before `least` has passed and never ahead of what was reported before.
    ///
    /// What takes long by itself, like a walk, does not hold up the others.
    fn report(&mut self, change: Change, least: Duration) {
        let lateness = self.random.delay(self.source.feed.lateness_micros);
        let at = (self.now + lateness).max(self.source.feed.free_at);
        self.source.feed.free_at = at;
        let at = at.max(self.now + least);
        self.source.feed.settled_at = self.source.feed.settled_at.max(self.now + least);
        if let Change::Lost { scope, .. } = &change {
            // All of it is doubted, and what was written lately is sent once more.
            for path in self.oracle.paths_within(scope) {
                self.oracle.shaken(&path, at);
            }
        }
        let incarnation = self.source.incarnation;
        if self.random.chance(30) && !matches!(change, Change::Fence { .. } | Change::Ready) {
            let again = at + self.random.delay(200_000);
            match &change {
                Change::Entry { path, .. }
                | Change::Subtree { path }
                | Change::MovedIn { path } => {
                    self.oracle.shaken(path, again);
                }
                Change::Renamed { from, to, .. } => {
                    self.oracle.shaken(from, again);
                    self.oracle.shaken(to, again);
                }
                _ => {}
            }
            let event = Event::Report { incarnation, change: change.clone() };
            self.schedule(again, event);
        }
        // Those that waited for something come after what was reported meanwhile.
        let event = Event::Report { incarnation, change };
        self.schedule(at, event);
    }
}

fn subtree(path: RelPath) -> Change {
    Change::Subtree { path }
}

fn is_strictly_within(path: &RelPath, scope: &RelPath) -> bool {
    path != scope && path.is_within(scope)
}
