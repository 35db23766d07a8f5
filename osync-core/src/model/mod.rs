//! The vocabulary: plain values, without I/O, shared by every layer above.

pub mod timestamp;
pub mod digest;
pub mod fidelity;
pub mod frame;
pub mod metadata;
pub mod name;
pub mod need;
pub mod rel_path;
pub mod metadata;
pub mod fidelity;
pub mod change;
pub mod connection;
pub mod session_id;
pub mod sink_id;
pub mod timestamp;
pub mod work_id;
pub mod report;
