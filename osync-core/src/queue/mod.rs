//! What is still to be done for one sink. Pure: no I/O, no clock; the time comes in.
//!
//! | module | answers |
//! |---|---|
//! | [`mark`], [`mark_set`] | what may differ, within a budget of memory |
//! | [`larges`] | files that wait to be sent in chunks |
//! | [`agenda`] | what one lane has begun to look into: marks, visits, parcels, large files |
//! | [`claims`] | which names are busy, so that work in flight never overlaps |
//! | [`links`] | which names stand for one thing, and in what order they are sent |
//! | [`removals`] | what is to be removed, and when it may be |
//! | [`pace`] | how soon a path that changes all the time is sent again |
//! | [`turns`] | which lane goes first |
//! | [`lately`] | where something has been read for other sinks |
//! | [`window`] | how many bytes may be in flight |
//! | [`allowance`] | how many bytes may be sent a second, where a limit is set |
//! | [`pressure`] | how hard to compress |

pub mod mark;
pub mod mark_set;
pub mod claims;
pub mod window;
pub mod pressure;
pub mod allowance;
pub mod pace;
pub mod lately;
pub mod turns;
pub mod links;
pub mod larges;
pub mod agenda;
pub mod removals;
