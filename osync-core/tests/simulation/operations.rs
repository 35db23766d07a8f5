//! What the user of the source does: one random thing at a time, on few names, so that they collide.

use std::time::{Duration, Instant};

use osync_core::model::metadata::Device;
use osync_core::model::name::Name;
use osync_core::model::rel_path::RelPath;
use osync_core::model::timestamp::Timestamp;

use crate::event::Event;
use crate::oracle::{Shape, fingerprint};
use crate::world::World;

/// Names around `/` in the order of bytes, where ranges of paths go wrong first.
const NAMES: [&str; 7] = ["a", "a-", "a0", "b", "b.", "c", "dd"];
/// Above it things are removed rather than made.
const PATHS_MAX: usize = 60;
const DEPTH_MAX: usize = 4;
/// Files of so many bytes are worth a delta.
const LARGE_BYTES: usize = 130_000;

/// What the system tells a watcher of the tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Notice {
    Written(RelPath),
    /// Mode or times.
    Touched(RelPath),
    /// Anything but a directory was made.
    Made(RelPath),
    MadeDirectory(RelPath),
    Removed(RelPath),
    Renamed {
        from: RelPath,
        to: RelPath,
    },
}

/// Longer files may have holes.
const HOLES_BYTES_MIN: usize = 16 * 1024;

impl World {
    /// Does something to the source.
    pub(crate) fn operate(&mut self) {
        let before = self.source.tree.shared();
        let look = |path: &RelPath| self.source.tree.look(path.as_bytes());
        let known: Vec<_> = before.iter().flatten().map(look).collect();
        self.operate_on_something();
        // A change of a thing of several names is one of all of them, and so is a name more or less.
        for (path, known) in before.iter().flatten().zip(known) {
            let found = self.source.tree.look(path.as_bytes());
            if found.is_some() && found != known {
                self.oracle.changed(path, self.now);
            }
        }
        for path in self.source.tree.shared().iter().flatten() {
            if !before.iter().any(|names| names.contains(path)) {
                self.oracle.changed(path, self.now);
            }
        }
    }

    fn operate_on_something(&mut self) {
        if self.oracle.count() > PATHS_MAX
            && let Some(path) = self.some_path()
        {
            return self.remove(&path);
        }
        if self.random.chance(self.mood.renames_permille) {
            return self.rename_something();
        }
        // What is left out is as good as outside: nobody tells what is changed through such a name.
        let may_link = !self.source.view.is_partial();
        if may_link && self.random.chance(self.mood.links_permille) {
            return self.link_something();
        }
        if self.mood.twins_permille > 0 && self.random.chance(self.mood.twins_permille) {
            return self.twin();
        }
        if self.random.chance(self.put_backs_permille()) {
            return self.put_back();
        }
        match self.random.below(100) {
            0..25 => self.write_somewhere(),
            25..45 => self.overwrite(),
            45..52 => self.append(),
            52..66 => self.make_directories(),
            66..74 => {
                if let Some(path) = self.some_path() {
                    self.remove(&path);
                }
            }
            74..84 => self.touch_metadata(),
            84..92 => self.make_special(),
            _ => self.replace_kind(),
        }
    }

    pub(crate) fn write_somewhere(&mut self) {
        let path = self.free_or_taken_path();
        if self.oracle.shape(&path) != Some(Shape::File) {
            self.remove(&path);
        }
        let bytes = self.some_size();
        self.write(&path, bytes);
    }

    fn overwrite(&mut self) {
        let Some(path) = self.some_file() else { return self.write_somewhere() };
        if self.random.chance(500) && self.edit(&path) {
            return;
        }
        let bytes = if self.random.chance(500) {
            self.source.tree.held_content(path.as_bytes()).map_or(0, |content| content.len())
        } else {
            self.some_size()
        };
        self.write(&path, bytes);
    }

    /// Changes a large file in one place; `false` if it is a small one.
    fn edit(&mut self, path: &RelPath) -> bool {
        let content = self.source.tree.held_content(path.as_bytes()).unwrap_or_default();
        if content.len() < LARGE_BYTES {
            return false;
        }
        let mut content = content.to_vec();
        let bytes = usize::try_from(self.random.between(1, 9_000)).expect("small");
        let fresh = self.fresh_content(bytes);
        let at = self.random.index(content.len());
        match self.random.below(4) {
            0 => content.extend(fresh),
            _ if self.extend_bytes_min.is_some() => {
                content = fresh.into_iter().chain(content).collect();
                self.remove(path);
            }
            1 => {
                content.splice(at..at, fresh);
                // In place it would be a growing file of which a beginning may be sent.
                self.remove(path);
            }
            2 => {
                // No longer than it was: it would be a growing file, too.
                let end = content.len().min(at + bytes);
                content[at..end].copy_from_slice(&fresh[..end - at]);
            }
            _ => {
                content.drain(at..content.len().min(at + bytes));
            }
        }
        self.put(path, content);
        true
    }

    fn append(&mut self) {
        let Some(path) = self.some_file() else { return };
        let mut content = self.source.tree.content(path.as_bytes()).unwrap_or_default();
        let bytes = usize::try_from(self.random.between(1, 3_000)).expect("small");
        content.extend(self.fresh_content(bytes));
        self.put(&path, content);
    }

    /// Rewrites or appends to one file, and will again in a moment.
    pub(crate) fn hammer(&mut self, path: RelPath, until: Instant) {
        if self.now > until || self.is_quiet {
            return;
        }
        if !matches!(self.oracle.shape(&path), None | Some(Shape::File)) {
            self.remove(&path);
        }
        let mut content = Vec::new();
        let bytes = if until.duration_since(self.now).as_millis().is_multiple_of(2) {
            content = self.source.tree.content(path.as_bytes()).unwrap_or_default();
            2_000
        } else {
            170_000
        };
        let fresh = self.fresh_content(bytes);
        content.extend(fresh);
        self.put(&path, content);
        let soon = Duration::from_micros(self.random.between(5_000, 60_000));
        self.schedule(self.now + soon, Event::Hammer { path, until });
    }

    fn make_directories(&mut self) {
        let mut path = self.some_directory();
        for _ in 0..self.random.between(1, 3) {
            let name = *self.random.pick(&NAMES);
            let Some(next) = join(&path, name) else { break };
            match self.oracle.shape(&next) {
                Some(Shape::Directory) => {}
                Some(Shape::File | Shape::Other) => break,
                None => self.make_directory(&next),
            }
            path = next;
            if self.random.chance(500) {
                let name = *self.random.pick(&NAMES);
                if let Some(file) =
                    join(&path, name).filter(|file| self.oracle.shape(file).is_none())
                {
                    let bytes = self.some_size();
                    self.write(&file, bytes);
                }
            }
        }
    }

    fn touch_metadata(&mut self) {
        let path = if self.random.chance(50) { Some(RelPath::root()) } else { self.some_path() };
        let Some(path) = path else { return };
        if self.random.chance(500) && self.oracle.shape(&path) != Some(Shape::Other) {
            let mode = *self.random.pick(&[0o600, 0o644, 0o700, 0o755, 0o4755, 0o1777]);
            self.source.tree.chmod(path.as_bytes(), mode);
        } else if self.random.chance(500) {
            let name = *self.random.pick(&["user.a", "trusted.a", "system.posix_acl_access"]);
            if self.random.chance(300) {
                self.source.tree.remove_attribute(path.as_bytes(), name);
            } else {
                let value = self.fresh_content(16);
                self.source.tree.set_attribute(path.as_bytes(), name, value);
            }
        } else {
            self.version += 1;
            let seconds = i64::try_from(self.version).expect("small");
            let modified = Timestamp { seconds, nanoseconds: 7 };
            self.source.tree.set_modified(path.as_bytes(), modified);
        }
        self.oracle.changed(&path, self.now);
        self.notice(Notice::Touched(path));
    }

    fn make_special(&mut self) {
        let path = self.free_or_taken_path();
        self.remove(&path);
        self.version += 1;
        let tree = &self.source.tree;
        match self.random.below(5) {
            0 => tree.fifo(path.as_bytes()),
            1 => tree.socket(path.as_bytes()),
            2 => {
                let minor = u32::try_from(self.version % 3).expect("small");
                tree.device(path.as_bytes(), Device { major: 1, minor });
            }
            _ => tree.symlink(path.as_bytes(), format!("target {}", self.version)),
        }
        self.oracle.appeared(&path, Shape::Other, self.now);
        self.notice(Notice::Made(path));
    }

    /// A directory becomes a file, or anything else a directory, under the same name.
    fn replace_kind(&mut self) {
        let Some(path) = self.some_path() else { return };
        let shape = self.oracle.shape(&path);
        self.remove(&path);
        if shape == Some(Shape::Directory) {
            let bytes = self.some_size();
            self.write(&path, bytes);
        } else {
            self.make_directory(&path);
        }
    }

    fn rename_something(&mut self) {
        let Some(from) = self.some_path() else { return self.make_directories() };
        if self.random.chance(200) {
            return self.swap_somehow(&from);
        }
        let to = self.free_or_taken_path();
        self.rename(&from, &to);
    }

    /// Exchanges two names by way of a third.
    pub(crate) fn swap(&mut self, one: &RelPath) {
        let Some(other) = self.some_path() else { return };
        let Some(aside) = join(&self.some_directory(), "aside") else { return };
        if one.is_within(&other) || other.is_within(one) || aside.is_within(one) {
            return;
        }
        self.rename(one, &aside);
        self.rename(&other, one);
        self.rename(&aside, &other);
    }

    fn rename(&mut self, from: &RelPath, to: &RelPath) {
        let is_absent = self.oracle.shape(from).is_none();
        if is_absent || to.is_within(from) || from.is_within(to) || self.is_unseen_twin(from, to) {
            return;
        }
        let is_directory = self.oracle.shape(from) == Some(Shape::Directory);
        let is_in_the_way = match self.oracle.shape(to) {
            None => false,
            Some(Shape::Directory) => !is_directory || !self.oracle.is_empty_directory(to),
            Some(Shape::File | Shape::Other) => is_directory,
        };
        if is_in_the_way {
            self.remove(to);
        }
        let bereft = self.bereft(to);
        if !self.source.tree.rename(from.as_bytes(), to.as_bytes()) {
            return; // Two names of one thing stay as they are.
        }
        self.oracle.moved(from, to, self.now);
        self.notice(Notice::Renamed { from: from.clone(), to: to.clone() });
        self.find_again(bereft);
    }

    pub(crate) fn remove(&mut self, path: &RelPath) {
        let gone = self.oracle.paths_within(path);
        if gone.is_empty() {
            return;
        }
        let bereft = self.bereft(path);
        self.source.tree.remove(path.as_bytes());
        self.oracle.vanished(path, self.now);
        // As `rm -r` does it: what is inside goes first.
        for path in gone.into_iter().rev() {
            self.notice(Notice::Removed(path));
        }
        self.find_again(bereft);
    }

    pub(crate) fn make_directory(&mut self, path: &RelPath) {
        self.source.tree.mkdir(path.as_bytes());
        self.oracle.appeared(path, Shape::Directory, self.now);
        self.notice(Notice::MadeDirectory(path.clone()));
    }

    pub(crate) fn write(&mut self, path: &RelPath, bytes: usize) {
        let content = self.fresh_content(bytes);
        self.put(path, content);
    }

    fn put(&mut self, path: &RelPath, content: Vec<u8>) {
        let is_new = self.oracle.shape(path).is_none();
        let (fingerprint, bytes) = (fingerprint(&content), content.len());
        self.source.tree.write(path.as_bytes(), content);
        let shared = self.source.tree.shared();
        let names = shared.iter().find(|names| names.contains(path));
        for path in names.into_iter().flatten().chain([path]) {
            self.oracle.wrote(path, fingerprint, bytes, self.now);
        }
        self.notice(if is_new {
            Notice::Made(path.clone())
        } else {
            Notice::Written(path.clone())
        });
    }

    /// Content that no file ever had, in all its parts.
    fn fresh_content(&mut self, bytes: usize) -> Vec<u8> {
        self.version += 1;
        let mut content = self.version.to_le_bytes().repeat(bytes / 8 + 1);
        content.truncate(bytes);
        if bytes > HOLES_BYTES_MIN && self.version.is_multiple_of(4) {
            content[bytes / 4..bytes / 2].fill(0);
        }
        content
    }

    fn some_size(&mut self) -> usize {
        let bytes = match self.random.below(100) {
            0..5 => 0,
            5..80 => self.random.between(8, 500),
            80..92 => self.random.between(500, 30_000),
            _ => self.random.between(130_000, 300_000),
        };
        usize::try_from(bytes).expect("small")
    }

    fn some_path(&mut self) -> Option<RelPath> {
        self.oracle.some(&mut self.random, |_| true).map(|(path, _)| path)
    }

    pub(crate) fn some_file(&mut self) -> Option<RelPath> {
        self.some_of(Shape::File)
    }

    fn some_directory(&mut self) -> RelPath {
        if self.random.chance(250) {
            return RelPath::root();
        }
        self.some_of(Shape::Directory)
            .filter(|path| path.components().count() < DEPTH_MAX)
            .unwrap_or_else(RelPath::root)
    }

    pub(crate) fn some_of(&mut self, shape: Shape) -> Option<RelPath> {
        self.oracle.some(&mut self.random, |other| other == shape).map(|(path, _)| path)
    }

    /// A name in a directory that exists; often there is something already.
    pub(crate) fn free_or_taken_path(&mut self) -> RelPath {
        let directory = self.some_directory();
        let name = *self.random.pick(&NAMES);
        join(&directory, name).expect("short paths")
    }
}

pub(crate) fn join(directory: &RelPath, name: &str) -> Option<RelPath> {
    directory.join(&Name::new(name.as_bytes()).expect("a name")).ok()
}
