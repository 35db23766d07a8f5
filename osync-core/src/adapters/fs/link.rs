//! Further names of what a sink has.

use rustix::fd::{AsFd, BorrowedFd};
use rustix::fs::{self, AtFlags, Mode, OFlags};
use rustix::io::{self, Errno, Result};

use crate::adapters::fs::file_version::WRITE_BYTES_MAX;
use crate::adapters::fs::metadata::{Seen, look, look_at};
use crate::adapters::fs::spot::{Replaced, Spot};
use crate::adapters::fs::version::Versions;
use crate::model::metadata::Metadata;

impl Versions {
    /// Makes `at` another name of what lies at `to`, in place of anything; `None` if that has not
    /// the content that `wanted` tells of, or would have more names than it says.
    pub(super) fn link(
        &self,
        wanted: &Metadata,
        to: (BorrowedFd<'_>, &[u8]),
        at: Spot<'_>,
    ) -> Result<Option<Replaced>> {
        let fits = |seen: &Seen, names: u32| {
            self.fidelity.nodes.allow(&seen.metadata.kind)
                && seen.metadata.has_content_of(wanted)
                && names <= wanted.names
        };
        let Some(seen) = look(to.0, to.1)?.filter(|seen| !seen.metadata.kind.is_directory()) else {
            return Ok(None);
        };
        // Not even for a moment: another name makes it look changed since.
        if self.disk.unsynced.doubts(&seen) {
            return Ok(None);
        }
        let identity = |directory: BorrowedFd<'_>, name: &[u8]| -> Result<_> {
            let stat = fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW)?;
            Ok((stat.st_dev, stat.st_ino))
        };
        let there = match identity(at.directory, at.name) {
            Err(Errno::NOENT) => None,
            there => Some(there?),
        };
        let original = match identity(to.0, to.1) {
            Err(Errno::NOENT) => return Ok(None),
            original => original?,
        };
        if there == Some(original) {
            return Ok(fits(&seen, seen.metadata.names).then_some(Replaced::NoDirectory));
        }
        let mut place = self.aside.place()?;
        match fs::linkat(to.0, to.1, place.directory(), place.name(), AtFlags::empty()) {
            // No links on this file system, none between these two, or no more of them.
            Err(Errno::PERM | Errno::OPNOTSUPP | Errno::NOSYS | Errno::XDEV | Errno::MLINK) => {
                return self.copy(wanted, to, at);
            }
            // It is gone by now.
            Err(Errno::NOENT) => return Ok(None),
            linked => linked?,
        }
        place.fill();
        // Looked at under a name that nobody else changes. That name is counted, and becomes this one.
        let held = look(place.directory(), place.name().as_bytes())?;
        match held.filter(|held| fits(held, held.metadata.names)) {
            Some(_) => {
                if there.is_some() {
                    self.disk.sync_named(place.directory(), place.name().as_bytes())?;
                }
                self.replace(&mut place, at).map(Some)
            }
            None => Ok(None),
        }
    }

    /// Makes `at` like what lies at `to`, where it cannot be another name of it; `None` if that has
    /// not the content that `wanted` tells of.
    fn copy(
        &self,
        wanted: &Metadata,
        to: (BorrowedFd<'_>, &[u8]),
        at: Spot<'_>,
    ) -> Result<Option<Replaced>> {
        if look(at.directory, at.name)?.is_some_and(|seen| seen.metadata.has_content_of(wanted)) {
            return Ok(Some(Replaced::NoDirectory));
        }
        if !wanted.kind.is_file() {
            return self.special(wanted, at).map(Some);
        }
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let original = fs::openat(to.0, to.1, flags, Mode::empty())?;
        let mut version = self.file(at.directory, wanted.mode)?;
        let mut buffer = vec![0; WRITE_BYTES_MAX];
        loop {
            match io::read(&original, &mut buffer) {
                Ok(0) => break,
                Ok(count) => version.append(&buffer[..count])?,
                Err(Errno::INTR) => {}
                Err(errno) => return Err(errno),
            }
        }
        // Versions are replaced and never changed: what it is now it was before.
        let seen = [look_at(original.as_fd())?, look_at(version.file.as_fd())?];
        let is_whole = seen[1].metadata.kind == wanted.kind;
        if !is_whole || !seen[0].metadata.has_content_of(wanted) {
            return Ok(None);
        }
        self.publish(&mut version, wanted, at).map(Some)
    }
}
