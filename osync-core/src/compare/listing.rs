//! The listing digest: one number for a part of a directory.
//!
//! BLAKE3 over the directory's own metadata (where the part is the first) and its entries in bytewise
//! order of their names, each in a fixed-width form that has one reading only. What lies outside the
//! agreed fidelity is left out, so that two ends that hold the same compare equal. Of a
//! sub-directory only name and kind count: its metadata belongs to its own listing. Of the number of names only
//! counts whether it is one.

use crate::model::digest::{Digest, Hasher};
use crate::model::fidelity::Fidelity;
use crate::model::metadata::{Device, Entry, Kind, Metadata};

/// Buffered before hashing, in bytes: BLAKE3 is at its best from 16 KiB on.
const BLOCK_BYTES: usize = 32 * 1024;

/// The digest of `entries`, which are sorted by name, and of the directory's own metadata if given.
#[must_use]
pub fn digest(own: Option<&Metadata>, entries: &[Entry], fidelity: Fidelity) -> Digest {
    let mut hasher = Hasher::default();
    let mut block = Vec::with_capacity(BLOCK_BYTES + 8 * 1024);
    block.push(u8::from(own.is_some()));
    if let Some(own) = own {
        append(&fidelity.masked(own), &mut block);
    }
    for entry in entries {
        let name = entry.name.as_bytes();
        block.extend_from_slice(&(name.len() as u64).to_le_bytes());
        block.extend_from_slice(name);
        append(&fidelity.masked_in_listing(&entry.metadata), &mut block);
        block.push(u8::from(fidelity.tells_shared(&entry.metadata)));
        if block.len() >= BLOCK_BYTES {
            hasher.update(&block);
            block.clear();
        }
    }
    hasher.update(&block);
    hasher.finish()
}

fn append(metadata: &Metadata, block: &mut Vec<u8>) {
    match &metadata.kind {
        Kind::File { size_bytes } => {
            block.push(b'f');
            block.extend_from_slice(&size_bytes.to_le_bytes());
        }
        Kind::Directory => block.push(b'd'),
        Kind::Symlink { target } => {
            block.push(b'l');
            block.extend_from_slice(&(target.len() as u64).to_le_bytes());
            block.extend_from_slice(target);
        }
        Kind::Fifo => block.push(b'p'),
        Kind::Socket => block.push(b's'),
        Kind::CharacterDevice(device) => append_device(b'c', *device, block),
        Kind::BlockDevice(device) => append_device(b'b', *device, block),
    }
    block.extend_from_slice(&metadata.modified.seconds.to_le_bytes());
    block.extend_from_slice(&metadata.modified.nanoseconds.to_le_bytes());
    block.extend_from_slice(&metadata.mode.to_le_bytes());
    block.extend_from_slice(&metadata.uid.to_le_bytes());
    block.extend_from_slice(&metadata.gid.to_le_bytes());
    let digests = metadata.attributes.digests();
    block.push(u8::try_from(digests.len()).unwrap_or(u8::MAX));
    for (class, digest) in digests.iter() {
        block.push(*class as u8);
        block.extend_from_slice(digest.as_bytes());
    }
}

fn append_device(sort: u8, device: Device, block: &mut Vec<u8>) {
    block.push(sort);
    block.extend_from_slice(&device.major.to_le_bytes());
    block.extend_from_slice(&device.minor.to_le_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::attributes::{Attribute, Attributes};
    use crate::model::name::Name;
    use crate::model::timestamp::Timestamp;

    fn entry(name: &str, kind: Kind, mode: u32) -> Entry {
        let modified = Timestamp { seconds: 7, nanoseconds: 9 };
        let attributes = Attributes::None;
        let metadata = Metadata { kind, modified, mode, uid: 1, gid: 2, attributes, names: 1 };
        Entry { name: Name::new(name.as_bytes()).unwrap(), metadata }
    }

    #[test]
    fn every_kept_detail_changes_the_digest() {
        let base = entry("a", Kind::File { size_bytes: 3 }, 0o644);
        let digest_of = |entry: &Entry| digest(None, std::slice::from_ref(entry), Fidelity::FULL);
        let mut others = vec![
            entry("b", Kind::File { size_bytes: 3 }, 0o644),
            entry("a", Kind::File { size_bytes: 4 }, 0o644),
            entry("a", Kind::Fifo, 0o644),
            entry("a", Kind::Socket, 0o644),
            entry("a", Kind::CharacterDevice(Device { major: 1, minor: 3 }), 0o644),
            entry("a", Kind::BlockDevice(Device { major: 1, minor: 3 }), 0o644),
            entry("a", Kind::File { size_bytes: 3 }, 0o600),
        ];
        let mut later = base.clone();
        later.metadata.modified.nanoseconds += 1;
        others.push(later);
        let mut labelled = base.clone();
        let label = Attribute { name: (*b"user.a").into(), value: (*b"1").into() };
        labelled.metadata.attributes = Attributes::new(vec![label]);
        others.push(labelled);
        let mut shared = base.clone();
        shared.metadata.names = 2;
        others.push(shared);

        for other in others {
            assert_ne!(digest_of(&base), digest_of(&other), "{other:?}");
        }
        assert_ne!(digest(None, &[], Fidelity::FULL), digest_of(&base));
    }

    #[test]
    fn a_subdirectory_counts_by_name_only_and_the_owner_only_if_kept() {
        let open = entry("d", Kind::Directory, 0o755);
        let closed = entry("d", Kind::Directory, 0o700);
        assert_eq!(digest(None, &[open], Fidelity::FULL), digest(None, &[closed], Fidelity::FULL));

        let mine = entry("f", Kind::Fifo, 0o600);
        let mut theirs = mine.clone();
        theirs.metadata.uid = 99;
        let numeric = Fidelity { owner: crate::model::fidelity::Owner::Dropped, ..Fidelity::FULL };
        assert_eq!(digest(None, &[mine], numeric), digest(None, &[theirs], numeric));
    }
}
