//! Does a file still begin as an older version of it? A few samples tell, without reading the whole.
//!
//! The end of the older version, its first page and pages at places that nobody can foresee: a file that
//! was written anew does not pass. One of which a page in the middle has changed as well may.

use crate::compare::delta::sums::Key;
use crate::model::digest::Digest;

/// A page, in bytes.
const PAGE_BYTES: u64 = 4 * 1024;
/// What is looked at of the end, in bytes: where a log that was begun anew differs.
const END_BYTES: u64 = 64 * 1024;
/// Pages in between.
const PAGES: usize = 30;

/// Digest of samples of the first `size_bytes` bytes of a file, which `read` fills buffers with.
///
/// `None` if the file is shorter than that.
///
/// # Errors
/// Those of `read`, which returns how many bytes it had.
pub fn digest<E>(
    key: &Key,
    size_bytes: u64,
    mut read: impl FnMut(u64, &mut [u8]) -> Result<usize, E>,
) -> Result<Option<Digest>, E> {
    // Hashed in one piece: 188 KiB at the most, in half the time that it takes page by page.
    let places = places(key, size_bytes);
    let mut samples = vec![0; key.len() + places.iter().map(|(_, bytes)| bytes).sum::<usize>()];
    let (head, mut room) = samples.split_at_mut(key.len());
    head.copy_from_slice(key);
    for (mut offset, mut bytes) in places {
        while bytes > 0 {
            let count = read(offset, &mut room[..bytes])?;
            if count == 0 {
                return Ok(None);
            }
            room = &mut room[count..];
            (offset, bytes) = (offset + count as u64, bytes - count);
        }
    }
    Ok(Some(Digest::of(&samples)))
}

/// Where the samples are, ascending.
fn places(key: &Key, size_bytes: u64) -> Vec<(u64, usize)> {
    let end_bytes = size_bytes.min(END_BYTES);
    let pages = (size_bytes - end_bytes) / PAGE_BYTES;
    let mut chosen = vec![0];
    let mut random = blake3::Hasher::new_keyed(key).finalize_xof();
    for _ in 0..PAGES {
        let mut bytes = [0; 8];
        random.fill(&mut bytes);
        chosen.push(u64::from_le_bytes(bytes));
    }
    let mut places: Vec<u64> =
        chosen.into_iter().filter_map(|number| number.checked_rem(pages)).collect();
    places.sort_unstable();
    places.dedup();
    let length = |bytes: u64| usize::try_from(bytes).expect("a few pages");
    let mut places: Vec<(u64, usize)> =
        places.into_iter().map(|page| (page * PAGE_BYTES, length(PAGE_BYTES))).collect();
    places.push((size_bytes - end_bytes, length(end_bytes)));
    places
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(file: &[u8], size_bytes: usize) -> Option<Digest> {
        let read = |offset: u64, buffer: &mut [u8]| {
            let rest = &file[file.len().min(usize::try_from(offset).unwrap())..];
            let count = buffer.len().min(rest.len());
            buffer[..count].copy_from_slice(&rest[..count]);
            Ok::<_, ()>(count)
        };
        digest(&[3; 32], size_bytes as u64, read).unwrap()
    }

    #[test]
    fn what_was_appended_does_not_count_and_what_changed_at_either_end_does() {
        let old: Vec<u8> = (0..1_000_000_u32).flat_map(u32::to_le_bytes).collect();
        let grown = [&old[..], b"more"].concat();
        let size = old.len();

        assert_eq!(of(&old, size), of(&grown, size));
        assert_eq!(of(&old, size + 1), None);
        for at in [0, size - 1, size - 60_000] {
            let mut changed = grown.clone();
            changed[at] ^= 1;
            assert_ne!(of(&changed, size), of(&old, size), "{at}");
        }
    }

    #[test]
    fn small_files_are_looked_at_whole() {
        for size in [0, 1, 4_096, 65_536, 69_632] {
            let file = vec![7; size];
            assert!(of(&file, size).is_some());
            let bytes: usize = places(&[1; 32], size as u64).iter().map(|(_, bytes)| bytes).sum();
            assert_eq!(bytes, size);
        }
    }
}
