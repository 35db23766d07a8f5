//! A tree of entries in memory that is a source, a sink, and easy to change and to compare.
//!
//! It behaves as a POSIX file system does where replication can notice: an object keeps its identity
//! when it is renamed, adding or removing a name moves the directory's time, and a file that was open
//! when it was removed can still be read. Time is a counter, so a test gives the same tree every time.

#[cfg(test)]
mod conformance;
mod power;
mod sink;
mod source;
mod state;
mod whole;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::model::attributes::{Attribute, Attributes};
use crate::model::fidelity::Fidelity;
use crate::model::metadata::{Device, Kind, Metadata};
use crate::model::rel_path::RelPath;
use crate::model::timestamp::Timestamp;
use crate::testing::mem_tree::state::State;

/// A tree in memory. Cloning gives another handle of the same tree.
///
/// The methods here play the user of the tree; the ports [`Source`] and [`Sink`] are what the engine
/// sees of it. Paths are taken as bytes or text and must be valid [`RelPath`]s. Where something is in
/// the way of a change, it is removed first, so that every change succeeds: missing directories are
/// made, a directory gives way to a file and a file to a directory.
///
/// Times: a change by these methods gets a time of whole seconds, one by a [`Sink`] call has
/// nanoseconds in it, so that a time the engine forgot to set never looks right by accident.
///
/// [`Source`]: crate::ports::source::Source
/// [`Sink`]: crate::ports::sink::Sink
#[derive(Debug, Clone)]
pub struct MemTree {
    state: Arc<Mutex<State>>,
    fidelity: Fidelity,
}

impl Default for MemTree {
    fn default() -> Self {
        Self::new()
    }
}

impl MemTree {
    /// An empty tree: the root alone, mode 0o755, owner 0.
    #[must_use]
    pub fn new() -> Self {
        Self::starting_at(1_000_000_000)
    }

    /// An empty tree whose clock starts at `seconds`, for telling the times of two trees apart.
    #[must_use]
    pub fn starting_at(seconds: i64) -> Self {
        Self { state: Arc::new(Mutex::new(State::new(seconds))), fidelity: Fidelity::FULL }
    }

    /// This tree, keeping no more than `fidelity` of what a sink is given.
    #[must_use]
    pub fn with_fidelity(mut self, fidelity: Fidelity) -> Self {
        self.fidelity = fidelity;
        self
    }

    /// Writes a file: truncates one that is there in place, or makes one of mode 0o644.
    pub fn write(&self, path: impl AsRef<[u8]>, content: impl AsRef<[u8]>) {
        let path = rel_path(path.as_ref());
        let mut state = self.state();
        let now = state.tick();
        state.write(&path, content.as_ref().to_vec(), now);
    }

    /// Appends to a file, as [`MemTree::write`].
    pub fn append(&self, path: impl AsRef<[u8]>, content: impl AsRef<[u8]>) {
        let path = rel_path(path.as_ref());
        let mut state = self.state();
        let now = state.tick();
        let content = content.as_ref();
        if !state.append(&path, content, now) {
            state.write(&path, content.to_vec(), now);
        }
    }

    /// Makes a directory of mode 0o755 unless there is one.
    pub fn mkdir(&self, path: impl AsRef<[u8]>) {
        let path = rel_path(path.as_ref());
        let mut state = self.state();
        let now = state.tick();
        state.make_directories(&path, now);
    }

    /// Makes a new symbolic link in place of whatever lies there.
    pub fn symlink(&self, path: impl AsRef<[u8]>, target: impl AsRef<[u8]>) {
        let target = target.as_ref().into();
        self.put_new(path.as_ref(), Kind::Symlink { target }, 0o777);
    }

    /// Makes a new named pipe of mode 0o644 in place of whatever lies there.
    pub fn fifo(&self, path: impl AsRef<[u8]>) {
        self.put_new(path.as_ref(), Kind::Fifo, 0o644);
    }

    /// Makes a new socket of mode 0o755 in place of whatever lies there.
    pub fn socket(&self, path: impl AsRef<[u8]>) {
        self.put_new(path.as_ref(), Kind::Socket, 0o755);
    }

    /// Makes a new device node of mode 0o660 in place of whatever lies there.
    pub fn device(&self, path: impl AsRef<[u8]>, device: Device) {
        self.put_new(path.as_ref(), Kind::CharacterDevice(device), 0o660);
    }

    /// Removes an entry and everything below it; returns whether there was one. Not the root.
    pub fn remove(&self, path: impl AsRef<[u8]>) -> bool {
        let path = rel_path(path.as_ref());
        let mut state = self.state();
        let now = state.tick();
        state.remove(&path, now)
    }

    /// Makes `path` another name of what lies at `to`, in place of whatever lies at `path`; returns whether
    /// something that is no directory lies there.
    pub fn link(&self, path: impl AsRef<[u8]>, to: impl AsRef<[u8]>) -> bool {
        let (path, to) = (rel_path(path.as_ref()), rel_path(to.as_ref()));
        let mut state = self.state();
        let object = state.lookup(&to).filter(|number| {
            path != to
                && !to.is_within(&path)
                && !path.is_within(&to)
                && !state.objects[number].metadata.kind.is_directory()
        });
        let Some(object) = object else { return false };
        if state.lookup(&path) == Some(object) {
            return true;
        }
        let now = state.tick();
        state.remove(&path, now);
        state.make_parents(&path, now);
        state.attach(&path, object, now);
        true
    }

    /// Moves an entry, in place of whatever lies at `to`; returns whether there was one to move.
    ///
    /// Nothing moves into itself, or onto another name of itself.
    pub fn rename(&self, from: impl AsRef<[u8]>, to: impl AsRef<[u8]>) -> bool {
        let (from, to) = (rel_path(from.as_ref()), rel_path(to.as_ref()));
        let mut state = self.state();
        let moved = state.lookup(&from);
        if from == to || to.is_within(&from) || moved.is_none() || moved == state.lookup(&to) {
            return false;
        }
        let now = state.tick();
        // What lies at `from` may be below what is in the way at `to`; it is taken out first.
        let object = state.detach(&from, now);
        // The two directories get two times: they would look alike otherwise.
        let now = state.tick();
        state.remove(&to, now);
        state.make_parents(&to, now);
        state.attach(&to, object, now);
        true
    }

    /// Sets the mode of an entry, which must exist.
    pub fn chmod(&self, path: impl AsRef<[u8]>, mode: u32) {
        self.change(path.as_ref(), |metadata| metadata.mode = mode & 0o7777);
    }

    /// Sets the owner and group of an entry, which must exist.
    pub fn chown(&self, path: impl AsRef<[u8]>, uid: u32, gid: u32) {
        self.change(path.as_ref(), |metadata| {
            (metadata.uid, metadata.gid) = (uid, gid);
        });
    }

    /// Sets the extended attribute `name` of an entry, which must exist.
    pub fn set_attribute(
        &self,
        path: impl AsRef<[u8]>,
        name: impl AsRef<[u8]>,
        value: impl AsRef<[u8]>,
    ) {
        let attribute = Attribute { name: name.as_ref().into(), value: value.as_ref().into() };
        self.change_attributes(path.as_ref(), &attribute.name.clone(), Some(attribute));
    }

    /// Removes the extended attribute `name` of an entry, which must exist.
    pub fn remove_attribute(&self, path: impl AsRef<[u8]>, name: impl AsRef<[u8]>) {
        self.change_attributes(path.as_ref(), name.as_ref(), None);
    }

    /// Sets the modification time of an entry, which must exist.
    pub fn set_modified(&self, path: impl AsRef<[u8]>, modified: Timestamp) {
        self.change(path.as_ref(), |metadata| metadata.modified = modified);
    }

    /// What lies at `path`, failing for nobody.
    #[must_use]
    pub fn look(&self, path: impl AsRef<[u8]>) -> Option<Metadata> {
        self.state().metadata(&rel_path(path.as_ref())).map(|(metadata, _)| metadata)
    }

    /// The content of the regular file at `path`, failing for nobody.
    #[must_use]
    pub fn content(&self, path: impl AsRef<[u8]>) -> Option<Vec<u8>> {
        self.held_content(path).map(|content| content.to_vec())
    }

    /// As [`MemTree::content`], without a copy.
    #[must_use]
    pub fn held_content(&self, path: impl AsRef<[u8]>) -> Option<Arc<Vec<u8>>> {
        self.state().content(&rel_path(path.as_ref())).cloned()
    }

    /// Makes calls that read `path` (metadata, list, open, read) fail until [`MemTree::clear_failures`].
    ///
    /// The entry still shows in the listing of its directory.
    pub fn fail_reads(&self, path: impl AsRef<[u8]>) {
        self.state().failing_reads.insert(rel_path(path.as_ref()));
    }

    /// Makes [`Sink`] calls that change `path` fail until [`MemTree::clear_failures`].
    ///
    /// [`Sink`]: crate::ports::sink::Sink
    pub fn fail_writes(&self, path: impl AsRef<[u8]>) {
        self.state().failing_writes.insert(rel_path(path.as_ref()));
    }

    /// Makes every port call say that the root is lost until [`MemTree::clear_failures`].
    pub fn lose_root(&self) {
        self.state().is_root_lost = true;
    }

    /// Takes everything out of the root at once, or, the second time, brings all of it back.
    pub fn hide(&self) {
        self.state().hide();
    }

    /// Ends all failures asked for.
    pub fn clear_failures(&self) {
        let mut state = self.state();
        state.failing_reads.clear();
        state.failing_writes.clear();
        state.is_root_lost = false;
    }

    fn change_attributes(&self, path: &[u8], name: &[u8], attribute: Option<Attribute>) {
        self.change(path, |metadata| {
            let mut attributes = metadata.attributes.full().to_vec();
            attributes.retain(|attribute| *attribute.name != *name);
            attributes.extend(attribute);
            metadata.attributes = Attributes::new(attributes);
        });
    }

    fn put_new(&self, path: &[u8], kind: Kind, mode: u32) {
        let path = rel_path(path);
        let mut state = self.state();
        let now = state.tick();
        state.remove(&path, now);
        state.make_parents(&path, now);
        let object = state.create(kind, mode, Vec::new(), now);
        state.attach(&path, object, now);
    }

    fn change(&self, path: &[u8], change: impl FnOnce(&mut Metadata)) {
        let path = rel_path(path);
        let mut state = self.state();
        let now = state.tick();
        assert!(state.change(&path, now, change), "{path} is not there to be changed");
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A panic elsewhere fails its own test; the tree is whole between calls.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn rel_path(bytes: &[u8]) -> RelPath {
    RelPath::new(bytes).expect("a test gives valid paths")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn modified(tree: &MemTree, path: &str) -> Timestamp {
        tree.look(path).unwrap().modified
    }

    #[test]
    fn a_new_name_moves_the_time_of_its_directory_and_writing_in_place_does_not() {
        let tree = MemTree::new();
        tree.mkdir("d");
        let before = modified(&tree, "d");

        tree.write("d/f", "one");
        let named = modified(&tree, "d");
        tree.write("d/f", "two");

        assert!(before < named);
        assert_eq!(modified(&tree, "d"), named);
        assert!(modified(&tree, "d/f") > named);
    }

    #[test]
    fn a_rename_moves_the_times_of_both_directories_and_not_its_own() {
        let tree = MemTree::new();
        tree.write("a/d/f", "x");
        tree.mkdir("b");
        let (a, b, d) = (modified(&tree, "a"), modified(&tree, "b"), modified(&tree, "a/d"));

        assert!(tree.rename("a/d", "b/e"));

        assert!(modified(&tree, "a") > a);
        assert!(modified(&tree, "b") > b);
        assert_eq!(modified(&tree, "b/e"), d);
        assert_eq!(tree.content("b/e/f"), Some(b"x".to_vec()));
        assert_eq!(tree.look("a/d"), None);
    }

    #[test]
    fn names_of_one_thing_change_together_and_outlive_each_other() {
        let tree = MemTree::new();
        tree.write("a", "x");
        assert!(tree.link("d/b", "a"));
        tree.write("a", "y");

        assert_eq!(tree.content("d/b"), Some(b"y".to_vec()));
        assert_eq!(tree.look("a").unwrap().names, 2);
        assert_eq!(tree.look("a"), tree.look("d/b"));
        assert!(!tree.rename("a", "d/b"));
        assert!(!tree.link("e", "d"));

        tree.remove("a");

        assert_eq!(tree.look("d/b").unwrap().names, 1);
        assert_eq!(tree.content("d/b"), Some(b"y".to_vec()));
        assert!(tree.shared().is_empty());
    }

    #[test]
    fn the_same_changes_give_equal_trees_and_a_difference_is_named() {
        let build = || {
            let tree = MemTree::new();
            tree.write("a/f", "x");
            tree.symlink("l", "a/f");
            tree.fifo("p");
            tree.chmod("a", 0o700);
            tree
        };
        let (one, two) = (build(), build());
        assert_eq!(one.snapshot(), two.snapshot());

        two.write("a/f", "y");
        two.set_modified("a/f", modified(&one, "a/f"));
        two.remove("p");
        two.set_modified("", modified(&one, ""));

        assert_eq!(one.diff(&two), ["a/f: content differs", "p: only in the first"]);
    }
}
