//! Random changes of every kind, several hundred a second, the same for the same seed.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::program::SOON;
use crate::{tree, wait};

/// Pause between two changes; with the changes' own time this gives 300 to 800 a second.
const PAUSE: Duration = Duration::from_millis(1);

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
        let thread = thread::Builder::new()
            .spawn(move || {
                let mut random = Random(seed);
                while !is_stopped.load(Ordering::Relaxed) {
                    change(&root, &mut random);
                    made.fetch_add(1, Ordering::Relaxed);
                    thread::sleep(PAUSE);
                }
            })
            .unwrap();
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
fn change(root: &Path, random: &mut Random) {
    let (path, other) = (random.path(root), random.path(root));
    let content = vec![b'a' + random.below(26).to_le_bytes()[0]; random.size()];
    let result = match random.below(15) {
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
        _ => path.symlink_metadata().map(|_| tree::set_modified(&path, 1_000_000_000, 7)),
    };
    if let Err(error) = result {
        assert_ne!(error.kind(), io::ErrorKind::StorageFull);
    }
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
