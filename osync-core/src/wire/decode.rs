//! Bytes to messages, for bytes nobody vouches for.

use serde::Deserialize;

use crate::model::frame::Frame;
use crate::model::metadata::{Entry, Kind, Metadata};
use crate::wire::message::{Answer, Envelope, Item, Message, State};
use crate::wire::{ITEMS_MAX, MAGIC, TEXT_BYTES_MAX, VERSION};

/// Why bytes are not a message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// The header does not begin with the magic: not osync at all.
    #[error("not an osync message")]
    Magic,
    /// Another version of the protocol.
    #[error("the peer speaks protocol version {theirs}, this program {ours}; install the same version of osync at both ends", ours = VERSION)]
    Version {
        /// What the peer speaks.
        theirs: u16,
    },
    /// Header or payload is longer than allowed.
    #[error("{bytes} bytes of {part} are more than allowed")]
    Length {
        /// Header or payload.
        part: &'static str,
        /// Its length.
        bytes: usize,
    },
    /// The bytes do not follow the format.
    #[error("malformed message: {0}")]
    Malformed(String),
    /// The format is right, and the values are impossible.
    #[error("impossible message: {0}")]
    Impossible(&'static str),
}

/// The version at the beginning of a header, whatever follows it.
///
/// # Errors
/// [`DecodeError::Magic`] if this is no header.
pub fn version(header: &[u8]) -> Result<u16, DecodeError> {
    let rest = header.strip_prefix(&MAGIC).ok_or(DecodeError::Magic)?;
    let bytes = rest.first_chunk::<2>().ok_or(DecodeError::Magic)?;
    Ok(u16::from_le_bytes(*bytes))
}

/// The envelope of `frame`. Its payload is decoded by [`items`] and [`entries`].
///
/// # Errors
/// [`DecodeError`] if it is not a message of this version in every detail.
pub fn envelope(frame: &Frame) -> Result<Envelope, DecodeError> {
    let theirs = version(&frame.header)?;
    if theirs != VERSION {
        return Err(DecodeError::Version { theirs });
    }
    for (part, bytes, bytes_max) in [
        ("header", frame.header.len(), Frame::HEADER_BYTES_MAX),
        ("payload", frame.payload.len(), Frame::PAYLOAD_BYTES_MAX),
    ] {
        if bytes > bytes_max {
            return Err(DecodeError::Length { part, bytes });
        }
    }
    let envelope: Envelope = all_of(&frame.header[MAGIC.len() + 2..])?;
    check(&envelope.message, frame.payload.len())?;
    Ok(envelope)
}

/// The items at the end of a `Put`'s payload and, for each, the range of its content before them.
///
/// # Errors
/// [`DecodeError`] if they are malformed, too many, or the contents do not fill the rest of the payload.
pub fn items(
    payload: &[u8],
    items_bytes: u32,
) -> Result<Vec<(Item, std::ops::Range<usize>)>, DecodeError> {
    let contents_bytes = payload
        .len()
        .checked_sub(items_bytes as usize)
        .ok_or(DecodeError::Impossible("items longer than the payload"))?;
    let items: Vec<Item> = all_of(&payload[contents_bytes..])?;
    if items.len() > ITEMS_MAX {
        return Err(DecodeError::Impossible("too many items"));
    }
    let mut at = 0_usize;
    let mut placed = Vec::with_capacity(items.len());
    for item in items {
        let bytes = match &item.state {
            State::File(metadata) => {
                check_metadata(metadata)?;
                if !metadata.kind.is_file() {
                    return Err(DecodeError::Impossible("content of something else than a file"));
                }
                usize::try_from(metadata.kind.size_bytes())
                    .map_err(|_| DecodeError::Impossible("content longer than the payload"))?
            }
            State::Kept(metadata) => {
                check_metadata(metadata)?;
                0
            }
            State::Special(metadata) => {
                check_metadata(metadata)?;
                if metadata.kind.is_file() || metadata.kind.is_directory() {
                    return Err(DecodeError::Impossible("a special file of another kind"));
                }
                0
            }
            State::Absent | State::Directory | State::AbsentDirectory | State::AbsentOther => 0,
        };
        let end = at
            .checked_add(bytes)
            .filter(|&end| end <= contents_bytes)
            .ok_or(DecodeError::Impossible("content longer than the payload"))?;
        placed.push((item, at..end));
        at = end;
    }
    if at != contents_bytes {
        return Err(DecodeError::Impossible("content shorter than the payload"));
    }
    Ok(placed)
}

/// The entries of a listing's payload.
///
/// # Errors
/// [`DecodeError`] if they are malformed, too many or not in strictly ascending order of their names.
pub fn entries(payload: &[u8]) -> Result<Vec<Entry>, DecodeError> {
    let entries: Vec<Entry> = all_of(payload)?;
    if entries.len() > ITEMS_MAX {
        return Err(DecodeError::Impossible("too many entries"));
    }
    if !entries.windows(2).all(|pair| pair[0].name < pair[1].name) {
        return Err(DecodeError::Impossible("entries out of order"));
    }
    entries.iter().try_for_each(|entry| check_metadata(&entry.metadata))?;
    Ok(entries)
}

/// Decodes `bytes` to the last one.
fn all_of<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, DecodeError> {
    let config = bincode::config::standard().with_limit::<{ Frame::PAYLOAD_BYTES_MAX * 2 }>();
    let (value, consumed) = bincode::serde::borrow_decode_from_slice(bytes, config)
        .map_err(|error| DecodeError::Malformed(error.to_string()))?;
    if consumed == bytes.len() {
        Ok(value)
    } else {
        Err(DecodeError::Impossible("bytes after the end"))
    }
}

fn check(message: &Message, payload_bytes: usize) -> Result<(), DecodeError> {
    let mut has_payload = false;
    match message {
        Message::Put { own, .. } | Message::Listing { own, .. } => {
            check_own(own.as_ref())?;
            has_payload = true;
        }
        Message::Chunk { .. } => has_payload = true,
        Message::Close { metadata, own, .. } => {
            check_metadata(metadata)?;
            check_own(own.as_ref())?;
            if !metadata.kind.is_file() {
                return Err(DecodeError::Impossible("chunks of something else than a file"));
            }
        }
        Message::Rename { metadata, .. } => check_metadata(metadata)?,
        Message::Refused { text, .. } | Message::Answer { answer: Answer::Failed { text }, .. } => {
            check_text(text)?;
        }
        Message::InSync { named, .. } => {
            named.iter().try_for_each(|(_, text)| check_text(text))?;
        }
        Message::Applied { failures, .. } => {
            failures.iter().try_for_each(|failure| check_text(&failure.text))?;
        }
        Message::Hello { .. }
        | Message::HelloAcknowledgement { .. }
        | Message::RegistrationRequest
        | Message::SynchronisationMessage
        | Message::RegistrationRequestAcknowledgement
        | Message::RegistrationSuccess
        | Message::RegistrationSuccessAcknowledgement { .. }
        | Message::Open { .. }
        | Message::Abort { .. }
        | Message::Compare { .. }
        | Message::Credit { .. }
        | Message::Answer { .. }
        | Message::SyncRequest { .. }
        | Message::Heartbeat
        | Message::TerminationRequest
        | Message::TerminationAcknowledgement => {}
    }
    if has_payload || payload_bytes == 0 {
        Ok(())
    } else {
        Err(DecodeError::Impossible("a payload where none belongs"))
    }
}

fn check_own(own: Option<&Metadata>) -> Result<(), DecodeError> {
    let Some(metadata) = own else { return Ok(()) };
    if !metadata.kind.is_directory() {
        return Err(DecodeError::Impossible("a directory's metadata of another kind"));
    }
    check_metadata(metadata)
}

fn check_metadata(metadata: &Metadata) -> Result<(), DecodeError> {
    if metadata.mode > 0o7777 {
        return Err(DecodeError::Impossible("mode"));
    }
    if metadata.modified.nanoseconds > 999_999_999 {
        return Err(DecodeError::Impossible("nanoseconds"));
    }
    if let Kind::Symlink { target } = &metadata.kind
        && (target.is_empty() || target.len() > Kind::TARGET_BYTES_MAX || target.contains(&0))
    {
        return Err(DecodeError::Impossible("link target"));
    }
    Ok(())
}

fn check_text(text: &str) -> Result<(), DecodeError> {
    if text.len() > TEXT_BYTES_MAX { Err(DecodeError::Impossible("text length")) } else { Ok(()) }
}
