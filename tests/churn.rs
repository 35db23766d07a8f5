//! Random changes of every kind, several hundred a second, the same for the same seed.

use std::collections::VecDeque;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustix::fs::{CWD, RenameFlags, renameat_with};

use crate::program::{SOON, spawn};
use crate::{tree, wait};

/// Pause between two changes; with the changes' own time this gives 300 to 800 a second.
const PAUSE: Duration = Duration::from_millis(1);
/// Files that stay open, to be written to long after they were made, renamed or removed.
const OPEN_MAX: usize = 8;

/// A thread that changes a tree until it is told to stop.
#[derive(Debug)]
pub(crate) struct Churn {
    stop: Arc<AtomicBool>,
    changes: Arc<AtomicU64>,
    thread: JoinHandle<()>,
}

impl Churn {
    pub(crate) fn start(root: &Path, seed: u64) -> Self {
        let (stop, changes) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (root, is_stopped, made) = (root.to_owned(), Arc::clone(&stop), Arc::clone(&changes));
        let thread = spawn(move || {
            let mut random = Random(seed);
            let mut open = VecDeque::new();
            while !is_stopped.load(Ordering::Relaxed) {
                change(&root, &mut random, &mut open);
                made.fetch_add(1, Ordering::Relaxed);
                thread::sleep(PAUSE);
            }
        });
        Self { stop, changes, thread }
    }

    /// Waits until `count` more changes have been made.
    pub(crate) fn wait_changes(&self, count: u64) {
        let made = || self.changes.load(Ordering::Relaxed);
        let goal = made() + count;
        wait::for_value(SOON, || (made() >= goal).then_some(()), || "more changes".to_owned());
    }

    /// Ends it; returns how many changes were made.
    pub(crate) fn stop(self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap();
        self.changes.load(Ordering::Relaxed)
    }
}

/// Makes one change. That the random choice is impossible (no such file, not empty) is part of the game.
fn change(root: &Path, random: &mut Random, open: &mut VecDeque<File>) {
    let (path, other) = (random.path(root), random.path(root));
    let content = vec![b'a' + random.below(26).to_le_bytes()[0]; random.size()];
    let result = match random.below(21) {
        0..=2 => fs::write(&path, content),
        3 => OpenOptions::new()
            .append(true)
            .open(&path)
            .and_then(|mut file| file.write_all(&content)),
        4 => {
            // As editors save: beside it, then over it.
            let beside = path.with_extension("new");
            fs::write(&beside, content).and_then(|()| fs::rename(&beside, &path))
        }
        5 => fs::create_dir_all(&path).and_then(|()| fs::write(path.join("f"), content)),
        6 | 7 => fs::rename(&path, &other),
        8 => fs::remove_file(&path),
        9 => fs::remove_dir_all(&path),
        10 => path.symlink_metadata().map(|metadata| {
            if !metadata.is_symlink() {
                tree::set_mode(&path, if metadata.mode() & 0o44 == 0 { 0o755 } else { 0o700 });
            }
        }),
        11 => symlink("n1", &path),
        12 | 13 => fs::hard_link(&path, &other),
        14 => {
            renameat_with(CWD, &path, CWD, &other, RenameFlags::EXCHANGE).map_err(io::Error::from)
        }
        // A directory, or whatever is there, makes way for a link.
        15 => fs::rename(&path, root.join("aside"))
            .and_then(|()| symlink(other.file_name().unwrap(), &path))
            .and_then(|()| {
                fs::remove_dir_all(root.join("aside"))
                    .or_else(|_| fs::remove_file(root.join("aside")))
            }),
        16 => File::options().write(true).open(&path).map(|file| {
            open.push_back(file);
            if open.len() > OPEN_MAX {
                open.pop_front();
            }
        }),
        17 => open.pop_front().map_or(Ok(()), |file| {
            let written = file.write_all_at(&content, random.below(3_000));
            open.push_back(file);
            written
        }),
        18 => path.symlink_metadata().map(|metadata| {
            if metadata.is_file() || metadata.is_dir() {
                let value = random.below(1_000).to_le_bytes();
                tree::set_attribute(&path, "user.osync.test", &value);
            }
        }),
        19 => put_back(&path, content.first().copied().unwrap_or(b'!')),
        _ => path.symlink_metadata().map(|_| tree::set_modified(&path, 1_000_000_000, 7)),
    };
    if let Err(error) = result {
        assert_ne!(error.kind(), io::ErrorKind::StorageFull);
    }
}

/// Changes a byte of a file of one name and puts the time back.
fn put_back(path: &Path, byte: u8) -> io::Result<()> {
    let before = path.symlink_metadata()?;
    if before.is_file() && before.nlink() == 1 {
        let file = OpenOptions::new().write(true).open(path)?;
        file.write_all_at(&[byte], before.len().saturating_sub(1) / 2)?;
        tree::set_modified(path, before.mtime(), before.mtime_nsec());
    }
    Ok(())
}

/// Xorshift: good enough to be unexpected, and the same everywhere.
#[derive(Debug)]
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }

    /// Mostly small, sometimes several chunks.
    fn size(&mut self) -> usize {
        let limit = if self.below(50) == 0 { 600_000 } else { 3_000 };
        usize::try_from(self.below(limit)).unwrap()
    }

    /// One of some two hundred paths, one to three levels deep, so that changes meet.
    fn path(&mut self, root: &Path) -> PathBuf {
        let mut path = root.join(format!("n{}", self.below(6)));
        for _ in 0..self.below(3) {
            path.push(format!("n{}", self.below(6)));
        }
        path
    }
}
