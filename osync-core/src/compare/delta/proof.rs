//! One digest over how a file was put together, made at both ends.
//!
//! The source folds in what it has in its file, the sink what it writes: literal bytes as they are, a block
//! taken from the basis by its keyed hash. Equal digests mean equal files, without hashing a byte twice.

use crate::compare::delta::sums::{Id, Key};
use crate::model::digest::{Digest, Hasher};

/// Goes before a block: says that a hash follows, and no literal bytes.
const BLOCK: &[u8] = b"block";

/// The digest of a file so far.
#[derive(Debug, Clone)]
pub struct Proof {
    hasher: Hasher,
}

impl Proof {
    /// Of a transfer with this key.
    #[must_use]
    pub fn new(key: &Key) -> Self {
        let mut hasher = Hasher::default();
        hasher.update(key);
        Self { hasher }
    }

    /// The next bytes of the file.
    pub fn literal(&mut self, bytes: &[u8]) {
        self.hasher.update(bytes);
    }

    /// The next block of the file, by its hash.
    pub fn block(&mut self, id: &Id) {
        self.hasher.update(BLOCK);
        self.hasher.update(id);
    }

    /// The digest of the whole.
    #[must_use]
    pub fn finish(self) -> Digest {
        self.hasher.finish()
    }
}
