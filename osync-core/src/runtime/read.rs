//! Carries out the jobs of a source's machine.
//!
//! A file is looked at before and after it is read; only if it held still in between is it whole.

use std::time::Instant;

use bytes::Bytes;

use crate::compare::listing;
use crate::model::digest::Hasher;
use crate::model::metadata::{Kind, Metadata, Stamp};
use crate::model::name::Name;
use crate::model::need::Need;
use crate::model::rel_path::RelPath;
use crate::ports::source::{Source, SourceError, SourceFile};
use crate::protocol::source::job::{
    Done, FileEnd, Job, JobError, Listed, Looked, Outcome, Piece, Placed,
};
use crate::wire::encode;
use crate::wire::message::{Item, State};

/// How often a small file that changed while it was read is read again at once.
const READ_ATTEMPTS_MAX: u32 = 3;

/// A large file between two chunks.
pub struct OpenFile {
    file: Box<dyn SourceFile>,
    first: (Metadata, Stamp),
    offset_bytes: u64,
    hasher: Hasher,
}

impl std::fmt::Debug for OpenFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OpenFile").field("offset_bytes", &self.offset_bytes).finish_non_exhaustive()
    }
}

/// Does `job` on `source`. `open` is the file of the same piece of work, kept between its chunks.
pub fn perform(
    source: &dyn Source,
    job: &Job,
    open: &mut Option<Box<OpenFile>>,
    clock: impl Fn() -> Instant,
) -> Done {
    match job {
        Job::List { directory, after, entries_max, fidelity } => Done::Listed(
            list(source, directory, after.as_ref(), *entries_max, *fidelity).map_err(job_error),
        ),
        Job::Look { directory, names, inline_bytes_max, batch_bytes_max } => Done::Looked(
            look(source, directory, names, *inline_bytes_max, *batch_bytes_max, clock)
                .map_err(job_error),
        ),
        Job::Stat { path, moved_from } => {
            Done::Stat(stat_moved(source, path, moved_from).map_err(job_error))
        }
        Job::Read { path, offset_bytes, chunk_bytes_max } => {
            if *offset_bytes == 0 {
                *open = None;
            }
            Done::Read(read_piece(source, path, *chunk_bytes_max, open, clock).map_err(job_error))
        }
    }
}

#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn job_error(error: SourceError) -> JobError {
    let is_root_lost = matches!(error, SourceError::RootLost { .. });
    JobError { text: chain(&error), is_root_lost }
}

/// `error` and its causes on one line.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

fn list(
    source: &dyn Source,
    directory: &RelPath,
    after: Option<&Name>,
    entries_max: usize,
    fidelity: crate::model::fidelity::Fidelity,
) -> Result<Option<Listed>, SourceError> {
    let own = if after.is_none() {
        match source.metadata(directory)? {
            Some((metadata, _)) if metadata.kind.is_directory() => Some(metadata),
            Some(_) | None => return Ok(None),
        }
    } else {
        None
    };
    let Some(page) = source.list(directory, after, entries_max)? else { return Ok(None) };
    let digest = listing::digest(own.as_ref(), &page.entries, fidelity);
    Ok(Some(Listed { own, entries: page.entries, has_more: page.has_more, digest }))
}

/// What lies at `path`, unless something has taken the place it was moved from: hints may be late, and
/// what the sink has there may be the newcomer, which must not be moved away.
fn stat_moved(
    source: &dyn Source,
    path: &RelPath,
    moved_from: &RelPath,
) -> Result<Option<Metadata>, SourceError> {
    if source.metadata(moved_from)?.is_some() {
        return Ok(None);
    }
    Ok(source.metadata(path)?.map(|(metadata, _)| metadata))
}

fn own_metadata(source: &dyn Source, directory: &RelPath) -> Result<Option<Metadata>, SourceError> {
    let found = source.metadata(directory)?;
    Ok(found.map(|(metadata, _)| metadata).filter(|metadata| metadata.kind.is_directory()))
}

fn look(
    source: &dyn Source,
    directory: &RelPath,
    names: &[(Name, Need)],
    inline_bytes_max: u64,
    batch_bytes_max: usize,
    clock: impl Fn() -> Instant,
) -> Result<Looked, SourceError> {
    let own_read_at = clock();
    let own = own_metadata(source, directory)?;
    let mut payload = Vec::with_capacity(if names.len() > 1 { batch_bytes_max } else { 0 });
    let mut items = Vec::with_capacity(names.len());
    let mut outcomes = Vec::with_capacity(names.len());
    for (name, need) in names {
        if payload.len() >= batch_bytes_max {
            outcomes.push(Outcome::Left);
            continue;
        }
        let filled_bytes = payload.len();
        let looked = directory
            .join(name)
            .map_err(|source| SourceError::Path { directory: directory.clone(), source })
            .and_then(|path| look_at(source, &path, *need, inline_bytes_max, &mut payload));
        outcomes.push(match looked {
            Ok(Seen::Item(state, placed)) => {
                items.push(Item { name: name.clone(), state });
                Outcome::Placed(placed)
            }
            Ok(Seen::Other(outcome)) => outcome,
            Err(error @ SourceError::RootLost { .. }) => return Err(error),
            Err(error) => Outcome::Failed(chain(&error)),
        });
        // What was read of a file that is no item must not shift the contents behind it.
        if !matches!(outcomes.last(), Some(Outcome::Placed(_))) {
            payload.truncate(filled_bytes);
        }
    }
    let items_bytes = encode::append_items(&items, &mut payload);
    Ok(Looked { own, own_read_at, payload: Bytes::from(payload), items_bytes, outcomes })
}

enum Seen {
    Item(State, Placed),
    Other(Outcome),
}

fn look_at(
    source: &dyn Source,
    path: &RelPath,
    need: Need,
    inline_bytes_max: u64,
    payload: &mut Vec<u8>,
) -> Result<Seen, SourceError> {
    let found = source.metadata(path)?;
    let Some((metadata, _)) = found else {
        // A removal destroys, and only a look at the whole may decide that.
        return Ok(if need == Need::Content {
            Seen::Item(State::Absent, Placed::Absent)
        } else {
            Seen::Other(Outcome::Changed)
        });
    };
    let other = Placed::Other { content_bytes: 0 };
    Ok(match (&metadata.kind, need) {
        (Kind::Directory, _) => Seen::Item(State::Directory, Placed::Directory),
        (_, Need::Directory) => Seen::Other(Outcome::Changed),
        (_, Need::Metadata) => Seen::Item(State::Kept(metadata), other),
        (Kind::Symlink { .. } | Kind::Fifo, Need::Content) => {
            Seen::Item(State::Special(metadata), other)
        }
        (Kind::File { size_bytes }, Need::Content) => {
            if *size_bytes > inline_bytes_max {
                return Ok(Seen::Other(Outcome::Large));
            }
            read_small(source, path, inline_bytes_max, payload)?
        }
    })
}

/// Appends the content of the file at `path` to `payload`, whole or not at all.
fn read_small(
    source: &dyn Source,
    path: &RelPath,
    inline_bytes_max: u64,
    payload: &mut Vec<u8>,
) -> Result<Seen, SourceError> {
    let start = payload.len();
    for _ in 0..READ_ATTEMPTS_MAX {
        let Some(mut file) = source.open(path)? else { return Ok(Seen::Other(Outcome::Changed)) };
        let before = file.metadata()?;
        let size_bytes = before.0.kind.size_bytes();
        if size_bytes > inline_bytes_max {
            return Ok(Seen::Other(Outcome::Large));
        }
        let length = usize::try_from(size_bytes).expect("far below the address space");
        payload.resize(start + length, 0);
        let mut filled = 0;
        while filled < length {
            let target = &mut payload[start + filled..];
            let count = file.read_at(filled as u64, target)?;
            if count == 0 {
                break;
            }
            filled += count;
        }
        if filled == length && file.metadata()? == before {
            let placed = Placed::Other { content_bytes: size_bytes };
            return Ok(Seen::Item(State::File(before.0), placed));
        }
        payload.truncate(start);
    }
    Ok(Seen::Other(Outcome::Unsteady))
}

fn read_piece(
    source: &dyn Source,
    path: &RelPath,
    chunk_bytes_max: usize,
    open: &mut Option<Box<OpenFile>>,
    clock: impl Fn() -> Instant,
) -> Result<Option<Piece>, SourceError> {
    if open.is_none() {
        let Some(mut file) = source.open(path)? else { return Ok(None) };
        let first = file.metadata()?;
        *open =
            Some(Box::new(OpenFile { file, first, offset_bytes: 0, hasher: Hasher::default() }));
    }
    let Some(held) = open else { return Ok(None) };
    let mut chunk = vec![0; chunk_bytes_max];
    let mut filled = 0;
    while filled < chunk.len() {
        let count = held.file.read_at(held.offset_bytes + filled as u64, &mut chunk[filled..])?;
        if count == 0 {
            break;
        }
        filled += count;
    }
    let is_end = filled < chunk.len();
    chunk.truncate(filled);
    held.hasher.update(&chunk);
    held.offset_bytes += filled as u64;
    let (metadata, stamp) = held.file.metadata()?;
    // A file that has lost its name is not worth reading on.
    if !is_end && !stamp.unlinked {
        let size_bytes = metadata.kind.size_bytes();
        return Ok(Some(Piece { size_bytes, chunk: Bytes::from(chunk), end: None }));
    }
    let OpenFile { first, offset_bytes, hasher, .. } = *open.take().expect("opened above");
    let is_steady = is_end
        && (&metadata, &stamp) == (&first.0, &first.1)
        && metadata.kind.size_bytes() == offset_bytes;
    let parent = path.parent().unwrap_or_else(RelPath::root);
    let own_read_at = clock();
    let own = own_metadata(source, &parent)?;
    let metadata = Metadata { kind: Kind::File { size_bytes: offset_bytes }, ..metadata };
    let end = FileEnd { metadata, is_steady, digest: hasher.finish(), own, own_read_at };
    Ok(Some(Piece { size_bytes: offset_bytes, chunk: Bytes::from(chunk), end: Some(end) }))
}
