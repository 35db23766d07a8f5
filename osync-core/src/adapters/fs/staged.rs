//! A file that arrives in pieces, on its way into the tree.

use std::any::Any;
use std::sync::Arc;

use crate::adapters::fs::basis::FileBasis;
use crate::adapters::fs::file_version::FileVersion;
use crate::adapters::fs::tree::Tree;
use crate::model::metadata::Metadata;
use crate::model::rel_path::RelPath;
use crate::ports::sink::{Basis, SinkError, StagedFile, copy_bytes};

/// One version of it.
#[derive(Debug)]
pub(super) struct Staged {
    // Before the tree: its place in the private directory goes first.
    pub(super) version: FileVersion,
    pub(super) tree: Arc<Tree>,
    pub(super) path: RelPath,
}

impl StagedFile for Staged {
    fn append(&mut self, chunk: &[u8]) -> Result<(), SinkError> {
        let appended = self.version.append(chunk);
        appended.map_err(|errno| self.tree.failed("write", &self.path, errno))
    }

    fn skip(&mut self, bytes: u64) -> Result<(), SinkError> {
        let skipped = self.version.skip(bytes);
        skipped.map_err(|errno| self.tree.failed("write", &self.path, errno))
    }

    fn copy(&mut self, basis: &dyn Basis, offset_bytes: u64, bytes: u64) -> Result<(), SinkError> {
        let mut shared_bytes = 0;
        let any: &dyn Any = basis;
        if let Some(basis) = any.downcast_ref::<FileBasis>() {
            let shared = basis.share(offset_bytes, bytes, self.version.descriptor());
            shared_bytes = shared.map_err(|errno| self.tree.failed("write", &self.path, errno))?;
        }
        copy_bytes(self, basis, offset_bytes + shared_bytes, bytes - shared_bytes)
    }

    fn commit(mut self: Box<Self>, metadata: &Metadata) -> Result<(), SinkError> {
        let Self { version, tree, path } = &mut *self;
        let metadata = tree.local(metadata);
        tree.put("write", path, |at| tree.versions.publish(version, &metadata, at))
    }
}
