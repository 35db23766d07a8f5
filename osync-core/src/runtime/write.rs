//! Carries out the tasks of a sink's machine.

use std::collections::HashMap;

use crate::compare::{diff, listing};
use crate::model::digest::{Checksum, Digest};
use crate::model::fidelity::Fidelity;
use crate::model::metadata::{Entry, Metadata};
use crate::model::name::Name;
use crate::model::rel_path::RelPath;
use crate::model::work_id::WorkId;
use crate::ports::counters::Counters;
use crate::ports::sink::{Sink, SinkError, StagedFile};
use crate::protocol::sink::task::{Action, Finished};
use crate::runtime::delta_write::{self, Bases, Content, Patch, Staged};
use crate::runtime::look::chain;
use crate::runtime::put;
use crate::wire::message::{Answer, Closing, Failure, Message, Range};
use crate::wire::{decode, encode};

/// Names of extra entries in one message, in bytes, about.
const EXTRA_BYTES_MAX: usize = 64 * 1024;

/// Files that are arriving in chunks, of one writer.
#[derive(Default)]
pub struct Staging {
    pub(super) files: HashMap<WorkId, Staged>,
    pub(super) bases: Bases,
}

impl std::fmt::Debug for Staging {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Staging").field("files", &self.files.len()).finish_non_exhaustive()
    }
}

impl Staging {
    /// Of a writer that shares `bases` with others.
    #[must_use]
    pub fn new(bases: Bases) -> Self {
        Self { files: HashMap::new(), bases }
    }

    /// Forgets all files: their session is over.
    pub fn clear(&mut self) {
        self.files.clear();
        self.bases.clear();
    }

    /// Takes out a file, with what is kept of its older version.
    pub(super) fn take(&mut self, work: WorkId) -> Option<Staged> {
        self.bases.remove(work);
        self.files.remove(&work)
    }

    /// Ends a file that failed. What is still on its way to it is of no use then.
    pub(super) fn fail(&mut self, work: WorkId, error: SinkError) -> Finished {
        self.take(work);
        applied(work, failure(None, Err(error)).into_iter().collect())
    }
}

/// Does `action` in `directory` of `sink`.
pub fn perform(
    sink: &dyn Sink,
    directory: &RelPath,
    action: Action,
    staging: &mut Staging,
    counters: &Counters,
) -> Finished {
    match action {
        Action::Put { work, payload, items_bytes, own_bytes } => {
            let unpacked = payload.unpacked_before(own_bytes);
            let decoded = unpacked
                .and_then(|payload| Ok((decode::put(&payload, items_bytes, own_bytes)?, payload)));
            match decoded {
                Ok((put, payload)) => {
                    applied(work, put::put(sink, directory, put, &payload, counters))
                }
                Err(error) => breach(&error.to_string()),
            }
        }
        Action::Open { work, path, size_bytes, from_basis } => {
            open(sink, work, path, size_bytes, from_basis, staging)
        }
        Action::Inquire { work, path, key } => delta_write::inquire(sink, work, path, key, staging),
        Action::Sign { work, block_bytes, first, count } => {
            delta_write::sign(work, block_bytes, first, count, &staging.bases)
        }
        Action::Copy { work, offset_bytes, first, count } => {
            delta_write::copy(work, offset_bytes, first, count, staging)
        }
        Action::Extend { work, size_bytes } => delta_write::extend(sink, work, size_bytes, staging),
        Action::Chunk { work, offset_bytes, payload } => match payload.unpacked() {
            Ok(payload) => chunk(work, offset_bytes, &payload, staging),
            Err(error) => breach(&error.to_string()),
        },
        Action::Close { work, payload, digest } => {
            let Some(staged) = staging.take(work) else { return Finished::default() };
            let closing = match decode::closing(&payload) {
                Ok(closing) => closing,
                Err(error) => return breach(&error.to_string()),
            };
            let result = close(sink, directory, staged, &closing, digest);
            if result.is_ok() {
                Counters::add(&counters.entries, 1);
                Counters::add(&counters.files, 1);
                Counters::add(&counters.content_bytes, closing.metadata.kind.size_bytes());
            }
            applied(work, failure(None, result).into_iter().collect())
        }
        Action::Abort { work } => match staging.take(work) {
            Some(Staged { file: Some(_), .. }) => applied(work, Vec::new()),
            Some(_) | None => Finished::default(),
        },
        Action::Compare { work, range, digest, fidelity } => {
            answer(work, compare(sink, &range, digest, fidelity, counters))
        }
        Action::Listing { work, range, own, payload, fidelity } => {
            differences(sink, work, &range, own.as_ref(), &payload, fidelity)
        }
        Action::Rename { work, from, to, metadata } => {
            let result = rename(sink, &from, &to, &metadata);
            Counters::add(&counters.renamed, u64::from(result.is_ok()));
            applied(work, failure(None, result).into_iter().collect())
        }
        // Done already, when the task was handed out.
        Action::Learn { .. } | Action::Nothing => Finished::default(),
    }
}

fn open(
    sink: &dyn Sink,
    work: WorkId,
    path: RelPath,
    size_bytes: u64,
    from_basis: bool,
    staging: &mut Staging,
) -> Finished {
    let content = if from_basis {
        match staging.bases.get(work) {
            Some(base) => Content::Patched(Box::new(Patch::new(base))),
            None => return staging.fail(work, SinkError::Stale { path }),
        }
    } else {
        Content::Whole(Checksum::default())
    };
    match sink.stage(&path, size_bytes) {
        Ok(file) => {
            let staged = Staged { path, file: Some(file), content, offset_bytes: 0 };
            staging.files.insert(work, staged);
            Finished::default()
        }
        Err(error) => staging.fail(work, error),
    }
}

fn chunk(work: WorkId, offset_bytes: u64, bytes: &[u8], staging: &mut Staging) -> Finished {
    // A file that has failed was confirmed as such; what is still on its way to it is of no use.
    let Some(staged) = staging.files.get_mut(&work) else { return Finished::default() };
    let Some(file) = &mut staged.file else { return breach("a chunk of a file that is not open") };
    let Some(hole_bytes) = offset_bytes.checked_sub(staged.offset_bytes) else {
        return breach("a chunk out of order");
    };
    let end_bytes = offset_bytes.checked_add(bytes.len() as u64);
    let (Some(end_bytes), true) = (end_bytes, staged.content.skip(hole_bytes, offset_bytes)) else {
        return breach("a hole where there can be none");
    };
    staged.content.update(bytes);
    staged.offset_bytes = end_bytes;
    match skip(file.as_mut(), hole_bytes).and_then(|()| file.append(bytes)) {
        Ok(()) => Finished::default(),
        Err(error) => staging.fail(work, error),
    }
}

/// Appends a hole, if there is one.
fn skip(file: &mut dyn StagedFile, bytes: u64) -> Result<(), SinkError> {
    if bytes == 0 { Ok(()) } else { file.skip(bytes) }
}

fn close(
    sink: &dyn Sink,
    directory: &RelPath,
    staged: Staged,
    Closing { metadata, own }: &Closing,
    expected: Digest,
) -> Result<(), SinkError> {
    let Staged { path, mut file, content, offset_bytes } = staged;
    let size_bytes = metadata.kind.size_bytes();
    let hole_bytes = size_bytes.checked_sub(offset_bytes);
    let may_have_hole = matches!(content, Content::Whole(_));
    let Some(hole_bytes) = hole_bytes.filter(|&bytes| bytes == 0 || may_have_hole) else {
        return Err(SinkError::Stale { path });
    };
    let is_extended = matches!(content, Content::Extended(_));
    let actual = content.finish(&path)?;
    if actual != expected {
        return Err(SinkError::DigestMismatch { path, expected, actual });
    }
    if let Some(file) = &mut file {
        skip(file.as_mut(), hole_bytes)?;
    }
    match file {
        // Its time says that it is not proven yet.
        Some(_) if is_extended => {}
        Some(file) => file.commit(metadata)?,
        // It is what it was, as has been proven; a new version alone gets rid of names that are too many.
        None => match sink.metadata(&path)? {
            Some(found) if found.names <= metadata.names => sink.set_metadata(&path, metadata)?,
            Some(_) | None => return Err(SinkError::Stale { path }),
        },
    }
    own.as_ref().map_or(Ok(()), |own| put::set_own(sink, directory, own))
}

fn rename(
    sink: &dyn Sink,
    from: &RelPath,
    to: &RelPath,
    metadata: &Metadata,
) -> Result<(), SinkError> {
    let found = sink.metadata(from)?;
    // A directory's time tells it from one that has taken its name since: the message may be late.
    let is_it = found
        .is_some_and(|found| (&found.kind, found.modified) == (&metadata.kind, metadata.modified));
    if is_it { sink.rename(from, to) } else { Err(SinkError::Stale { path: from.clone() }) }
}

/// A directory's own metadata, where the part is its first, and its entries.
type Found = (Option<Metadata>, Vec<Entry>);

/// The sink's own listing of `range`, with the directory's own metadata where the range is its first.
fn list(sink: &dyn Sink, range: &Range) -> Result<Option<Found>, SinkError> {
    let own = match (&range.after, sink.metadata(&range.directory)?) {
        (_, Some(found)) if !found.kind.is_directory() => return Ok(None),
        (_, None) => return Ok(None),
        (None, found) => found,
        (Some(_), Some(_)) => None,
    };
    let entries = sink.list(&range.directory, range.after.as_ref(), range.until.as_ref())?;
    Ok(entries.map(|entries| (own, entries)))
}

fn compare(
    sink: &dyn Sink,
    range: &Range,
    expected: Digest,
    fidelity: Fidelity,
    counters: &Counters,
) -> Result<Answer, SinkError> {
    let Some((own, entries)) = list(sink, range)? else { return Ok(Answer::Missing) };
    if listing::digest(own.as_ref(), &entries, fidelity) == expected {
        Counters::add(&counters.directories_equal, 1);
        return Ok(Answer::Equal);
    }
    Ok(Answer::Differs)
}

fn differences(
    sink: &dyn Sink,
    work: WorkId,
    range: &Range,
    own: Option<&Metadata>,
    payload: &[u8],
    fidelity: Fidelity,
) -> Finished {
    let mut theirs = match decode::entries(payload) {
        Ok(entries) => entries,
        Err(error) => return breach(&error.to_string()),
    };
    let (our_own, ours) = match list(sink, range) {
        Ok(Some(found)) => found,
        Ok(None) => return answer(work, Ok(Answer::Missing)),
        Err(error) => return answer(work, Err(error)),
    };
    let mut own = own.cloned();
    let told = theirs.iter_mut().map(|entry| &mut entry.metadata).chain(&mut own);
    told.for_each(|metadata| sink.settle(metadata));
    let difference = diff::diff(&theirs, &ours, fidelity);
    let own = own.map(|own| fidelity.masked(&own)) != our_own.map(|own| fidelity.masked(&own));
    let mut extras = parts(difference.extra);
    let last = extras.pop().unwrap_or_default();
    let message = |own, wanted, extra, is_last| Message::Answer {
        work,
        answer: Answer::Entries { own, wanted, extra, is_last },
    };
    let mut replies: Vec<Message> =
        extras.into_iter().map(|extra| message(false, Vec::new(), extra, false)).collect();
    replies.push(message(own, difference.wanted, last, true));
    Finished { replies, breach: None }
}

/// Cuts `names` into parts that fit a message.
fn parts(names: Vec<Name>) -> Vec<Vec<Name>> {
    let mut parts = vec![Vec::new()];
    let mut bytes = 0;
    for name in names {
        bytes += name.as_bytes().len() + 2;
        if bytes > EXTRA_BYTES_MAX {
            bytes = 0;
            parts.push(Vec::new());
        }
        if let Some(part) = parts.last_mut() {
            part.push(name);
        }
    }
    parts
}

pub(super) fn failure(item: Option<u32>, result: Result<(), SinkError>) -> Option<Failure> {
    let error = result.err()?;
    let (is_stale, is_target) = (error.is_stale(), error.is_of_target());
    Some(Failure { item, is_stale, is_target, text: encode::text(&chain(&error)) })
}

fn answer(work: WorkId, result: Result<Answer, SinkError>) -> Finished {
    let answer =
        result.unwrap_or_else(|error| Answer::Failed { text: encode::text(&chain(&error)) });
    Finished { replies: vec![Message::Answer { work, answer }], breach: None }
}

pub(super) fn applied(work: WorkId, failures: Vec<Failure>) -> Finished {
    Finished { replies: vec![Message::Applied { work, failures }], breach: None }
}

pub(super) fn breach(text: &str) -> Finished {
    Finished { replies: Vec::new(), breach: Some(encode::text(text)) }
}
