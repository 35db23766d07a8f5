//! Metadata as the operating system tells it, and the one place where it is applied.
//!
//! Applied in this order: owner, attributes, mode, access lists, times. Changing the owner clears the set-id
//! bits and drops capabilities, changing the mode rewrites an access list, and anything changes times.

use rustix::fd::BorrowedFd;
use rustix::fs::{
    self, AtFlags, FileType, Gid, Mode, StatxFlags, StatxTimestamp, Timespec, Timestamps,
    UTIME_OMIT, Uid,
};
use rustix::io::{Errno, Result};

use crate::adapters::fs::attributes::{AttributeReader, Changes, Holder};
use crate::adapters::fs::unlock::set_mode;
use crate::model::attributes::Attributes;
use crate::model::fidelity::{Fidelity, Owner};
use crate::model::metadata::{Device, Kind, Metadata, Stamp};
use crate::model::timestamp::Timestamp;

/// How often an entry may change its kind while it is looked at.
const LOOKS_MAX: usize = 8;

/// What the kernel counts room in, in bytes.
const BLOCK_BYTES: u64 = 512;

/// What was seen of one entry, attributes aside.
#[derive(Debug)]
pub(super) struct Seen {
    pub(super) metadata: Metadata,
    pub(super) stamp: Stamp,
    /// It is a file that takes less room than it is long.
    pub(super) may_have_holes: bool,
}

/// What lies at `name` in `directory`, no link followed; `None` if nothing does.
pub(super) fn look(directory: BorrowedFd<'_>, name: &[u8]) -> Result<Option<Seen>> {
    match look_with(directory, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(seen) => Ok(Some(seen)),
        Err(Errno::NOENT) => Ok(None),
        Err(errno) => Err(errno),
    }
}

/// As [`look`], with the attributes that `read` finds.
pub(super) fn look_closely(
    directory: BorrowedFd<'_>,
    name: &[u8],
    read: impl FnOnce(Holder<'_>) -> Result<Attributes>,
) -> Result<Option<Seen>> {
    let Some(mut seen) = look(directory, name)? else { return Ok(None) };
    match read(Holder::At(directory, name)) {
        // It vanished in between.
        Err(Errno::NOENT) => return Ok(None),
        attributes => seen.metadata.attributes = attributes?,
    }
    Ok(Some(seen))
}

/// What `descriptor` stands for.
pub(super) fn look_at(descriptor: BorrowedFd<'_>) -> Result<Seen> {
    look_with(descriptor, b"", AtFlags::EMPTY_PATH)
}

fn look_with(directory: BorrowedFd<'_>, name: &[u8], flags: AtFlags) -> Result<Seen> {
    for _ in 0..LOOKS_MAX {
        let stat = fs::statx(directory, name, flags, StatxFlags::BASIC_STATS)?;
        let device = Device { major: stat.stx_rdev_major, minor: stat.stx_rdev_minor };
        let file_type = FileType::from_raw_mode(stat.stx_mode.into());
        let kind = match file_type {
            FileType::RegularFile => Kind::File { size_bytes: stat.stx_size },
            FileType::Directory => Kind::Directory,
            FileType::Symlink => match fs::readlinkat(directory, name, Vec::new()) {
                Ok(target) => Kind::Symlink { target: target.into_bytes().into() },
                // It was a link a moment ago.
                Err(Errno::INVAL) => continue,
                Err(errno) => return Err(errno),
            },
            FileType::Fifo => Kind::Fifo,
            FileType::Socket => Kind::Socket,
            FileType::CharacterDevice => Kind::CharacterDevice(device),
            FileType::BlockDevice => Kind::BlockDevice(device),
            // There is nothing else on Linux.
            FileType::Unknown => return Err(Errno::OPNOTSUPP),
        };
        let names = if kind.is_directory() { 1 } else { stat.stx_nlink.max(1) };
        return Ok(Seen {
            metadata: Metadata {
                kind,
                modified: timestamp(stat.stx_mtime),
                mode: u32::from(stat.stx_mode) & 0o7777,
                uid: stat.stx_uid,
                gid: stat.stx_gid,
                attributes: Attributes::None,
                names,
            },
            stamp: Stamp {
                object: stat.stx_ino,
                changed: timestamp(stat.stx_ctime),
                unlinked: stat.stx_nlink == 0,
            },
            may_have_holes: stat.stx_blocks.saturating_mul(BLOCK_BYTES) < stat.stx_size,
        });
    }
    Err(Errno::AGAIN)
}

fn timestamp(time: StatxTimestamp) -> Timestamp {
    Timestamp { seconds: time.tv_sec, nanoseconds: time.tv_nsec }
}

/// What metadata is applied to.
#[derive(Debug, Clone, Copy)]
pub(super) enum Target<'fd> {
    /// A descriptor opened for reading or writing.
    Open(BorrowedFd<'fd>),
    /// A descriptor of `O_PATH`: of what cannot or must not be opened.
    Path(BorrowedFd<'fd>),
}

impl<'fd> Target<'fd> {
    fn holder(self) -> Holder<'fd> {
        match self {
            Self::Open(open) => Holder::Open(open),
            Self::Path(path) => Holder::Path(path),
        }
    }

    fn set_mode(self, mode: Mode) -> Result<()> {
        match self {
            Self::Open(open) => fs::fchmod(open, mode),
            Self::Path(path) => set_mode(path, mode),
        }
    }
}

/// Gives `target` as much of `wanted` as `fidelity` keeps; what it has already is left alone: the attributes
/// that `reader` finds, and the rest if `present` says so.
pub(super) fn apply(
    target: Target<'_>,
    wanted: &Metadata,
    present: Option<&Metadata>,
    fidelity: Fidelity,
    reader: AttributeReader,
) -> Result<()> {
    let owner = (wanted.uid, wanted.gid);
    let moves_owner = fidelity.owner != Owner::Dropped
        && present.is_none_or(|there| (there.uid, there.gid) != owner);
    if moves_owner {
        let (uid, gid) = (id(wanted.uid)?, id(wanted.gid)?);
        let (uid, gid) = (Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)));
        match target {
            Target::Open(open) => fs::fchown(open, uid, gid)?,
            Target::Path(path) => fs::chownat(path, "", uid, gid, AtFlags::EMPTY_PATH)?,
        }
    }
    let holder = target.holder();
    // Asked for even of what is new: a directory may give an access list to what is made in it.
    let attributes = reader.read(holder)?;
    let changes = Changes::between(&attributes, &wanted.attributes, fidelity.attributes);
    let is_unlocked = changes.is_early() && change_early(target, &changes)?;
    let kept = if fidelity.set_id { 0o7777 } else { 0o1777 };
    let mode = wanted.mode & kept;
    let moves_mode = !matches!(wanted.kind, Kind::Symlink { .. })
        && (moves_owner || is_unlocked || present.is_none_or(|there| there.mode != mode));
    if moves_mode {
        target.set_mode(Mode::from_raw_mode(mode))?;
    }
    changes.after_mode(holder, moves_mode)?;
    if present.is_none_or(|there| there.modified != wanted.modified) {
        set_modified(target, wanted.modified)?;
    }
    Ok(())
}

/// Does `changes` as far as they come before the mode; returns whether the mode is another one now.
fn change_early(target: Target<'_>, changes: &Changes<'_>) -> Result<bool> {
    match changes.before_mode(target.holder()) {
        // Who is not the superuser needs permission to write the attributes of his own file.
        Err(Errno::ACCESS) => {
            target.set_mode(Mode::RWXU)?;
            changes.before_mode(target.holder()).map(|()| true)
        }
        done => done.map(|()| false),
    }
}

/// Sets the time of the last change of content and leaves that of the last access.
pub(super) fn set_modified(target: Target<'_>, modified: Timestamp) -> Result<()> {
    // Above are the kernel's words for "now" and "leave it".
    if modified.nanoseconds > 999_999_999 {
        return Err(Errno::INVAL);
    }
    let times = Timestamps {
        last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
        last_modification: Timespec {
            tv_sec: modified.seconds,
            tv_nsec: modified.nanoseconds.into(),
        },
    };
    match target {
        Target::Open(open) => fs::futimens(open, &times),
        Target::Path(path) => fs::utimensat(path, "", &times, AtFlags::EMPTY_PATH),
    }
}

/// Refuses the number by which the kernel understands "leave it".
fn id(raw: u32) -> Result<u32> {
    if raw == u32::MAX { Err(Errno::INVAL) } else { Ok(raw) }
}
