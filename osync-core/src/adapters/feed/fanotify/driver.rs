//! The thread `osync-feed`: reads events, finds out where they happened, reports.
//!
//! The kernel merges events that are equal in directory and name, wherever they are in its queue, so an event
//! may tell of something that happened later than events behind it. Hence what is reported is never the
//! order of things but where to look; and wherever a directory may be found that an event has not told of,
//! everything below is to be looked at.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use nix::sys::fanotify::MaskFlags;
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fd::OwnedFd;

use crate::adapters::feed::fanotify::group::{Fences, Group, lock};
use crate::adapters::feed::fanotify::places::{Places, Whereabouts};
use crate::adapters::feed::fanotify::record::{self, Event, Place};
use crate::adapters::feed::mounts::Mounts;
use crate::adapters::feed::outlet::{Halt, Outlet};
use crate::adapters::feed::tree::{Seen, Tree, is_reserved};
use crate::adapters::feed::unwatched::Unwatched;
use crate::model::change::{Change, Touch};
use crate::model::name::Name;
use crate::model::rel_path::RelPath;
use crate::ports::change_feed::Stopped;

/// How often the root is looked after, beside every time a directory moves or something is mounted.
const ROOT_CHECK_SECONDS: u64 = 10;

/// How long to wait for more losses before one is reported: the answer to each is a comparison of everything.
const LOSS_GATHER: Duration = Duration::from_millis(100);

/// The least time between tries to begin afresh.
const RESTART_GAP_SECONDS: u64 = 1;

/// So many reads in a row without anything of the tree, and the kernel's queue is left to gather for a moment.
const FOREIGN_READS_MAX: u32 = 32;

/// How long that moment is: other programs' work on the same file system then costs a wake-up for many events.
const FOREIGN_NAP: Duration = Duration::from_millis(1);

/// The state of the thread.
#[derive(Debug)]
pub(super) struct Driver {
    root: PathBuf,
    outlet: Outlet,
    /// Becomes readable when it is time to stop.
    wake: OwnedFd,
    /// Shared with the feed, which sends fences.
    fences: Arc<Mutex<Fences>>,
    watch: Watch,
    unwatched: Unwatched,
    root_check_at: Instant,
    /// When to report that events were lost.
    loss_due: Option<Instant>,
    /// Reads in a row that told of nothing in the tree.
    foreign_reads: u32,
}

/// What a fresh start replaces.
#[derive(Debug)]
struct Watch {
    tree: Tree,
    group: Group,
    places: Places,
    mounts: Mounts,
}

impl Driver {
    /// Begins to watch; [`Driver::run`] reports.
    ///
    /// # Errors
    /// Why `root` cannot be watched.
    pub(super) fn open(
        root: &Path,
        retry_after: Duration,
        outlet: Outlet,
        wake: OwnedFd,
    ) -> std::io::Result<(Self, Arc<Mutex<Fences>>)> {
        let (watch, fences) = Watch::open(root)?;
        let fences = Arc::new(Mutex::new(fences));
        let driver = Self {
            root: root.to_path_buf(),
            outlet,
            wake,
            fences: Arc::clone(&fences),
            watch,
            unwatched: Unwatched::new(retry_after),
            root_check_at: Instant::now(),
            loss_due: None,
            foreign_reads: 0,
        };
        Ok((driver, fences))
    }

    /// Works until nobody wants reports any more.
    pub(super) fn run(mut self) {
        let mut done = self.begin();
        while done.is_ok() {
            done = match self.round() {
                Ok(()) => Ok(()),
                Err(Halt::Lost(reason)) => self.restart(&reason),
                Err(Halt::Stopped) => Err(Stopped),
            };
        }
    }

    fn begin(&mut self) -> Result<(), Stopped> {
        self.name_mounts()?;
        self.outlet.report(Change::Ready)
    }

    fn round(&mut self) -> Result<(), Halt> {
        if self.wait()? {
            self.watch_mounts()?;
        }
        self.keep_time()?;
        // A copy, so that everything else can be used meanwhile.
        let events = self.watch.group.read().map(<[u8]>::to_vec);
        let events = events.map_err(|error| Halt::Lost(format!("cannot read events: {error}")))?;
        let mut rest = &events[..];
        self.foreign_reads = if rest.is_empty() { 0 } else { self.foreign_reads + 1 };
        while let Some(event) =
            record::take(&mut rest).map_err(|error| Halt::Lost(error.to_string()))?
        {
            self.handle(&event)?;
        }
        if self.foreign_reads > FOREIGN_READS_MAX {
            std::thread::sleep(FOREIGN_NAP);
        }
        Ok(())
    }

    /// Waits until there is something to do; says whether something was mounted or unmounted.
    fn wait(&self) -> Result<bool, Halt> {
        let wake_at = self
            .unwatched
            .next_retry()
            .map_or(self.root_check_at, |retry_at| retry_at.min(self.root_check_at));
        let patience = wake_at.saturating_duration_since(Instant::now());
        let patience = Timespec::try_from(patience).unwrap_or_default();
        let mut poll = [
            PollFd::new(&self.watch.group, PollFlags::IN),
            PollFd::new(&self.wake, PollFlags::IN),
            PollFd::new(&self.watch.mounts, PollFlags::PRI),
        ];
        // A signal makes it a short wait, like any other.
        let _woken = rustix::event::poll(&mut poll, Some(&patience));
        if poll[1].revents().is_empty() {
            Ok(!poll[2].revents().is_empty())
        } else {
            Err(Halt::Stopped)
        }
    }

    /// Does what is due by the clock.
    fn keep_time(&mut self) -> Result<(), Halt> {
        let now = Instant::now();
        if self.root_check_at <= now {
            self.check_root()?;
        }
        if self.loss_due.is_some_and(|due| due <= now) {
            self.tell_loss()?;
        }
        let due = self.unwatched.take_due(now);
        for (scope, reason) in due {
            self.outlet.report(Change::Lost { scope, reason })?;
        }
        self.name_mounts()?;
        Ok(())
    }

    fn check_root(&mut self) -> Result<(), Halt> {
        self.root_check_at = Instant::now() + Duration::from_secs(ROOT_CHECK_SECONDS);
        if self.watch.tree.is_in_place() {
            return Ok(());
        }
        Err(Halt::Lost("the root directory was moved, removed or mounted over".to_owned()))
    }

    /// Sees to what was mounted or unmounted below the root.
    fn watch_mounts(&mut self) -> Result<(), Halt> {
        let root = self.watch.places.root_path().to_path_buf();
        let changed = self.watch.mounts.update(&root);
        let changed =
            changed.map_err(|error| Halt::Lost(format!("cannot tell what is mounted: {error}")))?;
        if !changed.is_empty() {
            self.check_root()?;
            self.unwatched.clear();
        }
        for path in changed {
            self.outlet.report(Change::MovedIn { path })?;
        }
        self.name_mounts()?;
        Ok(())
    }

    /// Says what is not watched because another file system is mounted there.
    fn name_mounts(&mut self) -> Result<(), Stopped> {
        for point in self.watch.mounts.points() {
            let reason =
                "a mount below the root, which the mark on the root's file system does not cover";
            self.unwatched.add(point.clone(), reason.to_owned());
        }
        for (scope, reason) in self.unwatched.settle(Instant::now()) {
            self.outlet.report(Change::Unwatched { scope, reason })?;
        }
        Ok(())
    }

    fn handle(&mut self, event: &Event<'_>) -> Result<(), Halt> {
        let mask = MaskFlags::from_bits_truncate(event.mask);
        if mask.contains(MaskFlags::FAN_Q_OVERFLOW) {
            self.watch.places.forget();
            self.loss_due.get_or_insert(Instant::now() + LOSS_GATHER);
            return Ok(());
        }
        let Some(place) = event.place else { return Ok(()) };
        if self.watch.group.is_fence(place.directory) {
            self.foreign_reads = 0;
            self.tell_loss()?;
            let cookie = lock(&self.fences).receive(place.name);
            return Ok(
                cookie.map_or(Ok(()), |cookie| self.outlet.report(Change::Fence { cookie }))?
            );
        }
        let is_directory = mask.contains(MaskFlags::FAN_ONDIR);
        if let Some(old_place) = event.old_place {
            if is_directory {
                let places = [old_place, place].map(|place| self.whereabouts(place));
                if places == [Whereabouts::Elsewhere, Whereabouts::Elsewhere] {
                    // Nothing in the tree has moved, unless it is the root.
                    return self.check_root();
                }
                self.watch.places.forget();
            }
            let (from, to) = (self.path_of(old_place)?, self.path_of(place)?);
            self.renamed(from, to, is_directory)?;
            return if is_directory { self.check_root() } else { Ok(()) };
        }
        match self.path_of(place)? {
            Some(path) if is_directory => self.directory_touched(path, mask)?,
            Some(path) => self.touched(path, mask)?,
            None => {}
        }
        Ok(())
    }

    /// The path of a place; `None` if it is not in the tree. Reports by itself what cannot be said by a path.
    fn path_of(&mut self, place: Place<'_>) -> Result<Option<RelPath>, Stopped> {
        let directory = match self.whereabouts(place) {
            Whereabouts::At(directory) => directory,
            Whereabouts::Elsewhere => return Ok(None),
            Whereabouts::Below(scope) => {
                let reason = "a change happened where no path of a length allowed leads".to_owned();
                self.outlet.report(Change::Lost { scope, reason })?;
                return Ok(None);
            }
        };
        // The dot stands for the directory itself and is no name.
        let path = match Name::new(place.name) {
            Err(_) => Ok(directory.clone()),
            Ok(name) => directory.join(&name),
        };
        let Ok(path) = path else {
            let reason = "a name is too long together with the path of its directory".to_owned();
            self.outlet.report(Change::Lost { scope: directory, reason })?;
            return Ok(None);
        };
        Ok((!is_reserved(&path)).then_some(path))
    }

    fn whereabouts(&mut self, place: Place<'_>) -> Whereabouts {
        let whereabouts = self.watch.places.find(place.directory);
        if whereabouts != Whereabouts::Elsewhere {
            self.foreign_reads = 0;
        }
        whereabouts
    }

    /// Something was renamed; `None` is outside.
    fn renamed(
        &mut self,
        from: Option<RelPath>,
        to: Option<RelPath>,
        is_directory: bool,
    ) -> Result<(), Stopped> {
        if let (Some(from), Some(to)) = (&from, &to) {
            let (from, to) = (from.clone(), to.clone());
            self.outlet.report(Change::Renamed { from, to, is_directory })?;
        }
        match to {
            Some(path) if is_directory && from.is_none() => {
                self.outlet.report(Change::MovedIn { path })?;
            }
            Some(path) if is_directory => self.outlet.report(Change::Subtree { path })?,
            Some(path) if from.is_none() => {
                self.outlet.report(Change::Entry { path, touch: Touch::Settled })?;
            }
            Some(_) | None => {}
        }
        from.map_or(Ok(()), |from| self.look_at(from))
    }

    /// A directory was made, removed, or changed where it is.
    fn directory_touched(&mut self, path: RelPath, mask: MaskFlags) -> Result<(), Stopped> {
        if mask.contains(MaskFlags::FAN_CREATE) {
            return self.outlet.report(Change::Subtree { path });
        }
        if mask.contains(MaskFlags::FAN_DELETE) {
            return self.look_at(path);
        }
        self.outlet.report(Change::Entry { path, touch: Touch::Metadata })
    }

    /// Something that is no directory was made, removed, or changed where it is.
    fn touched(&mut self, path: RelPath, mask: MaskFlags) -> Result<(), Stopped> {
        let touch = if mask.intersects(MaskFlags::FAN_CLOSE_WRITE | MaskFlags::FAN_DELETE) {
            Touch::Settled
        } else if mask.contains(MaskFlags::FAN_CREATE) {
            // Only a regular file is written after it was made.
            let is_file = self.watch.tree.look(&path) == Seen::File;
            if is_file { Touch::Writing } else { Touch::Settled }
        } else if mask.contains(MaskFlags::FAN_MODIFY) {
            Touch::Writing
        } else {
            Touch::Metadata
        };
        self.outlet.report(Change::Entry { path, touch })
    }

    /// Something went away from `path`, and may have left, or been followed by, a directory.
    fn look_at(&self, path: RelPath) -> Result<(), Stopped> {
        self.outlet.report(match self.watch.tree.look(&path) {
            Seen::Directory => Change::Subtree { path },
            Seen::Nothing | Seen::File | Seen::Special => {
                Change::Entry { path, touch: Touch::Settled }
            }
        })
    }

    /// Reports that the kernel has dropped events, if it has: it does not say of what.
    fn tell_loss(&mut self) -> Result<(), Stopped> {
        if self.loss_due.take().is_none() {
            return Ok(());
        }
        // They may have been among the dropped, and the loss covers what they wait for.
        let cookies = lock(&self.fences).take_all();
        let reason = "the kernel's queue overflowed (fs.fanotify.max_queued_events bounds it)";
        let reason = reason.to_owned();
        self.outlet.report(Change::Lost { scope: RelPath::root(), reason })?;
        cookies.into_iter().try_for_each(|cookie| self.outlet.report(Change::Fence { cookie }))
    }

    /// Opens everything anew, as soon as that is possible.
    fn restart(&mut self, reason: &str) -> Result<(), Stopped> {
        log::debug!("the change feed begins afresh: {reason}");
        let mut is_told = false;
        let (watch, fences) = loop {
            match Watch::open(&self.root) {
                Ok(opened) => break opened,
                Err(error) if !is_told => {
                    log::warn!("the change feed cannot begin afresh yet: {error}");
                    is_told = true;
                    let reason = format!("{reason}; nothing is watched: {error}");
                    self.outlet.report(Change::Lost { scope: RelPath::root(), reason })?;
                }
                Err(_) => {}
            }
            self.outlet.pause(Duration::from_secs(RESTART_GAP_SECONDS))?;
        };
        self.watch = watch;
        self.unwatched.clear();
        self.root_check_at = Instant::now();
        self.loss_due = None;
        let cookies = lock(&self.fences).replace(fences);
        self.outlet.report(Change::Lost { scope: RelPath::root(), reason: reason.to_owned() })?;
        cookies.into_iter().try_for_each(|cookie| self.outlet.report(Change::Fence { cookie }))
    }
}

impl Watch {
    fn open(root: &Path) -> std::io::Result<(Self, Fences)> {
        let tree = Tree::open(root)?;
        let (group, fences) = Group::open(tree.descriptor())?;
        let places = Places::below(tree.descriptor())?;
        let mounts = Mounts::below(places.root_path())?;
        Ok((Self { tree, group, places, mounts }, fences))
    }
}
