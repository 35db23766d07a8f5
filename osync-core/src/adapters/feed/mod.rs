//! Change feeds: who says where to look.
//!
//! [`fanotify`] and [`mod@inotify`] watch a directory tree of this machine; [`auto`] takes the better of the two that can be
//! had; [`mapped`] adds what neither is told of. [`poll`] is for file systems that tell of no changes. [`channel`] is told by a host that knows by itself what
//! it writes.

pub mod channel;
pub mod fanotify;
pub mod inotify;
pub mod mapped;
pub mod poll;

mod mappings;
mod mounts;
mod outlet;
mod tree;
mod unwatched;

use std::error::Error;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::adapters::feed::fanotify::FanotifyFeed;
use crate::adapters::feed::inotify::InotifyFeed;
use crate::adapters::feed::mapped::MappedFeed;
use crate::adapters::feed::tree::Tree;
use crate::adapters::filters::{Filter, FilteredFeed};
use crate::model::rel_path::RelPath;
use crate::ports::change_feed::{ChangeFeed, FeedError};

/// File systems that other machines or programs may change behind the kernel's back, by the numbers of `statfs(2)`.
const REMOTE: [(i64, &str); 9] = [
    (0x6969, "NFS"),
    (0xff53_4d42, "CIFS"),
    (0xfe53_4d42, "SMB"),
    (0x517b, "SMB"),
    (0x6573_5546, "FUSE"),
    (0x0102_1997, "9p"),
    (0x00c3_6400, "Ceph"),
    (0x5346_414f, "AFS"),
    (0x6b41_4653, "AFS"),
];

/// A tree in memory is small if it has no more directories than this, and this is found out soon.
const SMALL_DIRECTORIES_MAX: usize = 4_096;
const SMALL_SEARCH_MAX: Duration = Duration::from_millis(50);

/// A feed of the directory `root`, less what `filter` leaves out: fanotify where this process and the file system allow
/// it, else inotify; inotify, too, for a small tree in memory, where watches are made at once, while fanotify would be
/// told of everything that others do on the file system, with a [`MappedFeed`] around it. The log says which.
///
/// # Errors
/// [`FeedError::Watch`] if there is no such directory.
pub fn auto(root: &Path, filter: Option<Arc<Filter>>) -> Result<Box<dyn ChangeFeed>, FeedError> {
    if let Some(kind) = remote_kind(root) {
        let shown = root.display();
        log::warn!(
            "{shown}: what others than this machine change on {kind} is found by polling only"
        );
        return inotify(root, filter);
    }
    if is_small_in_memory(root) {
        return inotify(root, filter);
    }
    match FanotifyFeed::new(root) {
        Ok(feed) => {
            log::info!("watching with fanotify");
            let feed = Box::new(MappedFeed::new(Box::new(feed), root)?);
            Ok(match filter {
                None => feed,
                Some(filter) => Box::new(FilteredFeed::new(feed, filter)),
            })
        }
        Err(error) => {
            log::debug!("no fanotify: {error}: {:?}", error.source());
            inotify(root, filter)
        }
    }
}

/// An inotify feed of the directory `root`, less what `filter` leaves out, with a [`MappedFeed`] around it.
///
/// # Errors
/// [`FeedError::Watch`] if there is no such directory.
pub fn inotify(root: &Path, filter: Option<Arc<Filter>>) -> Result<Box<dyn ChangeFeed>, FeedError> {
    let feed = InotifyFeed::new(root)?;
    log::info!("watching with inotify");
    let feed = match filter {
        None => feed,
        Some(filter) => feed.with_filter(filter),
    };
    Ok(Box::new(MappedFeed::new(Box::new(feed), root)?))
}

/// Whether `root` is on a file system in memory and has few directories.
fn is_small_in_memory(root: &Path) -> bool {
    let Some(mut tree) = Tree::open(root).ok().filter(Tree::is_in_memory) else { return false };
    let begin = Instant::now();
    let mut found = vec![RelPath::root()];
    let mut listed = 0;
    while let Some(directory) = found.get(listed).cloned() {
        listed += 1;
        if tree.list_directories(&directory, &mut found).is_err()
            || found.len() > SMALL_DIRECTORIES_MAX
            || begin.elapsed() > SMALL_SEARCH_MAX
        {
            return false;
        }
    }
    true
}

/// What kind of remote file system `root` is on, if it is one.
fn remote_kind(root: &Path) -> Option<&'static str> {
    let number = rustix::fs::statfs(root).ok()?.f_type & 0xffff_ffff;
    REMOTE.iter().find(|(remote, _)| *remote == number).map(|(_, kind)| *kind)
}

/// The error of a feed that cannot watch `root`.
fn refused(root: &Path, source: Box<dyn Error + Send + Sync>) -> FeedError {
    FeedError::Watch {
        what: root.as_os_str().as_encoded_bytes().escape_ascii().to_string(),
        source,
    }
}
