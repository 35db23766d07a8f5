//! Large files of which a sink has an older version: what of it is still there, what has come at the end.

use std::time::Instant;

use crate::compare::delta::matcher::{Matcher, Want};
use crate::compare::delta::samples;
use crate::compare::delta::script::Op;
use crate::compare::delta::signature::Signature;
use crate::compare::delta::sums::Key;
use crate::model::digest::Digest;
use crate::model::metadata::{Kind, Metadata};
use crate::model::rel_path::RelPath;
use crate::ports::source::{Source, SourceError};
use crate::protocol::source::job::{FileEnd, Matched, Piece, Step, Weighed};
use crate::runtime::content::{OpenFile, has_only_grown, is_still_named, own_metadata};
use crate::runtime::reading::has_holes;
use crate::wire::message::Basis;
use crate::wire::packing::Payload;

/// Longest literal of a search, in bytes, whatever is asked for.
const LITERAL_BYTES_MAX: usize = 256 * 1024;
/// A job goes through so many bytes at the most: a few milliseconds.
const JOB_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Where little has been found in so many bytes, a fast link is the quicker way.
const GIVE_UP_BYTES: u64 = 8 * 1024 * 1024;

/// The version that the sink has.
pub(super) struct SinkVersion<'a> {
    pub(super) basis: &'a Basis,
    pub(super) key: &'a Key,
    pub(super) block_bytes: u32,
}

/// How a part of a search is done.
pub(super) struct Search<'a> {
    pub(super) sums: &'a [u8],
    pub(super) literal_bytes_max: usize,
    pub(super) gives_up: bool,
}

/// Opens the file at `path` and says whether it has only grown since the sink's version.
pub(super) fn weigh(
    source: &dyn Source,
    path: &RelPath,
    version: &SinkVersion<'_>,
    may_extend: bool,
    holds_back: bool,
    open: &mut Option<Box<OpenFile>>,
) -> Result<Option<Weighed>, SourceError> {
    *open = None;
    let Some(file) = source.open(path)? else { return Ok(None) };
    let mut held = OpenFile::new(file)?;
    let SinkVersion { basis, key, block_bytes } = *version;
    let size_bytes = held.first.0.kind.size_bytes();
    if has_holes(&mut *held.file, size_bytes)? {
        return Ok(Some(Weighed { size_bytes, has_holes: true, has_grown: false }));
    }
    let is_longer = may_extend && size_bytes > basis.size_bytes;
    let has_grown = is_longer && begins_as(&mut held, basis, key)?;
    if has_grown {
        held.reading.offset_bytes = basis.size_bytes;
        held.grown_from = Some((basis.clone(), *key));
    } else {
        let Ok(signature) = Signature::new(basis.size_bytes, block_bytes) else { return Ok(None) };
        let holds_back = holds_back && size_bytes == basis.size_bytes;
        let matcher = Matcher::new(*key, signature, LITERAL_BYTES_MAX, holds_back);
        held.matcher = Some(Box::new(matcher));
    }
    *open = Some(Box::new(held));
    Ok(Some(Weighed { size_bytes, has_holes: false, has_grown }))
}

/// The next bytes of a file that has grown, up to where it ended when it was opened: it may go on growing.
pub(super) fn read_tail(
    source: &dyn Source,
    path: &RelPath,
    chunk_bytes_max: usize,
    open: &mut Option<Box<OpenFile>>,
    clock: impl Fn() -> Instant,
) -> Result<Option<Piece>, SourceError> {
    let Some(held) = open else { return Ok(None) };
    let size_bytes = held.first.0.kind.size_bytes();
    let (offset_bytes, digest_before) = (held.reading.offset_bytes, held.digest());
    let chunk = held.reading.read(&mut *held.file, chunk_bytes_max)?.1;
    let is_end = held.reading.is_over();
    let is_part = is_part_of_one_version(source, path, held, offset_bytes, &chunk)?;
    if is_part && !is_end {
        let chunk = Payload::from(chunk);
        return Ok(Some(Piece { size_bytes, offset_bytes, chunk, end: None }));
    }
    let mut held = open.take().expect("used above");
    let is_steady = is_part && held.reading.offset_bytes == size_bytes;
    if !is_part {
        // What is appended is visible at once, so this is not.
        held.reading.offset_bytes = offset_bytes;
        let end = end(source, path, &held, false, digest_before, clock)?;
        let (size_bytes, chunk) = (offset_bytes, Payload::default());
        return Ok(Some(Piece { size_bytes, offset_bytes, chunk, end: Some(end) }));
    }
    let chunk = Payload::from(chunk);
    let digest = held.digest();
    let end = end(source, path, &held, is_steady, digest, clock)?;
    Ok(Some(Piece { size_bytes, offset_bytes, chunk, end: Some(end) }))
}

/// Whether `chunk`, just read at `offset_bytes`, lies behind what the sink has in one version of the file.
///
/// If the file changed since it was opened, or may have, both are looked at again, and its name.
fn is_part_of_one_version(
    source: &dyn Source,
    path: &RelPath,
    held: &mut OpenFile,
    offset_bytes: u64,
    chunk: &[u8],
) -> Result<bool, SourceError> {
    let after = held.file.metadata()?;
    if after == held.first && !held.is_fresh {
        return Ok(true);
    }
    let Some((basis, key)) = held.grown_from.clone() else { return Ok(false) };
    if !has_only_grown(&held.first, &after) || !begins_as(held, &basis, &key)? {
        return Ok(false);
    }
    let mut again = Vec::with_capacity(chunk.len());
    held.file.append_to(&mut again, offset_bytes, chunk.len())?;
    Ok(again == chunk && is_still_named(&held.first, source.metadata(path)?.as_ref()))
}

/// Whether the file begins as the sink's version, as far as samples tell.
fn begins_as(held: &mut OpenFile, basis: &Basis, key: &Key) -> Result<bool, SourceError> {
    let read = |offset, buffer: &mut [u8]| held.file.read_at(offset, buffer);
    Ok(samples::digest(key, basis.size_bytes, read)? == Some(basis.samples))
}

/// Goes on with the search, through so much of the file as takes a few milliseconds.
pub(super) fn search(
    source: &dyn Source,
    path: &RelPath,
    how: &Search<'_>,
    open: &mut Option<Box<OpenFile>>,
    clock: impl Fn() -> Instant,
) -> Result<Option<Matched>, SourceError> {
    let Some(held) = open else { return Ok(None) };
    let Some(mut matcher) = held.matcher.take() else { return Ok(None) };
    let Search { sums, literal_bytes_max, gives_up } = *how;
    if matcher.extend(sums).is_err() {
        return Ok(None);
    }
    let size_bytes = held.first.0.kind.size_bytes();
    let (mut ops, mut passed_bytes) = (Vec::new(), 0);
    let mut is_cut = false;
    let want = loop {
        let want = matcher.step(literal_bytes_max, &mut ops);
        let is_enough = passed_bytes >= JOB_BYTES_MAX || literal_bytes(&ops) >= literal_bytes_max;
        if want != Want::Bytes || is_enough {
            break want;
        }
        let rest = usize::try_from(size_bytes - held.reading.offset_bytes).unwrap_or(usize::MAX);
        let room = matcher.room(rest);
        let count =
            if room.is_empty() { 0 } else { held.file.read_at(held.reading.offset_bytes, room)? };
        if count == 0 {
            is_cut = rest > 0;
            matcher.end();
            continue;
        }
        matcher.filled(count);
        held.reading.offset_bytes += count as u64;
        passed_bytes += count;
        let (literal, copied) = matcher.balance_bytes();
        if gives_up && literal > GIVE_UP_BYTES && literal > copied {
            matcher.give_up();
        }
    };
    let steps = ops.into_iter().map(Step::from).collect();
    let wants_sums = want == Want::Sums;
    let after = held.file.metadata()?;
    if want != Want::Nothing && !after.1.unlinked {
        held.matcher = Some(matcher);
        return Ok(Some(Matched { steps, wants_sums, is_same: false, end: None }));
    }
    let held = open.take().expect("used above");
    // Where a stamp is too young to tell, only reading twice would: the file is sent whole then.
    let held_still = after == held.first && !held.is_fresh;
    let is_steady = want == Want::Nothing && !is_cut && held_still;
    let end = end(source, path, &held, is_steady, matcher.proof(), clock)?;
    let is_same = want == Want::Nothing && matcher.is_same();
    Ok(Some(Matched { steps, wants_sums, is_same, end: Some(end) }))
}

impl From<Op> for Step {
    fn from(op: Op) -> Self {
        match op {
            Op::Copy { first, count } => Self::Copy { first, count },
            Op::Literal(bytes) => Self::Literal(Payload::from(bytes)),
        }
    }
}

fn literal_bytes(ops: &[Op]) -> usize {
    let bytes = ops.iter().map(|op| match op {
        Op::Literal(bytes) => bytes.len(),
        Op::Copy { .. } => 0,
    });
    bytes.sum()
}

fn end(
    source: &dyn Source,
    path: &RelPath,
    held: &OpenFile,
    is_steady: bool,
    digest: Digest,
    clock: impl Fn() -> Instant,
) -> Result<FileEnd, SourceError> {
    let parent = path.parent().unwrap_or_else(RelPath::root);
    let own_read_at = clock();
    let own = own_metadata(source, &parent)?;
    // The time is not later than the content: what is newer in it is found again.
    let metadata = Metadata {
        kind: Kind::File { size_bytes: held.reading.offset_bytes },
        ..held.first.0.clone()
    };
    let stamp = held.first.1;
    Ok(FileEnd { metadata, stamp, is_steady, digest, own, own_read_at })
}
