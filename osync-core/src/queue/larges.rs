//! Files too large for a parcel, in the order in which they were found, each once.
//!
//! A file is read as it is when its turn comes, so what is found about one that waits has nothing to add.

use std::collections::{BTreeMap, HashMap};
use std::time::Instant;

use crate::model::name::Name;
use crate::model::rel_path::RelPath;

/// A file too large for a parcel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Large {
    /// The directory it lies in.
    pub directory: RelPath,
    /// Its name there.
    pub name: Name,
    /// Since when it may differ.
    pub born: Instant,
}

/// The files that wait.
#[derive(Debug, Default)]
pub struct Larges {
    waiting: BTreeMap<u64, Large>,
    turns: HashMap<(RelPath, Name), u64>,
    next_turn: u64,
}

impl Larges {
    /// Appends `large`; one that waits already keeps its turn and the older of both times.
    pub fn push(&mut self, large: Large) {
        let place = (large.directory.clone(), large.name.clone());
        let turn = *self.turns.entry(place).or_insert(self.next_turn);
        self.next_turn += 1;
        match self.waiting.get_mut(&turn) {
            Some(waiting) => waiting.born = waiting.born.min(large.born),
            None => {
                self.waiting.insert(turn, large);
            }
        }
    }

    /// Takes the first.
    pub fn pop(&mut self) -> Option<Large> {
        let (_, large) = self.waiting.pop_first()?;
        self.turns.remove(&(large.directory.clone(), large.name.clone()));
        Some(large)
    }

    /// Whether the file called `name` in `directory` waits.
    #[must_use]
    pub fn contains(&self, directory: &RelPath, name: &Name) -> bool {
        self.turns.contains_key(&(directory.clone(), name.clone()))
    }

    /// Takes all that lie at or below the directory `path`.
    pub fn take_within(&mut self, path: &RelPath) -> Vec<Large> {
        let is_within = |_: &u64, large: &mut Large| large.directory.is_within(path);
        let taken: Vec<Large> =
            self.waiting.extract_if(.., is_within).map(|(_, large)| large).collect();
        for large in &taken {
            self.turns.remove(&(large.directory.clone(), large.name.clone()));
        }
        taken
    }

    /// All, first to last.
    pub fn iter(&self) -> impl Iterator<Item = &Large> {
        self.waiting.values()
    }

    /// How many wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Whether none waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn large(directory: &str, name: &str, born: Instant) -> Large {
        let directory = RelPath::new(directory.as_bytes()).unwrap();
        Large { directory, name: Name::new(name.as_bytes()).unwrap(), born }
    }

    #[test]
    fn a_file_that_is_found_again_while_it_waits_is_taken_once_in_its_turn() {
        let (early, late) = (Instant::now(), Instant::now() + Duration::from_secs(1));
        let mut larges = Larges::default();

        larges.push(large("a", "1", late));
        larges.push(large("a", "2", late));
        larges.push(large("a", "1", early));

        assert_eq!(larges.len(), 2);
        assert_eq!(larges.pop(), Some(large("a", "1", early)));
        larges.push(large("a", "1", late));
        assert_eq!(larges.pop(), Some(large("a", "2", late)));
        assert_eq!(larges.pop(), Some(large("a", "1", late)));
        assert!(larges.is_empty());
    }

    #[test]
    fn what_lies_below_a_directory_is_taken_out() {
        let now = Instant::now();
        let mut larges = Larges::default();
        for directory in ["a", "a/b", "ab"] {
            larges.push(large(directory, "1", now));
        }

        let path = RelPath::new(b"a").unwrap();
        assert_eq!(larges.take_within(&path), [large("a", "1", now), large("a/b", "1", now)]);

        let left = large("ab", "1", now);
        assert!(larges.contains(&left.directory, &left.name));
        assert!(!larges.contains(&path, &left.name));
    }
}
