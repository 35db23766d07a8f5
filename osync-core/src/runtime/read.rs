//! Carries out the jobs of a source's machine: listings here, looks in `look`, contents in `content`.

use std::time::Instant;

use crate::compare::listing;
use crate::model::metadata::{Entry, Metadata};
use crate::model::name::Name;
use crate::model::nodes::Nodes;
use crate::model::rel_path::RelPath;
use crate::ports::source::{NamePage, Page, Source, SourceError};
use crate::protocol::source::job::{Done, Doubt, Job, JobError, Listed};
use crate::runtime::content::{self, Limits, OpenFile};
use crate::runtime::delta_read::{self, Search, SinkVersion};
use crate::runtime::look::{chain, look};
use crate::runtime::told::Told;
use crate::runtime::waiting::Waiting;

/// Does `job` on `source`, whose `waiting` says how much at once. `open` is the file of the same piece of
/// work, kept between its chunks.
pub fn perform(
    source: &dyn Source,
    waiting: &Waiting,
    job: &Job,
    open: &mut Option<Box<OpenFile>>,
    clock: impl Fn() -> Instant,
) -> Done {
    match job.nodes() {
        Nodes::ALL => perform_on(source, waiting, job, open, clock),
        nodes => perform_on(&Told { source, nodes }, waiting, job, open, clock),
    }
}

fn perform_on(
    source: &dyn Source,
    waiting: &Waiting,
    job: &Job,
    open: &mut Option<Box<OpenFile>>,
    clock: impl Fn() -> Instant,
) -> Done {
    match job {
        Job::List { directory, after, entries_max, fidelity, doubt } => Done::Listed(
            list(source, waiting, directory, after.as_ref(), *entries_max, *fidelity, *doubt)
                .map_err(job_error),
        ),
        Job::Names { directory, after, names_max, .. } => {
            Done::Named(source.names(directory, after.as_ref(), *names_max).map_err(job_error))
        }
        Job::Look {
            directory,
            names,
            inline_bytes_max,
            takes_linked,
            batch_bytes_max,
            missing,
            ..
        } => {
            let limits = Limits::new(*inline_bytes_max, *batch_bytes_max, *takes_linked, *missing);
            Done::Looked(look(source, waiting, directory, names, &limits, clock).map_err(job_error))
        }
        Job::Stat { path, moved_from, .. } => {
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
        Job::Weigh { path, basis, key, block_bytes, may_extend, holds_back } => {
            let basis = SinkVersion { basis, key, block_bytes: *block_bytes };
            let weighed = delta_read::weigh(source, path, &basis, *may_extend, *holds_back, open);
            Done::Weighed(weighed.map_err(job_error))
        }
        Job::Tail { path, chunk_bytes_max } => {
            let piece = delta_read::read_tail(source, path, *chunk_bytes_max, open, clock);
            Done::Read(piece.map_err(job_error))
        }
        Job::Match { path, sums, chunk_bytes_max, gives_up } => {
            let how = Search { sums, literal_bytes_max: *chunk_bytes_max, gives_up: *gives_up };
            Done::Matched(delta_read::search(source, path, &how, open, clock).map_err(job_error))
        }
    }
}

#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn job_error(error: SourceError) -> JobError {
    let is_root_lost = matches!(error, SourceError::RootLost { .. });
    let is_emptied = matches!(error, SourceError::Emptied);
    JobError { text: chain(&error), is_root_lost, is_emptied }
}

fn list(
    source: &dyn Source,
    waiting: &Waiting,
    directory: &RelPath,
    after: Option<&Name>,
    entries_max: usize,
    fidelity: crate::model::fidelity::Fidelity,
    doubt: Option<Doubt>,
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
    let mut suspects = Vec::new();
    let found = if waiting.calls_for_slices(entries_max) || doubt.is_some() {
        let doubt = doubt.map(|doubt| (doubt, &mut suspects));
        list_in_slices(source, waiting, directory, after, entries_max, doubt)
    } else {
        let entries = |page: &Result<Option<Page>, _>| match page {
            Ok(Some(page)) => page.entries.len(),
            Ok(None) | Err(_) => 0,
        };
        waiting.timed(|| source.list(directory, after, entries_max), entries)
    };
    let Some(page) = found? else { return Ok(None) };
    let digest = listing::digest(own.as_ref(), &page.entries, fidelity);
    Ok(Some(Listed { suspects, own, entries: page.entries, has_more: page.has_more, digest }))
}

/// As [`Source::list`], looking at many names at once. Files that a doubt is about are named, too.
fn list_in_slices(
    source: &dyn Source,
    waiting: &Waiting,
    directory: &RelPath,
    after: Option<&Name>,
    entries_max: usize,
    doubt: Option<(Doubt, &mut Vec<Name>)>,
) -> Result<Option<Page>, SourceError> {
    let doubted = doubt.as_ref().map(|(doubt, _)| *doubt);
    let Some(NamePage { names, has_more }) = source.names(directory, after, entries_max)? else {
        return Ok(None);
    };
    let slices = waiting.in_slices(&names, |names| {
        let Some(held) = source.directory(directory)? else { return Ok(None) };
        let mut entries = Vec::with_capacity(names.len());
        let mut suspects = Vec::new();
        for (name, _) in names {
            if let Some((mut metadata, stamp)) = held.metadata(name)? {
                metadata.attributes = metadata.attributes.digested();
                if doubted.is_some_and(|doubt| doubt.is_about(&metadata, stamp.changed)) {
                    suspects.push(name.clone());
                }
                entries.push(Entry { name: name.clone(), metadata });
            }
        }
        Ok::<_, SourceError>(Some((entries, suspects)))
    });
    let mut entries = Vec::with_capacity(names.len());
    let mut found = Vec::new();
    for slice in slices {
        match slice {
            Ok(Some((slice, suspects))) => {
                entries.extend(slice);
                found.extend(suspects);
            }
            Ok(None) => return Ok(None),
            Err(error @ SourceError::RootLost { .. }) => return Err(error),
            // A listing gets by with attributes that cannot be read. What is not known to be old is suspect.
            Err(_) => {
                let page = source.list(directory, after, entries_max)?;
                if let (Some(page), Some((_, suspects))) = (&page, doubt) {
                    let files = page.entries.iter().filter(|entry| entry.metadata.kind.is_file());
                    suspects.extend(files.map(|entry| entry.name.clone()));
                }
                return Ok(page);
            }
        }
    }
    if let Some((_, suspects)) = doubt {
        *suspects = found;
    }
    // A page that is not the last has to move on, even if all of it has vanished meanwhile.
    match names.last() {
        Some((last, _)) if has_more && entries.is_empty() => {
            source.list(directory, Some(last), entries_max)
        }
        _ => Ok(Some(Page { entries, has_more })),
    }
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
