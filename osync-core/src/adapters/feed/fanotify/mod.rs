//! A directory tree watched by one fanotify mark on its whole file system.
//!
//! ```text
//! kernel --> group --> record --> osync-feed --> Reporter
//!                                  |  (driver)
//!                  places: which path is that directory?
//! ```
//!
//! There is nothing to walk: everything is watched from the start, however large the tree is, and the kernel
//! pins nothing in memory. An event names a directory by its handle and an entry in it; what happens on the file
//! system outside the root is dropped.
//!
//! Needs `CAP_SYS_ADMIN` and `CAP_DAC_READ_SEARCH`, Linux 5.17, `/proc`, and a file system whose directories can be
//! found by handle: ext4, xfs, btrfs (not in a subvolume), tmpfs and others; not overlayfs, NFS or FUSE.
//!
//! Files from low to high: record, group, places, driver.

mod driver;
mod group;
mod places;
mod record;

use std::convert::Infallible;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam_channel::{Sender, bounded};
use rustix::event::{EventfdFlags, eventfd};
use rustix::fd::OwnedFd;
use rustix::io::Errno;

use crate::adapters::feed::fanotify::driver::Driver;
use crate::adapters::feed::fanotify::group::{Fences, Group, lock};
use crate::adapters::feed::outlet::Outlet;
use crate::adapters::feed::refused;
use crate::adapters::feed::tree::Tree;
use crate::ports::change_feed::{ChangeFeed, FeedError, Reporter};

/// A [`ChangeFeed`] of a local directory tree, for privileged processes.
///
/// Symbolic links are not followed. Changes through `mmap` (see [`MappedFeed`]) and through a
/// hard link from outside make no events.
/// What is mounted below the root is not watched: it is reported as [`Change::Unwatched`], and as
/// [`Change::Lost`] from time to time.
///
/// [`MappedFeed`]: crate::adapters::feed::mapped::MappedFeed
/// [`Change::Unwatched`]: crate::model::change::Change::Unwatched
/// [`Change::Lost`]: crate::model::change::Change::Lost
#[derive(Debug)]
pub struct FanotifyFeed {
    root: PathBuf,
    retry_after: Duration,
    running: Option<Running>,
}

#[derive(Debug)]
struct Running {
    fences: Arc<Mutex<Fences>>,
    stop: Sender<Infallible>,
    wake: OwnedFd,
    thread: JoinHandle<()>,
}

impl FanotifyFeed {
    /// A minute: often enough for an audit, and seldom enough for a large part of a tree.
    pub const RETRY_AFTER_SECONDS_DEFAULT: u64 = 60;

    /// A feed of everything below the directory `root`; a path `.osync` directly below it is left out.
    ///
    /// # Errors
    /// [`FeedError::Watch`] if there is no such directory, or if this process or its file system does not allow
    /// fanotify; the cause says what is missing.
    pub fn new(root: &Path) -> Result<Self, FeedError> {
        // Once, because what a link points to later is another tree; with a dot, because it must be a directory.
        let root =
            std::fs::canonicalize(root.join(".")).map_err(|error| refused(root, error.into()))?;
        probe(&root).map_err(|error| refused(&root, explain(&error).into()))?;
        let retry_after = Duration::from_secs(Self::RETRY_AFTER_SECONDS_DEFAULT);
        Ok(Self { root, retry_after, running: None })
    }

    /// How often to report what is mounted below the root as [`Change::Lost`].
    ///
    /// [`Change::Lost`]: crate::model::change::Change::Lost
    #[must_use]
    pub fn with_retry_after(mut self, retry_after: Duration) -> Self {
        self.retry_after = retry_after;
        self
    }
}

impl ChangeFeed for FanotifyFeed {
    fn start(&mut self, reporter: Reporter) -> Result<(), FeedError> {
        let cannot = |error: &io::Error| refused(&self.root, explain(error).into());
        let (stop, stopped) = bounded(0);
        let wake = eventfd(0, EventfdFlags::CLOEXEC).map_err(|errno| cannot(&errno.into()))?;
        let woken = wake.try_clone().map_err(|error| cannot(&error))?;
        let (driver, fences) =
            Driver::open(&self.root, self.retry_after, Outlet::new(reporter, stopped), woken)
                .map_err(|error| cannot(&error))?;
        let thread = std::thread::Builder::new()
            .name("osync-feed".to_owned())
            .spawn(move || driver.run())
            .map_err(|error| cannot(&error))?;
        self.running = Some(Running { fences, stop, wake, thread });
        Ok(())
    }

    fn fence(&mut self, cookie: u64) -> Result<(), FeedError> {
        let running = self.running.as_ref().ok_or(FeedError::Ended)?;
        if running.thread.is_finished() {
            return Err(FeedError::Ended);
        }
        lock(&running.fences).send(cookie).map_err(|error| refused(&self.root, error.into()))
    }

    fn stop(&mut self) {
        if let Some(Running { stop, wake, thread, .. }) = self.running.take() {
            drop(stop);
            if let Err(errno) = rustix::io::write(&wake, &1_u64.to_ne_bytes()) {
                log::error!("cannot wake the thread of the fanotify feed: {errno}");
            }
            if thread.join().is_err() {
                log::error!("the thread of the fanotify feed panicked");
            }
        }
    }
}

impl Drop for FanotifyFeed {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Marks the file system once, and finds the root by its handle.
fn probe(root: &Path) -> io::Result<()> {
    let tree = Tree::open(root)?;
    let (kind, handle) = osync_sys::handle::handle_of(tree.descriptor())?;
    Group::open(tree.descriptor())?;
    let directory = std::fs::File::open(root)?;
    osync_sys::handle::open_by_handle(directory, kind, &handle)?;
    Ok(())
}

/// What an error of fanotify means: one line.
fn explain(error: &io::Error) -> String {
    match Errno::from_io_error(error) {
        Some(Errno::PERM) => {
            "fanotify needs the capabilities CAP_SYS_ADMIN and CAP_DAC_READ_SEARCH: run as root, or use inotify"
                .to_owned()
        }
        Some(Errno::OPNOTSUPP | Errno::NODEV | Errno::XDEV | Errno::INVAL | Errno::NOSYS) => {
            format!("this kernel or file system does not allow fanotify marks ({error}): use inotify")
        }
        Some(Errno::MFILE) => {
            "too many fanotify groups or open files: raise fs.fanotify.max_user_groups with sysctl -w".to_owned()
        }
        Some(_) | None => error.to_string(),
    }
}
