//! Which files may not be what they look like after a power cut.
//!
//! A new file can survive one with its size and its time and without its content. So while anything is not
//! on disk a marker lies in the private directory: an empty file whose time says since when, and whose name
//! says in which mount of which boot. Who finds it in another one knows that the cache it speaks of is gone,
//! and believes no file that changed after that time until it has been replaced. The same goes for what was
//! not on disk when syncing failed.
//!
//! The marker needs no sync of its own, because file systems keep the order in which names are made. Times
//! are those of the file system's clock, which need not be ours.
//!
//! Invariant: a file whose content is not on disk changed after the marker's time, and there is a marker.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{self, AtFlags, Mode, OFlags, StatxFlags};
use rustix::io::{Errno, Result};

use crate::adapters::fs::aside::{Aside, MARKER, Place};
use crate::adapters::fs::metadata::{Seen, Target, look_at, set_modified};
use crate::adapters::fs::names::for_each_name;
use crate::model::digest::Digest;
use crate::model::metadata::Metadata;
use crate::model::timestamp::Timestamp;

/// A marker that is known in no mount: what it speaks of is lost.
const LOST: &str = "u-lost";
/// Times are this coarse on some file systems, and clocks of processors differ a little.
const SLACK_SECONDS: i64 = 2;
/// Asks for the number of a mount that is never used again (Linux 6.8); older kernels ignore it.
const MOUNT_FOREVER: u32 = 0x4000;
/// A time that nothing at a source has.
const NEVER: Timestamp = Timestamp { seconds: i64::MIN, nanoseconds: 0 };

/// The marker, and what was found by it.
#[derive(Debug)]
pub(super) struct Unsynced {
    is_enabled: AtomicBool,
    /// Writes begun and ended.
    writes: AtomicU64,
    under_way: AtomicUsize,
    is_marked: AtomicBool,
    has_doubt: AtomicBool,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    marker: Option<Marker>,
    doubt: Option<Doubt>,
    /// The marker's name in this mount.
    name: String,
}

/// The marker keeps the private directory.
#[derive(Debug)]
struct Marker {
    place: Place,
    file: OwnedFd,
    name: String,
}

/// Files that changed in between are not believed.
#[derive(Debug, Clone, Copy)]
struct Doubt {
    since: Timestamp,
    until: Timestamp,
}

/// A write under way.
#[derive(Debug)]
pub(super) struct Writing<'a>(Option<&'a Unsynced>);

/// Where a sync began.
#[derive(Debug, Clone, Copy)]
pub(super) struct Turn {
    writes: u64,
    began: Option<Timestamp>,
}

impl Unsynced {
    /// Takes over what another process left.
    pub(super) fn open(aside: &Aside) -> Result<Self> {
        let unsynced = Self {
            is_enabled: AtomicBool::new(false),
            writes: AtomicU64::new(0),
            under_way: AtomicUsize::new(0),
            is_marked: AtomicBool::new(false),
            has_doubt: AtomicBool::new(false),
            state: Mutex::default(),
        };
        if aside.is_there() {
            unsynced.adopt(aside)?;
        }
        Ok(unsynced)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether writes are marked.
    pub(super) fn enable(&self, is_enabled: bool) {
        self.is_enabled.store(is_enabled, Ordering::SeqCst);
    }

    fn adopt(&self, aside: &Aside) -> Result<()> {
        let place = aside.place()?;
        let mut found = Vec::new();
        let listing =
            fs::openat(place.directory(), ".", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
        for_each_name(listing.as_fd(), |name| {
            if name.first() == Some(&MARKER) {
                found.extend(str::from_utf8(name).map(str::to_owned));
            }
            Ok(true)
        })?;
        let Some(name) = found.pop() else { return Ok(()) };
        let own = name_here(&place)?;
        let file = open(&place, &name, OFlags::empty())?;
        let mut marker = Marker { place, file, name };
        let doubt =
            Doubt { since: look_at(marker.file.as_fd())?.metadata.modified, until: marker.now()? };
        let mut state = self.state();
        state.name = own;
        if marker.name != state.name {
            log::warn!("files written shortly before the target was cut off are sent again");
            marker.rename(LOST)?;
            state.doubt = Some(doubt);
            self.has_doubt.store(true, Ordering::SeqCst);
        }
        state.marker = Some(marker);
        self.is_marked.store(true, Ordering::SeqCst);
        Ok(())
    }

    /// Before the name of something that is not on disk is made; until what is returned is dropped.
    pub(super) fn writing(&self, aside: &Aside) -> Result<Writing<'_>> {
        if !self.is_enabled.load(Ordering::Relaxed) {
            return Ok(Writing(None));
        }
        self.under_way.fetch_add(1, Ordering::SeqCst);
        self.writes.fetch_add(1, Ordering::SeqCst);
        let writing = Writing(Some(self));
        if !self.is_marked.load(Ordering::SeqCst) {
            self.mark(aside)?;
        }
        Ok(writing)
    }

    fn mark(&self, aside: &Aside) -> Result<()> {
        let mut state = self.state();
        if state.marker.is_none() {
            let place = aside.place()?;
            if state.name.is_empty() {
                state.name = name_here(&place)?;
            }
            let name = state.name.clone();
            let file = open(&place, &name, OFlags::CREATE)?;
            let marker = Marker { place, file, name };
            // What was begun before may have been written before.
            let now = marker.now()?;
            set_modified(Target::Open(marker.file.as_fd()), earlier(now))?;
            state.marker = Some(marker);
        }
        self.is_marked.store(true, Ordering::SeqCst);
        Ok(())
    }

    /// A sync begins.
    pub(super) fn begin(&self) -> Result<Turn> {
        let writes = self.writes.load(Ordering::SeqCst);
        let began = self.state().marker.as_ref().map(Marker::now).transpose()?;
        Ok(Turn { writes, began: began.map(earlier) })
    }

    /// It went well; if `is_settled` everything has been compared with the source and replaced.
    pub(super) fn end(&self, turn: Turn, is_settled: bool) -> Result<()> {
        let mut state = self.state();
        if is_settled && state.doubt.take().is_some() {
            self.has_doubt.store(false, Ordering::SeqCst);
        }
        let State { marker: Some(marker), doubt: None, name } = &mut *state else { return Ok(()) };
        marker.rename(name)?;
        self.is_marked.store(false, Ordering::SeqCst);
        if self.under_way.load(Ordering::SeqCst) == 0
            && self.writes.load(Ordering::SeqCst) == turn.writes
        {
            return state.marker.take().map_or(Ok(()), Marker::remove);
        }
        self.is_marked.store(true, Ordering::SeqCst);
        match turn.began {
            Some(began) => set_modified(Target::Open(marker.file.as_fd()), began),
            None => Ok(()),
        }
    }

    /// It failed: what was not on disk before may be lost, and is not believed.
    pub(super) fn fail(&self) -> Result<()> {
        let mut state = self.state();
        let State { marker: Some(marker), doubt, .. } = &mut *state else { return Ok(()) };
        let (found, until) = (look_at(marker.file.as_fd())?.metadata.modified, marker.now()?);
        let since = doubt.map_or(found, |doubt| doubt.since);
        *doubt = Some(Doubt { since, until });
        self.has_doubt.store(true, Ordering::SeqCst);
        marker.rename(LOST)
    }

    /// Takes the marker away: nobody asks any more what is on disk.
    pub(super) fn forget(&self) {
        if let Some(marker) = self.state().marker.take() {
            self.is_marked.store(false, Ordering::SeqCst);
            if let Err(errno) = marker.remove() {
                log::debug!("cannot remove a marker in .osync: {errno}");
            }
        }
    }

    /// Whether what was seen may lack content.
    pub(super) fn doubts(&self, seen: &Seen) -> bool {
        seen.metadata.kind.is_file()
            && self.has_doubt.load(Ordering::Relaxed)
            && self.state().doubt.is_some_and(|Doubt { since, until }| {
                since <= seen.stamp.changed && seen.stamp.changed < until
            })
    }

    /// What is to be told of it: a time at which nothing changed, if it may lack content.
    pub(super) fn told(&self, seen: Seen) -> Metadata {
        let is_doubted = self.doubts(&seen);
        let metadata = seen.metadata;
        if is_doubted { Metadata { modified: NEVER, ..metadata } } else { metadata }
    }
}

impl Drop for Writing<'_> {
    fn drop(&mut self) {
        if let Some(unsynced) = self.0 {
            unsynced.writes.fetch_add(1, Ordering::SeqCst);
            unsynced.under_way.fetch_sub(1, Ordering::SeqCst);
        }
    }
}

impl Marker {
    /// The time by the file system's clock.
    fn now(&self) -> Result<Timestamp> {
        let file = self.file.as_fd();
        set_modified(Target::Open(file), look_at(file)?.metadata.modified)?;
        Ok(look_at(file)?.stamp.changed)
    }

    fn rename(&mut self, name: &str) -> Result<()> {
        if self.name != name {
            let directory = self.place.directory();
            fs::renameat(directory, &self.name, directory, name)?;
            name.clone_into(&mut self.name);
        }
        Ok(())
    }

    fn remove(self) -> Result<()> {
        match fs::unlinkat(self.place.directory(), &self.name, AtFlags::empty()) {
            Err(Errno::NOENT) => Ok(()),
            removed => removed,
        }
    }
}

fn open(place: &Place, name: &str, flags: OFlags) -> Result<OwnedFd> {
    let flags = flags | OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    fs::openat(place.directory(), name, flags, Mode::RUSR | Mode::WUSR)
}

fn earlier(time: Timestamp) -> Timestamp {
    Timestamp { seconds: time.seconds - SLACK_SECONDS, ..time }
}

/// The marker's name in this mount and boot: a cache that it speaks of is gone in any other.
fn name_here(place: &Place) -> Result<String> {
    let flags = StatxFlags::MNT_ID.union(StatxFlags::from_bits_retain(MOUNT_FOREVER));
    let mount = fs::statx(place.directory(), "", AtFlags::EMPTY_PATH, flags)?.stx_mnt_id;
    let boot = fs::open(BOOT_ID, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty());
    let mut text = [0; 64];
    let length = boot.and_then(|boot| rustix::io::read(boot, &mut text)).unwrap_or(0);
    let identity = [&mount.to_le_bytes()[..], &text[..length]].concat();
    Ok(format!("{}{}", char::from(MARKER), Digest::of(&identity)))
}

/// Another one after each boot.
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";
