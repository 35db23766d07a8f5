//! The traits a host may implement, and the little they share.

pub mod change_feed;
pub mod counters;
pub mod monitor;
pub mod sink;
pub mod source;
pub mod transport;
