//! The vocabulary: plain values, without I/O, shared by every layer above.

pub mod timestamp;
pub mod digest;
pub mod name;
pub mod rel_path;
pub mod metadata;
pub mod fidelity;
pub mod change;
pub mod connection;
pub mod session_id;
pub mod sink_id;
pub mod report;
