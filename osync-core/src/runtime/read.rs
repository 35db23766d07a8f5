//! Carries out the jobs of a source's machine: looks and listings. How contents are read is in `content`.

use std::time::Instant;

use bytes::Bytes;

use crate::compare::listing;
use crate::model::metadata::{Kind, Metadata};
use crate::model::name::Name;
use crate::model::need::Need;
use crate::model::rel_path::RelPath;
use crate::ports::source::{LeftOut, Source, SourceDirectory, SourceError};
use crate::protocol::source::job::{Done, Job, JobError, Listed, Looked, Outcome, Placed};
use crate::runtime::content::{self, Limits, OpenFile, Seen, own_metadata};
use crate::wire::encode;
use crate::wire::message::{Item, State};

/// What an encoded item takes, in bytes, about.
const ITEM_BYTES: usize = 64;

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
            Done::Read(
                content::read_piece(source, path, *chunk_bytes_max, open, clock).map_err(job_error),
            )
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
            content::read_small(directory, name, (metadata, stamp), limits, payload)?
        }
    })
}
