//! Change feeds.

pub mod channel;
pub mod inotify;
