//! A source as one session may see it: without the sockets and devices that its sink does not keep.

use std::sync::Arc;

use crate::model::fidelity::Fidelity;
use crate::model::metadata::{Metadata, Stamp};
use crate::model::name::Name;
use crate::model::nodes::Nodes;
use crate::model::rel_path::RelPath;
use crate::ports::accounts::Roster;
use crate::ports::source::{
    LeftOut, NamePage, Page, Source, SourceDirectory, SourceError, SourceFile,
};

/// A [`Source`] that tells of no other sockets and devices than `nodes` allow.
pub(super) struct Told<'a> {
    pub(super) source: &'a dyn Source,
    pub(super) nodes: Nodes,
}

type Found = Option<(Metadata, Stamp)>;

impl Told<'_> {
    /// Whether the source has anything to be left out at all.
    fn leaves_out(&self) -> bool {
        let told = self.source.fidelity().nodes;
        told.common(self.nodes) != told
    }

    fn allowed(nodes: Nodes, found: Found) -> Found {
        found.filter(|(metadata, _)| nodes.allow(&metadata.kind))
    }
}

impl Source for Told<'_> {
    fn roster(&self) -> Option<Arc<Roster>> {
        self.source.roster()
    }

    fn fidelity(&self) -> Fidelity {
        let fidelity = self.source.fidelity();
        Fidelity { nodes: fidelity.nodes.common(self.nodes), ..fidelity }
    }

    fn metadata(&self, path: &RelPath) -> Result<Found, SourceError> {
        Ok(Self::allowed(self.nodes, self.source.metadata(path)?))
    }

    fn list(
        &self,
        directory: &RelPath,
        after: Option<&Name>,
        limit: usize,
    ) -> Result<Option<Page>, SourceError> {
        let mut after = after.cloned();
        loop {
            let Some(mut page) = self.source.list(directory, after.as_ref(), limit)? else {
                return Ok(None);
            };
            let last = page.entries.last().map(|entry| entry.name.clone());
            page.entries.retain(|entry| self.nodes.allow(&entry.metadata.kind));
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
        if !self.leaves_out() {
            return self.source.names(directory, after, limit);
        }
        let page = self.list(directory, after, limit)?;
        Ok(page.map(NamePage::from))
    }

    fn open(&self, path: &RelPath) -> Result<Option<Box<dyn SourceFile>>, SourceError> {
        self.source.open(path)
    }

    fn directory<'a>(
        &'a self,
        directory: &RelPath,
    ) -> Result<Option<Box<dyn SourceDirectory + 'a>>, SourceError> {
        let found = self.source.directory(directory)?;
        let nodes = self.nodes;
        Ok(found
            .map(|held| -> Box<dyn SourceDirectory> { Box::new(ToldDirectory { held, nodes }) }))
    }

    fn is_empty(&self) -> Result<bool, SourceError> {
        if !self.leaves_out() {
            return self.source.is_empty();
        }
        let page = self.list(&RelPath::root(), None, 1)?;
        Ok(page.is_none_or(|page| page.entries.is_empty()))
    }

    fn left_out(&self, path: &RelPath) -> Result<LeftOut, SourceError> {
        self.source.left_out(path)
    }
}

struct ToldDirectory<'a> {
    held: Box<dyn SourceDirectory + 'a>,
    nodes: Nodes,
}

impl SourceDirectory for ToldDirectory<'_> {
    fn metadata(&self, name: &Name) -> Result<Found, SourceError> {
        Ok(Told::allowed(self.nodes, self.held.metadata(name)?))
    }

    fn open(&self, name: &Name) -> Result<Option<Box<dyn SourceFile>>, SourceError> {
        self.held.open(name)
    }
}
