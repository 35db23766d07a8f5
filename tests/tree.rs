//! Trees on disk: making them, with every kind of entry there is, and comparing them completely.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, Permissions};
use std::hash::{DefaultHasher, Hasher};
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{
    AtFlags, CWD, FileType, Mode, Timespec, Timestamps, XattrFlags, mknodat, utimensat,
};
use rustix::io::Errno;
use tempfile::TempDir;

use crate::program::SOON;
use crate::wait;

/// Differences that a failed comparison names.
const DIFFERENCES_SHOWN_MAX: usize = 20;

/// What a file must lack of its length to count as one with holes, in bytes.
const HOLES_BYTES_MIN: u64 = 64 * 1024;

/// A directory of its own for one test, with room for a source and a target.
#[derive(Debug)]
pub(crate) struct Pair {
    pub(crate) source: PathBuf,
    pub(crate) target: PathBuf,
    _directory: TempDir,
}

impl Pair {
    /// An empty source; the target does not exist.
    pub(crate) fn new() -> Self {
        let directory = TempDir::new().unwrap();
        let root = directory.path().canonicalize().unwrap();
        let (source, target) = (root.join("source"), root.join("target"));
        fs::create_dir(&source).unwrap();
        Self { source, target, _directory: directory }
    }

    pub(crate) fn assert_equal(&self) {
        let differences = self.differences();
        let is_own = |difference: &String| difference.starts_with(".osync");
        assert!(differences.iter().all(is_own), "{}", shown(&differences));
        // The sink's own directory goes a moment after everything is on disk.
        self.assert_equal_within(SOON, "what is the sink's own");
    }

    /// Whether they are equal now.
    pub(crate) fn is_equal(&self) -> bool {
        self.differences().is_empty()
    }

    /// Waits until both are equal; to be called when the source holds still.
    pub(crate) fn assert_equal_within(&self, limit: Duration, what: &str) {
        self.assert_copy_within(&self.target, limit, what);
    }

    /// The same of another copy of the source.
    pub(crate) fn assert_copy_within(&self, copy: &Path, limit: Duration, what: &str) {
        let equal = || self.differences_of(copy).is_empty().then_some(());
        wait::for_value(limit, equal, || format!("{what}:\n{}", shown(&self.differences_of(copy))));
    }

    fn differences(&self) -> Vec<String> {
        self.differences_of(&self.target)
    }

    fn differences_of(&self, copy: &Path) -> Vec<String> {
        let source = snapshot(&self.source).unwrap();
        // The sink's own directory may go while it is looked at.
        let mut looks = (0..100).map(|_| snapshot(copy));
        let found = looks.find(|look| look.is_ok() || !copy.exists());
        match found.unwrap_or_else(|| snapshot(copy)) {
            Ok(target) => differences(&source, &target),
            // It changes under our eyes, so it is not there yet.
            Err(error) => vec![format!("the target cannot be read: {error}")],
        }
    }
}

/// Everything that is replicated of one entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Node {
    file_type: u32,
    mode: u32,
    owner: (u32, u32),
    size: u64,
    modified: (i64, i64),
    device: u64,
    link_target: Vec<u8>,
    content_hash: u64,
    has_holes: bool,
    attributes: BTreeMap<Vec<u8>, Vec<u8>>,
    /// The first of the names that stand for the same thing.
    first_name: Vec<u8>,
}

/// Every entry at or below `root` by its path, which is empty for the root itself.
pub(crate) fn snapshot(root: &Path) -> io::Result<BTreeMap<Vec<u8>, Node>> {
    let mut nodes = BTreeMap::new();
    let mut things = BTreeMap::new();
    let mut pending = vec![root.to_owned()];
    while let Some(path) = pending.pop() {
        let metadata = path.symlink_metadata()?;
        let mut hasher = DefaultHasher::new();
        let mut link_target = Vec::new();
        let (mut size, mut mode) = (0, metadata.mode() & 0o7777);
        if metadata.is_dir() {
            for entry in fs::read_dir(&path)? {
                pending.push(entry?.path());
            }
        } else if metadata.is_file() {
            size = metadata.size();
            hasher.write(&fs::read(&path)?);
        } else if metadata.is_symlink() {
            mode = 0;
            link_target = fs::read_link(&path)?.into_os_string().into_vec();
        }
        if !is_root() {
            mode &= !0o6000;
        }
        let relative = path.strip_prefix(root).unwrap().as_os_str().as_bytes().to_vec();
        let thing = (metadata.dev(), metadata.ino());
        let node = Node {
            file_type: metadata.mode() & 0o170_000,
            mode,
            owner: (metadata.uid(), metadata.gid()),
            size,
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            device: metadata.rdev(),
            link_target,
            content_hash: hasher.finish(),
            has_holes: metadata.blocks() * 512 + HOLES_BYTES_MIN < size,
            attributes: attributes(&path)?,
            first_name: Vec::new(),
        };
        things.entry(thing).or_insert_with(Vec::new).push(relative.clone());
        nodes.insert(relative, node);
    }
    for names in things.into_values() {
        let first = names.iter().min().unwrap();
        for name in &names {
            nodes.get_mut(name).unwrap().first_name.clone_from(first);
        }
    }
    Ok(nodes)
}

/// All extended attributes of what lies at `path`, access lists among them. Others than root see not all.
fn attributes(path: &Path) -> io::Result<BTreeMap<Vec<u8>, Vec<u8>>> {
    let mut names = vec![0; 64 * 1024];
    let length = match rustix::fs::llistxattr(path, &mut names) {
        Err(Errno::OPNOTSUPP) => 0,
        length => length?,
    };
    let mut attributes = BTreeMap::new();
    for name in names[..length].split(|&byte| byte == 0).filter(|name| !name.is_empty()) {
        let mut value = vec![0; 64 * 1024];
        let length = rustix::fs::lgetxattr(path, name, &mut value)?;
        value.truncate(length);
        attributes.insert(name.to_vec(), value);
    }
    Ok(attributes)
}

fn differences(source: &BTreeMap<Vec<u8>, Node>, target: &BTreeMap<Vec<u8>, Node>) -> Vec<String> {
    let mut differences = Vec::new();
    for (path, node) in source {
        let there = target.get(path);
        if there != Some(node) {
            differences.push(format!("{}: {node:?} at the source, {there:?}", path.escape_ascii()));
        }
    }
    for path in target.keys().filter(|path| !source.contains_key(*path)) {
        differences.push(format!("{}: at the target only", path.escape_ascii()));
    }
    differences
}

fn shown(differences: &[String]) -> String {
    let first = differences.iter().take(DIFFERENCES_SHOWN_MAX).cloned().collect::<Vec<_>>();
    format!("{} differences\n{}", differences.len(), first.join("\n"))
}

pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Writes `content` to `root/path`, making the directories above it.
pub(crate) fn write(root: &Path, path: impl AsRef<Path>, content: impl AsRef<[u8]>) {
    let path = root.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
}

pub(crate) fn set_mode(path: impl AsRef<Path>, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

/// Sets an extended attribute, of a link itself. Where the file system holds none this says so and does nothing.
pub(crate) fn set_attribute(path: impl AsRef<Path>, name: &str, value: &[u8]) {
    match rustix::fs::lsetxattr(path.as_ref(), name, value, XattrFlags::empty()) {
        Err(Errno::OPNOTSUPP) => println!("SKIP {name}: the file system has no such attributes"),
        set => set.unwrap(),
    }
}

/// Owner rw-, user 1 r--, group r--, mask r--, others ---.
pub(crate) const ACCESS_LIST: [u8; 44] = [
    2, 0, 0, 0, 1, 0, 6, 0, 255, 255, 255, 255, 2, 0, 4, 0, 1, 0, 0, 0, 4, 0, 4, 0, 255, 255, 255,
    255, 16, 0, 4, 0, 255, 255, 255, 255, 32, 0, 0, 0, 255, 255, 255, 255,
];

/// Files of `bytes` bytes with holes in the beginning, in the middle, at the end, and nothing else.
pub(crate) fn fill_holes(root: &Path, bytes: u64) {
    let middle = bytes / 2;
    for (name, data) in [
        ("all", vec![]),
        ("begin", vec![bytes - 3]),
        ("middle", vec![0, bytes - 3]),
        ("end", vec![0]),
        ("some", vec![5, middle, middle + 1_000_000]),
    ] {
        write(root, format!("holes/{name}"), "");
        let file = fs::File::options().write(true).open(root.join("holes").join(name)).unwrap();
        file.set_len(bytes).unwrap();
        for offset in data {
            file.write_all_at(b"abc", offset).unwrap();
        }
    }
    // Zeros that take room are no holes.
    write(root, "holes/zeros", vec![0; 300_000]);
}

/// Access lists, capabilities and attributes of every kind of entry.
fn fill_attributes(root: &Path) {
    let directory = root.join("attributes");
    write(root, "attributes/listed", "x");
    write(root, "attributes/inherits/in", "x");
    set_attribute(directory.join("listed"), "system.posix_acl_access", &ACCESS_LIST);
    set_attribute(directory.join("listed"), "user.empty", b"");
    // What is made there from now on gets a list that was not asked for.
    set_attribute(directory.join("inherits"), "system.posix_acl_default", &ACCESS_LIST);
    set_attribute(&directory, "user.long", &[7; 3_000]);
    set_attribute(root, "user.root", b"1");
    if is_root() {
        for entry in ["attributes/link", "attributes/pipe"] {
            if entry.ends_with("link") {
                symlink("listed", root.join(entry)).unwrap();
            } else {
                make_fifo(root.join(entry));
            }
            set_attribute(root.join(entry), "trusted.t", b"\x00\xff");
        }
        write(root, "attributes/able", "x");
        std::os::unix::fs::lchown(directory.join("able"), Some(12_345), Some(54_321)).unwrap();
        let mut capability = [0; 20];
        (capability[3], capability[5]) = (2, 4); // cap_net_bind_service, permitted
        set_attribute(directory.join("able"), "security.capability", &capability);
    }
}

/// Sets the time of the last change, of a link itself and not of what it points to.
pub(crate) fn set_modified(path: impl AsRef<Path>, seconds: i64, nanoseconds: i64) {
    let time = Timespec { tv_sec: seconds, tv_nsec: nanoseconds };
    let times = Timestamps { last_access: time, last_modification: time };
    utimensat(CWD, path.as_ref(), &times, AtFlags::SYMLINK_NOFOLLOW).unwrap();
}

pub(crate) fn make_fifo(path: impl AsRef<Path>) {
    mknodat(CWD, path.as_ref(), FileType::Fifo, Mode::from_raw_mode(0o640), 0).unwrap();
}

/// `directories` directories of `files` small files each.
pub(crate) fn fill(root: &Path, directories: usize, files: usize) {
    for directory in 0..directories {
        for file in 0..files {
            let path = format!("d{}/e{directory}/f{file}", directory % 7);
            write(root, path, format!("{directory} {file}\n").repeat(20));
        }
    }
}

/// One of every sort: odd names, links, pipes, modes, times, sizes.
pub(crate) fn fill_nasty(root: &Path) {
    let names: [&[u8]; 12] = [
        b"new\nline",
        b"\xff\xfe\x80",
        b" lead",
        b"-rf",
        b"*?[a]",
        b"back\\slash",
        b"\x1b[31m",
        b"...",
        b"$(touch x)",
        b"CASE",
        b"case",
        &[b'a'; 255],
    ];
    for name in names {
        write(root, Path::new("names").join(OsStr::from_bytes(name)), name);
        let directory = Path::new("directories").join(OsStr::from_bytes(name));
        write(root, directory.join("in"), name);
    }
    write(root, "empty file", "");
    fs::create_dir_all(root.join("empty/also empty")).unwrap();
    // Larger than any chunk, and not a multiple of one.
    let noise = |index: u32| (index.wrapping_mul(2_654_435_761) >> 24).to_le_bytes()[0];
    write(root, "large", (0..5_000_003).map(noise).collect::<Vec<u8>>());

    fs::create_dir(root.join("links")).unwrap();
    let targets: [&[u8]; 7] = [
        b"../large",
        b"no/such",
        b"/etc/passwd",
        b"../../../../etc",
        b"../names",
        b"\xff\n",
        &[b'x'; 4_000],
    ];
    for (index, target) in targets.iter().enumerate() {
        let link = root.join(format!("links/{index}"));
        symlink(OsStr::from_bytes(target), &link).unwrap();
        set_modified(&link, 1_111_111_111, 111_111_111);
    }
    make_fifo(root.join("pipe"));

    for mode in [0o000, 0o444, 0o600, 0o755, 0o1755, 0o2755, 0o4755, 0o7777] {
        // Only root can read the first.
        if mode != 0 || is_root() {
            write(root, format!("modes/{mode:o}"), "x");
            set_mode(root.join(format!("modes/{mode:o}")), mode);
        }
        if mode & 0o500 == 0o500 || is_root() {
            write(root, format!("directory modes/{mode:o}/in"), "x");
            set_mode(root.join(format!("directory modes/{mode:o}")), mode);
        }
    }
    fill_attributes(root);
    fill_holes(root, 4_000_000);
    if is_root() {
        write(root, "owned", "x");
        std::os::unix::fs::lchown(root.join("owned"), Some(12_345), Some(54_321)).unwrap();
        std::os::unix::fs::lchown(root.join("links/0"), Some(777), Some(888)).unwrap();
    }
    let times = [(1_234_567_890, 123_456_789), (-2, 999_999_999), (0, 0), (4_102_444_800, 1)];
    for (index, (seconds, nanoseconds)) in times.into_iter().enumerate() {
        write(root, format!("times/{index}"), "x");
        set_modified(root.join(format!("times/{index}")), seconds, nanoseconds);
    }
    set_modified(root.join("times"), 987_654_321, 987_654_321);
    set_modified(root.join("empty/also empty"), 987_654_321, 1);
    set_modified(root, 1_500_000_000, 5);
}
