//! One group of fanotify: the mark on the file system, the bytes read from it, and its fences.
//!
//! A fence is a name made in a file system in memory that is mounted nowhere and has a mark of the same
//! group: the event queues behind everything that happened before, it says by its name which fence it is, and
//! the user's tree stays untouched. The kernel merges an event into an equal one that is still unread,
//! wherever that is in the queue; so no name is ever used twice.

use std::collections::VecDeque;
use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};

use nix::sys::fanotify::{EventFFlags, Fanotify, InitFlags, MarkFlags, MaskFlags};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{AtFlags, Mode};
use rustix::io::Errno;
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags};

use crate::adapters::feed::fanotify::record::{self, Object};

/// `FAN_REPORT_DFID_NAME`: events name a directory by its handle, and an entry in it. Since Linux 5.9.
const REPORT_PLACES: InitFlags = InitFlags::from_bits_retain(0x0000_0c00);

/// What is asked for. Opening and reading are left out: otherwise the source's own reading would fill the
/// queue. `FAN_RENAME`, which has both ends of a rename in one event, needs Linux 5.17.
const EVENTS: MaskFlags = MaskFlags::FAN_CREATE
    .union(MaskFlags::FAN_DELETE)
    .union(MaskFlags::FAN_RENAME)
    .union(MaskFlags::FAN_MODIFY)
    .union(MaskFlags::FAN_CLOSE_WRITE)
    .union(MaskFlags::FAN_ATTRIB)
    .union(MaskFlags::FAN_ONDIR);

/// Room for about 600 events per `read`.
const READ_BYTES: usize = 64 * 1024;

/// A group that gets the events of one whole file system.
#[derive(Debug)]
pub(super) struct Group {
    fanotify: Fanotify,
    /// The place of fences, as events name it.
    fence_place: Vec<u8>,
    buffer: Vec<u8>,
}

/// Fences asked for and not yet come back, and the place where they are made.
#[derive(Debug)]
pub(super) struct Fences {
    place: OwnedFd,
    outstanding: VecDeque<u64>,
}

impl Group {
    /// Opens a group that reports what happens anywhere on the file system of `directory`.
    ///
    /// # Errors
    /// `EPERM` without the capability `CAP_SYS_ADMIN`; others where the kernel or the file system does not do this.
    pub(super) fn open(directory: BorrowedFd<'_>) -> io::Result<(Self, Fences)> {
        let flags = InitFlags::FAN_CLASS_NOTIF | InitFlags::FAN_CLOEXEC | InitFlags::FAN_NONBLOCK;
        let fanotify = Fanotify::init(flags | REPORT_PLACES, EventFFlags::empty())?;
        let place = hidden_directory()?;
        let (add, here) = (MarkFlags::FAN_MARK_ADD, Some("."));
        fanotify.mark(add, MaskFlags::FAN_CREATE | MaskFlags::FAN_ONDIR, &place, here)?;
        let mut fences = Fences { place, outstanding: VecDeque::new() };
        let mut group = Self { fanotify, fence_place: Vec::new(), buffer: vec![0; READ_BYTES] };
        fences.send(0)?;
        group.fence_place = first_place(group.read()?).ok_or(Errno::OPNOTSUPP)?;
        fences.take_all();
        let mark = add | MarkFlags::FAN_MARK_FILESYSTEM;
        group.fanotify.mark(mark, EVENTS, directory, here)?;
        Ok((group, fences))
    }

    /// The events that have happened, as bytes, in the kernel's order; empty if there are none now.
    pub(super) fn read(&mut self) -> io::Result<&[u8]> {
        match rustix::io::read(self.fanotify.as_fd(), &mut self.buffer[..]) {
            Ok(length) => Ok(&self.buffer[..length]),
            Err(Errno::AGAIN | Errno::INTR) => Ok(&[]),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Whether what happens in `directory` are fences.
    pub(super) fn is_fence(&self, directory: Object<'_>) -> bool {
        directory.key() == self.fence_place
    }
}

/// The directory of the first event in `bytes`.
fn first_place(mut bytes: &[u8]) -> Option<Vec<u8>> {
    let event = record::take(&mut bytes).ok()??;
    event.place.map(|place| place.directory.key().to_vec())
}

impl AsFd for Group {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fanotify.as_fd()
    }
}

impl Fences {
    /// Sends a fence on its way.
    pub(super) fn send(&mut self, cookie: u64) -> io::Result<()> {
        self.outstanding.push_back(cookie);
        let name = cookie.to_string();
        rustix::fs::mkdirat(&self.place, &name, Mode::empty())?;
        rustix::fs::unlinkat(&self.place, &name, AtFlags::REMOVEDIR)?;
        Ok(())
    }

    /// The cookie of the fence that came back as `name`, unless it was answered already.
    pub(super) fn receive(&mut self, name: &[u8]) -> Option<u64> {
        let cookie = std::str::from_utf8(name).ok()?.parse().ok()?;
        let index = self.outstanding.iter().position(|&waiting| waiting == cookie)?;
        self.outstanding.remove(index)
    }

    /// Takes the cookies of all fences that have not come back.
    pub(super) fn take_all(&mut self) -> VecDeque<u64> {
        std::mem::take(&mut self.outstanding)
    }

    /// Goes on with the place of a new group; returns the cookies that will not come back.
    pub(super) fn replace(&mut self, new: Self) -> VecDeque<u64> {
        std::mem::replace(self, new).outstanding
    }
}

/// Locks the fences. Each use leaves them whole, whatever fails.
pub(super) fn lock(fences: &Mutex<Fences>) -> MutexGuard<'_, Fences> {
    fences.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The root directory of a new file system in memory that only its descriptor leads to.
fn hidden_directory() -> io::Result<OwnedFd> {
    let options = rustix::mount::fsopen("tmpfs", FsOpenFlags::FSOPEN_CLOEXEC)?;
    rustix::mount::fsconfig_set_string(&options, "nr_inodes", "16")?;
    rustix::mount::fsconfig_create(&options)?;
    let attributes = MountAttrFlags::MOUNT_ATTR_NOEXEC | MountAttrFlags::MOUNT_ATTR_NOSUID;
    Ok(rustix::mount::fsmount(&options, FsMountFlags::FSMOUNT_CLOEXEC, attributes)?)
}
