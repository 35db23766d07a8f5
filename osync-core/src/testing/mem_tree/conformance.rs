//! [`MemTree`] keeps the rules of both its ports.

use crate::model::rel_path::RelPath;
use crate::model::timestamp::Timestamp;
use crate::ports::sink::Sink;
use crate::ports::source::Source;
use crate::testing::conformance::sink::{self, SinkFixture};
use crate::testing::conformance::source::{self, SourceFixture};
use crate::testing::mem_tree::MemTree;

impl SourceFixture for MemTree {
    fn source(&self) -> &dyn Source {
        self
    }

    fn write(&self, path: &[u8], content: &[u8]) {
        self.write(path, content);
    }

    fn mkdir(&self, path: &[u8]) {
        self.mkdir(path);
    }

    fn symlink(&self, path: &[u8], target: &[u8]) {
        self.symlink(path, target);
    }

    fn fifo(&self, path: &[u8]) {
        self.fifo(path);
    }

    fn remove(&self, path: &[u8]) {
        assert!(self.remove(path));
    }

    fn rename(&self, from: &[u8], to: &[u8]) {
        assert!(self.rename(from, to));
    }

    fn chmod(&self, path: &[u8], mode: u32) {
        self.chmod(path, mode);
    }

    fn set_modified(&self, path: &[u8], modified: Timestamp) {
        self.set_modified(path, modified);
    }

    fn set_attribute(&self, path: &[u8], name: &[u8], value: &[u8]) -> bool {
        self.set_attribute(path, name, value);
        true
    }
}

impl SinkFixture for MemTree {
    fn sink(&self) -> &dyn Sink {
        self
    }

    fn content(&self, path: &RelPath) -> Option<Vec<u8>> {
        self.content(path.as_bytes())
    }

    fn paths(&self) -> Vec<RelPath> {
        self.snapshot().keys().cloned().collect()
    }
}

#[test]
fn a_mem_tree_is_a_source() {
    source::check(MemTree::new);
}

#[test]
fn a_mem_tree_is_a_sink() {
    sink::check(MemTree::new);
}
