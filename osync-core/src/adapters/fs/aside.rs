//! The private directory `.osync`: for what is not visible yet, and for what is no longer.
//!
//! It is made when it is first needed and removed again once it has been idle for [`IDLE_MIN`], so that a
//! settled tree holds nothing extra; the root's time is put back after either. A large directory that is
//! removed from the tree is moved here in one step and deleted by the thread `osync-sweeper`.
//!
//! Names: `u..` marks that something is not on disk (`unsynced.rs`), `t1` is in use, `d2` is a doomed directory, `s3` one that could not be deleted.
//!
//! Invariant: the directory is removed under the state's lock, and only when nobody uses a place in it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{self, AtFlags, Gid, Mode};
use rustix::io::{Errno, Result};
use rustix::process::geteuid;

use crate::adapters::fs::RESERVED_NAME;
use crate::adapters::fs::metadata::{Target, look_at, set_modified};
use crate::adapters::fs::names::for_each_name;
use crate::adapters::fs::purge::{DOOMED, numbered, purge};
use crate::adapters::fs::restored::Restored;
use crate::adapters::fs::root::{LISTING, Root, enter, is_removed};
use crate::adapters::fs::unlock::unlocked;
use crate::model::rel_path::RelPath;

/// How long the private directory stays when nothing needs it.
const IDLE_MIN: Duration = Duration::from_millis(200);

const IN_USE: u8 = b't';
/// What the name of a marker begins with, which says that something is not on disk.
pub(super) const MARKER: u8 = b'u';

/// The private directory and its thread, which ends when this is dropped.
#[derive(Debug)]
pub(super) struct Aside {
    inner: Arc<Inner>,
    sweeper: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Debug)]
struct Inner {
    root: Arc<Root>,
    restored: Restored,
    state: Mutex<State>,
    changed: Condvar,
    /// Held while doomed directories are deleted: by the thread, or by who cannot wait for it.
    sweeping: Mutex<()>,
    numbers: AtomicU64,
}

#[derive(Debug)]
struct State {
    directory: Option<Arc<OwnedFd>>,
    places: usize,
    last_used: Instant,
    has_doomed: bool,
    /// Something could not be deleted: the directory stays until it is used again.
    is_stuck: bool,
    is_ending: bool,
}

impl Aside {
    /// Takes over what a killed process left, and deletes it in the background.
    pub(super) fn open(root: Arc<Root>) -> Result<Self> {
        let aside = Self {
            inner: Arc::new(Inner {
                root,
                restored: Restored::default(),
                state: Mutex::new(State {
                    directory: None,
                    places: 0,
                    last_used: Instant::now(),
                    has_doomed: false,
                    is_stuck: false,
                    is_ending: false,
                }),
                changed: Condvar::new(),
                sweeping: Mutex::new(()),
                numbers: AtomicU64::new(1),
            }),
            sweeper: Mutex::new(None),
        };
        if aside.inner.adopt()? {
            aside.start_sweeper();
        }
        Ok(aside)
    }

    /// Who is told that times were put back.
    pub(super) fn restored(&self) -> &Restored {
        &self.inner.restored
    }

    /// Whether the private directory is there.
    pub(super) fn is_there(&self) -> bool {
        self.inner.state().directory.is_some()
    }

    /// A place for one entry, which is cleared when the place is dropped.
    pub(super) fn place(&self) -> Result<Place> {
        let mut state = self.inner.state();
        let (directory, is_new) = match &state.directory {
            Some(directory) if !is_removed(directory) => (Arc::clone(directory), false),
            Some(_) | None => (self.inner.make()?, true),
        };
        state.directory = Some(Arc::clone(&directory));
        state.places += 1;
        state.is_stuck = false;
        drop(state);
        if is_new {
            self.start_sweeper();
        }
        Ok(Place {
            inner: Arc::clone(&self.inner),
            directory,
            name: numbered(IN_USE, self.inner.fresh()),
            is_filled: false,
        })
    }

    /// Runs `operation` while the private directory is neither made nor removed, so that neither puts
    /// back a time of the root that the operation sets.
    pub(super) fn with_root_still<T>(&self, operation: impl FnOnce() -> T) -> T {
        let _state = self.inner.state();
        operation()
    }

    /// Deletes everything doomed and removes the directory, unless a place is in use.
    pub(super) fn tidy(&self) {
        self.inner.sweep();
        let mut state = self.inner.state();
        state.is_stuck = false;
        self.inner.remove_if_idle(&mut state, Duration::ZERO);
    }

    fn start_sweeper(&self) {
        let mut sweeper = self.sweeper.lock().unwrap_or_else(PoisonError::into_inner);
        if sweeper.is_none() {
            let inner = Arc::clone(&self.inner);
            let started =
                Builder::new().name("osync-sweeper".to_owned()).spawn(move || inner.run());
            match started {
                Ok(handle) => *sweeper = Some(handle),
                // Tidying does the same work, later.
                Err(error) => {
                    log::warn!("cannot start a thread to delete in the background: {error}");
                }
            }
        } else {
            self.inner.changed.notify_all();
        }
    }
}

impl Drop for Aside {
    fn drop(&mut self) {
        self.inner.state().is_ending = true;
        self.inner.changed.notify_all();
        let sweeper = self.sweeper.get_mut();
        if let Some(handle) = sweeper.unwrap_or_else(PoisonError::into_inner).take()
            && handle.join().is_err()
        {
            log::error!("the thread osync-sweeper panicked");
        }
        self.tidy();
    }
}

impl Inner {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn fresh(&self) -> u64 {
        self.numbers.fetch_add(1, Ordering::Relaxed)
    }

    /// The thread: deletes what is doomed, removes the directory when it is idle, waits.
    fn run(&self) {
        let mut state = self.state();
        while !state.is_ending {
            state = if state.has_doomed {
                drop(state);
                self.sweep();
                self.state()
            } else if let Some(wait) = self.remove_if_idle(&mut state, IDLE_MIN) {
                let woken = self.changed.wait_timeout(state, wait);
                woken.unwrap_or_else(PoisonError::into_inner).0
            } else {
                let woken = self.changed.wait(state);
                woken.unwrap_or_else(PoisonError::into_inner)
            };
        }
    }

    /// Deletes everything doomed.
    fn sweep(&self) {
        let _sweeping = self.sweeping.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            let mut state = self.state();
            let Some(directory) = state.directory.clone().filter(|_| state.has_doomed) else {
                return;
            };
            state.has_doomed = false;
            // Keeps the directory while it is being emptied.
            state.places += 1;
            drop(state);
            if let Err(errno) = purge(directory.as_fd(), &|| self.fresh()) {
                log::warn!("something removed could not be deleted and stays in .osync: {errno}");
            }
            self.state().places -= 1;
        }
    }

    /// Removes the directory if it has been idle for `idle_min`; returns when to look again, if ever.
    fn remove_if_idle(&self, state: &mut State, idle_min: Duration) -> Option<Duration> {
        if state.directory.is_none() || state.is_stuck {
            return None;
        }
        let idle = state.last_used.elapsed();
        if state.places > 0 || state.has_doomed {
            return Some(IDLE_MIN);
        }
        if idle < idle_min {
            return Some(idle_min.saturating_sub(idle));
        }
        let root = self.root.descriptor();
        let removed = self.keeping_root_time(|| {
            unlocked(root, || fs::unlinkat(root, RESERVED_NAME, AtFlags::REMOVEDIR))
        });
        match removed {
            Ok(()) | Err(Errno::NOENT) => state.directory = None,
            Err(errno) => {
                log::debug!("cannot remove .osync: {errno}");
                state.is_stuck = true;
            }
        }
        None
    }

    /// Makes the directory, or takes over one that is there, and opens it.
    fn make(&self) -> Result<Arc<OwnedFd>> {
        let root = self.root.descriptor();
        self.keeping_root_time(|| {
            unlocked(root, || match fs::mkdirat(root, RESERVED_NAME, Mode::RWXU) {
                Err(Errno::EXIST) => Ok(()),
                made => made,
            })
        })?;
        self.enter().map(Arc::new)
    }

    fn enter(&self) -> Result<OwnedFd> {
        let directory = enter(self.root.descriptor(), RESERVED_NAME, LISTING)?;
        // One that was there may be somebody else's, or open to somebody else.
        let stat = fs::fstat(&directory)?;
        let user = geteuid();
        if stat.st_uid != user.as_raw() {
            fs::fchown(&directory, Some(user), None::<Gid>)?;
        }
        if Mode::from_raw_mode(stat.st_mode) != Mode::RWXU {
            fs::fchmod(&directory, Mode::RWXU)?;
        }
        Ok(directory)
    }

    /// Takes over the directory of a process that was killed; returns whether there is one.
    fn adopt(&self) -> Result<bool> {
        let directory = match self.enter() {
            Err(Errno::NOENT) => return Ok(false),
            Err(Errno::NOTDIR) => {
                let root = self.root.descriptor();
                self.keeping_root_time(|| fs::unlinkat(root, RESERVED_NAME, AtFlags::empty()))?;
                return Ok(false);
            }
            entered => entered?,
        };
        let mut number_max = 0_u64;
        let mut others: Vec<Vec<u8>> = Vec::new();
        for_each_name(directory.as_fd(), |name| {
            let number = name.get(1..).and_then(|text| str::from_utf8(text).ok());
            let number = number.and_then(|text| text.parse().ok()).unwrap_or(0);
            number_max = number.max(number_max);
            if ![DOOMED, MARKER].iter().any(|sort| name.first() == Some(sort)) {
                others.push(name.to_vec());
            }
            Ok(true)
        })?;
        self.numbers.store(number_max.saturating_add(1), Ordering::Relaxed);
        for name in others {
            let doomed = numbered(DOOMED, self.fresh());
            match fs::unlinkat(&directory, name.as_slice(), AtFlags::empty()) {
                Err(Errno::ISDIR) => {
                    fs::renameat(&directory, name.as_slice(), &directory, doomed)?;
                }
                removed => removed?,
            }
        }
        let mut state = self.state();
        state.directory = Some(Arc::new(directory));
        state.has_doomed = true;
        Ok(true)
    }

    /// Runs `operation`, which makes or removes the private directory, and puts the root's time back.
    /// Called with the state locked, or before anybody else knows of it.
    fn keeping_root_time<T>(&self, operation: impl FnOnce() -> Result<T>) -> Result<T> {
        let root = self.root.descriptor();
        let before = look_at(root)?.metadata.modified;
        let result = operation()?;
        if let Err(errno) = set_modified(Target::Path(root), before) {
            log::debug!("cannot put back the time of the root: {errno}");
        }
        self.restored.tell(&RelPath::root());
        Ok(result)
    }
}

/// Room for one entry in the private directory.
#[derive(Debug)]
pub(super) struct Place {
    inner: Arc<Inner>,
    directory: Arc<OwnedFd>,
    name: String,
    is_filled: bool,
}

impl Place {
    pub(super) fn directory(&self) -> BorrowedFd<'_> {
        self.directory.as_fd()
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Says that something lies here now: it is deleted with the place.
    pub(super) fn fill(&mut self) {
        self.is_filled = true;
    }

    /// Says that what lay here has been moved out.
    pub(super) fn empty(&mut self) {
        self.is_filled = false;
    }

    /// Deletes what lies here; returns whether a directory was left for the sweeper.
    fn clear(&self) -> Result<bool> {
        match fs::unlinkat(self.directory(), &self.name, AtFlags::empty()) {
            Err(Errno::ISDIR) => {}
            removed => return removed.map(|()| false),
        }
        match fs::unlinkat(self.directory(), &self.name, AtFlags::REMOVEDIR) {
            Err(Errno::NOTEMPTY | Errno::EXIST) => {}
            removed => return removed.map(|()| false),
        }
        let doomed = numbered(DOOMED, self.inner.fresh());
        fs::renameat(self.directory(), &self.name, self.directory(), doomed)?;
        Ok(true)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let cleared = if self.is_filled { self.clear() } else { Ok(false) };
        let mut state = self.inner.state();
        state.places -= 1;
        state.last_used = Instant::now();
        match cleared {
            Ok(true) => {
                state.has_doomed = true;
                self.inner.changed.notify_all();
            }
            Ok(false) => {}
            Err(errno) => log::warn!("cannot delete .osync/{}: {errno}", self.name),
        }
    }
}
