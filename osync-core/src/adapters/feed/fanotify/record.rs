//! What the kernel writes about events, as bytes of `fanotify(7)`, in safe code.
//!
//! ```text
//! event    length u32 | version u8 | - u8 | length of this part u16 | mask u64 | - i32 | process i32 | records
//! record   type u8 | - u8 | length u16 | file system 8 | handle length u32 | handle type i32 | handle | name, 0
//! ```
//!
//! Numbers are of the machine's own byte order.

use osync_sys::handle::HANDLE_BYTES_MAX;

/// Bytes of an event before its records.
const EVENT_BYTES: usize = 24;

/// The only version there is: that of every kernel since 2.6.37.
const VERSION: u8 = 3;

/// Bytes of a record before the handle.
const RECORD_BYTES: usize = 4 + OBJECT_BYTES;

/// Bytes of an [`Object`] before the handle: file system, length, type.
const OBJECT_BYTES: usize = 16;

const TYPE_PLACE: u8 = 2;
const TYPE_OLD_PLACE: u8 = 10;
const TYPE_NEW_PLACE: u8 = 12;

/// One event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Event<'a> {
    /// What happened, as `FAN_` bits; several where the kernel has merged events.
    pub(super) mask: u64,
    /// Where it happened; for a rename, where it ended.
    pub(super) place: Option<Place<'a>>,
    /// For a rename, where it began.
    pub(super) old_place: Option<Place<'a>>,
}

/// A name in a directory; `.` for the directory itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place<'a> {
    /// The directory.
    pub(super) directory: Object<'a>,
    /// The name.
    pub(super) name: &'a [u8],
}

/// A directory as the kernel names it: file system and handle, in the record's bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Object<'a>(&'a [u8]);

/// The bytes are no events as this version of them has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the kernel's events cannot be understood")]
pub(super) struct Malformed;

impl<'a> Object<'a> {
    /// All bytes: equal for equal directories, and for no others.
    pub(super) fn key(self) -> &'a [u8] {
        self.0
    }

    /// The key of the directory with this handle on the same file system.
    pub(super) fn key_of(self, kind: i32, handle: &[u8]) -> Vec<u8> {
        let bytes = u32::try_from(handle.len()).unwrap_or(u32::MAX);
        [&self.0[..8], &bytes.to_ne_bytes(), &kind.to_ne_bytes(), handle].concat()
    }

    /// Type and bytes of the handle.
    pub(super) fn handle(self) -> (i32, &'a [u8]) {
        let kind = number::<4>(self.0, 12).map_or(0, i32::from_ne_bytes);
        (kind, &self.0[OBJECT_BYTES..])
    }
}

/// Takes the first event off `bytes`; `None` once they are used up.
pub(super) fn take<'a>(bytes: &mut &'a [u8]) -> Result<Option<Event<'a>>, Malformed> {
    if bytes.is_empty() {
        return Ok(None);
    }
    let length = u32::from_ne_bytes(number(bytes, 0).ok_or(Malformed)?) as usize;
    let head = usize::from(u16::from_ne_bytes(number(bytes, 6).ok_or(Malformed)?));
    let mask = u64::from_ne_bytes(number(bytes, 8).ok_or(Malformed)?);
    if bytes[4] != VERSION || head < EVENT_BYTES || length < head {
        return Err(Malformed);
    }
    let (event, rest) = bytes.split_at_checked(length).ok_or(Malformed)?;
    *bytes = rest;
    let mut records = &event[head..];
    let (mut place, mut old_place) = (None, None);
    while !records.is_empty() {
        let length = usize::from(u16::from_ne_bytes(number(records, 2).ok_or(Malformed)?));
        let (record, after) = records.split_at_checked(length.max(4)).ok_or(Malformed)?;
        match record[0] {
            TYPE_PLACE | TYPE_NEW_PLACE => place = Some(read_place(record)?),
            TYPE_OLD_PLACE => old_place = Some(read_place(record)?),
            _ => {}
        }
        records = after;
    }
    Ok(Some(Event { mask, place, old_place }))
}

fn read_place(record: &[u8]) -> Result<Place<'_>, Malformed> {
    let length = u32::from_ne_bytes(number(record, 12).ok_or(Malformed)?) as usize;
    if length > HANDLE_BYTES_MAX || RECORD_BYTES + length > record.len() {
        return Err(Malformed);
    }
    let (object, name) = record[4..].split_at(OBJECT_BYTES + length);
    let end = name.iter().position(|&byte| byte == 0).ok_or(Malformed)?;
    Ok(Place { directory: Object(object), name: &name[..end] })
}

fn number<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at + N)?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(kind: u8, handle: &[u8], name: &[u8]) -> Vec<u8> {
        let mut record = vec![kind, 0, 0, 0];
        record.extend([7; 8]);
        record.extend(u32::try_from(handle.len()).unwrap().to_ne_bytes());
        record.extend(9_i32.to_ne_bytes());
        record.extend([handle, name, &[0]].concat());
        record.resize(record.len().next_multiple_of(4), 0);
        let length = u16::try_from(record.len()).unwrap();
        record[2..4].copy_from_slice(&length.to_ne_bytes());
        record
    }

    fn event(mask: u64, records: &[Vec<u8>]) -> Vec<u8> {
        let records = records.concat();
        let length = u32::try_from(EVENT_BYTES + records.len()).unwrap();
        let mut event = length.to_ne_bytes().to_vec();
        event.extend([VERSION, 0]);
        event.extend(u16::try_from(EVENT_BYTES).unwrap().to_ne_bytes());
        event.extend(mask.to_ne_bytes());
        event.extend([0; 8]);
        event.extend(records);
        event
    }

    #[test]
    fn events_follow_each_other_with_their_places() {
        let bytes = [
            event(2, &[record(TYPE_PLACE, b"handle", b"name")]),
            event(3, &[record(TYPE_OLD_PLACE, b"h", b"a"), record(TYPE_NEW_PLACE, b"hh", b"b")]),
            event(0x4000, &[]),
        ]
        .concat();
        let mut rest = &bytes[..];

        let first = take(&mut rest).unwrap().unwrap();
        let place = first.place.unwrap();
        assert_eq!((first.mask, place.name, first.old_place), (2, &b"name"[..], None));
        assert_eq!(place.directory.handle(), (9, &b"handle"[..]));
        let second = take(&mut rest).unwrap().unwrap();
        assert_eq!(second.old_place.unwrap().name, b"a");
        assert_eq!(second.place.unwrap().name, b"b");
        let third = take(&mut rest).unwrap().unwrap();
        assert_eq!(third, Event { mask: 0x4000, place: None, old_place: None });
        assert_eq!(take(&mut rest), Ok(None));
    }

    #[test]
    fn bytes_cut_or_changed_anywhere_never_panic() {
        let whole = event(2, &[record(TYPE_PLACE, b"handle", b"name")]);
        for end in 1..whole.len() {
            assert_eq!(take(&mut &whole[..end]), Err(Malformed));
        }
        for at in 0..whole.len() {
            for byte in [0, 1, 0x7f, 0xff] {
                let mut changed = whole.clone();
                changed[at] = byte;
                if let Ok(Some(event)) = take(&mut &changed[..]) {
                    event.place.inspect(|place| assert!(place.directory.handle().1.len() <= 128));
                }
            }
        }
    }
}
