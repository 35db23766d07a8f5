//! Looks at names of one directory for one message, with the contents of small files.

use std::time::Instant;

use crate::model::metadata::{Kind, Metadata, Sighting};
use crate::model::name::Name;
use crate::model::need::Need;
use crate::model::rel_path::RelPath;
use crate::ports::source::{LeftOut, Source, SourceDirectory, SourceError};
use crate::protocol::source::job::{Looked, Missing, Outcome, Placed};
use crate::runtime::content::{Limits, Seen, own_metadata, read_small};
use crate::runtime::waiting::Waiting;
use crate::wire::encode;
use crate::wire::message::{Item, State};
use crate::wire::packing::Payload;

/// What an encoded item takes, in bytes, at most as a rule; the directory's own metadata follows the items.
const ITEM_BYTES: usize = 128;
/// So many names are thought to fill a message.
const WHOLE_NAMES_MIN: usize = 16;

/// Looks at `names` of `directory`, in as many slices as `waiting` calls for.
pub(super) fn look(
    source: &dyn Source,
    waiting: &Waiting,
    directory: &RelPath,
    names: &[(Name, Need)],
    limits: &Limits,
    clock: impl Fn() -> Instant,
) -> Result<Looked, SourceError> {
    let own_read_at = clock();
    let own = own_metadata(source, directory)?;
    let look_at_slice = |names: &[_]| look_at_all(source, directory, names, limits);
    let slices = waiting.in_slices(names, look_at_slice);
    let mut slices = slices.into_iter();
    let Batch { mut payload, mut items, mut outcomes } =
        slices.next().transpose()?.unwrap_or_default();
    for slice in slices {
        let slice = slice?;
        payload.extend_from_slice(&slice.payload);
        items.extend(slice.items);
        outcomes.extend(slice.outcomes);
    }
    // Asked after the looks: what was there by then was there when they found nothing.
    let removes = outcomes.contains(&Outcome::Placed(Placed::Absent));
    if removes && limits.missing == Missing::IsRemoved && source.is_empty()? {
        return Err(SourceError::Emptied);
    }
    let items_bytes = encode::append_items(&items, &mut payload);
    Ok(Looked { own, own_read_at, payload: Payload::from(payload), items_bytes, outcomes })
}

/// What was seen of a slice of the names asked for.
#[derive(Default)]
struct Batch {
    payload: Vec<u8>,
    items: Vec<Item>,
    outcomes: Vec<Outcome>,
}

fn look_at_all(
    source: &dyn Source,
    directory: &RelPath,
    names: &[(Name, Need)],
    limits: &Limits,
) -> Result<Batch, SourceError> {
    let held = source.directory(directory)?;
    let mut batch = Batch::default();
    // In one piece, so that a batch that is no slice need not be moved while it grows.
    if names.len() >= WHOLE_NAMES_MIN {
        batch.payload.reserve(limits.batch_bytes_max + (names.len() + 1) * ITEM_BYTES);
    }
    for (name, need) in names {
        if limits.is_full() {
            batch.outcomes.push(Outcome::Left);
            continue;
        }
        let filled_bytes = batch.payload.len();
        let looked = look_at(held.as_deref(), name, *need, limits, &mut batch.payload);
        let looked = looked.and_then(|seen| match seen {
            Seen::Nothing => absent(source, directory, name, limits.missing),
            seen @ (Seen::Item(..) | Seen::Other(_)) => Ok(seen),
        });
        batch.outcomes.push(match looked {
            Ok(Seen::Nothing) => Outcome::LeftOut,
            Ok(Seen::Item(state, placed)) => {
                batch.items.push(Item { name: name.clone(), state });
                Outcome::Placed(placed)
            }
            Ok(Seen::Other(outcome)) => outcome,
            Err(error @ SourceError::RootLost { .. }) => return Err(error),
            Err(error) => Outcome::Failed(chain(&error)),
        });
        // What was read of a file that is no item must not shift the contents behind it.
        if !matches!(batch.outcomes.last(), Some(Outcome::Placed(_))) {
            batch.payload.truncate(filled_bytes);
        }
    }
    Ok(batch)
}

/// What a sink shall have where the source tells of nothing: nothing either, but what is left out stays.
fn absent(
    source: &dyn Source,
    directory: &RelPath,
    name: &Name,
    missing: Missing,
) -> Result<Seen, SourceError> {
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
    if missing == Missing::IsTold {
        return Ok(Seen::Other(Outcome::Missing));
    }
    Ok(Seen::Item(state, Placed::Absent))
}

fn look_at(
    directory: Option<&dyn SourceDirectory>,
    name: &Name,
    need: Need,
    limits: &Limits,
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
    let other = |metadata: &Metadata| Placed::Other {
        content_bytes: 0,
        seen: Box::new(Sighting { metadata: metadata.digested(), stamp }),
    };
    let is_told = metadata.is_linked() && !limits.takes_linked;
    // They are encoded with the items, behind all contents.
    let attributes_bytes = metadata.attributes.len_bytes();
    Ok(match (&metadata.kind, need) {
        (Kind::Directory, _) => Seen::Item(State::Directory, Placed::Directory),
        (_, Need::Directory) => Seen::Other(Outcome::Changed),
        (Kind::File { .. }, Need::Content) if !is_told => {
            read_small(directory, name, (metadata, stamp), limits, payload)?
        }
        _ if !limits.try_take(attributes_bytes) => Seen::Other(Outcome::Left),
        _ if is_told => Seen::Other(Outcome::Linked(Box::new(Sighting { metadata, stamp }))),
        (_, Need::Metadata) => {
            let placed = other(&metadata);
            Seen::Item(State::Kept(metadata), placed)
        }
        (
            Kind::File { .. }
            | Kind::Symlink { .. }
            | Kind::Fifo
            | Kind::Socket
            | Kind::CharacterDevice(_)
            | Kind::BlockDevice(_),
            Need::Content,
        ) => {
            let placed = other(&metadata);
            Seen::Item(State::Special(metadata), placed)
        }
    })
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
