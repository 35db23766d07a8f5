//! All of a [`MemTree`] at once: shown, and compared with another.
//!
//! [`MemTree`]: crate::testing::mem_tree::MemTree

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::model::metadata::Metadata;
use crate::model::name::Name;
use crate::model::rel_path::RelPath;
use crate::testing::mem_tree::MemTree;
use crate::testing::mem_tree::state::{Object, ROOT, State};

/// A whole tree by path, with metadata and contents.
type Snapshot = BTreeMap<RelPath, (Metadata, Arc<Vec<u8>>)>;

/// The names of each thing that has several.
type Shared = BTreeSet<BTreeSet<RelPath>>;

/// What was shown of a tree, kept for whoever asks again.
#[derive(Debug, Default)]
pub(super) struct Shown {
    tree: Option<Arc<Snapshot>>,
    shared: Option<Arc<Shared>>,
}

impl MemTree {
    /// The whole tree by path, the root under the empty path, contents empty but for regular files.
    #[must_use]
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.state().snapshot()
    }

    /// The names of each thing that has several: hard links.
    #[must_use]
    pub fn shared(&self) -> Arc<Shared> {
        self.state().shared()
    }

    /// The paths at which `self` and `other` differ, one line each: the path and how.
    #[must_use]
    pub fn diff(&self, other: &Self) -> Vec<String> {
        let (ours, theirs) = (self.snapshot(), other.snapshot());
        let mut lines = Vec::new();
        for (path, (metadata, content)) in &*ours {
            match theirs.get(path) {
                None => lines.push(format!("{path}: only in the first")),
                Some((other, _)) if other != metadata => {
                    lines.push(format!("{path}: {metadata:?} in the first, {other:?}"));
                }
                Some((_, other)) if other != content => {
                    lines.push(format!("{path}: content differs"));
                }
                Some(_) => {}
            }
        }
        let only_theirs = theirs.keys().filter(|path| !ours.contains_key::<RelPath>(path));
        lines.extend(only_theirs.map(|path| format!("{path}: only in the second")));
        let (ours, theirs) = (self.shared(), other.shared());
        let one = |names: &BTreeSet<RelPath>| format!("{names:?}: one thing in the first only");
        lines.extend(ours.difference(&theirs).map(one));
        let one = |names: &BTreeSet<RelPath>| format!("{names:?}: one thing in the second only");
        lines.extend(theirs.difference(&ours).map(one));
        lines
    }
}

impl State {
    fn snapshot(&mut self) -> Arc<Snapshot> {
        if let Some(shown) = &self.shown.tree {
            return Arc::clone(shown);
        }
        let copied = |object: &Object| (object.metadata.clone(), Arc::clone(&object.content));
        let mut all = vec![(RelPath::root(), copied(&self.objects[&ROOT]))];
        self.visit(|directory, name, object| all.push((join(directory, name), copied(object))));
        let shown: Arc<Snapshot> = Arc::new(all.into_iter().collect());
        self.shown.tree = Some(Arc::clone(&shown));
        shown
    }

    fn shared(&mut self) -> Arc<Shared> {
        if let Some(shown) = &self.shown.shared {
            return Arc::clone(shown);
        }
        let mut names: BTreeMap<u64, BTreeSet<RelPath>> = BTreeMap::new();
        // As a rule there are none, and no paths have to be made.
        if self.objects.values().any(|object| object.names() > 1) {
            self.visit(|directory, name, object| {
                if object.names() > 1 {
                    names.entry(object.stamp.object).or_default().insert(join(directory, name));
                }
            });
        }
        let shown: Arc<Shared> = Arc::new(names.into_values().collect());
        self.shown.shared = Some(Arc::clone(&shown));
        shown
    }

    /// Shows every name and what has it, in no order.
    fn visit(&self, mut show: impl FnMut(&RelPath, &Name, &Object)) {
        let mut directories = vec![(RelPath::root(), &self.objects[&ROOT])];
        while let Some((path, directory)) = directories.pop() {
            for (name, child) in &directory.children {
                let child = &self.objects[child];
                show(&path, name, child);
                if !child.children.is_empty() {
                    directories.push((join(&path, name), child));
                }
            }
        }
    }
}

fn join(directory: &RelPath, name: &Name) -> RelPath {
    directory.join(name).expect("a path that was made once")
}
