//! End to end: the built program on real directories, in one process and over loopback ZeroMQ.
//!
//! `program` runs osync and reads its log, `tree` makes trees and compares them completely, `churn`
//! changes them at random, `witness` tells torn files, `cable` is cut, `shell` runs other programs, `wait`
//! waits. The rest are tests, one file a theme.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod wait;
mod program;
mod tree;
mod shell;
mod churn;
mod cable;
mod witness;

mod arguments;
mod attacks;
mod confined;
mod devices;
mod discovery;
mod durability;
mod faults;
mod filters;
mod horizon;
mod kept;
mod keys;
mod kills;
mod links;
mod live;
mod locks;
mod once;
mod owners;
mod problems;
mod relay;
mod set_id;
mod small_target;
mod real_programs;
mod unsteady;
mod swaps;
mod trash;
mod vanishing;
