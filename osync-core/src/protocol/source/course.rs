//! How a large file gets to its sink: whole, as a delta, or as what has come at its end.

use std::collections::{BTreeSet, VecDeque};

use crate::model::rel_path::RelPath;
use crate::wire::message::Basis;

/// Paths remembered at the most; all are forgotten when there are more.
const PATHS_MAX: usize = 4_096;

/// The way of one large file.
#[derive(Debug)]
pub enum Course {
    /// From the first byte to the last.
    Whole,
    /// The sink has been asked which version it has.
    Asked,
    /// It has this one.
    Weighing(Basis),
    /// What lies beyond the end of the sink's version is appended to it.
    Growing,
    /// What the sink's version lacks.
    Matching(Box<Matching>),
}

/// A delta on its way.
#[derive(Debug)]
pub struct Matching {
    /// How long the sink's version is.
    pub basis_bytes: u64,
    /// In blocks of so many bytes.
    pub block_bytes: u32,
    /// How long the file is thought to be.
    pub size_bytes: u64,
    /// Blocks whose sums have been asked for, and have come.
    pub asked: u32,
    /// Blocks whose sums have come.
    pub known: u32,
    /// Sums that no job has taken yet.
    pub sums: Vec<u8>,
    /// The search waits for sums.
    pub is_waiting: bool,
    /// Numbers of the copies on their way.
    pub copies: VecDeque<u64>,
}

impl Matching {
    /// How many blocks the sink's version has.
    #[must_use]
    pub fn blocks(&self) -> u32 {
        u32::try_from(self.basis_bytes.div_ceil(u64::from(self.block_bytes))).unwrap_or(u32::MAX)
    }

    /// How many bytes `count` blocks from `first` on are.
    #[must_use]
    pub fn bytes_of(&self, first: u32, count: u32) -> u64 {
        let start = u64::from(first) * u64::from(self.block_bytes);
        let most = u64::from(count) * u64::from(self.block_bytes);
        self.basis_bytes.saturating_sub(start).min(most)
    }
}

/// A few paths with something in common. Being forgotten costs work and nothing else.
#[derive(Debug, Default)]
pub struct Paths(BTreeSet<RelPath>);

impl Paths {
    /// Adds `path`.
    pub fn insert(&mut self, path: &RelPath) {
        if self.0.len() >= PATHS_MAX {
            self.0.clear();
        }
        self.0.insert(path.clone());
    }

    /// Takes out `path`.
    pub fn remove(&mut self, path: &RelPath) {
        self.0.remove(path);
    }

    /// Whether `path` is among them.
    #[must_use]
    pub fn contains(&self, path: &RelPath) -> bool {
        self.0.contains(path)
    }
}
