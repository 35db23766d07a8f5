//! [`MemTree`] as a [`Source`].

use std::io;
use std::ops::{Bound, Range};

use crate::model::fidelity::Fidelity;
use crate::model::metadata::{Entry, Metadata, Stamp};
use crate::model::name::Name;
use crate::model::rel_path::RelPath;
use crate::model::timestamp::Timestamp;
use crate::ports::source::{Page, Source, SourceError, SourceFile};
use crate::testing::mem_tree::MemTree;
use crate::testing::mem_tree::state::{State, digested};

/// So many zeros, aligned to as many, are a hole.
const BLOCK_BYTES: usize = 4 * 1024;

impl MemTree {
    /// The time of the last change of anything.
    #[must_use]
    pub fn clock(&self) -> Timestamp {
        self.state().clock()
    }
}

impl Source for MemTree {
    fn fidelity(&self) -> Fidelity {
        self.fidelity
    }

    fn metadata(&self, path: &RelPath) -> Result<Option<(Metadata, Stamp)>, SourceError> {
        let state = self.state();
        check(&state, "look at", path)?;
        Ok(state.metadata(path))
    }

    fn list(
        &self,
        directory: &RelPath,
        after: Option<&Name>,
        limit: usize,
    ) -> Result<Option<Page>, SourceError> {
        assert!(limit > 0, "a page has room for one entry at least");
        let state = self.state();
        check(&state, "list", directory)?;
        let Some(object) = state.at(directory).filter(|object| object.metadata.kind.is_directory())
        else {
            return Ok(None);
        };
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let mut names = object.children.range::<Name, _>((from, Bound::Unbounded));
        let entries = names
            .by_ref()
            .take(limit)
            .map(|(name, child)| Entry {
                name: name.clone(),
                metadata: digested(&state.objects[child].metadata),
            })
            .collect();
        Ok(Some(Page { entries, has_more: names.next().is_some() }))
    }

    fn open(&self, path: &RelPath) -> Result<Option<Box<dyn SourceFile>>, SourceError> {
        let mut state = self.state();
        check(&state, "open", path)?;
        let Some(number) = state.lookup(path) else { return Ok(None) };
        let object = state.object_mut(number);
        if !object.metadata.kind.is_file() {
            return Ok(None);
        }
        object.handles += 1;
        Ok(Some(Box::new(OpenFile { tree: self.clone(), path: path.clone(), number })))
    }
}

/// An open file: its object lives on until it is dropped.
#[derive(Debug)]
struct OpenFile {
    tree: MemTree,
    path: RelPath,
    number: u64,
}

impl SourceFile for OpenFile {
    fn metadata(&mut self) -> Result<(Metadata, Stamp), SourceError> {
        let state = self.tree.state();
        check(&state, "look at", &self.path)?;
        let object = &state.objects[&self.number];
        Ok((object.metadata.clone(), object.stamp))
    }

    fn next_data(&mut self, offset_bytes: u64) -> Result<Option<Range<u64>>, SourceError> {
        let state = self.tree.state();
        check(&state, "read", &self.path)?;
        let content = &state.objects[&self.number].content;
        let blocks = content.chunks(BLOCK_BYTES);
        let is_data = |block: &[u8]| block.iter().any(|&byte| byte != 0);
        let block_of = |offset| usize::try_from(offset).map_or(usize::MAX, |at| at / BLOCK_BYTES);
        let mut rest = blocks.enumerate().skip(block_of(offset_bytes));
        let start = rest.find(|(_, block)| is_data(block)).map(|(index, _)| index);
        let end = rest.find(|(_, block)| !is_data(block)).map(|(index, _)| index * BLOCK_BYTES);
        let data = start.map(|start| {
            let start = (start * BLOCK_BYTES) as u64;
            start.max(offset_bytes)..end.unwrap_or(content.len()) as u64
        });
        Ok(data.filter(|data| !data.is_empty()))
    }

    fn read_at(&mut self, offset_bytes: u64, buffer: &mut [u8]) -> Result<usize, SourceError> {
        let state = self.tree.state();
        check(&state, "read", &self.path)?;
        let content = &state.objects[&self.number].content;
        let from = usize::try_from(offset_bytes).map_or(content.len(), |at| at.min(content.len()));
        let count = buffer.len().min(content.len() - from);
        buffer[..count].copy_from_slice(&content[from..from + count]);
        Ok(count)
    }
}

impl Drop for OpenFile {
    fn drop(&mut self) {
        let mut state = self.tree.state();
        let object = state.object_mut(self.number);
        object.handles -= 1;
        if object.handles == 0 && object.stamp.unlinked {
            state.objects.remove(&self.number);
        }
    }
}

fn check(state: &State, verb: &'static str, path: &RelPath) -> Result<(), SourceError> {
    if state.is_root_lost {
        return Err(SourceError::RootLost { reason: "a test took it away".to_owned() });
    }
    if state.failing_reads.contains(path) {
        return Err(SourceError::Io {
            verb,
            path: path.clone(),
            source: io::Error::from(io::ErrorKind::PermissionDenied),
        });
    }
    Ok(())
}
