//! Change feeds: who says where to look.
//!
//! [`inotify`] watches a directory tree of this machine. [`channel`] is told by a host that knows by itself
//! what it writes.

pub mod channel;
pub mod inotify;
