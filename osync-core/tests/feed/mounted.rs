//! File systems that tests mount for themselves.

#![allow(dead_code, reason = "each test program uses its part of this")]

use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

/// Enough for a journal and a few thousand entries.
const IMAGE_BYTES: u64 = 64 * 1024 * 1024;

/// A new, empty file system; unmounted when dropped.
pub(crate) struct Mounted {
    // Removed when dropped, after what is mounted in it.
    directory: TempDir,
}

impl Mounted {
    /// A tmpfs; `None`, and a word about it, where this process may not mount.
    pub(crate) fn tmpfs() -> Option<Self> {
        Self::mount(
            tempfile::tempdir().unwrap(),
            "tmpfs",
            &["-t", "tmpfs"],
            Path::new("osync-test"),
        )
    }

    /// An ext4 in a file; `None`, and a word about it, where this process may not mount or has no `mkfs.ext4`.
    pub(crate) fn ext4() -> Option<Self> {
        let directory = tempfile::tempdir().unwrap();
        let image = directory.path().join("image");
        std::fs::File::create(&image).and_then(|file| file.set_len(IMAGE_BYTES)).unwrap();
        if !is_done(Command::new("mkfs.ext4").arg("-q").arg(&image)) {
            eprintln!("skipped: cannot make an ext4 here");
            return None;
        }
        Self::mount(directory, "ext4", &["-o", "loop"], &image)
    }

    /// Where it is mounted.
    pub(crate) fn path(&self) -> PathBuf {
        self.directory.path().join("mounted")
    }

    fn mount(directory: TempDir, kind: &str, options: &[&str], device: &Path) -> Option<Self> {
        let mounted = Self { directory };
        std::fs::create_dir(mounted.path()).unwrap();
        if is_done(Command::new("mount").args(options).arg(device).arg(mounted.path())) {
            return Some(mounted);
        }
        eprintln!("skipped: cannot mount a {kind} here");
        None
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        // Lazily: a feed may still have it open.
        is_done(Command::new("umount").arg("--lazy").arg(self.path()));
    }
}

fn is_done(command: &mut Command) -> bool {
    command.output().is_ok_and(|output| output.status.success())
}
