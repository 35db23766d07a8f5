//! Runs in which some names are left out, and what must be the same all the same.

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
        let is_seen = |path: &RelPath| {
            let metadata = tree.look(path.as_bytes());
            metadata.is_some_and(|metadata| !self.leaves_out(path, &metadata))
        };
        let things = tree.shared().into_iter();
        let mut shared: Vec<Vec<RelPath>> =
            things.map(|names| names.into_iter().filter(is_seen).collect()).collect();
        shared.retain(|names| names.len() > 1);
        shared.sort();
        shared
    }

    /// Where `source` and `sink` differ in what is not left out.
    pub(crate) fn differences(&self, source: &MemTree, sink: &MemTree) -> Vec<(RelPath, String)> {
        let snapshot = |tree: &MemTree| {
            let mut snapshot = tree.snapshot();
            snapshot.retain(|path, (metadata, _)| !self.leaves_out(path, metadata));
            // Which names there are, and not how many, is what `shared` tells.
            for (metadata, _) in snapshot.values_mut() {
                metadata.names = 1;
            }
            snapshot
        };
        let (ours, theirs) = (snapshot(source), snapshot(sink));
        let differs = |path: &&RelPath| ours.get(*path) != theirs.get(*path);
        let mut paths: Vec<_> = ours.keys().chain(theirs.keys()).filter(differs).collect();
        paths.dedup();
        let line = |path: &RelPath| {
            let (here, there) = (source.look(path.as_bytes()), sink.look(path.as_bytes()));
            (path.clone(), format!("{path} is {here:?} at the source, {there:?}"))
        };
        paths.into_iter().map(line).collect()
    }
}

impl World {
    /// The names of things that have several, at the source and at the sink.
    pub(crate) fn shared(&self) -> [Vec<Vec<RelPath>>; 2] {
        [&self.source.tree, &self.sink.tree].map(|tree| self.source.view.shared(tree))
    }

    pub(crate) fn shares_alike(&self) -> bool {
        let [here, there] = self.shared();
        here == there
    }

    pub(crate) fn differences(&self) -> Vec<(RelPath, String)> {
        self.source.view.differences(&self.source.tree, &self.sink.tree)
    }
}
