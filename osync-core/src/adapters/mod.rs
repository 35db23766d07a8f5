//! Ports for real systems. Nothing below imports them.

pub mod feed;
pub mod fs;
pub mod transport;
