//! Comparing two listings of one directory: pure functions over the vocabulary.
//!
//! [`listing::digest`] makes one number of a part of a directory, so that equal parts cost no listing on the
//! wire. [`diff::diff`] names what differs. Both look at what the two ends agreed to keep and at nothing else.
//!
//! A difference decides nothing: it is a reason to look at the names again, at the source, now.

pub mod delta;
pub mod diff;
pub mod listing;
