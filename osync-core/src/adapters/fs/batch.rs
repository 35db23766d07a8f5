//! Files that are written together: what replaces something waits until all of them are on disk.

use rustix::fd::OwnedFd;
use rustix::fs;
use rustix::io::Errno;

use crate::adapters::fs::disk::SINGLES_MAX;
use crate::adapters::fs::file_version::FileVersion;
use crate::adapters::fs::newborn::Newborn;
use crate::adapters::fs::spot::Replaced;
use crate::adapters::fs::tree::Tree;
use crate::ports::sink::{NewFile, SinkError};

/// Versions that wait at once, each with an open file.
const WAITING_MAX: usize = 64;

/// A version that is whole and takes the place of another.
#[derive(Debug)]
struct Waiting {
    index: usize,
    version: FileVersion,
}

impl Tree {
    /// Does what [`Sink::write_files`] is to do.
    ///
    /// [`Sink::write_files`]: crate::ports::sink::Sink::write_files
    pub(super) fn write_files(&self, files: &[NewFile<'_>]) -> Vec<Result<(), SinkError>> {
        if self.build(files) {
            return files.iter().map(|_| Ok(())).collect();
        }
        let mut results = Vec::with_capacity(files.len());
        let mut newborn = Newborn::default();
        let mut waiting = Vec::new();
        // Opened before anything is written: it hears of every error.
        let is_watched = self.versions.disk.is_synced() && files.len() > SINGLES_MAX;
        let watch = is_watched.then(|| self.versions.disk.watch().ok()).flatten();
        for (index, file) in files.iter().enumerate() {
            let mut kept = None;
            results.push(self.put("write", &file.path, |at| {
                let _writing = self.versions.disk.unsynced.writing(&self.versions.aside)?;
                if file.metadata.kind.size_bytes() != file.content.len() as u64 {
                    return Err(Errno::INVAL);
                }
                let mut version = self.versions.file(at.directory, file.metadata.mode)?;
                version.append(file.content)?;
                let newborn = &mut newborn;
                if !self.versions.publish_new(&mut version, file.metadata, at, newborn)? {
                    kept = Some(version);
                }
                Ok(Replaced::NoDirectory)
            }));
            waiting.extend(kept.map(|version| Waiting { index, version }));
            if waiting.len() >= WAITING_MAX || index + 1 == files.len() {
                self.replace_all(files, std::mem::take(&mut waiting), watch.as_ref(), &mut results);
            }
        }
        results
    }

    /// Puts `waiting` on disk, and then each in its place.
    fn replace_all(
        &self,
        files: &[NewFile<'_>],
        waiting: Vec<Waiting>,
        watch: Option<&OwnedFd>,
        results: &mut [Result<(), SinkError>],
    ) {
        let together = match watch {
            Some(watch) if waiting.len() > SINGLES_MAX => Some(fs::syncfs(watch)),
            Some(_) | None => None,
        };
        for Waiting { index, mut version } in waiting {
            let path = &files[index].path;
            let synced: Result<(), Errno> =
                together.unwrap_or_else(|| self.versions.disk.sync_data(version.descriptor()));
            results[index] = match synced {
                Ok(()) => self.put("write", path, |at| {
                    let _writing = self.versions.disk.unsynced.writing(&self.versions.aside)?;
                    self.versions.publish_over(&mut version, at)
                }),
                Err(errno) => Err(self.failed("sync", path, errno)),
            };
        }
    }
}
