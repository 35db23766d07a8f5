//! The traits a host may implement, and the little they share.
//!
//! [`source::Source`] and [`sink::Sink`] are the two trees, [`change_feed::ChangeFeed`] says where to look,
//! [`transport::Transport`] carries frames. All are object safe. Each has a suite of tests in
//! `osync_core::testing::conformance` (feature `testing`) that an implementation must pass.
//!
//! [`monitor::Monitor`] is how a host hears what happens, [`counters::Counters`] how threads add up totals.

pub mod counters;
pub mod monitor;
pub mod accounts;
pub mod source;
pub mod sink;
pub mod change_feed;
pub mod transport;
