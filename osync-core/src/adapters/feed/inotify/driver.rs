//! The thread `osync-feed`: takes events, keeps the watches, reports.
//!
//! Every round handles some events, watches and lists one batch of directories, and answers the fences
//! whose turn has come; so live changes are reported while a large tree is still being walked.
//!
//! Events name paths as they were. So each one about an appearance, disappearance or move makes the driver
//! look what lies there *now*, and if it is a directory, walk it (see [`session`] for why always).
//!
//! [`session`]: crate::adapters::feed::inotify::session

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crossbeam_channel::select_biased;

use crate::adapters::feed::inotify::limits::{explain, is_gone, is_watch_limit};
use crate::adapters::feed::inotify::renames::Renames;
use crate::adapters::feed::inotify::scope::Scope;
use crate::adapters::feed::inotify::session::{Fences, Session, lock};
use crate::adapters::feed::inotify::signal::Signal;
use crate::adapters::feed::inotify::walks::Walks;
use crate::adapters::feed::mounts::Mounts;
use crate::adapters::feed::outlet::{Halt, Outlet};
use crate::adapters::feed::tree::{Seen, Tree};
use crate::adapters::feed::unwatched::Unwatched;
use crate::model::change::{Change, Touch};
use crate::model::rel_path::RelPath;
use crate::ports::change_feed::Stopped;

/// Signals handled before the next batch of directories.
const SIGNALS_PER_ROUND: usize = 1_024;

/// Directories watched and listed in one go while events come: about 5 ms.
const DIRECTORIES_PER_BUSY_ROUND: usize = 512;

/// Directories watched and listed in one go while none come: fewer waits for `notify`'s thread.
const DIRECTORIES_PER_ROUND: usize = 4_096;

/// How often the root is looked after: whoever holds it open gets no event when it is removed.
const ROOT_CHECK_SECONDS: u64 = 1;

/// The least time between one fresh start and the next, and between tries to make one.
const RESTART_GAP_SECONDS: u64 = 1;

/// The state of the thread.
#[derive(Debug)]
pub(super) struct Driver {
    root: PathBuf,
    scope: Scope,
    outlet: Outlet,
    /// Shared with the feed, which sends fences.
    fences: Arc<Mutex<Fences>>,
    /// Fences that have come back, each with the walks it must wait for.
    returned: VecDeque<(u64, u64)>,
    // Ends before the root is closed, because its watches name the root's descriptor.
    session: Session,
    tree: Tree,
    walks: Walks,
    renames: Renames,
    unwatched: Unwatched,
    mounts: Mounts,
    is_ready: bool,
    root_check_at: Instant,
    restarted_at: Option<Instant>,
}

impl Driver {
    /// Opens everything that can fail; the walk through the tree is left to [`Driver::run`].
    ///
    /// # Errors
    /// Why `root` cannot be watched, and what to do about it.
    pub(super) fn open(
        root: &Path,
        retry_after: Duration,
        scope: Scope,
        outlet: Outlet,
    ) -> Result<(Self, Arc<Mutex<Fences>>), String> {
        let (session, tree, fences) = open(root)?;
        let mounts = Mounts::below(root).map_err(|error| error.to_string())?;
        let fences = Arc::new(Mutex::new(fences));
        let mut walks = Walks::default();
        walks.begin(RelPath::root(), Change::Ready);
        let driver = Self {
            root: root.to_path_buf(),
            scope,
            outlet,
            fences: Arc::clone(&fences),
            returned: VecDeque::new(),
            session,
            tree,
            walks,
            renames: Renames::default(),
            unwatched: Unwatched::new(retry_after),
            mounts,
            is_ready: false,
            root_check_at: Instant::now(),
            restarted_at: None,
        };
        Ok((driver, fences))
    }

    /// Works until nobody wants reports any more.
    pub(super) fn run(mut self) {
        loop {
            let halted = match self.round() {
                Ok(()) => continue,
                Err(Halt::Lost(reason)) => self.restart(&reason),
                Err(Halt::Stopped) => Err(Stopped),
            };
            if halted.is_err() {
                return;
            }
        }
    }

    fn round(&mut self) -> Result<(), Halt> {
        self.wait()?;
        let mut directories_max = DIRECTORIES_PER_ROUND;
        for _ in 0..SIGNALS_PER_ROUND {
            let Some(signal) = self.session.next() else { break };
            self.handle(signal)?;
            directories_max = DIRECTORIES_PER_BUSY_ROUND;
        }
        self.keep_time()?;
        self.walk(directories_max)?;
        self.answer_fences()?;
        Ok(())
    }

    /// Waits until there is something to do.
    fn wait(&self) -> Result<(), Halt> {
        let mut patience = Duration::ZERO;
        if self.walks.is_empty() && self.session.is_drained() {
            let wake_at = [self.renames.next_give_up(), self.unwatched.next_retry()];
            let wake_at = wake_at.into_iter().flatten().fold(self.root_check_at, Instant::min);
            patience = wake_at.saturating_duration_since(Instant::now());
        }
        select_biased! {
            recv(self.outlet.stop()) -> _ => Err(Halt::Stopped),
            recv(self.session.wake()) -> woken => woken.map_err(|_| {
                Halt::Lost("the thread of the crate notify has ended".to_owned())
            }),
            default(patience) => Ok(()),
        }
    }

    fn handle(&mut self, signal: Signal) -> Result<(), Halt> {
        match signal {
            Signal::Named(path, touch) => {
                self.give_up_above(&path)?;
                self.walk_if_ruled(&path, Touch::Settled);
                self.look_at(path, touch)?;
            }
            Signal::Departed(path, cookie) => {
                self.give_up_above(&path)?;
                self.walk_if_ruled(&path, Touch::Settled);
                self.renames.depart(path, cookie, Instant::now());
            }
            Signal::Arrived(path, cookie) => {
                let from = self.renames.arrive(cookie);
                self.give_up_above(&path)?;
                self.walk_if_ruled(&path, Touch::Settled);
                self.arrived(from, path)?;
            }
            Signal::Touched(path, touch) => {
                self.give_up_above(&path)?;
                self.walk_if_ruled(&path, touch);
                self.outlet.report(Change::Entry { path, touch })?;
            }
            Signal::Fence(turn) => {
                self.give_up(Renames::give_up_all)?;
                if let Some(cookie) = lock(&self.fences).receive(turn) {
                    self.returned.push_back((cookie, self.walks.now()));
                }
            }
            Signal::Lost(reason) => return Err(Halt::Lost(reason)),
        }
        Ok(())
    }

    /// Something appeared at `path` or went away; `touch` is how far a regular file there has got.
    ///
    /// What went away may have left a directory: one that was hidden by a mount, for example.
    fn look_at(&mut self, path: RelPath, touch: Touch) -> Result<(), Stopped> {
        let touch = match self.tree.look(&path) {
            // One that is left out may have taken the place of a file that is not.
            Seen::Directory if self.scope.skips(&path) => Touch::Settled,
            Seen::Directory => {
                self.walk_from(path);
                return Ok(());
            }
            Seen::File => touch,
            Seen::Nothing | Seen::Special => Touch::Settled,
        };
        self.outlet.report(Change::Entry { path, touch })
    }

    /// Something was renamed to `to`, from outside unless `from` is known.
    fn arrived(&mut self, from: Option<RelPath>, to: RelPath) -> Result<(), Stopped> {
        let seen = self.tree.look(&to);
        let is_directory = seen == Seen::Directory;
        if is_directory {
            // It may have taken the place of an empty directory. While somebody has that one open, no
            // event tells of its end, and `notify` would believe `to` to be watched already.
            self.session.forget(&self.tree.absolute(&to));
        }
        match from {
            Some(from) if seen != Seen::Nothing => {
                if is_directory && !self.scope.skips(&to) {
                    self.walk_from(to.clone());
                }
                self.outlet.report(Change::Renamed { from, to, is_directory })
            }
            None if is_directory && !self.scope.skips(&to) => {
                self.walks.begin(to.clone(), Change::MovedIn { path: to });
                Ok(())
            }
            from => {
                from.into_iter().chain([to]).try_for_each(|path| self.look_at(path, Touch::Settled))
            }
        }
    }

    /// Something happens at `path`, so no second half of an older rename from there is waited for.
    fn give_up_above(&mut self, path: &RelPath) -> Result<(), Stopped> {
        self.give_up(|renames| renames.give_up_above(path))
    }

    /// Takes first halves of renames for moves out of the tree.
    fn give_up(&mut self, which: impl FnOnce(&mut Renames) -> Vec<RelPath>) -> Result<(), Stopped> {
        which(&mut self.renames).into_iter().try_for_each(|path| self.look_at(path, Touch::Settled))
    }

    /// If `path` says what is left out, there may be more to watch from now on.
    fn walk_if_ruled(&mut self, path: &RelPath, touch: Touch) {
        if touch == Touch::Settled
            && let Some(directory) = self.scope.renewed_by(path)
        {
            self.walk_from(directory);
        }
    }

    fn walk_from(&mut self, path: RelPath) {
        let then = Change::Subtree { path: path.clone() };
        self.walks.begin(path, then);
    }

    /// Does what is due by the clock.
    fn keep_time(&mut self) -> Result<(), Halt> {
        let now = Instant::now();
        self.give_up(|renames| renames.give_up_late(now))?;
        for (scope, reason) in self.unwatched.take_due(now) {
            let then = Change::Lost { scope: scope.clone(), reason };
            self.walks.begin(scope, then);
        }
        if self.root_check_at <= now {
            self.root_check_at = now + Duration::from_secs(ROOT_CHECK_SECONDS);
            if !self.tree.is_in_place() {
                let reason = "the root directory was moved, removed or mounted over";
                return Err(Halt::Lost(reason.to_owned()));
            }
            // It makes no event of the directory that it covers, and `notify` would believe what is there now to be
            // watched where what was there before is.
            if self.mounts.are_changed() {
                let changed = self.mounts.update(&self.root);
                let changed = changed.map_err(|error| Halt::Lost(error.to_string()))?;
                if !changed.is_empty() {
                    let reason = "something was mounted or unmounted below the root";
                    return Err(Halt::Lost(reason.to_owned()));
                }
            }
        }
        Ok(())
    }

    /// Watches, then lists, one batch of directories.
    fn walk(&mut self, directories_max: usize) -> Result<(), Stopped> {
        if self.walks.is_empty() {
            return Ok(());
        }
        let steps = self.walks.take(directories_max);
        let paths = steps.iter().map(|step| self.tree.absolute(&step.path));
        let mut failures = self.session.watch(paths.collect()).into_iter().peekable();
        let mut limit = None;
        let mut found = Vec::new();
        for (index, step) in steps.iter().enumerate() {
            if let Some((_, error)) = failures.next_if(|(failed, _)| *failed == index) {
                if !is_gone(&error) {
                    let reason = explain(&error);
                    self.unwatched.add(step.path.clone(), reason.clone());
                    limit = limit.or(is_watch_limit(&error).then_some(reason));
                }
                continue;
            }
            let listed = self.tree.list_directories(&step.path, &mut found);
            found.retain(|directory| !self.scope.skips(directory));
            match listed {
                Ok(()) => self.walks.extend(step, &mut found),
                Err(errno) => {
                    let reason = format!("cannot be listed: {}", std::io::Error::from(errno));
                    self.unwatched.add(step.path.clone(), reason);
                    found.clear();
                }
            }
        }
        if let Some(reason) = limit {
            for path in self.walks.abandon() {
                self.unwatched.add(path, reason.clone());
            }
        }
        for (scope, reason) in self.unwatched.settle(Instant::now()) {
            log::debug!("not watched: {scope}: {reason}");
            self.outlet.report(Change::Unwatched { scope, reason })?;
        }
        for change in self.walks.end() {
            self.is_ready |= change == Change::Ready;
            self.outlet.report(change)?;
        }
        Ok(())
    }

    fn answer_fences(&mut self) -> Result<(), Stopped> {
        while let Some(&(cookie, moment)) = self.returned.front()
            && self.walks.is_past(moment)
        {
            self.outlet.report(Change::Fence { cookie })?;
            self.returned.pop_front();
        }
        Ok(())
    }

    /// Opens a new instance in place of the present one and walks the whole tree again.
    ///
    /// Simpler than mending: after a loss nobody knows which watches, here or inside `notify`, still
    /// belong to the directories they are booked under.
    fn restart(&mut self, reason: &str) -> Result<(), Stopped> {
        log::debug!("the change feed begins afresh: {reason}");
        // First, or its watches would count against the limit of the new instance.
        self.session.end();
        let gap = Duration::from_secs(RESTART_GAP_SECONDS);
        if let Some(restarted_at) = self.restarted_at {
            self.outlet.pause((restarted_at + gap).saturating_duration_since(Instant::now()))?;
        }
        let mut is_told = false;
        let new_fences = loop {
            match open(&self.root) {
                Ok((session, tree, fences)) => {
                    (self.session, self.tree) = (session, tree);
                    break fences;
                }
                Err(error) if !is_told => {
                    log::warn!("the change feed cannot begin afresh yet: {error}");
                    is_told = true;
                    self.outlet.report(Change::Lost {
                        scope: RelPath::root(),
                        reason: format!("{reason}; nothing is watched: {error}"),
                    })?;
                }
                Err(_) => self.outlet.pause(gap)?,
            }
        };
        self.restarted_at = Some(Instant::now());
        self.walks.clear();
        self.renames = Renames::default();
        self.unwatched.clear();
        let lost = Change::Lost { scope: RelPath::root(), reason: reason.to_owned() };
        let then = if self.is_ready { lost } else { Change::Ready };
        self.walks.begin(RelPath::root(), then);
        let moment = self.walks.now();
        for returned in &mut self.returned {
            returned.1 = moment;
        }
        let strays = lock(&self.fences).replace(new_fences);
        self.returned.extend(strays.into_iter().map(|cookie| (cookie, moment)));
        Ok(())
    }
}

/// Opens what a fresh start replaces, and watches the root.
fn open(root: &Path) -> Result<(Session, Tree, Fences), String> {
    let tree = Tree::open(root).map_err(|error| error.to_string())?;
    let (mut session, fences) = Session::open(&tree.anchor()).map_err(|error| explain(&error))?;
    let top = tree.absolute(&RelPath::root());
    match session.watch(vec![top]).pop() {
        Some((_, error)) => Err(explain(&error)),
        None => Ok((session, tree, fences)),
    }
}
