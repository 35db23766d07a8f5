//! Brings some names of one directory to a state.

use bytes::Bytes;

use crate::model::metadata::Metadata;
use crate::model::rel_path::RelPath;
use crate::ports::counters::Counters;
use crate::ports::sink::{NewFile, Sink, SinkError};
use crate::runtime::write::failure;
use crate::wire::decode;
use crate::wire::message::{Failure, State};

/// Does what a message of names says; returns what of it could not be done.
pub(super) fn put(
    sink: &dyn Sink,
    directory: &RelPath,
    decode::Put { items, own }: decode::Put,
    payload: &Bytes,
    counters: &Counters,
) -> Vec<Failure> {
    let mut failures = Vec::new();
    // Files that follow each other are written together; everything else is done in its place among them, but
    // directories come last: one that holds nothing yet is filled best.
    let mut files = Files::default();
    let mut directories = Vec::new();
    for (index, (item, content)) in (0_u32..).zip(&items) {
        let path =
            directory.join(&item.name).map_err(|_| SinkError::Stale { path: directory.clone() });
        let path = match path {
            Ok(path) => path,
            Err(error) => {
                failures.extend(failure(Some(index), Err(error)));
                continue;
            }
        };
        if let State::File(metadata) = &item.state {
            let content = &payload[content.clone()];
            files.push(index, NewFile { path, metadata, content });
        } else if item.state == State::Directory {
            directories.push((index, path));
        } else {
            files.write(sink, counters, &mut failures);
            let result = put_item(sink, &path, &item.state, counters);
            failures.extend(failure(Some(index), result));
        }
    }
    files.write(sink, counters, &mut failures);
    for (index, path) in directories {
        let result = put_item(sink, &path, &State::Directory, counters);
        failures.extend(failure(Some(index), result));
    }
    if let Some(own) = own {
        failures.extend(failure(None, set_own(sink, directory, &own)));
    }
    failures
}

/// Files of a message that are to be written together, with their places in it.
#[derive(Default)]
struct Files<'a> {
    indices: Vec<u32>,
    files: Vec<NewFile<'a>>,
}

impl<'a> Files<'a> {
    fn push(&mut self, index: u32, file: NewFile<'a>) {
        self.indices.push(index);
        self.files.push(file);
    }

    /// Writes them, and forgets them.
    fn write(&mut self, sink: &dyn Sink, counters: &Counters, failures: &mut Vec<Failure>) {
        if self.files.is_empty() {
            return;
        }
        let results = sink.write_files(&self.files);
        let files = self.indices.drain(..).zip(self.files.drain(..));
        for ((index, file), result) in files.zip(results) {
            if result.is_ok() {
                Counters::add(&counters.entries, 1);
                Counters::add(&counters.files, 1);
                Counters::add(&counters.content_bytes, file.content.len() as u64);
            }
            failures.extend(failure(Some(index), result));
        }
    }
}

/// Brings one name to a state that is none of a regular file.
fn put_item(
    sink: &dyn Sink,
    path: &RelPath,
    state: &State,
    counters: &Counters,
) -> Result<(), SinkError> {
    // Leave is given at the sink: a source cannot take it.
    let nodes = sink.fidelity().nodes;
    if !state.metadata().is_none_or(|metadata| nodes.allow(&metadata.kind)) {
        return Err(SinkError::NoLeave { path: path.clone() });
    }
    match state {
        State::Absent => {
            let was_there = sink.remove(path)?;
            Counters::add(&counters.removed, u64::from(was_there));
        }
        State::AbsentDirectory | State::AbsentOther => {
            let found = sink.metadata(path)?.map(|found| found.kind.is_directory());
            let is_unwanted = found == Some(*state == State::AbsentDirectory);
            let was_there = is_unwanted && sink.remove(path)?;
            Counters::add(&counters.removed, u64::from(was_there));
        }
        State::Directory => {
            sink.make_directory(path)?;
        }
        State::File(_) => return Err(SinkError::Stale { path: path.clone() }),
        State::Special(metadata) => sink.make_special(path, metadata)?,
        State::Kept(metadata) => {
            let found = sink.metadata(path)?;
            if !found.is_some_and(|found| found.may_become(metadata)) {
                return Err(SinkError::Stale { path: path.clone() });
            }
            sink.set_metadata(path, metadata)?;
        }
        State::Linked { metadata, to } => sink.link(path, to, metadata)?,
    }
    Counters::add(&counters.entries, 1);
    Ok(())
}

/// Gives `directory` its own metadata. It may not have been made yet: another writer does the directory above.
pub(super) fn set_own(
    sink: &dyn Sink,
    directory: &RelPath,
    own: &Metadata,
) -> Result<(), SinkError> {
    match sink.set_metadata(directory, own) {
        Err(SinkError::Stale { .. }) => {
            sink.make_directory(directory)?;
            sink.set_metadata(directory, own)
        }
        result => result,
    }
}
