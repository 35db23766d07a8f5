//! A directory as source and as sink.
//!
//! Nothing here trusts a path: a directory is found component by component beneath one descriptor of the
//! root, without following a symbolic link, and everything done in it is done by a single name relative
//! to its descriptor. So whatever somebody else swaps in meanwhile, nothing outside the root is touched.
//!
//! From low to high: unlock, attributes, root, metadata, newborn, names, `new_directories`, directories, purge, restored, aside, spot,
//! trash, unsynced, disk, `file_version`, version, link, basis,
//! probe, tree, built, batch, staged, `open_file`, held; the two ports on top.

mod aside;
mod attributes;
mod basis;
mod batch;
mod built;
mod choices;
mod directories;
mod disk;
mod file_version;
mod held;
mod link;
mod metadata;
mod names;
mod new_directories;
mod newborn;
mod open_file;
mod owners;
mod probe;
mod purge;
mod restored;
pub(in crate::adapters) mod root;
mod spot;
mod staged;
mod trash;
mod tree;
mod unlock;
mod unsynced;
mod version;

pub mod sink;
pub mod source;

use crate::model::rel_path::RelPath;

/// The private directory of a sink, at its root: what is not to be seen yet, or no longer.
const RESERVED_NAME: &[u8] = b".osync";

/// Whether `path` is the private directory of a sink or lies in it: no entry of a tree, at either end.
fn is_reserved(path: &RelPath) -> bool {
    path.components().next() == Some(RESERVED_NAME)
}
