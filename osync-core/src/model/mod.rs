//! The vocabulary: plain values, without I/O, shared by every layer above.

pub mod name;
pub mod rel_path;
pub mod timestamp;
pub mod digest;
pub mod attributes;
pub mod metadata;
pub mod account;
pub mod owner_map;
pub mod nodes;
pub mod fidelity;
pub mod need;
pub mod work_id;
pub mod frame;
pub mod session_id;
pub mod key;
pub mod sink_id;
pub mod change;
pub mod compression;
pub mod durability;
pub mod removal_limit;
pub mod connection;
pub mod report;
