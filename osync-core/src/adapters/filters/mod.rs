//! Leaving names out of replication, by rules in the syntax of gitignore.
//!
//! ```text
//! Rules ---> Filter ---> FilteredSource    what the engine reads
//!              |    '--> FilteredFeed      what it hears of; an inotify feed also watches less
//!              '-- ignore files in the tree, read when they are needed
//! ```
//!
//! A name that is left out is neither told nor read, and what a sink has there stays as it is, unless the
//! filter says that it shall be removed. What a directory holds goes with the directory: where the source
//! removes or replaces one, names in it that are left out are removed at the sink too.
//!
//! Files from low to high: rules, filter, source and feed.

mod feed;
mod filter;
mod rules;
mod source;

pub use crate::adapters::filters::feed::FilteredFeed;
pub(in crate::adapters) use crate::adapters::filters::feed::filtered;
pub use crate::adapters::filters::filter::Filter;
pub use crate::adapters::filters::rules::{Rules, RulesError};
pub use crate::adapters::filters::source::FilteredSource;
