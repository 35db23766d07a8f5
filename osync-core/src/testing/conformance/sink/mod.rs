//! What every [`Sink`] must do.
//!
//! [`check`] runs every rule on a fresh fixture and panics with the sentence that is broken.

mod basis;
mod content;
mod links;
mod names;

use crate::model::attributes::Attributes;
use crate::model::metadata::{Device, Kind, Metadata};
use crate::model::nodes::Nodes;
use crate::model::rel_path::RelPath;
use crate::model::timestamp::Timestamp;
use crate::ports::sink::Sink;

/// A sink that starts empty, and the eyes that see what lies behind it.
pub trait SinkFixture: Sync {
    /// The sink under test.
    fn sink(&self) -> &dyn Sink;
    /// The content of a regular file as any reader of the tree sees it; `None` if there is none.
    fn content(&self, path: &RelPath) -> Option<Vec<u8>>;
    /// Every path in the tree, temporaries and the root (the empty path) included.
    fn paths(&self) -> Vec<RelPath>;
}

/// Checks every rule, each on a fixture of its own.
///
/// # Panics
/// With the rule that is broken.
pub fn check<F: SinkFixture>(mut make: impl FnMut() -> F) {
    let rules: [fn(&dyn SinkFixture); 22] = [
        content::files_get_content_metadata_and_parents,
        content::every_kind_replaces_every_kind,
        content::nothing_is_made_without_leave,
        content::a_directory_that_exists_stays_as_it_is,
        content::staged_versions_are_invisible_until_committed,
        content::a_dropped_version_leaves_nothing,
        content::what_is_passed_over_is_a_hole,
        content::set_metadata_changes_what_it_was_told_of_only,
        content::attributes_are_set_changed_and_removed,
        basis::a_version_is_built_from_parts_of_the_one_before,
        basis::only_a_regular_file_is_built_upon,
        basis::an_extended_file_grows_at_once_and_in_place,
        links::a_link_is_another_name_of_what_is_there,
        links::a_refused_link_changes_nothing,
        names::removal_takes_everything_below,
        names::a_rename_moves_everything_in_one_step,
        names::a_refused_rename_changes_nothing,
        names::listings_keep_to_their_range,
        names::symbolic_links_are_never_followed,
        names::nothing_is_written_below_what_is_no_directory,
        names::odd_names_and_long_paths_are_kept,
        content::readers_see_the_old_or_the_new,
    ];
    for rule in rules {
        let fixture = make();
        rule(&fixture);
    }
}

/// The sorts of things that can lie at a path, and how a sink is asked for each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sort {
    Absent,
    File,
    Staged,
    Directory,
    Symlink,
    Fifo,
    Socket,
    Device,
}

/// Every sort that this sink may have.
fn sorts(sink: &dyn Sink) -> Vec<Sort> {
    use Sort::{Absent, Device, Directory, Fifo, File, Socket, Staged, Symlink};
    let Nodes { sockets, devices } = sink.fidelity().nodes;
    let nodes = [sockets.then_some(Socket), devices.then_some(Device)];
    let always = [Absent, File, Staged, Directory, Symlink, Fifo];
    always.into_iter().chain(nodes.into_iter().flatten()).collect()
}

/// Every kind of entry that this sink may have, once.
fn kinds(sink: &dyn Sink) -> Vec<Sort> {
    sorts(sink).into_iter().filter(|sort| !matches!(sort, Sort::Absent | Sort::Staged)).collect()
}

/// A device that does no harm.
const NULL: Kind = Kind::CharacterDevice(Device { major: 1, minor: 3 });

/// Puts one of `sort` at `path`, and returns what should lie there then.
fn put(sink: &dyn Sink, path: &str, sort: Sort) -> Option<Metadata> {
    let path = rel(path);
    let metadata = match sort {
        Sort::Absent => {
            sink.remove(&path).expect(PLAIN);
            return None;
        }
        Sort::File => {
            let metadata = file(sink, 5);
            sink.write_file(&path, &metadata, b"whole").expect(PLAIN);
            metadata
        }
        Sort::Staged => {
            let metadata = file(sink, 6);
            let mut staged = sink.stage(&path, 6).expect(PLAIN);
            staged.append(b"pie").expect(PLAIN);
            staged.append(b"ces").expect(PLAIN);
            staged.commit(&metadata).expect(PLAIN);
            metadata
        }
        Sort::Directory => {
            sink.make_directory(&path).expect(PLAIN);
            sink.metadata(&path).expect(PLAIN).expect("it was made")
        }
        Sort::Symlink | Sort::Fifo | Sort::Socket | Sort::Device => {
            let metadata = of_kind(sink, kind_of(sort));
            sink.make_special(&path, &metadata).expect(PLAIN);
            metadata
        }
    };
    Some(metadata)
}

fn kind_of(sort: Sort) -> Kind {
    match sort {
        Sort::Socket => Kind::Socket,
        Sort::Device => NULL,
        Sort::Fifo => Kind::Fifo,
        Sort::Absent | Sort::File | Sort::Staged => Kind::File { size_bytes: 0 },
        Sort::Directory => Kind::Directory,
        Sort::Symlink => Kind::Symlink { target: (*b"no/such").into() },
    }
}

/// What a call says that has no reason to fail.
const PLAIN: &str = "nothing is in the way of this call";

fn rel(path: &str) -> RelPath {
    rel_bytes(path.as_bytes())
}

fn rel_bytes(path: &[u8]) -> RelPath {
    RelPath::new(path).expect("rules use valid paths")
}

/// Metadata of `kind` that no file system gives by itself, of the owner the root has.
fn of_kind(sink: &dyn Sink, kind: Kind) -> Metadata {
    let root = sink.metadata(&RelPath::root()).expect(PLAIN);
    let root = root.expect("the root is there");
    Metadata {
        kind,
        modified: Timestamp { seconds: 1_234_567_890, nanoseconds: 123_456_789 },
        mode: 0o640,
        uid: root.uid,
        gid: root.gid,
        attributes: Attributes::None,
        names: 1,
    }
}

fn file(sink: &dyn Sink, bytes: usize) -> Metadata {
    let size_bytes = bytes as u64;
    of_kind(sink, Kind::File { size_bytes })
}

fn assert_is(sink: &dyn Sink, path: &str, wanted: &Metadata) {
    let found = sink.metadata(&rel(path)).expect(PLAIN);
    assert_eq!(
        found.map(|found| sink.fidelity().masked(&found)),
        Some(sink.fidelity().masked(wanted)),
        "metadata of {path}"
    );
}

/// Every path there is once nothing is left to be done.
fn settled(fixture: &dyn SinkFixture) -> Vec<RelPath> {
    fixture.sink().tidy();
    let mut paths = fixture.paths();
    paths.sort();
    paths
}
