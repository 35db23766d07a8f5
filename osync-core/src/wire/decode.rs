//! Bytes to messages, for bytes nobody vouches for.

use std::ops::Range;

use serde::Deserialize;

use crate::model::account::Account;
use crate::model::attributes::{Attribute, Attributes, Class};
use crate::model::frame::Frame;
use crate::model::metadata::{Device, Entry, Kind, Metadata};
use crate::wire::message::{Answer, Closing, Envelope, Item, Message, State};
use crate::wire::{ACCOUNTS_MAX, ITEMS_MAX, MAGIC, SUMS_BYTES_MAX, TEXT_BYTES_MAX, VERSION};

/// Bytes of the sums of one block.
const SUM_BYTES: usize = 8;

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

/// The envelope of `frame`. Its payload is decoded by [`put`], [`closing`] and [`entries`].
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

/// What the payload of a `Put` holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Put {
    /// The items, and for each where in the payload its content lies.
    pub items: Vec<(Item, Range<usize>)>,
    /// The directory's own metadata.
    pub own: Option<Metadata>,
}

/// What the payload of a `Put` holds: contents, then items, then the directory's own metadata.
///
/// # Errors
/// [`DecodeError`] if they are malformed, too many, or the contents do not fill the rest of the payload.
pub fn put(payload: &[u8], items_bytes: u32, own_bytes: u32) -> Result<Put, DecodeError> {
    let items_end = payload.len().checked_sub(own_bytes as usize);
    let contents_bytes = items_end
        .and_then(|end| end.checked_sub(items_bytes as usize))
        .ok_or(DecodeError::Impossible("items longer than the payload"))?;
    let (payload, own) = payload.split_at(payload.len() - own_bytes as usize);
    let own = if own.is_empty() { None } else { Some(all_of::<Metadata>(own)?) };
    own.as_ref().map_or(Ok(()), |own| check_own(own, Form::Full))?;
    let items: Vec<Item> = all_of(&payload[contents_bytes..])?;
    if items.len() > ITEMS_MAX {
        return Err(DecodeError::Impossible("too many items"));
    }
    let mut at = 0_usize;
    let mut placed = Vec::with_capacity(items.len());
    for item in items {
        let end = at
            .checked_add(content_bytes(&item.state)?)
            .filter(|&end| end <= contents_bytes)
            .ok_or(DecodeError::Impossible("content longer than the payload"))?;
        placed.push((item, at..end));
        at = end;
    }
    if at != contents_bytes {
        return Err(DecodeError::Impossible("content shorter than the payload"));
    }
    Ok(Put { items: placed, own })
}

/// How much content belongs to an item of this state, which is checked.
fn content_bytes(state: &State) -> Result<usize, DecodeError> {
    match state {
        State::File(metadata) => {
            check_metadata(metadata, Form::Full)?;
            if !metadata.kind.is_file() {
                return Err(DecodeError::Impossible("content of something else than a file"));
            }
            usize::try_from(metadata.kind.size_bytes())
                .map_err(|_| DecodeError::Impossible("content longer than the payload"))
        }
        State::Kept(metadata) => check_metadata(metadata, Form::Full).map(|()| 0),
        State::Linked { metadata, to } => {
            check_metadata(metadata, Form::Full)?;
            if metadata.kind.is_directory() || to.is_root() {
                return Err(DecodeError::Impossible("another name of a directory"));
            }
            Ok(0)
        }
        State::Special(metadata) => {
            check_metadata(metadata, Form::Full)?;
            if metadata.kind.is_file() || metadata.kind.is_directory() {
                return Err(DecodeError::Impossible("a special file of another kind"));
            }
            Ok(0)
        }
        State::Absent | State::Directory | State::AbsentDirectory | State::AbsentOther => Ok(0),
    }
}

/// What the payload of a `Close` holds.
///
/// # Errors
/// [`DecodeError`] if it is malformed or not of a file.
pub fn closing(payload: &[u8]) -> Result<Closing, DecodeError> {
    let closing: Closing = all_of(payload)?;
    check_metadata(&closing.metadata, Form::Full)?;
    closing.own.as_ref().map_or(Ok(()), |own| check_own(own, Form::Full))?;
    if !closing.metadata.kind.is_file() {
        return Err(DecodeError::Impossible("chunks of something else than a file"));
    }
    Ok(closing)
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
    entries.iter().try_for_each(|entry| check_metadata(&entry.metadata, Form::Digests))?;
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
        Message::Listing { own, .. } => {
            own.as_ref().map_or(Ok(()), |own| check_own(own, Form::Digests))?;
            has_payload = true;
        }
        Message::Put { unpacked_bytes, .. } | Message::Chunk { unpacked_bytes, .. } => {
            unpacked_bytes.map_or(Ok(()), packed_length)?;
            has_payload = true;
        }
        Message::Close { .. } => has_payload = true,
        Message::Rename { metadata, .. } => check_metadata(metadata, Form::Digests)?,
        Message::Refused { text, .. } | Message::Answer { answer: Answer::Failed { text }, .. } => {
            check_text(text)?;
        }
        Message::InSync { named, .. } | Message::Problems { named, .. } => {
            named.iter().try_for_each(|(_, text)| check_text(text))?;
        }
        Message::Applied { failures, .. } => {
            failures.iter().try_for_each(|failure| check_text(&failure.text))?;
        }
        Message::Sums { sums, .. } => {
            if sums.len() > SUMS_BYTES_MAX || sums.len() % SUM_BYTES != 0 {
                return Err(DecodeError::Impossible("sums"));
            }
        }
        Message::Sign { block_bytes, count, .. } => {
            if *block_bytes == 0 || *count == 0 || *count as usize > SUMS_BYTES_MAX / SUM_BYTES {
                return Err(DecodeError::Impossible("blocks to be signed"));
            }
        }
        Message::Accounts { accounts } => {
            if accounts.len() > ACCOUNTS_MAX || !accounts.iter().all(Account::is_valid) {
                return Err(DecodeError::Impossible("accounts"));
            }
        }
        Message::Copy { count: 0, .. } => return Err(DecodeError::Impossible("no blocks")),
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
        | Message::TerminationAcknowledgement
        | Message::Inquire { .. }
        | Message::Basis { .. }
        | Message::Copy { .. }
        | Message::Extend { .. }
        | Message::Durable { .. } => {}
    }
    if has_payload || payload_bytes == 0 {
        Ok(())
    } else {
        Err(DecodeError::Impossible("a payload where none belongs"))
    }
}

/// How attributes are told: in full where they are to be set, as digests where they are compared.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    Full,
    Digests,
}

fn check_own(metadata: &Metadata, form: Form) -> Result<(), DecodeError> {
    if !metadata.kind.is_directory() {
        return Err(DecodeError::Impossible("a directory's metadata of another kind"));
    }
    check_metadata(metadata, form)
}

fn check_attributes(attributes: &Attributes, form: Form) -> Result<(), DecodeError> {
    let is_fine = match attributes {
        Attributes::None => true,
        Attributes::Digests(digests) => {
            let is_ascending = digests.windows(2).all(|pair| pair[0].0 < pair[1].0);
            form == Form::Digests && is_ascending && !digests.is_empty()
        }
        Attributes::Full(all) => {
            let is_ascending = all.windows(2).all(|pair| pair[0].name < pair[1].name);
            form == Form::Full
                && is_ascending
                && !all.is_empty()
                && all.iter().all(is_attribute)
                && attributes.len_bytes() <= Attributes::BYTES_MAX
        }
    };
    if is_fine { Ok(()) } else { Err(DecodeError::Impossible("attributes")) }
}

fn is_attribute(Attribute { name, value }: &Attribute) -> bool {
    name.len() <= Attribute::NAME_BYTES_MAX
        && !name.contains(&0)
        && Class::of(name).is_some()
        && value.len() <= Attribute::VALUE_BYTES_MAX
}

fn check_metadata(metadata: &Metadata, form: Form) -> Result<(), DecodeError> {
    check_attributes(&metadata.attributes, form)?;
    if metadata.mode > 0o7777 {
        return Err(DecodeError::Impossible("mode"));
    }
    if metadata.names == 0 || (metadata.kind.is_directory() && metadata.names != 1) {
        return Err(DecodeError::Impossible("number of names"));
    }
    if metadata.modified.nanoseconds > 999_999_999 {
        return Err(DecodeError::Impossible("nanoseconds"));
    }
    if let Kind::Symlink { target } = &metadata.kind
        && (target.is_empty() || target.len() > Kind::TARGET_BYTES_MAX || target.contains(&0))
    {
        return Err(DecodeError::Impossible("link target"));
    }
    if let Kind::CharacterDevice(device) | Kind::BlockDevice(device) = &metadata.kind
        && (device.major > Device::MAJOR_MAX || device.minor > Device::MINOR_MAX)
    {
        return Err(DecodeError::Impossible("device number"));
    }
    Ok(())
}

/// Refuses a length that no payload has, compressed or not.
fn packed_length(unpacked_bytes: u32) -> Result<(), DecodeError> {
    let bytes = unpacked_bytes as usize;
    if bytes > Frame::PAYLOAD_BYTES_MAX {
        return Err(DecodeError::Length { part: "unpacked payload", bytes });
    }
    Ok(())
}

fn check_text(text: &str) -> Result<(), DecodeError> {
    if text.len() > TEXT_BYTES_MAX { Err(DecodeError::Impossible("text length")) } else { Ok(()) }
}
