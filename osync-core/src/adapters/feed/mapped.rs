//! `MappedFeed`: any change feed, and what programs store through `mmap`, of which the kernel tells nobody.
//!
//! Every two seconds the processes of this machine are asked what they have mapped to write to. A file of the tree
//! among it is reported when it is first found, and then whenever a look at it finds another time, size or content
//! than the look before. When the last mapping of it goes, the kernel tells that the file was closed, so the end
//! of it is in the feed anyway.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::{Sender, bounded};
use rustix::fs::{Mode, OFlags};

use crate::adapters::feed::mappings::{FILES_MAX, Mappings};
use crate::adapters::feed::outlet::Outlet;
use crate::adapters::feed::refused;
use crate::adapters::fs::root::{PLACE, Root};
use crate::model::change::{Change, Touch};
use crate::model::rel_path::RelPath;
use crate::ports::change_feed::{ChangeFeed, FeedError, Reporter, Stopped};

/// From one look to the next, at the least.
const INTERVAL: Duration = Duration::from_secs(2);

/// While nothing of the tree is mapped, looking for it may take this part of the time.
const IDLE_SHARE: u32 = 2_000;

/// Content read at one look: 16 MiB a second. What there is no room for has its turn at the next one.
const READ_BYTES_MAX: u64 = 32 * 1024 * 1024;

/// Room for reading.
const BUFFER_BYTES: usize = 64 * 1024;

/// A [`ChangeFeed`] that reports what `inner` does, and files that are changed through `mmap`.
///
/// Needs Linux 6.11, and the right to look into the processes that do it: those of the same user, or all if this is
/// root's. Of files over 32 MiB only the time tells, which the kernel moves on at the first store after the last was
/// written to disk. Of more than 1,024 files the rest are not seen. It keeps up
/// to 128 descriptors open.
pub struct MappedFeed {
    inner: Box<dyn ChangeFeed>,
    root: PathBuf,
    running: Option<(Sender<Infallible>, JoinHandle<()>)>,
}

impl std::fmt::Debug for MappedFeed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MappedFeed").field("root", &self.root).finish_non_exhaustive()
    }
}

impl MappedFeed {
    /// `inner`, which watches the directory `root`, and what is mapped below `root`.
    ///
    /// # Errors
    /// [`FeedError::Watch`] if there is no such directory.
    pub fn new(inner: Box<dyn ChangeFeed>, root: &Path) -> Result<Self, FeedError> {
        // As the kernel tells paths: without links.
        let root =
            std::fs::canonicalize(root.join(".")).map_err(|error| refused(root, error.into()))?;
        Ok(Self { inner, root, running: None })
    }
}

impl ChangeFeed for MappedFeed {
    fn start(&mut self, reporter: Reporter) -> Result<(), FeedError> {
        self.inner.start(reporter.clone())?;
        let (stop, stopped) = bounded(0);
        let (root, outlet) = (self.root.clone(), Outlet::new(reporter, stopped));
        let thread = std::thread::Builder::new()
            .name("osync-mapped".to_owned())
            .spawn(move || {
                // Ends with `Stopped` from either side; both are as good.
                let _stopped = run(&root, &outlet);
            })
            .map_err(|error| refused(&self.root, error.into()))?;
        self.running = Some((stop, thread));
        Ok(())
    }

    fn fence(&mut self, cookie: u64) -> Result<(), FeedError> {
        self.inner.fence(cookie)
    }

    fn stop(&mut self) {
        if let Some((stop, thread)) = self.running.take() {
            drop(stop);
            if thread.join().is_err() {
                log::error!("the thread that looks for mapped files panicked");
            }
        }
        self.inner.stop();
    }
}

impl Drop for MappedFeed {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Reports until nobody wants reports any more, or nothing can be found out.
fn run(root: &Path, outlet: &Outlet) -> Result<(), Stopped> {
    let (mut mappings, mut looks) = (Mappings::default(), BTreeMap::new());
    let mut has_warned = false;
    loop {
        let begin = Instant::now();
        let mapped = match mappings.shared_writable_below(root) {
            Ok(mapped) => mapped,
            Err(error) => {
                log::debug!("stores through mmap are seen when the file is closed: {error}");
                return Ok(());
            }
        };
        if mapped.len() >= FILES_MAX && !has_warned {
            has_warned = true;
            log::warn!(
                "more than {FILES_MAX} files are mapped to be written to: others are seen when they are closed"
            );
        }
        let pause =
            if mapped.is_empty() { begin.elapsed().saturating_mul(IDLE_SHARE) } else { INTERVAL };
        for path in changed(root, mapped, &mut looks) {
            outlet.report(Change::Entry { path, touch: Touch::Settled })?;
        }
        outlet.pause(pause.max(INTERVAL))?;
    }
}

/// What a look found.
#[derive(Debug)]
struct Look {
    at: Instant,
    stat: Stat,
    /// Of a file that was never read: too large, or nobody's turn yet.
    digest: Option<blake3::Hash>,
}

/// Size, last change of the content, last change of anything.
type Stat = (u64, [i64; 2], [i64; 2]);

/// Looks at all that is `mapped`, those first whose last look is longest ago, and returns what is another than it was.
fn changed(
    root: &Path,
    mut mapped: BTreeMap<RelPath, u64>,
    looks: &mut BTreeMap<RelPath, Look>,
) -> Vec<RelPath> {
    looks.retain(|path, _| mapped.contains_key(path));
    // While it is not there, the inner feed says so.
    let Some(root) = (!mapped.is_empty()).then(|| Root::open(root).ok()).flatten() else {
        return Vec::new();
    };
    let mut order: Vec<_> =
        mapped.keys().map(|path| (looks.get(path).map(|look| look.at), path.clone())).collect();
    order.sort();
    let mut changed = Vec::new();
    let mut room_bytes = READ_BYTES_MAX;
    for (_, path) in order {
        let inode = mapped.remove(&path).unwrap_or_default();
        let before = looks.remove(&path);
        // It has gone, or another one has its name: either has an event of its own.
        let Ok(Some(look)) = look(&root, &path, inode, before.as_ref(), &mut room_bytes) else {
            continue;
        };
        let is_same =
            before.is_some_and(|before| before.stat == look.stat && before.digest == look.digest);
        looks.insert(path.clone(), look);
        if !is_same {
            changed.push(path);
        }
    }
    changed
}

/// Looks at the file at `path`, and into it as far as `room_bytes` allow; `None` if it is not the one with `inode`.
fn look(
    root: &Root,
    path: &RelPath,
    inode: u64,
    before: Option<&Look>,
    room_bytes: &mut u64,
) -> io::Result<Option<Look>> {
    let (above, name) = path.split().ok_or(io::ErrorKind::IsADirectory)?;
    let directory = root.directory(&above, PLACE)?;
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let open = |flags| rustix::fs::openat(&directory, name.as_bytes(), flags, Mode::empty());
    let mut file = File::from(open(flags | OFlags::NOATIME).or_else(|_| open(flags))?);
    let found = file.metadata()?;
    if found.ino() != inode {
        return Ok(None);
    }
    let stat =
        (found.len(), [found.mtime(), found.mtime_nsec()], [found.ctime(), found.ctime_nsec()]);
    if found.len() > *room_bytes {
        // What was read before still stands for what it was.
        let (at, digest) = before.map_or((Instant::now(), None), |look| (look.at, look.digest));
        return Ok(Some(Look { at, stat, digest }));
    }
    *room_bytes -= found.len();
    let mut hasher = blake3::Hasher::new();
    let mut buffer = vec![0; BUFFER_BYTES];
    let mut rest_bytes = found.len();
    while rest_bytes > 0 {
        match file.read(&mut buffer) {
            Ok(0) => break,
            Ok(bytes) => {
                hasher.update(&buffer[..bytes]);
                rest_bytes = rest_bytes.saturating_sub(bytes as u64);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(Some(Look { at: Instant::now(), stat, digest: Some(hasher.finalize()) }))
}
