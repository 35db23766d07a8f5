//! A name in a directory that is open, and the path that led there.

use rustix::fd::BorrowedFd;

use crate::model::rel_path::RelPath;

/// What lay where something was put. Descriptors of a replaced directory lead nowhere any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Replaced {
    NoDirectory,
    Directory,
}

/// Where something is done in the tree.
#[derive(Debug, Clone, Copy)]
pub(super) struct Spot<'a> {
    pub(super) directory: BorrowedFd<'a>,
    pub(super) name: &'a [u8],
    /// For telling where it was: what is done is done by the two above.
    pub(super) path: &'a RelPath,
}
