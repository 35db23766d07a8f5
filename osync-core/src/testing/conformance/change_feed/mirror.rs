//! A picture of the tree that is only ever corrected where a hint says so.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::model::change::Change;
use crate::model::name::Name;
use crate::model::rel_path::RelPath;

/// What an engine would believe about the tree, had it nothing but the hints.
#[derive(Debug)]
pub(super) struct Mirror {
    root: PathBuf,
    entries: BTreeMap<RelPath, State>,
    /// Hints that said everything may differ.
    pub(super) losses: usize,
}

/// Mode, and for everything but directories size and time: names made in a directory change its time
/// without a hint for the directory itself.
type State = (u32, Option<(u64, i64, i64)>);

impl Mirror {
    /// A true picture, as of now.
    pub(super) fn new(root: &Path) -> Self {
        let mut mirror = Self { root: root.to_path_buf(), entries: BTreeMap::new(), losses: 0 };
        mirror.look_below(&RelPath::root());
        mirror
    }

    /// Corrects the picture where `change` says.
    pub(super) fn follow(&mut self, change: &Change) {
        match change {
            Change::Entry { path, .. } => self.look_at(path),
            Change::Subtree { path } | Change::MovedIn { path } => self.look_below(path),
            Change::Lost { scope, .. } => {
                self.losses += 1;
                self.look_below(scope);
            }
            Change::Renamed { from, to, .. } => {
                self.carry(from, to);
                self.look_at(from);
                self.look_at(to);
            }
            Change::Ready
            | Change::Unwatched { .. }
            | Change::Fence { .. }
            | Change::Failed { .. } => {}
        }
    }

    /// The first difference between the picture and a true one.
    pub(super) fn difference(&self) -> Option<String> {
        let real = Self::new(&self.root);
        let paths = self.entries.keys().chain(real.entries.keys());
        paths
            .map(|path| (path, self.entries.get(path), real.entries.get(path)))
            .find(|(_, believed, real)| believed != real)
            .map(|(path, believed, real)| format!("{path}: believed {believed:?}, is {real:?}"))
    }

    /// Every directory in the picture.
    pub(super) fn directories(&self) -> impl Iterator<Item = &RelPath> {
        let is_directory = |state: &State| state.1.is_none();
        let directories = self.entries.iter();
        directories.filter_map(move |(path, state)| is_directory(state).then_some(path))
    }

    fn look_at(&mut self, path: &RelPath) {
        match self.state(path) {
            Some(state) => {
                if state.1.is_some() {
                    self.forget(path);
                }
                self.entries.insert(path.clone(), state);
            }
            None => self.forget(path),
        }
    }

    fn look_below(&mut self, top: &RelPath) {
        self.forget(top);
        let mut todo = vec![top.clone()];
        while let Some(path) = todo.pop() {
            let Some(state) = self.state(&path) else { continue };
            self.entries.insert(path.clone(), state);
            for entry in std::fs::read_dir(self.absolute(&path)).into_iter().flatten().flatten() {
                let name = Name::new(entry.file_name().as_bytes()).expect("a listed name");
                todo.push(path.join(&name).expect("a short path"));
            }
        }
    }

    fn forget(&mut self, top: &RelPath) {
        self.entries.retain(|path, _| !path.is_within(top));
    }

    fn carry(&mut self, from: &RelPath, to: &RelPath) {
        let moved: Vec<_> = self
            .entries
            .iter()
            .filter_map(|(path, &state)| Some((path.rebased(from, to).ok()??, state)))
            .collect();
        self.forget(from);
        self.forget(to);
        self.entries.extend(moved);
    }

    fn state(&self, path: &RelPath) -> Option<State> {
        let metadata = std::fs::symlink_metadata(self.absolute(path)).ok()?;
        let content = (metadata.size(), metadata.mtime(), metadata.mtime_nsec());
        Some((metadata.mode(), (!metadata.is_dir()).then_some(content)))
    }

    fn absolute(&self, path: &RelPath) -> PathBuf {
        self.root.join(OsStr::from_bytes(path.as_bytes()))
    }
}
