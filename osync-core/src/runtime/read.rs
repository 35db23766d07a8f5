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
use crate::ports::source::{LeftOut, Source, SourceDirectory, SourceError, SourceFile};
use crate::protocol::source::job::{
    Done, FileEnd, Job, JobError, Listed, Looked, Outcome, Piece, Placed,
};
use crate::wire::encode;
use crate::wire::message::{Item, State};

/// How often a small file that changed while it was read is read again at once.
const READ_ATTEMPTS_MAX: u32 = 3;
/// What an encoded item takes, in bytes, about.
const ITEM_BYTES: usize = 64;

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
        Job::Names { directory, after, names_max } => {
            Done::Named(source.names(directory, after.as_ref(), *names_max).map_err(job_error))
        }
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
            Some((mut metadata, _)) if metadata.kind.is_directory() => {
                metadata.attributes = metadata.attributes.digested();
                Some(metadata)
            }
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
/// what the sink has there may be the newcomer, which must not be moved away. Nor must what is left out.
fn stat_moved(
    source: &dyn Source,
    path: &RelPath,
    moved_from: &RelPath,
) -> Result<Option<Metadata>, SourceError> {
    let left_out = source.left_out(moved_from)?;
    if source.metadata(moved_from)?.is_some() || left_out.directory || left_out.other {
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
    let held = source.directory(directory)?;
    let batch = if names.len() > 1 { batch_bytes_max + names.len() * ITEM_BYTES } else { 0 };
    let mut payload = Vec::with_capacity(batch);
    let mut items = Vec::with_capacity(names.len());
    let mut outcomes = Vec::with_capacity(names.len());
    // They are encoded with the items, behind all contents.
    let mut attributes_bytes = 0;
    for (name, need) in names {
        if payload.len() + attributes_bytes >= batch_bytes_max {
            outcomes.push(Outcome::Left);
            continue;
        }
        let filled_bytes = payload.len();
        let limits = Limits { inline_bytes_max, batch_bytes_max };
        let looked = look_at(held.as_deref(), name, *need, limits, &mut payload);
        let looked = looked.and_then(|seen| match seen {
            Seen::Nothing => absent(source, directory, name),
            seen @ (Seen::Item(..) | Seen::Other(_)) => Ok(seen),
        });
        outcomes.push(match looked {
            Ok(Seen::Nothing) => Outcome::LeftOut,
            Ok(Seen::Item(state, placed)) => {
                attributes_bytes += state.metadata().map_or(0, |m| m.attributes.len_bytes());
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

/// What a sink shall have where the source tells of nothing: nothing either, but what is left out stays.
fn absent(source: &dyn Source, directory: &RelPath, name: &Name) -> Result<Seen, SourceError> {
    let path = directory
        .join(name)
        .map_err(|source| SourceError::Path { directory: directory.clone(), source })?;
    let LeftOut { directory, other } = source.left_out(&path)?;
    let state = match (directory, other) {
        (false, false) => State::Absent,
        (true, false) => State::AbsentOther,
        (false, true) => State::AbsentDirectory,
        (true, true) => return Ok(Seen::Nothing),
    };
    Ok(Seen::Item(state, Placed::Absent))
}

/// How much is read at once.
#[derive(Clone, Copy)]
struct Limits {
    /// Longer files are not read.
    inline_bytes_max: u64,
    /// No further file is read that would fill the payload beyond this.
    batch_bytes_max: usize,
}

enum Seen {
    /// Nothing that the source tells of.
    Nothing,
    Item(State, Placed),
    Other(Outcome),
}

fn look_at(
    directory: Option<&dyn SourceDirectory>,
    name: &Name,
    need: Need,
    limits: Limits,
    payload: &mut Vec<u8>,
) -> Result<Seen, SourceError> {
    let found = directory.map_or(Ok(None), |directory| directory.metadata(name))?;
    let (Some(directory), Some((metadata, stamp))) = (directory, found) else {
        // A removal destroys, and only a look at the whole may decide that.
        if need != Need::Content {
            return Ok(Seen::Other(Outcome::Changed));
        }
        return Ok(Seen::Nothing);
    };
    let other = Placed::Other { content_bytes: 0 };
    Ok(match (&metadata.kind, need) {
        (Kind::Directory, _) => Seen::Item(State::Directory, Placed::Directory),
        (_, Need::Directory) => Seen::Other(Outcome::Changed),
        (_, Need::Metadata) => Seen::Item(State::Kept(metadata), other),
        (Kind::Symlink { .. } | Kind::Fifo, Need::Content) => {
            Seen::Item(State::Special(metadata), other)
        }
        (Kind::File { .. }, Need::Content) => {
            read_small(directory, name, (metadata, stamp), limits, payload)?
        }
    })
}

/// Appends the content of the file at `name`, as `seen` a moment ago, to `payload`, whole or not at all.
fn read_small(
    directory: &dyn SourceDirectory,
    name: &Name,
    seen: (Metadata, Stamp),
    limits: Limits,
    payload: &mut Vec<u8>,
) -> Result<Seen, SourceError> {
    let start = payload.len();
    let mut before = seen;
    for _ in 0..READ_ATTEMPTS_MAX {
        let size_bytes = before.0.kind.size_bytes();
        if size_bytes > limits.inline_bytes_max {
            return Ok(Seen::Other(Outcome::Large));
        }
        let length = usize::try_from(size_bytes).expect("far below the address space");
        if start > 0 && start + length > limits.batch_bytes_max {
            return Ok(Seen::Other(Outcome::Left));
        }
        let Some(mut file) = directory.open(name)? else {
            return Ok(Seen::Other(Outcome::Changed));
        };
        let filled = file.append_to(payload, 0, length)?;
        // What was seen by its name and what was read are one object that held still in between.
        if filled == length && file.metadata()? == before {
            let placed = Placed::Other { content_bytes: size_bytes };
            return Ok(Seen::Item(State::File(before.0), placed));
        }
        payload.truncate(start);
        match directory.metadata(name)? {
            Some(again) if again.0.kind.is_file() => before = again,
            Some(_) | None => return Ok(Seen::Other(Outcome::Changed)),
        }
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
    let mut chunk = Vec::with_capacity(chunk_bytes_max);
    let filled = held.file.append_to(&mut chunk, held.offset_bytes, chunk_bytes_max)?;
    let is_end = filled < chunk_bytes_max;
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
