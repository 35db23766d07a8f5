//! Files that a sink puts together from an older version, or that it lets grow.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::compare::delta::proof::Proof;
use crate::compare::delta::samples;
use crate::compare::delta::sums::{BLOCK_BYTES_MAX, BLOCKS_MAX, Id, Key, SUM_BYTES, Sum};
use crate::model::digest::{Checksum, Digest};
use crate::model::metadata::{Metadata, Stamp};
use crate::model::rel_path::RelPath;
use crate::model::work_id::WorkId;
use crate::ports::sink::{Basis, Sink, SinkError, StagedFile};
use crate::protocol::sink::task::Finished;
use crate::runtime::write::{Staging, breach};
use crate::wire::message::{self, Message};

/// Shorter versions are not built upon: sending costs no more than asking.
const BASIS_BYTES_MIN: u64 = 128 * 1024;
/// Versions that are built upon at once; further files are sent whole. 4 MiB of hashes each at the most.
const BASES_MAX: usize = 16;
/// What may be asked to be signed at once, in bytes: a few milliseconds.
const SIGN_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// The older version of one file, held open.
pub(super) struct Base {
    basis: Arc<dyn Basis>,
    first: (Metadata, Stamp),
    key: Key,
    signed: Mutex<Signed>,
}

/// What has been said of it.
#[derive(Default)]
struct Signed {
    block_bytes: u32,
    ids: Vec<Id>,
}

impl Base {
    fn size_bytes(&self) -> u64 {
        self.first.0.kind.size_bytes()
    }

    fn signed(&self) -> MutexGuard<'_, Signed> {
        // Hashes are appended whole, so a panic elsewhere leaves nothing half done.
        self.signed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether `first` is the next block to be signed, and blocks are as long as before.
    fn goes_on_at(&self, first: u32, block_bytes: u32) -> bool {
        let signed = self.signed();
        signed.ids.len() == first as usize
            && (signed.ids.is_empty() || signed.block_bytes == block_bytes)
    }

    /// Whether it has held still since it was opened.
    fn is_still(&self) -> Result<bool, SinkError> {
        Ok(self.basis.metadata()? == self.first)
    }
}

/// The older versions that all writers of a sink build upon: one writer signs what another copies.
#[derive(Clone, Default)]
pub struct Bases(Arc<Mutex<HashMap<WorkId, Arc<Base>>>>);

impl std::fmt::Debug for Bases {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Bases").field(&self.bases().len()).finish()
    }
}

impl Bases {
    fn bases(&self) -> MutexGuard<'_, HashMap<WorkId, Arc<Base>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn get(&self, work: WorkId) -> Option<Arc<Base>> {
        self.bases().get(&work).cloned()
    }

    /// Keeps `base` if there is room; returns whether there was.
    fn insert(&self, work: WorkId, base: Arc<Base>) -> bool {
        let mut bases = self.bases();
        if bases.len() >= BASES_MAX && !bases.contains_key(&work) {
            return false;
        }
        bases.insert(work, base);
        true
    }

    pub(super) fn remove(&self, work: WorkId) {
        self.bases().remove(&work);
    }

    /// Forgets all: their session is over.
    pub(super) fn clear(&self) {
        self.bases().clear();
    }
}

/// A large file on its way, from the first that was heard of it.
pub(super) struct Staged {
    pub(super) path: RelPath,
    /// The version being written, once it has been opened.
    pub(super) file: Option<Box<dyn StagedFile>>,
    pub(super) content: Content,
    pub(super) offset_bytes: u64,
}

/// Where the bytes of a file come from, with the digest over them.
pub(super) enum Content {
    /// From the source.
    Whole(Checksum),
    /// What is appended, from the source.
    Extended(Checksum),
    /// Some from the source, some from the basis.
    Patched(Box<Patch>),
    /// All from the basis; it is asked for nothing else so far.
    Kept(Option<Arc<Base>>),
}

impl Content {
    /// The next bytes came from the source.
    pub(super) fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Whole(checksum) | Self::Extended(checksum) => checksum.update(bytes),
            Self::Patched(patch) => patch.proof.literal(bytes),
            Self::Kept(_) => {}
        }
    }

    /// Before `offset_bytes` comes a hole of `hole_bytes`; returns whether there can be one.
    pub(super) fn skip(&mut self, hole_bytes: u64, offset_bytes: u64) -> bool {
        match self {
            _ if hole_bytes == 0 => true,
            // Behind a hole the place of what follows is part of the content.
            Self::Whole(checksum) => {
                checksum.update(&offset_bytes.to_le_bytes());
                true
            }
            Self::Extended(_) | Self::Patched(_) | Self::Kept(_) => false,
        }
    }

    /// The digest of the file at `path`, or its proof.
    pub(super) fn finish(self, path: &RelPath) -> Result<Digest, SinkError> {
        let stale = || SinkError::Stale { path: path.clone() };
        let (base, proof) = match self {
            Self::Whole(checksum) | Self::Extended(checksum) => {
                return Ok(checksum.finish());
            }
            Self::Patched(built) => (built.base, built.proof),
            Self::Kept(base) => {
                let base = base.ok_or_else(stale)?;
                let mut proof = Proof::new(&base.key);
                for id in &base.signed().ids {
                    proof.block(id);
                }
                (base, proof)
            }
        };
        // What was copied is what was signed only if nobody wrote to it in between.
        if base.is_still()? { Ok(proof.finish()) } else { Err(stale()) }
    }
}

/// A file that is put together from a basis.
pub(super) struct Patch {
    base: Arc<Base>,
    proof: Proof,
}

impl Patch {
    pub(super) fn new(base: Arc<Base>) -> Self {
        Self { proof: Proof::new(&base.key), base }
    }
}

/// Looks which version of the file is there, and keeps it open.
pub(super) fn inquire(
    sink: &dyn Sink,
    work: WorkId,
    path: RelPath,
    key: Key,
    staging: &mut Staging,
) -> Finished {
    let found = open_basis(sink, &path, key).unwrap_or_else(|error| {
        log::debug!("{path} is not built upon: {error}");
        None
    });
    let found = found.filter(|(base, _)| staging.bases.insert(work, Arc::clone(base)));
    let (base, basis) = found.unzip();
    let offset_bytes = base.as_ref().map_or(0, |base| base.size_bytes());
    let staged = Staged { path, file: None, content: Content::Kept(base), offset_bytes };
    staging.files.insert(work, staged);
    Finished { replies: vec![Message::Basis { work, basis }], breach: None }
}

fn open_basis(
    sink: &dyn Sink,
    path: &RelPath,
    key: Key,
) -> Result<Option<(Arc<Base>, message::Basis)>, SinkError> {
    let Some(basis) = sink.basis(path)? else { return Ok(None) };
    let first = basis.metadata()?;
    let size_bytes = first.0.kind.size_bytes();
    if size_bytes < BASIS_BYTES_MIN {
        return Ok(None);
    }
    let is_shared = basis.is_shared()?;
    let samples = samples::digest(&key, size_bytes, |at, buffer| basis.read_at(at, buffer))?;
    Ok(samples.map(|samples| {
        let answer = message::Basis { size_bytes, is_shared, samples };
        (Arc::new(Base { basis, first, key, signed: Mutex::default() }), answer)
    }))
}

/// Sums of the next blocks of the basis.
pub(super) fn sign(
    work: WorkId,
    block_bytes: u32,
    first: u32,
    count: u32,
    bases: &Bases,
) -> Finished {
    let reply = |message| Finished { replies: vec![message], breach: None };
    let Some(base) = bases.get(work) else { return reply(Message::Basis { work, basis: None }) };
    let size_bytes = base.size_bytes();
    let blocks = size_bytes.div_ceil(u64::from(block_bytes.max(1)));
    if !base.goes_on_at(first, block_bytes)
        || !(1..=BLOCK_BYTES_MAX).contains(&block_bytes)
        || u64::from(block_bytes) * u64::from(count) > SIGN_BYTES_MAX
        || blocks > BLOCKS_MAX
        || u64::from(first) + u64::from(count) > blocks
    {
        return breach("blocks that are not there to be signed");
    }
    let mut ids = Vec::with_capacity(count as usize);
    let mut sums = Vec::with_capacity(count as usize * SUM_BYTES);
    let mut block = vec![0; block_bytes as usize];
    for index in first..first + count {
        let start = u64::from(index) * u64::from(block_bytes);
        let length = (size_bytes - start).min(u64::from(block_bytes));
        let length = usize::try_from(length).expect("a block");
        if !read_exactly(base.basis.as_ref(), start, &mut block[..length]) {
            return reply(Message::Basis { work, basis: None });
        }
        let sum = Sum::of(&base.key, &block[..length]);
        ids.push(sum.id);
        sums.extend_from_slice(&sum.to_bytes());
    }
    // Not before: whoever copies must not wait for whoever signs.
    let mut signed = base.signed();
    signed.block_bytes = block_bytes;
    signed.ids.extend(ids);
    reply(Message::Sums { work, sums })
}

fn read_exactly(basis: &dyn Basis, start: u64, buffer: &mut [u8]) -> bool {
    let mut filled = 0;
    while filled < buffer.len() {
        match basis.read_at(start + filled as u64, &mut buffer[filled..]) {
            Ok(0) | Err(_) => return false,
            Ok(count) => filled += count,
        }
    }
    true
}

/// Appends blocks of the basis to the new version.
pub(super) fn copy(
    work: WorkId,
    offset_bytes: u64,
    first: u32,
    count: u32,
    staging: &mut Staging,
) -> Finished {
    let Some(staged) = staging.files.get_mut(&work) else { return Finished::default() };
    let (Some(file), Content::Patched(patch)) = (&mut staged.file, &mut staged.content) else {
        return breach("blocks for a file that has no basis");
    };
    let Patch { base, proof } = &mut **patch;
    if staged.offset_bytes != offset_bytes {
        return breach("blocks that leave a gap");
    }
    let signed = base.signed();
    let end = first as usize + count as usize;
    let Some(ids) = signed.ids.get(first as usize..end) else {
        return breach("blocks that were not signed");
    };
    for id in ids {
        proof.block(id);
    }
    let block_bytes = u64::from(signed.block_bytes);
    drop(signed);
    let start = u64::from(first) * block_bytes;
    let bytes = (base.size_bytes() - start).min(u64::from(count) * block_bytes);
    staged.offset_bytes += bytes;
    match file.copy(base.basis.as_ref(), start, bytes) {
        Ok(()) => Finished::default(),
        Err(error) => staging.fail(work, error),
    }
}

/// Lets what follows be appended to the basis itself.
pub(super) fn extend(
    sink: &dyn Sink,
    work: WorkId,
    size_bytes: u64,
    staging: &mut Staging,
) -> Finished {
    let Some(staged) = staging.files.get_mut(&work) else { return Finished::default() };
    let Content::Kept(Some(base)) = &staged.content else {
        return breach("a file that is not there to be extended");
    };
    let opened = match base.is_still() {
        Ok(true) if base.size_bytes() == size_bytes => {
            sink.extend(&staged.path, base.basis.as_ref())
        }
        Ok(_) => Err(SinkError::Stale { path: staged.path.clone() }),
        Err(error) => Err(error),
    };
    match opened {
        Ok(file) => {
            staged.file = Some(file);
            staged.content = Content::Extended(Checksum::default());
            Finished::default()
        }
        Err(error) => staging.fail(work, error),
    }
}
