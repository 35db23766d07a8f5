//! One inotify instance, driven through the crate `notify`, and the signals that come out of it.
//!
//! `notify` is used as a driver only: one watch per directory and no recursion of its own, which loses
//! changes. Two facts of its source (9.0.0-rc.7) are built upon:
//!
//! * An event that says a path came, went or moved may make it drop its watches at and below that path,
//!   always before it looks at the next request. So whoever watches that path again after every such
//!   event, and everything below, misses nothing; whether it was watched before need not be known.
//! * Watching a path it already watches is cheap and changes nothing, even if another directory lies
//!   there now: see [`Session::forget`].
//!
//! Requests wait for `notify`'s thread, and that thread delivers events; so the delivery must never wait
//! in turn: see [`queue`].
//!
//! A fence changes the mode of an unnamed file in memory that the same instance watches, so its event
//! queues behind everything that happened before and the user's tree stays untouched. (A *write* would
//! not do: since Linux 6.14 the descriptor of a `memfd` makes no events.) The kernel merges an event with
//! an equal one right before it, hence two files taken in turn.
//!
//! [`queue`]: crate::adapters::feed::inotify::queue

use std::collections::VecDeque;
use std::fs::{File, Permissions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, bounded};
use notify::event::EventKindMask;
use notify::{Config, INotifyWatcher, PathOp, RecursiveMode, WatchPathConfig, Watcher};
use rustix::fs::MemfdFlags;

use crate::adapters::feed::inotify::queue::Queue;
use crate::adapters::feed::inotify::signal::{Signal, translate};

/// How long `notify`'s thread may take to end before it is left alone: while it is still busy with directories that
/// were removed, that can be seconds.
const END_WAIT_MAX: Duration = Duration::from_millis(500);

/// The same where its watches would count against the limit of the next instance.
const END_WAIT_MAX_BEFORE_ANOTHER: Duration = Duration::from_secs(5);

/// What is asked of the kernel. Opening and reading are left out: otherwise the source's own reading
/// would fill the queue.
const EVENT_KINDS: EventKindMask = EventKindMask::CREATE
    .union(EventKindMask::REMOVE)
    .union(EventKindMask::MODIFY_DATA)
    .union(EventKindMask::MODIFY_META)
    .union(EventKindMask::MODIFY_NAME)
    .union(EventKindMask::ACCESS_CLOSE);

/// One inotify instance. Dropping it ends `notify`'s thread.
#[derive(Debug)]
pub(super) struct Session {
    watcher: Option<INotifyWatcher>,
    queue: Arc<Queue>,
    /// Taken from the queue and not yet handed out.
    taken: VecDeque<Signal>,
    /// Gets something after the queue did; disconnected when `notify`'s thread ends.
    wake: Receiver<()>,
}

/// Fences asked for and not yet come back, and the files that carry them.
#[derive(Debug)]
pub(super) struct Fences {
    files: [File; 2],
    turn: usize,
    outstanding: VecDeque<(u64, usize)>,
}

impl Session {
    /// Opens an instance that reports events below `root`, and the fences that come back through it.
    pub(super) fn open(root: &Path) -> notify::Result<(Self, Fences)> {
        let files = [fence_file()?, fence_file()?];
        let paths = [fence_path(&files[0]), fence_path(&files[1])];
        let queue = Arc::<Queue>::default();
        let (waker, wake) = bounded(1);
        let handler = {
            let (root, fences, queue) = (root.to_path_buf(), paths.clone(), Arc::clone(&queue));
            move |event| {
                if let Some(signal) = translate(&root, &fences, event) {
                    queue.put(signal);
                    // If it is full somebody is about to wake anyway.
                    let _is_awake = waker.try_send(());
                }
            }
        };
        let config = Config::default().with_follow_symlinks(false).with_event_kinds(EVENT_KINDS);
        let mut watcher = INotifyWatcher::new(handler, config)?;
        for path in &paths {
            // A link of /proc, and to be followed.
            watcher.watch(path, RecursiveMode::NonRecursive)?;
        }
        let session = Self { watcher: Some(watcher), queue, taken: VecDeque::new(), wake };
        let fences = Fences { files, turn: 0, outstanding: VecDeque::new() };
        Ok((session, fences))
    }

    /// Watches all of `paths`; returns the indices of those it could not, with the reason.
    pub(super) fn watch(&mut self, paths: Vec<PathBuf>) -> Vec<(usize, notify::Error)> {
        let Some(watcher) = &mut self.watcher else { return Vec::new() };
        let config =
            WatchPathConfig::new(RecursiveMode::NonRecursive).with_dereference_symlinks(false);
        let total = paths.len();
        let mut failures = Vec::new();
        let mut rest: Vec<_> =
            paths.into_iter().map(|path| PathOp::Watch(path, config.clone())).collect();
        while !rest.is_empty() {
            // Stops at the first that fails.
            let Err(error) = watcher.update_paths(rest) else { break };
            rest = error.remaining;
            failures.push((total - rest.len() - 1, error.source));
        }
        failures
    }

    /// Stops to watch `path` itself, if it was watched.
    pub(super) fn forget(&mut self, path: &Path) {
        if let Some(watcher) = &mut self.watcher
            && let Err(error) = watcher.unwatch(path)
        {
            log::trace!("was not watched: {error}");
        }
    }

    /// The next signal that has arrived, in the kernel's order.
    pub(super) fn next(&mut self) -> Option<Signal> {
        if self.taken.is_empty() {
            self.queue.take(&mut self.taken);
        }
        self.taken.pop_front()
    }

    /// Whether [`Session::next`] has given out everything it took at a time.
    pub(super) fn is_drained(&self) -> bool {
        self.taken.is_empty()
    }

    /// Gets something after signals have arrived; disconnected when `notify`'s thread has ended.
    pub(super) fn wake(&self) -> &Receiver<()> {
        &self.wake
    }

    /// Ends `notify`'s thread and gives up all watches, so that another instance may be opened; nothing is watched or
    /// reported from then on.
    pub(super) fn end(&mut self) {
        self.end_within(END_WAIT_MAX_BEFORE_ANOTHER);
    }

    fn end_within(&mut self, wait_max: Duration) {
        let Some(watcher) = self.watcher.take() else { return };
        drop(watcher);
        // The thread ends by itself and nobody can join it, but it drops its end of the channel with the
        // instance: then the watches no longer count against the limit.
        let deadline = Instant::now() + wait_max;
        loop {
            match self.wake.recv_deadline(deadline) {
                Ok(()) => {}
                Err(RecvTimeoutError::Disconnected) => return,
                Err(RecvTimeoutError::Timeout) => {
                    log::debug!("the thread of the crate notify is still busy; not waiting for it");
                    return;
                }
            }
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.end_within(END_WAIT_MAX);
    }
}

impl Fences {
    /// Sends a fence on its way.
    pub(super) fn send(&mut self, cookie: u64) -> io::Result<()> {
        self.files[self.turn].set_permissions(Permissions::from_mode(0o600))?;
        self.outstanding.push_back((cookie, self.turn));
        self.turn = 1 - self.turn;
        Ok(())
    }

    /// The cookie of the fence that came back through file `turn`.
    pub(super) fn receive(&mut self, turn: usize) -> Option<u64> {
        let &(cookie, expected) = self.outstanding.front()?;
        if turn != expected {
            return None;
        }
        self.outstanding.pop_front();
        Some(cookie)
    }

    /// Goes on with the files of a new instance; returns the cookies that will not come back.
    pub(super) fn replace(&mut self, new: Self) -> Vec<u64> {
        let old = std::mem::replace(self, new);
        old.outstanding.into_iter().map(|(cookie, _)| cookie).collect()
    }
}

/// Locks the fences. Each use is one call, so a panic elsewhere leaves them whole.
pub(super) fn lock(fences: &Mutex<Fences>) -> MutexGuard<'_, Fences> {
    fences.lock().unwrap_or_else(PoisonError::into_inner)
}

fn fence_file() -> io::Result<File> {
    let file = rustix::fs::memfd_create("osync-fence", MemfdFlags::CLOEXEC)?;
    Ok(File::from(file))
}

fn fence_path(file: &File) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()))
}
