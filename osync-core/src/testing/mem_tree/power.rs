//! What of a [`MemTree`] is on disk, and what a power cut leaves.
//!
//! Names are on disk in the order in which they were made, as a journal keeps them: a power cut leaves the
//! tree as it was at some moment since it was synced last. Content is on disk when it was synced: of a file
//! that was not, a cut leaves all, nothing, the first half, or zeros.
//!
//! [`MemTree`]: crate::testing::mem_tree::MemTree

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use crate::model::durability::Durability;
use crate::model::metadata::Kind;
use crate::testing::mem_tree::MemTree;
use crate::testing::mem_tree::state::{Object, State};

/// What is on disk. Until somebody asks for power cuts, nothing is remembered.
#[derive(Debug, Default)]
pub(super) struct Power {
    durability: Durability,
    is_on: bool,
    /// The trees since the last sync, each before something was done to it.
    history: Vec<BTreeMap<u64, Arc<Object>>>,
    /// How many bytes of each file are on disk.
    on_disk: HashMap<u64, usize>,
    /// Of what never will be, unless it is written again.
    lost: HashSet<u64>,
    fails_next: bool,
}

impl State {
    /// Something is about to be done.
    pub(super) fn remember(&mut self) {
        if self.power.is_on {
            self.power.history.push(self.objects.clone());
        }
    }

    /// Puts the content of an object on disk, unless nothing is to be there.
    pub(super) fn sync_data(&mut self, object: u64) {
        let length = self.objects[&object].content.len();
        if self.power.durability != Durability::None && !self.power.lost.contains(&object) {
            self.power.on_disk.insert(object, length);
        }
    }

    /// As [`Sink::sync`].
    ///
    /// [`Sink::sync`]: crate::ports::sink::Sink::sync
    pub(super) fn sync(&mut self, is_settled: bool) -> Result<bool, &'static str> {
        if !self.power.is_on {
            return Ok(true);
        }
        let written = |power: &Power, number: &u64, object: &Object| {
            power.on_disk.get(number).is_some_and(|bytes| *bytes >= object.content.len())
        };
        if std::mem::take(&mut self.power.fails_next) {
            for (number, object) in &mut self.objects {
                if object.metadata.kind.is_file() && !written(&self.power, number, object) {
                    Arc::make_mut(object).is_doubted = true;
                    self.power.lost.insert(*number);
                }
            }
            return Err("a test took the disk away");
        }
        self.power.history.clear();
        for (number, object) in &mut self.objects {
            if is_settled && object.is_doubted {
                Arc::make_mut(object).is_doubted = false;
            }
            if !self.power.lost.contains(number) {
                self.power.on_disk.insert(*number, object.content.len());
            }
        }
        Ok(true)
    }
}

impl MemTree {
    /// From now on, what is on disk is known, and the power may be cut.
    pub fn watch_power(&self) {
        let mut state = self.state();
        state.power = Power { is_on: true, ..Power::default() };
        let lengths = state.objects.iter().map(|(number, object)| (*number, object.content.len()));
        let lengths = lengths.collect();
        state.power.on_disk = lengths;
    }

    /// Cuts the power. `choose` gives a number below its argument for everything that may go one way or another.
    pub fn cut_power(&self, mut choose: impl FnMut(usize) -> usize) {
        let mut state = self.state();
        state.forget_shown();
        let moment = choose(state.power.history.len() + 1);
        let history = std::mem::take(&mut state.power.history);
        if let Some(objects) = history.into_iter().nth(moment) {
            state.objects = objects;
        }
        state.objects.retain(|_, object| object.names() > 0 || object.is_root());
        let power = std::mem::take(&mut state.power);
        let numbers: Vec<u64> = state.objects.keys().copied().collect();
        for number in numbers {
            let object = state.object_mut(number);
            object.handles = 0;
            let length = object.content.len();
            let on_disk = power.on_disk.get(&number).copied().unwrap_or(0).min(length);
            if !object.metadata.kind.is_file() || on_disk == length {
                continue;
            }
            object.is_doubted = true;
            let content = Arc::make_mut(&mut object.content);
            match choose(4) {
                0 => {}
                1 => content.truncate(on_disk),
                2 => content.truncate(on_disk + (length - on_disk) / 2),
                _ => content[on_disk..].fill(0),
            }
            object.metadata.kind = Kind::File { size_bytes: object.content.len() as u64 };
        }
        drop(state);
        self.watch_power();
    }

    /// The next sync fails: what is not on disk by then never will be, unless it is written again.
    pub fn fail_next_sync(&self) {
        self.state().power.fails_next = true;
    }

    pub(super) fn keep_durability(&self, durability: Durability) {
        self.state().power.durability = durability;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::metadata::Metadata;
    use crate::model::rel_path::RelPath;
    use crate::ports::sink::Sink;

    fn write(tree: &MemTree, content: &[u8]) {
        let kind = Kind::File { size_bytes: content.len() as u64 };
        let path = RelPath::new(b"f").unwrap();
        tree.write_file(&path, &Metadata { kind, ..metadata() }, content).unwrap();
    }

    fn metadata() -> Metadata {
        let tree = MemTree::new();
        tree.write("f", "");
        tree.look("f").unwrap()
    }

    fn watched() -> MemTree {
        let tree = MemTree::new();
        tree.watch_power();
        tree
    }

    #[test]
    fn what_was_synced_survives() {
        let tree = watched();
        write(&tree, b"old");
        assert!(tree.sync(false).unwrap());

        tree.cut_power(|_| 0);

        assert_eq!(tree.content("f"), Some(b"old".to_vec()));
    }

    #[test]
    fn what_was_not_may_be_gone_or_zeros_and_is_not_believed_until_settled() {
        let tree = watched();
        write(&tree, b"new");
        tree.cut_power(|choices| choices - 1);

        assert_eq!(tree.content("f"), Some(vec![0; 3]));
        let path = RelPath::new(b"f").unwrap();
        let told = || Sink::metadata(&tree, &path).unwrap().unwrap();
        assert_ne!(told().modified, metadata().modified);
        assert!(tree.basis(&path).unwrap().is_none());
        write(&tree, b"new");
        assert_eq!(told().modified, metadata().modified);

        let tree = watched();
        write(&tree, b"new");
        tree.cut_power(|_| 0);
        assert_eq!(tree.content("f"), None);
    }

    #[test]
    fn what_replaces_something_is_on_disk_first() {
        let tree = watched();
        tree.set_durability(Durability::Batch);
        write(&tree, b"old");
        tree.sync(false).unwrap();
        write(&tree, b"newer");

        tree.cut_power(|choices| choices - 1);

        assert_eq!(tree.content("f"), Some(b"newer".to_vec()));
    }

    #[test]
    fn what_a_failed_sync_lost_is_not_made_good_by_the_next() {
        let tree = watched();
        write(&tree, b"new");
        tree.fail_next_sync();
        assert!(tree.sync(false).is_err());
        tree.sync(false).unwrap();

        tree.cut_power(|choices| choices - 1);

        assert_eq!(tree.content("f"), Some(vec![0; 3]));
    }
}
