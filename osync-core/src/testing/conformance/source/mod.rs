//! What every [`Source`] must do.
//!
//! [`check`] runs every rule on a fresh fixture and panics with the sentence that is broken. Rules that
//! concern time wait with a deadline: a file system's clock may stand still for some milliseconds.

mod files;
mod listings;

use crate::model::metadata::{Kind, Metadata, Stamp};
use crate::model::name::Name;
use crate::model::rel_path::RelPath;
use crate::model::timestamp::Timestamp;
use crate::ports::source::{Source, SourceFile};
use crate::testing::conformance::{deep_directory, odd_names};

/// A source that starts empty, and the hands that change what lies behind it.
///
/// Everything here succeeds or panics. Paths are bytes with `/`; directories above them exist.
pub trait SourceFixture {
    /// The source under test.
    fn source(&self) -> &dyn Source;
    /// Makes a file, or truncates and writes it in place.
    fn write(&self, path: &[u8], content: &[u8]);
    /// Makes a directory.
    fn mkdir(&self, path: &[u8]);
    /// Makes a symbolic link.
    fn symlink(&self, path: &[u8], target: &[u8]);
    /// Makes a named pipe. Nobody ever opens its other end, so opening it would hang.
    fn fifo(&self, path: &[u8]);
    /// Removes a file, link or pipe.
    fn remove(&self, path: &[u8]);
    /// Moves an entry, over a file if one is there.
    fn rename(&self, from: &[u8], to: &[u8]);
    /// Sets the mode.
    fn chmod(&self, path: &[u8], mode: u32);
    /// Sets the modification time, of a link itself.
    fn set_modified(&self, path: &[u8], modified: Timestamp);
    /// Sets an extended attribute, of a link itself; returns whether what lies there can have it.
    fn set_attribute(&self, path: &[u8], name: &[u8], value: &[u8]) -> bool;
}

/// Checks every rule, each on a fixture of its own.
///
/// # Panics
/// With the rule that is broken.
pub fn check<F: SourceFixture>(mut make: impl FnMut() -> F) {
    let rules: [fn(&dyn SourceFixture); 16] = [
        metadata_tells_every_kind,
        what_is_not_there_is_none,
        symbolic_links_are_never_followed,
        listings::pages_come_in_bytewise_order,
        listings::names_tell_what_a_listing_tells,
        listings::pages_go_on_while_the_directory_changes,
        listings::interleaved_listings_do_not_mix,
        files::only_regular_files_open,
        files::ranges_are_read_as_asked,
        files::bytes_are_appended_as_asked,
        files::everything_but_zeros_is_data,
        files::a_directory_tells_of_its_names_what_the_source_tells,
        files::an_open_file_outlives_its_name,
        files::stamps_move_with_every_change,
        files::attributes_are_told_in_full_and_listed_as_digests,
        odd_names_and_long_paths_are_kept,
    ];
    for rule in rules {
        rule(&make());
    }
}

fn metadata_tells_every_kind(fixture: &dyn SourceFixture) {
    let modified = Timestamp { seconds: 1_234_567_890, nanoseconds: 123_456_789 };
    fixture.mkdir(b"d");
    fixture.write(b"d/file", b"12345");
    fixture.symlink(b"d/link", b"no/such/target");
    fixture.fifo(b"d/pipe");
    fixture.chmod(b"d/file", 0o604);
    for path in [&b"d/file"[..], b"d/link", b"d/pipe", b"d"] {
        fixture.set_modified(path, modified);
    }

    let kind = |path: &[u8]| look(fixture, path).map(|(metadata, _)| metadata.kind);
    assert_eq!(kind(b""), Some(Kind::Directory), "the root is a directory");
    assert_eq!(kind(b"d"), Some(Kind::Directory));
    assert_eq!(kind(b"d/file"), Some(Kind::File { size_bytes: 5 }));
    let target = (*b"no/such/target").into();
    assert_eq!(
        kind(b"d/link"),
        Some(Kind::Symlink { target }),
        "a symbolic link is told as it is, its target is data"
    );
    assert_eq!(kind(b"d/pipe"), Some(Kind::Fifo));
    let (file, _) = look(fixture, b"d/file").expect("the file is there");
    assert_eq!(file.mode, 0o604, "permission bits alone make the mode");
    for path in [&b"d/file"[..], b"d/link", b"d/pipe", b"d"] {
        let (metadata, stamp) = look(fixture, path).expect("all are there");
        assert_eq!(metadata.modified, modified, "times have nanoseconds");
        assert!(!stamp.unlinked, "what has a name is not unlinked");
    }
    let listed = list_all(fixture, b"d", 10);
    for (name, metadata) in listed {
        let path = [&b"d/"[..], name.as_bytes()].concat();
        let alone = look(fixture, &path).map(|(metadata, _)| metadata);
        assert_eq!(Some(metadata), alone, "a listing tells what metadata tells");
    }
}

fn what_is_not_there_is_none(fixture: &dyn SourceFixture) {
    fixture.write(b"file", b"x");
    fixture.fifo(b"pipe");

    for path in [&b"none"[..], b"none/below", b"file/below", b"pipe/below"] {
        assert_none_at(fixture, path);
    }
    for path in [&b"file"[..], b"pipe"] {
        let page = fixture.source().list(&rel(path), None, 1);
        assert_eq!(page.expect(PLAIN), None, "only directories have listings");
    }
}

fn symbolic_links_are_never_followed(fixture: &dyn SourceFixture) {
    fixture.mkdir(b"d");
    fixture.mkdir(b"d/e");
    fixture.write(b"d/e/file", b"x");
    fixture.symlink(b"to-d", b"d");
    fixture.symlink(b"to-file", b"d/e/file");
    fixture.symlink(b"d/up", b"..");

    for path in [&b"to-d/e"[..], b"to-d/e/file", b"d/up/d", b"d/up/d/e/file", b"to-file/x"] {
        assert_none_at(fixture, path);
    }
    for path in [&b"to-d"[..], b"d/up", b"to-file"] {
        let page = fixture.source().list(&rel(path), None, 1);
        assert_eq!(page.expect(PLAIN), None, "a link to a directory has no listing");
        assert!(open(fixture, path).is_none(), "a link is not opened");
    }
}

fn odd_names_and_long_paths_are_kept(fixture: &dyn SourceFixture) {
    fixture.mkdir(b"d");
    for name in odd_names() {
        fixture.write(&[&b"d/"[..], &name].concat(), &name);
    }
    let deep = deep_directory();
    for (at, _) in deep.iter().enumerate().filter(|&(_, &byte)| byte == b'/') {
        fixture.mkdir(&deep[..at]);
    }
    fixture.mkdir(&deep);
    let bottom = [&deep[..], b"/file"].concat();
    fixture.write(&bottom, b"deep");

    let mut names = odd_names();
    names.sort();
    let listed: Vec<_> =
        list_all(fixture, b"d", 3).into_iter().map(|(name, _)| name.as_bytes().to_vec()).collect();
    assert_eq!(listed, names, "names are kept byte for byte");
    for name in names {
        let mut file = open(fixture, &[&b"d/"[..], &name].concat()).expect("it is there");
        assert_eq!(read_all(file.as_mut(), 0), name);
    }
    let mut file = open(fixture, &bottom).expect("paths may be longer than PATH_MAX");
    assert_eq!(read_all(file.as_mut(), 0), b"deep");
    assert_eq!(list_all(fixture, &deep, 9).len(), 1);
    assert!(look(fixture, &bottom).is_some());
    assert_none_at(fixture, &[&deep[..], b"/none"].concat());
}

/// What a call says that has no reason to fail.
const PLAIN: &str = "nothing is wrong with the tree, so the source can tell";

fn rel(path: &[u8]) -> RelPath {
    RelPath::new(path).expect("rules use valid paths")
}

fn look(fixture: &dyn SourceFixture, path: &[u8]) -> Option<(Metadata, Stamp)> {
    fixture.source().metadata(&rel(path)).expect(PLAIN)
}

fn open(fixture: &dyn SourceFixture, path: &[u8]) -> Option<Box<dyn SourceFile>> {
    fixture.source().open(&rel(path)).expect(PLAIN)
}

fn assert_none_at(fixture: &dyn SourceFixture, path: &[u8]) {
    let path_shown = rel(path);
    assert_eq!(look(fixture, path), None, "{path_shown} has no metadata");
    assert!(open(fixture, path).is_none(), "{path_shown} does not open");
    let page = fixture.source().list(&path_shown, None, 1).expect(PLAIN);
    assert_eq!(page, None, "{path_shown} has no listing");
}

fn list_all(fixture: &dyn SourceFixture, path: &[u8], limit: usize) -> Vec<(Name, Metadata)> {
    let mut entries: Vec<(Name, Metadata)> = Vec::new();
    loop {
        let after = entries.last().map(|(name, _)| name.clone());
        let page = fixture.source().list(&rel(path), after.as_ref(), limit);
        let page = page.expect(PLAIN).expect("the directory is there");
        assert!(page.entries.len() <= limit, "a page keeps to its limit");
        assert!(
            !(page.has_more && page.entries.is_empty()),
            "a page that is not the last moves on"
        );
        entries.extend(page.entries.into_iter().map(|e| (e.name, e.metadata)));
        if !page.has_more {
            return entries;
        }
    }
}

fn read_all(file: &mut dyn SourceFile, mut offset_bytes: u64) -> Vec<u8> {
    let mut content = Vec::new();
    let mut buffer = vec![0; 100_003];
    loop {
        let count = file.read_at(offset_bytes, &mut buffer).expect(PLAIN);
        if count == 0 {
            return content;
        }
        content.extend_from_slice(&buffer[..count]);
        offset_bytes += count as u64;
    }
}
