//! The traits a host may implement, and the little they share.

pub mod counters;
pub mod monitor;
pub mod source;
pub mod sink;
pub mod change_feed;
pub mod transport;
