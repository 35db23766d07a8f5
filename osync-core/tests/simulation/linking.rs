//! Names that stand for one thing: giving them, and what only an audit could find.

use std::time::Duration;

use osync_core::model::rel_path::RelPath;

use crate::operations::Notice;
use crate::oracle::{Shape, fingerprint};
use crate::world::World;

/// How long nobody may have looked at a name.
const UNSEEN_MAX: Duration = Duration::from_secs(5);

impl World {
    /// A sink's names of one thing are as the source's, or not at all; and some stand for the wrong things.
    pub(crate) fn link_sink(&mut self, sink: usize) {
        if self.random.chance(500) {
            for names in &*self.source.tree.shared() {
                let mut names = names.iter();
                let first = names.next().expect("more than one");
                for name in names {
                    self.sinks[sink].tree.link(name.as_bytes(), first.as_bytes());
                }
            }
        }
        let paths = self.oracle.paths();
        let wrong = if paths.is_empty() { 0 } else { self.random.below(4) };
        for _ in 0..wrong {
            let (path, _) = self.random.pick(&paths).clone();
            let (to, _) = self.random.pick(&paths).clone();
            self.sinks[sink].tree.link(path.as_bytes(), to.as_bytes());
        }
    }

    /// Gives something another name, in place of whatever has it.
    pub(crate) fn link_something(&mut self) {
        let is_meant = |shape| shape != Shape::Directory;
        let Some((to, shape)) = self.oracle.some(&mut self.random, is_meant) else {
            return self.write_somewhere();
        };
        let path = self.free_or_taken_path();
        if path == to || to.is_within(&path) {
            return;
        }
        self.remove(&path);
        if !self.source.tree.link(path.as_bytes(), to.as_bytes()) {
            return; // What was in the way was the last name.
        }
        self.oracle.appeared(&path, shape, self.now);
        if let Some(content) = self.source.tree.held_content(path.as_bytes()) {
            self.oracle.wrote(&path, fingerprint(&content), content.len(), self.now);
            self.oracle.linked(&path, &to);
        }
        self.notice(Notice::Made(path));
    }

    /// Other names of what has one at or below `path` that nobody may have looked at yet.
    pub(crate) fn bereft(&self, path: &RelPath) -> Vec<RelPath> {
        let is_young = |name: &RelPath| {
            let since = self.oracle.since(name);
            name.is_within(path) && since.is_some_and(|since| self.now - since < UNSEEN_MAX)
        };
        let things = self.source.tree.shared();
        let bereft = things.iter().filter(|names| names.iter().any(is_young));
        bereft
            .filter_map(|names| names.iter().find(|name| !name.is_within(path)))
            .cloned()
            .collect()
    }

    /// What was written through a name that came and went unseen, only an audit finds; it is not waited for.
    pub(crate) fn find_again(&mut self, names: Vec<RelPath>) {
        for name in names {
            self.notice(Notice::Touched(name));
        }
    }
}
