//! What files look like that were made a moment ago, so that not each of them has to be looked at.

use rustix::fd::BorrowedFd;
use rustix::io::{Errno, Result};

use crate::adapters::fs::attributes::{AttributeReader, Holder};
use crate::adapters::fs::metadata::{Target, apply, look_at};
use crate::model::attributes::Attributes;
use crate::model::fidelity::Fidelity;
use crate::model::metadata::Metadata;
use crate::model::timestamp::Timestamp;

/// A time that nobody wants: that of a newborn is always set.
const UNKNOWN: Timestamp = Timestamp { seconds: i64::MIN, nanoseconds: 0 };

/// What the first of some files looked like: files made one after the other in one directory, asked for the
/// same mode, have the same owner, mode and attributes.
#[derive(Debug, Default)]
pub(super) struct Newborn {
    first: Option<(u32, Metadata)>,
}

/// The permissions with which a file is made that is to have `mode`.
pub(super) fn permissions(mode: u32) -> u32 {
    mode & 0o777
}

impl Newborn {
    /// Gives `file`, as long as it is to be, as much of `wanted` as `fidelity` keeps.
    pub(super) fn dress(
        &mut self,
        file: BorrowedFd<'_>,
        wanted: &Metadata,
        fidelity: Fidelity,
        reader: AttributeReader,
    ) -> Result<()> {
        let asked = permissions(wanted.mode);
        if let Some((_, present)) = self.first.as_ref().filter(|(mode, _)| *mode == asked) {
            return apply(
                Target::Open(file),
                wanted,
                Some(present),
                fidelity,
                AttributeReader::NONE,
            );
        }
        // One look costs less than setting an owner and a mode that are right already.
        let present = look_at(file)?.metadata;
        if wanted.kind != present.kind {
            return Err(Errno::INVAL);
        }
        // A directory may give an access list to what is made in it.
        let is_bare = reader.read(Holder::Open(file))? == Attributes::None;
        apply(Target::Open(file), wanted, Some(&present), fidelity, reader)?;
        self.first = is_bare.then_some((asked, Metadata { modified: UNKNOWN, ..present }));
        Ok(())
    }
}
