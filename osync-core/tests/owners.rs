//! Owners by name: two directories as of two machines on which the same people have other numbers.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::os::unix::fs::{MetadataExt, chown, lchown, symlink};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use osync_core::Mirror;
use osync_core::adapters::feed::channel::{ChannelFeed, ChannelFeedHandle};
use osync_core::adapters::fs::sink::DirectorySink;
use osync_core::adapters::fs::source::DirectorySource;
use osync_core::model::account::AccountKind;
use osync_core::model::change::{Change, Touch};
use osync_core::model::rel_path::RelPath;
use osync_core::options::{SinkOptions, SourceOptions};
use osync_core::ports::accounts::Accounts;
use osync_core::testing::recorder::Recorder;
use rustix::fs::{XattrFlags, getxattr, setxattr};

const DEADLINE: Duration = Duration::from_mins(1);
const ACCESS: &str = "system.posix_acl_access";

const ANN: u32 = 70_001;
const BOB: u32 = 70_002;
const NAMELESS: u32 = 70_003;
const TOOR: u32 = 70_004;
const STAFF: u32 = 70_011;
const ANN_THERE: u32 = 80_001;
const STAFF_THERE: u32 = 80_011;

/// Everybody on one machine.
#[derive(Debug)]
struct People(&'static [(AccountKind, u32, &'static str)]);

impl Accounts for People {
    fn name(&self, kind: AccountKind, id: u32) -> Option<Box<[u8]>> {
        let found = self.0.iter().find(|(of, number, _)| (*of, *number) == (kind, id));
        found.map(|(_, _, name)| name.as_bytes().into())
    }

    fn id(&self, kind: AccountKind, name: &[u8]) -> Option<u32> {
        let found = self.0.iter().find(|(of, _, known)| *of == kind && known.as_bytes() == name);
        found.map(|(_, id, _)| *id)
    }
}

const HERE: People = People(&[
    (AccountKind::User, ANN, "ann"),
    (AccountKind::User, BOB, "bob"),
    (AccountKind::User, TOOR, "toor"),
    (AccountKind::Group, STAFF, "staff"),
]);
const THERE: People = People(&[
    (AccountKind::User, ANN_THERE, "ann"),
    (AccountKind::User, 0, "toor"),
    (AccountKind::User, 1, STRANGER),
    (AccountKind::Group, STAFF_THERE, "staff"),
    (AccountKind::Group, 1, "ann"),
]);
/// A name that nobody has at the source.
const STRANGER: &str = "stranger";

fn start(source: &Path, target: &Path) -> (Mirror, ChannelFeedHandle) {
    let (feed, handle) = ChannelFeed::new();
    let mirror = Mirror::start(
        Arc::new(DirectorySource::open(source).unwrap().with_accounts(Arc::new(HERE))),
        Box::new(feed),
        Arc::new(DirectorySink::open(target).unwrap().with_accounts(Arc::new(THERE))),
        SourceOptions::default(),
        SinkOptions::default(),
        Arc::new(Recorder::new()),
    );
    (mirror.unwrap(), handle)
}

fn settle(mirror: &Mirror) {
    assert_eq!(mirror.wait_in_sync(Some(DEADLINE)).unwrap().unwrap().problems, 0);
}

fn owner(path: &Path) -> (u32, u32) {
    let metadata = fs::symlink_metadata(path).unwrap();
    (metadata.uid(), metadata.gid())
}

/// The owner may write, `user` may read, nobody else anything.
fn access_list(user: u32) -> Vec<u8> {
    let mut list = vec![2, 0, 0, 0];
    for (tag, permissions, id) in [
        (1_u16, 6_u16, u32::MAX),
        (2, 4, user),
        (4, 0, u32::MAX),
        (16, 4, u32::MAX),
        (32, 0, u32::MAX),
    ] {
        list.extend_from_slice(&tag.to_le_bytes());
        list.extend_from_slice(&permissions.to_le_bytes());
        list.extend_from_slice(&id.to_le_bytes());
    }
    list
}

#[test]
fn files_belong_to_who_has_their_owners_name_and_a_second_run_finds_nothing_to_send() {
    if !rustix::process::geteuid().is_root() {
        println!("SKIP: owners are kept as root only");
        return;
    }
    let root = tempfile::tempdir().unwrap();
    let (source, target) = (root.path().join("source"), root.path().join("target"));
    let large = vec![b'x'; 300_000];
    fs::create_dir_all(source.join("d")).unwrap();
    for (name, uid, gid) in [
        ("ann", ANN, STAFF),
        ("bob", BOB, 5),
        ("nameless", NAMELESS, STAFF),
        ("toor", TOOR, 0),
        ("root", 0, 0),
        // The number that ann has at the sink, and no name at the source.
        ("taken", ANN_THERE, 0),
        ("d/large", ANN, STAFF),
    ] {
        let path = source.join(name);
        fs::write(&path, if name == "d/large" { &large[..] } else { name.as_bytes() }).unwrap();
        chown(&path, Some(uid), Some(gid)).unwrap();
    }
    chown(source.join("d"), Some(ANN), Some(0)).unwrap();
    symlink("nowhere", source.join("link")).unwrap();
    lchown(source.join("link"), Some(ANN), Some(STAFF)).unwrap();
    let has_lists =
        setxattr(source.join("bob"), ACCESS, &access_list(ANN), XattrFlags::empty()).is_ok();

    let (mirror, _feed) = start(&source, &target);
    settle(&mirror);
    mirror.join().unwrap();

    let at = |name: &str| owner(&target.join(name));
    assert_eq!(at("ann"), (ANN_THERE, STAFF_THERE));
    assert_eq!(at("bob"), (BOB, 5), "nobody of that name is there");
    assert_eq!(at("nameless"), (NAMELESS, STAFF_THERE));
    assert_eq!(at("toor"), (TOOR, 0), "nobody becomes root by his name");
    assert_eq!((at("root"), at("taken")), ((0, 0), (ANN_THERE, 0)));
    assert_eq!((at("d"), at("d/large")), ((ANN_THERE, 0), (ANN_THERE, STAFF_THERE)));
    assert_eq!(at("link"), (ANN_THERE, STAFF_THERE));
    if has_lists {
        let mut list = [0; 256];
        let bytes = getxattr(target.join("bob"), ACCESS, &mut list[..]).unwrap();
        assert_eq!(list[..bytes], access_list(ANN_THERE));
    } else {
        println!("SKIP: no access lists on the file system of temporary files");
    }

    let (mirror, feed) = start(&source, &target);
    settle(&mirror);
    assert_eq!(mirror.transfer_report().entries, 0, "two owners became one, and all is the same");

    // What somebody gave away at the sink is found again, though the number is that of the source.
    chown(target.join("d/large"), Some(ANN), None).unwrap();
    mirror.audit();
    settle(&mirror);
    assert_eq!(at("d/large"), (ANN_THERE, STAFF_THERE));

    chown(source.join("bob"), Some(ANN), Some(STAFF)).unwrap();
    let path = RelPath::new(&b"bob"[..]).unwrap();
    feed.report(Change::Entry { path, touch: Touch::Metadata }).unwrap();
    settle(&mirror);
    assert_eq!(at("bob"), (ANN_THERE, STAFF_THERE));
    mirror.join().unwrap();
}
