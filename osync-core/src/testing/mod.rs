//! For tests of this crate and of hosts: ports in memory, faults from a seed, conformance suites.

pub mod conformance;
pub mod decoding;
pub mod mem_tree;
pub mod recorder;
pub mod strategies;
