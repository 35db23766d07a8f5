//! A directory of a source, found once for a few looks at its names.
//!
//! It is let go when they are done: the tree changes behind our back, so no descriptor of a directory
//! outlives its batch.

use std::cell::RefCell;

use rustix::fd::{AsFd, OwnedFd};
use rustix::io::{self, Errno};

use crate::adapters::fs::RESERVED_NAME;
use crate::adapters::fs::attributes::Holder;
use crate::adapters::fs::metadata::look_closely;
use crate::adapters::fs::open_file::Known;
use crate::adapters::fs::source::{DirectorySource, open_regular};
use crate::model::metadata::{Metadata, Stamp};
use crate::model::name::Name;
use crate::model::rel_path::RelPath;
use crate::ports::source::{SourceDirectory, SourceError, SourceFile};

/// A directory that is held open.
#[derive(Debug)]
pub(super) struct Held<'a> {
    source: &'a DirectorySource,
    path: RelPath,
    directory: OwnedFd,
    /// Of what was looked at last, which is most likely to be opened next.
    known: RefCell<Option<Known>>,
}

impl<'a> Held<'a> {
    pub(super) fn new(source: &'a DirectorySource, path: RelPath, directory: OwnedFd) -> Self {
        Self { source, path, directory, known: RefCell::new(None) }
    }

    /// The path of `name`, which is made only where it is told to somebody.
    fn entry(&self, name: &Name) -> Result<RelPath, SourceError> {
        self.path
            .join(name)
            .map_err(|source| SourceError::Path { directory: self.path.clone(), source })
    }

    fn answer<T>(
        &self,
        verb: &'static str,
        name: &Name,
        found: io::Result<Option<T>>,
    ) -> Result<Option<T>, SourceError> {
        match found {
            Ok(Some(found)) => Ok(Some(found)),
            found => self.source.answer(verb, &self.entry(name)?, found),
        }
    }
}

impl SourceDirectory for Held<'_> {
    fn metadata(&self, name: &Name) -> Result<Option<(Metadata, Stamp)>, SourceError> {
        if self.path.as_bytes().len() + 1 + name.as_bytes().len() > RelPath::BYTES_MAX {
            self.entry(name)?;
        }
        if self.path.is_root() && name.as_bytes() == RESERVED_NAME {
            return Ok(None);
        }
        let read = |holder: Holder<'_>| self.source.reader.read(holder);
        let seen = look_closely(self.directory.as_fd(), name.as_bytes(), read);
        let seen = seen.map(|seen| self.source.known(&self.path, seen));
        let seen = self.answer("look at", name, seen)?;
        *self.known.borrow_mut() = seen.as_ref().map(Known::from);
        Ok(seen.map(|seen| self.source.told(seen)))
    }

    fn open(&self, name: &Name) -> Result<Option<Box<dyn SourceFile>>, SourceError> {
        let file = match open_regular(self.directory.as_fd(), name.as_bytes()) {
            // Another kind of thing has taken its place.
            Err(Errno::LOOP | Errno::NXIO) => Ok(None),
            file => file.map(Some),
        };
        let Some(file) = self.answer("open", name, file)? else { return Ok(None) };
        Ok(Some(Box::new(self.source.opened(self.entry(name)?, file, self.known.take()))))
    }
}
