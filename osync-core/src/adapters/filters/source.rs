//! `FilteredSource`: any source, less what a filter leaves out.

use std::sync::Arc;

use crate::adapters::filters::filter::{Chain, Filter};
use crate::model::fidelity::Fidelity;
use crate::model::metadata::{Metadata, Stamp};
use crate::model::name::Name;
use crate::model::rel_path::RelPath;
use crate::ports::accounts::Roster;
use crate::ports::source::{
    LeftOut, NamePage, Page, Source, SourceDirectory, SourceError, SourceFile,
};

/// A [`Source`] that does not tell what its [`Filter`] leaves out.
pub struct FilteredSource {
    inner: Arc<dyn Source>,
    filter: Arc<Filter>,
}

impl std::fmt::Debug for FilteredSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FilteredSource").field("filter", &self.filter).finish_non_exhaustive()
    }
}

impl FilteredSource {
    /// `inner` seen through `filter`.
    #[must_use]
    pub fn new(inner: Arc<dyn Source>, filter: Arc<Filter>) -> Self {
        Self { inner, filter }
    }
}

impl Source for FilteredSource {
    fn roster(&self) -> Option<Arc<Roster>> {
        self.inner.roster()
    }

    fn fidelity(&self) -> Fidelity {
        self.inner.fidelity()
    }

    fn metadata(&self, path: &RelPath) -> Result<Option<(Metadata, Stamp)>, SourceError> {
        let Some(found) = self.inner.metadata(path)? else { return Ok(None) };
        let is_left_out = self.filter.leaves_out(path, found.0.kind.is_directory())?;
        Ok((!is_left_out).then_some(found))
    }

    fn list(
        &self,
        directory: &RelPath,
        after: Option<&Name>,
        limit: usize,
    ) -> Result<Option<Page>, SourceError> {
        let mut after = after.cloned();
        loop {
            let Some(mut page) = self.inner.list(directory, after.as_ref(), limit)? else {
                return Ok(None);
            };
            let last = page.entries.last().map(|entry| entry.name.clone());
            self.filter.retain(directory, &mut page.entries, |entry| {
                (&entry.name, entry.metadata.kind.is_directory())
            })?;
            // A page without entries would have no end to go on from.
            if !page.entries.is_empty() || !page.has_more || last.is_none() {
                return Ok(Some(page));
            }
            after = last;
        }
    }

    fn names(
        &self,
        directory: &RelPath,
        after: Option<&Name>,
        limit: usize,
    ) -> Result<Option<NamePage>, SourceError> {
        let mut after = after.cloned();
        loop {
            let Some(mut page) = self.inner.names(directory, after.as_ref(), limit)? else {
                return Ok(None);
            };
            let last = page.names.last().map(|(name, _)| name.clone());
            self.filter
                .retain(directory, &mut page.names, |(name, is_directory)| (name, *is_directory))?;
            if !page.names.is_empty() || !page.has_more || last.is_none() {
                return Ok(Some(page));
            }
            after = last;
        }
    }

    fn directory<'a>(
        &'a self,
        directory: &RelPath,
    ) -> Result<Option<Box<dyn SourceDirectory + 'a>>, SourceError> {
        let Some(chain) = self.filter.chain(directory)? else { return Ok(None) };
        let Some(inner) = self.inner.directory(directory)? else { return Ok(None) };
        Ok(Some(Box::new(FilteredDirectory { inner, path: directory.clone(), chain })))
    }

    fn open(&self, path: &RelPath) -> Result<Option<Box<dyn SourceFile>>, SourceError> {
        if self.filter.leaves_out(path, false)? {
            return Ok(None);
        }
        self.inner.open(path)
    }

    fn left_out(&self, path: &RelPath) -> Result<LeftOut, SourceError> {
        let (ours, inner) = (self.filter.left_out(path)?, self.inner.left_out(path)?);
        Ok(LeftOut {
            directory: ours.directory || inner.directory,
            other: ours.other || inner.other,
        })
    }
}

/// A directory, with the rules that hold in it.
struct FilteredDirectory<'a> {
    inner: Box<dyn SourceDirectory + 'a>,
    path: RelPath,
    chain: Chain<'a>,
}

impl FilteredDirectory<'_> {
    fn leaves_out(&self, name: &Name, is_directory: bool) -> bool {
        // What is too long to be named fails elsewhere.
        let path = self.path.join(name);
        path.is_ok_and(|path| self.chain.leaves_out(path.as_bytes(), is_directory))
    }
}

impl SourceDirectory for FilteredDirectory<'_> {
    fn metadata(&self, name: &Name) -> Result<Option<(Metadata, Stamp)>, SourceError> {
        let Some(found) = self.inner.metadata(name)? else { return Ok(None) };
        Ok((!self.leaves_out(name, found.0.kind.is_directory())).then_some(found))
    }

    fn open(&self, name: &Name) -> Result<Option<Box<dyn SourceFile>>, SourceError> {
        if self.leaves_out(name, false) {
            return Ok(None);
        }
        self.inner.open(name)
    }
}
