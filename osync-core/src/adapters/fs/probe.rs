//! What the file system of a target can hold, found out by trying on a file that nobody sees.

use rustix::fd::{AsFd, BorrowedFd};
use rustix::fs::{self, Gid, Mode, Uid};
use rustix::io::{Errno, Result};
use rustix::process::geteuid;

use crate::adapters::fs::attributes::Holder;
use crate::adapters::fs::metadata::look_at;
use crate::adapters::fs::version::{Versions, make};
use crate::model::attributes::{Attribute, Class, Classes};
use crate::model::fidelity::{Fidelity, Owner};
use crate::model::metadata::{Device, Kind};
use crate::model::nodes::Nodes;

/// An owner and group that files do not have by themselves.
const STRANGER: u32 = 54_321;

/// Owner rw-, user 1 r--, group r--, mask r--, others ---: as the kernel encodes an access list.
const ACCESS_LIST: [u8; 44] = [
    2, 0, 0, 0, // version
    1, 0, 6, 0, 255, 255, 255, 255, // owner
    2, 0, 4, 0, 1, 0, 0, 0, // user 1
    4, 0, 4, 0, 255, 255, 255, 255, // group
    16, 0, 4, 0, 255, 255, 255, 255, // mask
    32, 0, 0, 0, 255, 255, 255, 255, // others
];

/// What can be held below the directory `root`. Where that cannot be tried, because the file system is full
/// or may not be written now, everything is taken to be possible.
pub(super) fn fidelity(versions: &Versions, root: BorrowedFd<'_>) -> Fidelity {
    let is_superuser = geteuid().is_root();
    let owner = |is_kept| if is_kept { Owner::Numbered } else { Owner::Dropped };
    let (kept, nodes) = (owner(is_superuser), Nodes::NONE);
    let mut fidelity = Fidelity { owner: kept, set_id: is_superuser, nodes, ..Fidelity::FULL };
    match versions.file(root, 0o600) {
        Ok(version) => {
            let file = version.descriptor();
            let is_kept = is_superuser && keeps_owner(file).unwrap_or(false);
            fidelity.owner = owner(is_kept);
            // A program that runs as its owner must not run as another.
            fidelity.set_id = is_kept;
            fidelity.attributes = classes(file);
        }
        Err(errno) => log::debug!("the target cannot be tried: {errno}"),
    }
    fidelity
}

/// Which sockets and devices can be made, given leave; what cannot is told of here, once.
pub(super) fn nodes(versions: &Versions) -> Nodes {
    // Unlike that of an overlay's whiteout, this number is nobody's but the superuser's.
    let device = Kind::CharacterDevice(Device { major: 1, minor: 3 });
    let can_make = |what: &str, kind: &Kind| {
        let made = versions.aside.place().and_then(|mut place| {
            make(kind, &place)?;
            place.fill();
            Ok(())
        });
        match made {
            // The target may take nothing at all at present.
            Ok(()) | Err(Errno::NOSPC | Errno::DQUOT | Errno::ROFS) => true,
            Err(errno) => {
                log::warn!("the target cannot hold {what}, which are left out: {errno}");
                false
            }
        }
    };
    Nodes {
        sockets: can_make("sockets", &Kind::Socket),
        devices: can_make("device nodes", &device),
    }
}

fn keeps_owner(file: BorrowedFd<'_>) -> Result<bool> {
    fs::fchown(file, Some(Uid::from_raw(STRANGER)), Some(Gid::from_raw(STRANGER)))?;
    let found = look_at(file)?.metadata;
    fs::fchown(file, Some(geteuid()), Some(rustix::process::getegid()))?;
    fs::fchmod(file, Mode::RUSR | Mode::WUSR)?;
    Ok((found.uid, found.gid) == (STRANGER, STRANGER))
}

/// The classes of attributes that can be set on `file`.
fn classes(file: BorrowedFd<'_>) -> Classes {
    let tries: [(Class, &[u8], &[u8]); 4] = [
        (Class::User, b"user.osync", b"x"),
        (Class::Trusted, b"trusted.osync", b"x"),
        (Class::Security, b"security.osync", b"x"),
        (Class::Access, Class::ACCESS, &ACCESS_LIST),
    ];
    let mut classes = Classes::NONE;
    for (class, name, value) in tries {
        let attribute = Attribute { name: name.into(), value: value.into() };
        if Holder::Open(file.as_fd()).set(&attribute).is_ok() {
            classes = classes.with(class);
        }
    }
    classes
}
