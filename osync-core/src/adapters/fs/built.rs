//! New directories that appear with their first files in them.
//!
//! A file made under its own name costs two thirds of one that is made without a name and linked, but anybody
//! could watch it grow. So the first files of a directory that was just made are written into another one, in the
//! private directory, which takes the place of the empty one in a single step. The kernel refuses that if
//! anything lies there by then.

use rustix::fd::AsFd;
use rustix::fs::{self, Mode, OFlags};
use rustix::io::{Errno, Result};

use crate::adapters::fs::aside::Place;
use crate::adapters::fs::file_version::FileVersion;
use crate::adapters::fs::metadata::{Seen, Target, look, look_at, set_modified};
use crate::adapters::fs::newborn::{Newborn, permissions};
use crate::adapters::fs::root::{PLACE, enter};
use crate::adapters::fs::spot::Spot;
use crate::adapters::fs::tree::{Missing, Tree};
use crate::adapters::fs::version::Versions;
use crate::model::metadata::Kind;
use crate::ports::sink::NewFile;

/// Fewer files are not worth a directory.
const FILES_MIN: usize = 4;

impl Tree {
    /// Writes `files`, the first in their new directory, together with it; returns whether that was done. If not,
    /// nothing has changed.
    pub(super) fn build(&self, files: &[NewFile<'_>]) -> bool {
        let Some(path) = files.first().and_then(|file| file.path.parent()) else { return false };
        let is_new = self.new_directories.take(&path);
        // What must be on disk by itself before it is confirmed is written by itself.
        if !is_new || files.len() < FILES_MIN || self.versions.disk.is_synced_by_file() {
            return false;
        }
        let build = |at: Spot<'_>| {
            let _writing = self.versions.disk.unsynced.writing(&self.versions.aside)?;
            let mut place = self.versions.build(files, at)?;
            let parent = path.parent();
            self.with_times_still(parent.as_ref(), || move_in(&mut place, at))?;
            if let Some(parent) = &parent {
                self.versions.aside.restored().tell(parent);
            }
            Ok(())
        };
        if let Err(error) = self.in_parent("build", &path, Missing::Stays, build) {
            log::debug!("files are written one by one: {error}");
            return false;
        }
        self.directories.forget(&path);
        true
    }
}

impl Versions {
    /// Makes a directory that holds `files` in the private one, to take the place of the one at `at`.
    fn build(&self, files: &[NewFile<'_>], at: Spot<'_>) -> Result<Place> {
        let mut place = self.aside.place()?;
        fs::mkdirat(place.directory(), place.name(), Mode::RWXU)?;
        place.fill();
        let directory = enter(place.directory(), place.name().as_bytes(), PLACE)?;
        // One that took a group and a set-id bit from the directory above gives them to its files, too.
        let owner = |seen: Seen| (seen.metadata.uid, seen.metadata.gid, seen.metadata.mode);
        if look(at.directory, at.name)?.map(owner) != Some(owner(look_at(directory.as_fd())?)) {
            return Err(Errno::XDEV);
        }
        let mut newborn = Newborn::default();
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL;
        let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        for NewFile { path, metadata, content } in files {
            let name = path.components().last().ok_or(Errno::INVAL)?;
            if metadata.kind != (Kind::File { size_bytes: content.len() as u64 }) {
                return Err(Errno::INVAL);
            }
            let mode = Mode::from_raw_mode(permissions(metadata.mode));
            let file = fs::openat(&directory, name, flags, mode)?;
            let mut version = FileVersion { file, place: None };
            version.append(content)?;
            newborn.dress(version.file.as_fd(), metadata, self.fidelity, self.reader)?;
        }
        Ok(place)
    }
}

/// Moves the directory at `place` over the empty one at `at`; the one above, whose time may have been set already,
/// keeps it.
fn move_in(place: &mut Place, at: Spot<'_>) -> Result<()> {
    let before = look_at(at.directory)?.metadata.modified;
    fs::renameat(place.directory(), place.name(), at.directory, at.name)?;
    place.empty();
    if let Err(errno) = set_modified(Target::Path(at.directory), before) {
        log::debug!("cannot put back the time above {}: {errno}", at.path);
    }
    Ok(())
}
