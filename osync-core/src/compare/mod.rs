//! Comparing two listings of one directory: pure functions over the vocabulary.

pub mod diff;
pub mod listing;
