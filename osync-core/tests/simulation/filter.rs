//! Runs in which some names are left out, and what must be the same all the same.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use osync_core::adapters::filters::{Filter, FilteredSource, Rules};
use osync_core::model::metadata::Metadata;
use osync_core::model::rel_path::RelPath;
use osync_core::ports::source::Source;
use osync_core::testing::mem_tree::MemTree;

use crate::random::Random;
use crate::world::World;

/// A name, a name of directories, one of anything else, a path.
const RULES: [&[&str]; 5] = [&["c"], &["c/"], &["c", "!c/"], &["/a/b"], &["b*", "!b."]];

/// What lies at a path.
type Found = (Metadata, Arc<Vec<u8>>);
/// A whole tree.
pub(crate) type Snapshot = BTreeMap<RelPath, Found>;

/// The source's tree as the engine sees it.
pub(crate) struct View {
    filter: Option<Arc<Filter>>,
    source: Arc<dyn Source>,
}

impl View {
    /// All of `tree`, or now and then what a filter keeps of it.
    pub(crate) fn new(tree: &MemTree, random: &mut Random) -> Self {
        let source = Arc::new(tree.clone());
        if !random.chance(250) {
            return Self { filter: None, source };
        }
        let lines = random.pick(&RULES).iter().map(|line| line.as_bytes());
        let filter = Arc::new(Filter::new(Rules::new(lines).expect("rules")));
        let source = Arc::new(FilteredSource::new(source, Arc::clone(&filter)));
        Self { filter: Some(filter), source }
    }

    pub(crate) fn source(&self) -> &dyn Source {
        &*self.source
    }

    /// Whether nobody cares what lies at `path`.
    pub(crate) fn leaves_out(&self, path: &RelPath, metadata: &Metadata) -> bool {
        let is_directory = metadata.kind.is_directory();
        let leaves_out = |filter: &Arc<Filter>| filter.leaves_out(path, is_directory);
        self.filter.as_ref().is_some_and(|filter| leaves_out(filter).expect("no files to read"))
    }

    /// Whether some names are left out.
    pub(crate) fn is_partial(&self) -> bool {
        self.filter.is_some()
    }

    /// The names in `tree` of each thing that has several.
    fn shared(&self, tree: &MemTree) -> Vec<Vec<RelPath>> {
        let is_seen = |path: &&RelPath| {
            let metadata = tree.look(path.as_bytes());
            metadata.is_some_and(|metadata| !self.leaves_out(path, &metadata))
        };
        let seen = |names: &BTreeSet<RelPath>| names.iter().filter(is_seen).cloned().collect();
        let mut shared: Vec<Vec<RelPath>> = tree.shared().iter().map(seen).collect();
        shared.retain(|names| names.len() > 1);
        shared.sort();
        shared
    }

    /// Where `source` and `sink` differ in what is not left out.
    pub(crate) fn differences(&self, source: &MemTree, sink: &MemTree) -> Vec<(RelPath, String)> {
        let (ours, theirs) = (source.snapshot(), sink.snapshot());
        let differs = |path: &&RelPath| {
            let (here, there) = (ours.get(*path), theirs.get(*path));
            let is_seen = |found: &&Found| !self.leaves_out(path, &found.0);
            !is_alike(here, there) && !is_alike(here.filter(is_seen), there.filter(is_seen))
        };
        let only_theirs = theirs.keys().filter(|path| !ours.contains_key(*path));
        let paths = ours.keys().chain(only_theirs).filter(differs);
        let line = |path: &RelPath| {
            let (here, there) = (source.look(path.as_bytes()), sink.look(path.as_bytes()));
            (path.clone(), format!("{path} is {here:?} at the source, {there:?}"))
        };
        paths.map(line).collect()
    }
}

/// Whether both are the same. Which names a thing has, and not how many, is what `shared` tells.
fn is_alike(here: Option<&Found>, there: Option<&Found>) -> bool {
    match (here, there) {
        (Some((here, ours)), Some((there, theirs))) => {
            *here == Metadata { names: here.names, ..there.clone() } && ours == theirs
        }
        (None, None) => true,
        (Some(_), None) | (None, Some(_)) => false,
    }
}

impl World {
    /// The names of things that have several, at the source and at `sink`.
    pub(crate) fn shared(&self, sink: usize) -> [Vec<Vec<RelPath>>; 2] {
        [&self.source.tree, &self.sinks[sink].tree].map(|tree| self.source.view.shared(tree))
    }

    /// Whether the tree of `sink` is the source's. What has not changed since it was is not compared again.
    pub(crate) fn is_alike(&mut self, sink: usize) -> bool {
        let trees = [&self.source.tree, &self.sinks[sink].tree].map(MemTree::snapshot);
        let is_as_it_was = |known: &[Arc<Snapshot>; 2]| {
            known.iter().zip(&trees).all(|(known, tree)| Arc::ptr_eq(known, tree))
        };
        if self.sinks[sink].alike.as_ref().is_some_and(is_as_it_was) {
            return true;
        }
        let [here, there] = self.shared(sink);
        let is_alike = here == there && self.differences(sink).is_empty();
        self.sinks[sink].alike = is_alike.then_some(trees);
        is_alike
    }

    pub(crate) fn differences(&self, sink: usize) -> Vec<(RelPath, String)> {
        self.source.view.differences(&self.source.tree, &self.sinks[sink].tree)
    }
}
