//! A directory as a [`Source`].
//!
//! The tree changes behind our back, so no descriptor outlives its call, open files excepted: each path
//! is looked up anew from the root.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{self, FileType, Mode, OFlags};
use rustix::io::{self, Errno};
use rustix::process::geteuid;

use crate::adapters::fs::attributes::{AttributeReader, Holder};
use crate::adapters::fs::held::Held;
use crate::adapters::fs::metadata::{Seen, look, look_closely};
use crate::adapters::fs::names::{Listings, Names};
use crate::adapters::fs::open_file::{Known, OpenFile};
use crate::adapters::fs::root::{LISTING, PLACE, Root};
use crate::adapters::fs::{RESERVED_NAME, is_reserved};
use crate::model::attributes::Attributes;
use crate::model::fidelity::{Fidelity, Owner};
use crate::model::metadata::{Entry, Metadata, Stamp};
use crate::model::name::Name;
use crate::model::nodes::Nodes;
use crate::model::rel_path::{RelPath, RelPathError};
use crate::ports::accounts::{Accounts, Roster};
use crate::ports::source::{NamePage, Page, Source, SourceDirectory, SourceError, SourceFile};

/// For reading a regular file. Should a pipe take its place at the last moment, opening it neither
/// waits nor makes a terminal ours.
const READING: OFlags = OFlags::RDONLY
    .union(OFlags::NOFOLLOW)
    .union(OFlags::NONBLOCK)
    .union(OFlags::NOCTTY)
    .union(OFlags::CLOEXEC);

/// Names of a directory, what was found at each, and whether more follow.
type Part<T> = (Vec<(Name, T)>, bool);

/// A directory and everything below it, for reading.
///
/// Sockets and devices are left out without leave, and so is `.osync` at the root, which a sink keeps for itself.
#[derive(Debug)]
pub struct DirectorySource {
    root: Root,
    listings: Listings,
    pub(super) reader: AttributeReader,
    nodes: Nodes,
    /// What of modes is told: the set-id bits only with leave.
    mode_mask: u32,
    owners: Option<Noted>,
    has_warned: AtomicBool,
}

/// Where it is noted whom something belongs to, and who knows their names.
#[derive(Debug, Clone)]
pub(super) struct Noted {
    roster: Arc<Roster>,
    accounts: Arc<dyn Accounts>,
}

impl Noted {
    pub(super) fn note(&self, metadata: &Metadata) {
        self.roster.note(metadata, &*self.accounts);
    }
}

impl DirectorySource {
    /// Opens the directory at `root`. A symbolic link is followed here, once.
    ///
    /// # Errors
    /// [`SourceError::Io`] if there is no directory or it cannot be entered.
    pub fn open(root: &Path) -> Result<Self, SourceError> {
        let root = Root::open(root).map_err(cannot_open)?;
        let reader = AttributeReader::probe(root.descriptor());
        Ok(Self::on(root, reader))
    }

    /// As [`DirectorySource::open`], but as on a kernel without `openat2` and attributes by name.
    ///
    /// # Errors
    /// As [`DirectorySource::open`].
    #[cfg(feature = "testing")]
    pub fn open_without_shortcuts(root: &Path) -> Result<Self, SourceError> {
        let root = Root::open(root).map(Root::without_openat2).map_err(cannot_open)?;
        let reader = AttributeReader::probe(root.descriptor()).without_calls_by_name();
        Ok(Self::on(root, reader))
    }

    fn on(root: Root, reader: AttributeReader) -> Self {
        let has_warned = AtomicBool::new(false);
        let (listings, nodes) = (Listings::default(), Nodes::NONE);
        let mode_mask = mode_mask(geteuid().is_root());
        Self { root, listings, reader, nodes, mode_mask, owners: None, has_warned }
    }

    /// This source, telling of the set-id bits or not; by default it does if it is the superuser's.
    #[must_use]
    pub fn with_set_id(self, is_told: bool) -> Self {
        Self { mode_mask: mode_mask(is_told), ..self }
    }

    /// This source, telling who the owners are by `accounts`, for sinks that keep them by name.
    #[must_use]
    pub fn with_accounts(self, accounts: Arc<dyn Accounts>) -> Self {
        Self { owners: Some(Noted { roster: Arc::default(), accounts }), ..self }
    }

    /// This source, telling of sockets and devices too.
    #[must_use]
    pub fn with_devices(self) -> Self {
        Self { nodes: Nodes::ALL, ..self }
    }

    /// Runs `operation` on the directory above `path` and the name there; `None` if it finds nothing.
    fn in_parent<T>(
        &self,
        verb: &'static str,
        path: &RelPath,
        operation: impl FnOnce(BorrowedFd<'_>, &[u8]) -> io::Result<Option<T>>,
    ) -> Result<Option<T>, SourceError> {
        let Some((parent, name)) = path.split().filter(|_| !is_reserved(path)) else {
            return Ok(None);
        };
        let found = self
            .root
            .directory(&parent, PLACE)
            .and_then(|directory| operation(directory.as_fd(), name.as_bytes()));
        self.answer(verb, path, found)
    }

    /// Tells "nothing there" from "the whole tree is not there".
    pub(super) fn answer<T>(
        &self,
        verb: &'static str,
        path: &RelPath,
        found: io::Result<Option<T>>,
    ) -> Result<Option<T>, SourceError> {
        match found {
            Ok(Some(found)) => Ok(Some(found)),
            Ok(None) | Err(Errno::NOENT | Errno::NOTDIR) => {
                self.check_root()?;
                Ok(None)
            }
            Err(errno) => Err(failed(verb, path, errno)),
        }
    }

    fn check_root(&self) -> Result<(), SourceError> {
        self.root.check().map_err(|reason| SourceError::RootLost { reason })
    }

    fn open_directory(&self, directory: &RelPath) -> io::Result<OwnedFd> {
        // Listing a directory of somebody else must not fail, only leave a trace.
        match self.root.directory(directory, LISTING | OFlags::NOATIME) {
            Err(Errno::PERM) => self.root.directory(directory, LISTING),
            opened => opened,
        }
    }

    /// Leaves out what is not replicated.
    pub(super) fn known(&self, directory: &RelPath, seen: Option<Seen>) -> Option<Seen> {
        let seen = seen?;
        let is_known = self.nodes.allow(&seen.metadata.kind);
        if !is_known && !self.has_warned.swap(true, Ordering::Relaxed) {
            log::warn!(
                "sockets and devices are left out without --devices; the first was seen in {directory}"
            );
        }
        is_known.then_some(seen)
    }

    /// What is told of what was seen.
    pub(super) fn told(&self, mut seen: Seen) -> (Metadata, Stamp) {
        seen.metadata.mode &= self.mode_mask;
        self.owners.iter().for_each(|owners| owners.note(&seen.metadata));
        (seen.metadata, seen.stamp)
    }

    pub(super) fn opened(&self, path: RelPath, file: OwnedFd, known: Option<Known>) -> OpenFile {
        OpenFile::new(path, file, self.reader, self.mode_mask, self.owners.clone(), known)
    }

    /// The names of `directory` above `after` that `look` finds something at, `limit` at the most, and
    /// whether more follow.
    fn page<T>(
        &self,
        directory: &RelPath,
        after: Option<&Name>,
        limit: usize,
        look: impl Fn(BorrowedFd<'_>, &[u8], FileType) -> io::Result<Option<T>>,
    ) -> Result<Option<Part<T>>, SourceError> {
        assert!(limit > 0, "a page has room for one entry at least");
        if is_reserved(directory) {
            return Ok(None);
        }
        let failed = |errno: Errno| failed("list", directory, errno);
        let opened = self.open_directory(directory).map(Some);
        let Some(open) = self.answer("list", directory, opened)? else { return Ok(None) };
        let kept = after.and_then(|_| self.listings.get(directory, open.as_fd()));
        let is_kept = kept.is_some();
        let names = match kept {
            Some(names) => names,
            None => match names_of(directory, open.as_fd()) {
                // It was removed since it was opened.
                Err(Errno::NOENT) => return self.answer("list", directory, Ok(None)),
                names => Arc::new(names.map_err(failed)?),
            },
        };
        let mut rest = names.above(after.map(Name::as_bytes));
        let mut found = Vec::with_capacity(limit.min(rest.len()));
        while found.len() < limit
            && let Some((name, file_type)) = rest.next()
        {
            if let Some(seen) = look(open.as_fd(), name, file_type).map_err(failed)? {
                found.push((checked(directory, name)?, seen));
            }
        }
        let has_more = rest.len() > 0;
        drop(rest);
        if !has_more {
            self.listings.end(directory);
        } else if !is_kept {
            self.listings.keep(directory, open.as_fd(), &names);
        }
        // A root that was emptied and taken away must not pass for an empty one.
        if directory.is_root() && !has_more {
            self.check_root()?;
        }
        Ok(Some((found, has_more)))
    }
}

fn mode_mask(has_set_id: bool) -> u32 {
    if has_set_id { 0o7777 } else { 0o1777 }
}

fn cannot_open(source: std::io::Error) -> SourceError {
    SourceError::Io { verb: "open", path: RelPath::root(), source }
}

pub(super) fn failed(verb: &'static str, path: &RelPath, errno: Errno) -> SourceError {
    let path = path.clone();
    match errno {
        Errno::TOOBIG => SourceError::Attributes { path, bytes_max: Attributes::BYTES_MAX },
        errno => SourceError::Io { verb, path, source: errno.into() },
    }
}

impl Source for DirectorySource {
    fn fidelity(&self) -> Fidelity {
        let (attributes, nodes) = (self.reader.classes(), self.nodes);
        let set_id = self.mode_mask == mode_mask(true);
        let owner = if self.owners.is_some() { Owner::Named } else { Owner::Numbered };
        Fidelity { owner, set_id, attributes, nodes, ..Fidelity::FULL }
    }

    fn roster(&self) -> Option<Arc<Roster>> {
        self.owners.as_ref().map(|owners| Arc::clone(&owners.roster))
    }

    fn metadata(&self, path: &RelPath) -> Result<Option<(Metadata, Stamp)>, SourceError> {
        if path.is_root() {
            self.check_root()?;
            let read = |holder: Holder<'_>| self.reader.read(holder);
            let seen = look_closely(self.root.descriptor(), b".", read);
            let seen = self.answer("look at", path, seen)?;
            return Ok(seen.map(|seen| self.told(seen)));
        }
        self.in_parent("look at", path, |directory, name| {
            let read = |holder: Holder<'_>| self.reader.read(holder);
            let seen = look_closely(directory, name, read)?;
            let seen = seen.filter(|seen| self.nodes.allow(&seen.metadata.kind));
            Ok(seen.map(|seen| self.told(seen)))
        })
    }

    fn list(
        &self,
        directory: &RelPath,
        after: Option<&Name>,
        limit: usize,
    ) -> Result<Option<Page>, SourceError> {
        // In full first, where it matters whom access lists speak of.
        let read = |holder: Holder<'_>| match (&self.owners, self.reader.read(holder)) {
            (Some(_), Ok(attributes)) => Ok(attributes),
            (_, attributes) => AttributeReader::digested(attributes),
        };
        let page = self.page(directory, after, limit, |open, name, _| {
            let seen = self.known(directory, look_closely(open, name, read)?);
            Ok(seen.map(|seen| {
                let (metadata, _) = self.told(seen);
                Metadata { attributes: metadata.attributes.digested(), ..metadata }
            }))
        })?;
        Ok(page.map(|(entries, has_more)| {
            let entries = entries.into_iter().map(|(name, metadata)| Entry { name, metadata });
            Page { entries: entries.collect(), has_more }
        }))
    }

    fn names(
        &self,
        directory: &RelPath,
        after: Option<&Name>,
        limit: usize,
    ) -> Result<Option<NamePage>, SourceError> {
        let page = self.page(directory, after, limit, |open, name, file_type| match file_type {
            FileType::RegularFile | FileType::Symlink | FileType::Fifo => Ok(Some(false)),
            FileType::Directory => Ok(Some(true)),
            FileType::Socket
            | FileType::CharacterDevice
            | FileType::BlockDevice
            | FileType::Unknown => {
                let seen = self.known(directory, look(open, name)?);
                Ok(seen.map(|seen| seen.metadata.kind.is_directory()))
            }
        })?;
        Ok(page.map(|(names, has_more)| NamePage { names, has_more }))
    }

    fn open(&self, path: &RelPath) -> Result<Option<Box<dyn SourceFile>>, SourceError> {
        let file = self.in_parent("open", path, |directory, name| {
            let stat = fs::statat(directory, name, fs::AtFlags::SYMLINK_NOFOLLOW)?;
            if !is_regular(&stat) {
                return Ok(None);
            }
            let file = match open_regular(directory, name) {
                // Another kind of thing has taken its place.
                Err(Errno::LOOP | Errno::NXIO) => return Ok(None),
                file => file?,
            };
            Ok(is_regular(&fs::fstat(&file)?).then_some(file))
        })?;
        Ok(file
            .map(|file| -> Box<dyn SourceFile> { Box::new(self.opened(path.clone(), file, None)) }))
    }

    fn directory<'a>(
        &'a self,
        directory: &RelPath,
    ) -> Result<Option<Box<dyn SourceDirectory + 'a>>, SourceError> {
        if is_reserved(directory) {
            return Ok(None);
        }
        let found = self.root.directory(directory, PLACE).map(Some);
        let found = self.answer("look at", directory, found)?;
        Ok(found.map(|found| -> Box<dyn SourceDirectory> {
            Box::new(Held::new(self, directory.clone(), found))
        }))
    }
}

fn names_of(path: &RelPath, directory: BorrowedFd<'_>) -> io::Result<Names> {
    Names::read(directory, |name| !(path.is_root() && name == RESERVED_NAME))
}

fn is_regular(stat: &fs::Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile
}

/// Opens without touching the time of the last access, where we may.
pub(super) fn open_regular(directory: BorrowedFd<'_>, name: &[u8]) -> io::Result<OwnedFd> {
    match fs::openat(directory, name, READING | OFlags::NOATIME, Mode::empty()) {
        Err(Errno::PERM) => fs::openat(directory, name, READING, Mode::empty()),
        opened => opened,
    }
}

fn checked(directory: &RelPath, name: &[u8]) -> Result<Name, SourceError> {
    Name::new(name).map_err(|source| SourceError::Path {
        directory: directory.clone(),
        source: RelPathError::Component { index: directory.components().count(), source },
    })
}
