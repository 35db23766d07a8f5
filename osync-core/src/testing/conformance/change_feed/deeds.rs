//! Changes to the fixture's tree, each told to the fixture after it was made.

use std::fs::{self, File, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use crate::model::change::{Change, Touch};
use crate::testing::conformance::change_feed::{Fixture, path};

/// Changes the tree of one fixture.
///
/// The `try_` methods tell of trouble; the others are for changes that must work.
#[derive(Clone, Copy)]
pub(super) struct Deeds<'a> {
    fixture: &'a dyn Fixture,
}

impl<'a> Deeds<'a> {
    pub(super) fn new(fixture: &'a dyn Fixture) -> Self {
        Self { fixture }
    }

    pub(super) fn at(self, name: &str) -> PathBuf {
        self.fixture.root().join(name)
    }

    fn outside(self, name: &str) -> PathBuf {
        self.fixture.outside().join(name)
    }

    fn entry(self, name: &str, touch: Touch) {
        let path = path(name);
        self.fixture.done(Change::Entry { path, touch });
    }

    fn subtree(self, name: &str) {
        let path = path(name);
        self.fixture.done(Change::Subtree { path });
    }

    pub(super) fn try_write(self, name: &str, content: &[u8]) -> io::Result<()> {
        fs::write(self.at(name), content)?;
        self.entry(name, Touch::Settled);
        Ok(())
    }

    pub(super) fn try_append(self, name: &str) -> io::Result<()> {
        let file = File::options().append(true).open(self.at(name));
        file?.write_all(b"more")?;
        self.entry(name, Touch::Settled);
        Ok(())
    }

    pub(super) fn try_set_mode(self, name: &str, mode: u32) -> io::Result<()> {
        fs::set_permissions(self.at(name), Permissions::from_mode(mode))?;
        self.entry(name, Touch::Metadata);
        Ok(())
    }

    pub(super) fn try_make_directories(self, name: &str) -> io::Result<()> {
        fs::create_dir_all(self.at(name))?;
        // Any directory above may have been made as well.
        self.subtree(name.split('/').next().unwrap_or(name));
        Ok(())
    }

    pub(super) fn try_remove(self, name: &str) -> io::Result<()> {
        let place = self.at(name);
        let removed = if fs::symlink_metadata(&place)?.is_dir() {
            fs::remove_dir_all(place)
        } else {
            fs::remove_file(place)
        };
        // Part of it may be gone even if it failed.
        self.subtree(name);
        removed
    }

    pub(super) fn try_rename(self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.at(from), self.at(to))?;
        self.fixture.done(Change::Renamed {
            from: path(from),
            to: path(to),
            is_directory: self.at(to).is_dir(),
        });
        self.subtree(to);
        Ok(())
    }

    pub(super) fn try_move_out(self, name: &str, outside: &str) -> io::Result<()> {
        fs::rename(self.at(name), self.outside(outside))?;
        self.entry(name, Touch::Settled);
        Ok(())
    }

    pub(super) fn try_move_in(self, outside: &str, name: &str) -> io::Result<()> {
        fs::rename(self.outside(outside), self.at(name))?;
        self.subtree(name);
        Ok(())
    }

    pub(super) fn write(self, name: &str) {
        must("write", name, self.try_write(name, name.as_bytes()));
    }

    pub(super) fn append(self, name: &str) {
        must("append to", name, self.try_append(name));
    }

    pub(super) fn set_mode(self, name: &str, mode: u32) {
        must("chmod", name, self.try_set_mode(name, mode));
    }

    pub(super) fn touch(self, name: &str) {
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
        let touched = File::open(self.at(name)).and_then(|file| file.set_modified(time));
        must("touch", name, touched);
        self.entry(name, Touch::Metadata);
    }

    pub(super) fn link_symbolically(self, name: &str) {
        let made = std::os::unix::fs::symlink("target", self.at(name));
        must("link", name, made);
        self.entry(name, Touch::Settled);
    }

    pub(super) fn link(self, name: &str, second: &str) {
        must("link", name, fs::hard_link(self.at(name), self.at(second)));
        self.entry(second, Touch::Settled);
    }

    pub(super) fn make_directories(self, name: &str) {
        must("make", name, self.try_make_directories(name));
    }

    pub(super) fn remove(self, name: &str) {
        must("remove", name, self.try_remove(name));
    }

    pub(super) fn rename(self, from: &str, to: &str) {
        must("rename", from, self.try_rename(from, to));
    }

    pub(super) fn move_out(self, name: &str, outside: &str) {
        must("move out", name, self.try_move_out(name, outside));
    }

    pub(super) fn move_in(self, outside: &str, name: &str) {
        must("move in", name, self.try_move_in(outside, name));
    }

    pub(super) fn discard_outside(self, name: &str) {
        must("remove", name, fs::remove_dir_all(self.outside(name)));
    }

    pub(super) fn root(self) -> &'a Path {
        self.fixture.root()
    }
}

fn must(verb: &str, name: &str, done: io::Result<()>) {
    if let Err(error) = done {
        panic!("cannot {verb} {name}: {error}");
    }
}
