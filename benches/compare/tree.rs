//! Trees to replicate, and whether two of them are equal.

use std::fs;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// How closely two trees are compared: not every tool keeps everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Closeness {
    /// Names, kinds, contents, modes, times to the nanosecond.
    Full,
    /// The same, times of files to the second, those of directories not at all.
    Seconds,
    /// Not at all: no tree was made.
    None,
}

/// `directories` directories of `files` files of `bytes` bytes each, below `root`. No two files are the same.
pub(crate) fn fill(root: &Path, directories: usize, files: usize, bytes: usize) {
    let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
    let mut content = vec![0_u8; bytes];
    for directory in 0..directories {
        let directory = root.join(format!("d{directory:05}"));
        fs::create_dir_all(&directory).expect("a directory");
        for file in 0..files {
            noise(&mut seed, &mut content);
            fs::write(directory.join(format!("f{file:05}")), &content).expect("a file");
        }
    }
}

/// Makes a file of `bytes` bytes that nothing can compress.
pub(crate) fn large(path: &Path, bytes: usize, seed: u64) {
    use std::io::Write;
    let mut seed = seed.wrapping_mul(0x2545_f491_4f6c_dd1d) | 1;
    let mut file = fs::File::create(path).expect("a large file");
    let mut block = vec![0_u8; 1 << 20];
    let mut left = bytes;
    while left > 0 {
        noise(&mut seed, &mut block);
        let piece = left.min(block.len());
        file.write_all(&block[..piece]).expect("a large file");
        left -= piece;
    }
}

/// Fills `content` with bytes that look random (xorshift64).
fn noise(seed: &mut u64, content: &mut [u8]) {
    for word in content.chunks_mut(8) {
        *seed ^= *seed << 13;
        *seed ^= *seed >> 7;
        *seed ^= *seed << 17;
        word.copy_from_slice(&seed.to_le_bytes()[..word.len()]);
    }
}

/// The first difference between the trees at `left` and `right`, if there is one.
pub(crate) fn difference(left: &Path, right: &Path, closeness: Closeness) -> Option<String> {
    if closeness == Closeness::None {
        return None;
    }
    let names = |directory: &Path| {
        let mut names: Vec<_> = fs::read_dir(directory)
            .map(|entries| entries.filter_map(|entry| Some(entry.ok()?.file_name())).collect())
            .unwrap_or_default();
        // What a tool keeps for itself in its tree.
        names.retain(|name| name != ".stfolder" && name != ".stversions");
        names.sort_unstable();
        names
    };
    let (ours, theirs) = (names(left), names(right));
    if ours != theirs {
        return Some(format!("{}: {} names, not {}", right.display(), theirs.len(), ours.len()));
    }
    ours.iter().find_map(|name| {
        let (left, right) = (left.join(name), right.join(name));
        let (Ok(a), Ok(b)) = (fs::symlink_metadata(&left), fs::symlink_metadata(&right)) else {
            return Some(format!("{}: cannot be looked at", right.display()));
        };
        if !is_same(&left, &right, &a, &b, closeness) {
            return Some(format!("{}: differs", right.display()));
        }
        a.is_dir().then(|| difference(&left, &right, closeness)).flatten()
    })
}

fn is_same(
    left: &Path,
    right: &Path,
    a: &fs::Metadata,
    b: &fs::Metadata,
    closeness: Closeness,
) -> bool {
    let is_time_same = match closeness {
        Closeness::Full => (a.mtime(), a.mtime_nsec()) == (b.mtime(), b.mtime_nsec()),
        Closeness::Seconds | Closeness::None => !a.is_file() || a.mtime() == b.mtime(),
    };
    let is_mode_same = a.is_symlink() || a.mode() == b.mode();
    let is_content_same = if a.is_symlink() {
        fs::read_link(left).ok().map(|target| target.as_os_str().as_bytes().to_vec())
            == fs::read_link(right).ok().map(|target| target.as_os_str().as_bytes().to_vec())
    } else {
        !a.is_file() || (a.len() == b.len() && is_content_equal(left, right))
    };
    a.file_type() == b.file_type() && is_time_same && is_mode_same && is_content_same
}

fn is_content_equal(left: &Path, right: &Path) -> bool {
    let (Ok(mut left), Ok(mut right)) = (fs::File::open(left), fs::File::open(right)) else {
        return false;
    };
    let (mut ours, mut theirs) = (vec![0; 1 << 16], vec![0; 1 << 16]);
    loop {
        let (Ok(count), Ok(other)) =
            (fill_buffer(&mut left, &mut ours), fill_buffer(&mut right, &mut theirs))
        else {
            return false;
        };
        if count != other || ours[..count] != theirs[..other] {
            return false;
        }
        if count == 0 {
            return true;
        }
    }
}

fn fill_buffer(file: &mut fs::File, buffer: &mut [u8]) -> std::io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        let count = file.read(&mut buffer[filled..])?;
        if count == 0 {
            break;
        }
        filled += count;
    }
    Ok(filled)
}
