//! Sockets and device nodes: kept with leave at both ends, and with that of neither left out.

use std::fs;
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::Command;

use rustix::fs::{AtFlags, CWD, FileType, Mode, chownat, linkat, makedev, mknodat};

use crate::program::{Addresses, Osync, SOON, arguments, command};
use crate::tree::{self, Pair};
use crate::wait;

/// Makes a device node that does no harm; returns whether this user may.
fn make_device(path: impl AsRef<Path>, minor: u32) -> bool {
    let (permissions, device) = (Mode::from_raw_mode(0o620), makedev(1, minor));
    let made = mknodat(CWD, path.as_ref(), FileType::CharacterDevice, permissions, device);
    if let Err(errno) = made {
        println!("SKIP of device nodes: {errno}");
    }
    made.is_ok()
}

/// The sockets and device nodes below a directory.
fn nodes(root: &Path) -> usize {
    let entries = fs::read_dir(root).unwrap().map(Result::unwrap);
    entries
        .map(|entry| match entry.file_type().unwrap() {
            found if found.is_dir() => nodes(&entry.path()),
            found => usize::from(!found.is_file() && !found.is_symlink() && !found.is_fifo()),
        })
        .sum()
}

/// The program as source and as sink of `pair`, not started yet.
fn both_ends(pair: &Pair) -> [Command; 2] {
    let Addresses { control, data } = Addresses::free();
    [("source", &pair.source), ("sink", &pair.target)]
        .map(|(role, root)| command(arguments![role, root, "--control", control, "--data", data]))
}

fn fill(root: &Path) {
    tree::fill_nasty(root);
    fs::create_dir(root.join("nodes")).unwrap();
    for name in ["socket", "moving"] {
        drop(UnixListener::bind(root.join("nodes").join(name)).unwrap());
    }
    tree::set_mode(root.join("nodes/socket"), 0o604);
    tree::set_modified(root.join("nodes/socket"), 1_111_111_111, 5);
    if make_device(root.join("nodes/device"), 3) {
        let device = root.join("nodes/device");
        let block = mknodat(
            CWD,
            root.join("nodes/block"),
            FileType::BlockDevice,
            Mode::from_raw_mode(0o660),
            makedev(0xfff, 0xf_ffff),
        );
        block.unwrap();
        linkat(CWD, &device, CWD, root.join("nodes/linked"), AtFlags::empty()).unwrap();
        let (uid, gid) = (rustix::fs::Uid::from_raw(12), rustix::fs::Gid::from_raw(34));
        chownat(CWD, &device, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW).unwrap();
        tree::set_modified(&device, -5, 7);
        tree::set_attribute(&device, "trusted.t", b"1");
    }
}

#[test]
fn with_leave_at_both_ends_they_are_kept_and_followed() {
    let pair = Pair::new();
    fill(&pair.source);
    // Something else is in the way of one of them, and one of them in the way of something else.
    tree::write(&pair.target, "nodes/socket/in", "x");
    tree::write(&pair.target, "empty file", "x");
    fs::remove_file(pair.target.join("empty file")).unwrap();
    drop(UnixListener::bind(pair.target.join("empty file")).unwrap());
    let [mut source, mut sink] = both_ends(&pair);
    let source = Osync::spawn(source.arg("--devices"));
    let sink = Osync::spawn(sink.arg("--devices"));
    sink.wait_line("in sync: ");
    pair.assert_equal();

    let root = pair.source.join("nodes");
    fs::rename(root.join("moving"), root.join("moved")).unwrap();
    fs::remove_file(root.join("socket")).unwrap();
    tree::write(&root, "socket/in", "a directory now");
    drop(UnixListener::bind(root.join("new")).unwrap());
    tree::set_mode(root.join("moved"), 0o700);
    if fs::remove_file(root.join("device")).is_ok() {
        make_device(root.join("device"), 5);
        fs::remove_file(root.join("block")).unwrap();
        tree::write(&root, "block", "a file now");
    }

    pair.assert_equal_within(SOON, "live changes");
    let log = sink.terminate();
    assert!(!log.contains("not replicated"), "{log}");
    source.terminate();
}

#[test]
fn without_leave_at_either_end_they_are_left_out() {
    let pair = Pair::new();
    fill(&pair.source);
    for at in [None, Some("source"), Some("sink")] {
        tree::write(&pair.target, "nodes/file", "x");
        // Whoever made it: what the source does not tell of is removed.
        drop(UnixListener::bind(pair.target.join("old")).unwrap());
        let [mut source, mut sink] = both_ends(&pair);
        let with_leave = |name: &'static str| (at == Some(name)).then_some("--devices");
        let source = Osync::spawn(source.args(with_leave("source")));
        let sink = Osync::spawn(sink.args(with_leave("sink")).arg("--once"));

        let (status, log) = sink.wait_exit(2 * SOON);

        let source = source.terminate();
        assert_eq!(status.code(), Some(0), "{log}\n{source}");
        assert!(source.contains("left out"), "it is said: {source}");
        assert!(pair.target.join("nodes").is_dir());
        assert_eq!(nodes(&pair.target), 0);
    }
}

#[test]
fn what_the_target_cannot_hold_is_said_once_and_left_out() {
    let pair = Pair::new();
    tree::write(&pair.source, "file", "x");
    drop(UnixListener::bind(pair.source.join("socket")).unwrap());
    let has_device = make_device(pair.source.join("device"), 3);
    let line = arguments!["mirror", pair.source, pair.target, "--devices", "--once"];
    let program = command(line);
    // In a name space of its own a user has no device nodes, whoever he is there.
    let namespace = ["--user", "--map-root-user"];
    if !has_device
        || !Command::new("unshare")
            .args(namespace)
            .arg("true")
            .status()
            .is_ok_and(|status| status.success())
    {
        println!("SKIP: no user name spaces here");
        return;
    }
    for _ in 0..2 {
        let mut unshared = Command::new("unshare");
        unshared.args(namespace).arg(program.get_program()).args(program.get_args());
        let (status, log) = Osync::spawn(&mut unshared).wait_exit(2 * SOON);

        assert_eq!(status.code(), Some(0), "{log}");
        assert_eq!(log.matches("cannot hold device nodes").count(), 1, "{log}");
    }
    let found = || fs::symlink_metadata(pair.target.join("socket")).ok();
    let socket = wait::for_value(SOON, found, || "the socket".to_owned());
    assert!(socket.file_type().is_socket());
    assert!(!pair.target.join("device").exists() && pair.target.join("file").exists());
}
