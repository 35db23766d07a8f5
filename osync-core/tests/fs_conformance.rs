//! A directory keeps the rules of both its ports.

#![expect(clippy::unwrap_used, reason = "a failing helper fails its test")]

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use osync_core::adapters::fs::sink::DirectorySink;
use osync_core::adapters::fs::source::DirectorySource;
use osync_core::model::rel_path::RelPath;
use osync_core::model::timestamp::Timestamp;
use osync_core::ports::sink::{Sink, SinkError};
use osync_core::ports::source::{Source, SourceError};
use osync_core::testing::conformance::sink::{self, SinkFixture};
use osync_core::testing::conformance::source::{self, SourceFixture};
use rustix::fd::OwnedFd;
use rustix::fs::{AtFlags, CWD, Mode, OFlags, Timespec, Timestamps, XattrFlags};
use rustix::io::Errno;
use tempfile::TempDir;

/// Goes down one component at a time: rules use paths longer than the system takes.
fn above(root: &Path, path: &[u8]) -> (OwnedFd, Vec<u8>) {
    let flags = OFlags::PATH | OFlags::DIRECTORY;
    let mut directory = rustix::fs::openat(CWD, root, flags, Mode::empty()).unwrap();
    let mut names: Vec<&[u8]> = path.split(|&byte| byte == b'/').collect();
    let last = names.pop().unwrap();
    for name in names {
        directory = rustix::fs::openat(&directory, name, flags, Mode::empty()).unwrap();
    }
    (directory, last.to_vec())
}

struct SourceDirectory {
    source: DirectorySource,
    directory: TempDir,
}

impl SourceDirectory {
    fn new(open: fn(&Path) -> Result<DirectorySource, SourceError>) -> Self {
        let directory = TempDir::new().unwrap();
        Self { source: open(directory.path()).unwrap(), directory }
    }

    fn at(&self, path: &[u8]) -> (OwnedFd, Vec<u8>) {
        above(self.directory.path(), path)
    }
}

impl SourceFixture for SourceDirectory {
    fn source(&self) -> &dyn Source {
        &self.source
    }

    fn write(&self, path: &[u8], content: &[u8]) {
        let (directory, name) = self.at(path);
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC;
        let file = rustix::fs::openat(directory, name, flags, Mode::from(0o644)).unwrap();
        File::from(file).write_all(content).unwrap();
    }

    fn mkdir(&self, path: &[u8]) {
        let (directory, name) = self.at(path);
        rustix::fs::mkdirat(directory, name, Mode::from(0o755)).unwrap();
    }

    fn symlink(&self, path: &[u8], target: &[u8]) {
        let (directory, name) = self.at(path);
        rustix::fs::symlinkat(target, directory, name).unwrap();
    }

    fn fifo(&self, path: &[u8]) {
        let (directory, name) = self.at(path);
        rustix::fs::mkfifoat(directory, name, Mode::from(0o644)).unwrap();
    }

    fn remove(&self, path: &[u8]) {
        let (directory, name) = self.at(path);
        rustix::fs::unlinkat(directory, name, AtFlags::empty()).unwrap();
    }

    fn rename(&self, from: &[u8], to: &[u8]) {
        let ((from, from_name), (to, to_name)) = (self.at(from), self.at(to));
        rustix::fs::renameat(from, from_name, to, to_name).unwrap();
    }

    fn chmod(&self, path: &[u8], mode: u32) {
        let (directory, name) = self.at(path);
        rustix::fs::chmodat(directory, name, Mode::from(mode), AtFlags::empty()).unwrap();
    }

    fn set_modified(&self, path: &[u8], modified: Timestamp) {
        let (directory, name) = self.at(path);
        let time = Timespec { tv_sec: modified.seconds, tv_nsec: modified.nanoseconds.into() };
        let times = Timestamps { last_access: time, last_modification: time };
        rustix::fs::utimensat(directory, name, &times, AtFlags::SYMLINK_NOFOLLOW).unwrap();
    }

    fn set_attribute(&self, path: &[u8], name: &[u8], value: &[u8]) -> bool {
        let path = self.directory.path().join(OsStr::from_bytes(path));
        // Links and pipes have no user's attributes, and some file systems none at all.
        rustix::fs::lsetxattr(path, name, value, XattrFlags::empty()).is_ok()
    }
}

struct SinkDirectory {
    sink: DirectorySink,
    directory: TempDir,
}

impl SinkDirectory {
    fn new(open: impl Fn(&Path) -> Result<DirectorySink, SinkError>) -> Self {
        let directory = TempDir::new().unwrap();
        let root = directory.path().join("target");
        fs::create_dir(&root).unwrap();
        Self { sink: open(&root).unwrap(), directory }
    }

    fn at(&self, path: &RelPath) -> PathBuf {
        let root = self.directory.path().join("target");
        root.join(OsStr::from_bytes(path.as_bytes()))
    }
}

impl SinkFixture for SinkDirectory {
    fn sink(&self) -> &dyn Sink {
        &self.sink
    }

    fn content(&self, path: &RelPath) -> Option<Vec<u8>> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK;
        let file = match rustix::fs::open(self.at(path), flags, Mode::empty()) {
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::NXIO) => return None,
            file => File::from(file.unwrap()),
        };
        let mut content = Vec::new();
        let mut file = Some(file).filter(|file| file.metadata().unwrap().is_file())?;
        file.read_to_end(&mut content).unwrap();
        Some(content)
    }

    fn paths(&self) -> Vec<RelPath> {
        let mut paths = vec![RelPath::root()];
        let mut at = 0;
        while let Some(path) = paths.get(at).cloned() {
            at += 1;
            if self.at(&path).symlink_metadata().unwrap().is_dir() {
                for entry in fs::read_dir(self.at(&path)).unwrap() {
                    let mut below = path.as_bytes().to_vec();
                    below.extend((!path.is_root()).then_some(b'/'));
                    below.extend_from_slice(entry.unwrap().file_name().as_bytes());
                    paths.push(RelPath::new(&below).unwrap());
                }
            }
        }
        paths
    }
}

#[test]
fn a_directory_is_a_source() {
    source::check(|| SourceDirectory::new(DirectorySource::open));
}

#[test]
fn a_directory_is_a_source_without_the_system_calls_of_late() {
    source::check(|| SourceDirectory::new(DirectorySource::open_without_shortcuts));
}

#[test]
fn a_directory_is_a_sink() {
    sink::check(|| SinkDirectory::new(DirectorySink::open));
}

#[test]
fn a_directory_is_a_sink_with_sockets_and_devices() {
    sink::check(|| {
        SinkDirectory::new(|root| DirectorySink::open(root).map(DirectorySink::with_devices))
    });
}

#[test]
fn a_directory_with_a_trash_is_a_sink() {
    let with_trash =
        |sink: DirectorySink, root: &Path| sink.with_trash(&root.with_file_name("trash"));
    sink::check(|| SinkDirectory::new(|root| with_trash(DirectorySink::open(root)?, root)));
    sink::check(|| {
        SinkDirectory::new(|root| with_trash(DirectorySink::open_without_shortcuts(root)?, root))
    });
}

#[test]
fn a_directory_is_a_sink_without_the_system_calls_of_late() {
    sink::check(|| SinkDirectory::new(DirectorySink::open_without_shortcuts));
}
