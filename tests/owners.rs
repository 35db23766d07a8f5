//! Owners by name, between two ends that each see another list of users and groups.

use std::fs;
use std::os::unix::fs::{MetadataExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::program::{Addresses, Osync, SOON, arguments, command};
use crate::tree::{self, Pair};

/// Of somebody at the source and at the sink, and of his group.
const HERE: (u32, u32) = (70_001, 70_011);
const THERE: (u32, u32) = (80_001, 80_011);

/// Lists of users and groups in `directory` that have one more, with these numbers.
fn people(directory: &Path, name: &str, (uid, gid): (u32, u32)) -> [PathBuf; 2] {
    let user = format!("osync-ann:x:{uid}:{gid}::/:/bin/false\n");
    let group = format!("osync-staff:x:{gid}:\n");
    [("passwd", user), ("group", group)].map(|(list, line)| {
        let path = directory.join(format!("{name}-{list}"));
        let known = fs::read_to_string(Path::new("/etc").join(list)).unwrap();
        fs::write(&path, known + &line).unwrap();
        path
    })
}

/// `command` where `people` are the users and groups of the machine.
fn among(people: &[PathBuf; 2], command: &Command) -> Command {
    let script =
        "mount --bind \"$0\" /etc/passwd && mount --bind \"$1\" /etc/group && shift && exec \"$@\"";
    let mut wrapped = Command::new("unshare");
    wrapped.args(["-m", "sh", "-c", script]).args(people);
    wrapped.arg(command.get_program()).args(command.get_args());
    wrapped
}

/// What a sink with `owners` made of the file `ann`, and what it says the second time.
fn replicated(owners: &str) -> ((u32, u32), String) {
    let pair = Pair::new();
    let directory = pair.source.parent().unwrap();
    let (here, there) = (people(directory, "here", HERE), people(directory, "there", THERE));
    tree::write(&pair.source, "ann", "x");
    chown(pair.source.join("ann"), Some(HERE.0), Some(HERE.1)).unwrap();
    let mut last = String::new();
    for _ in 0..2 {
        let Addresses { control, data } = Addresses::free();
        let source = arguments!["source", pair.source, "--control", control, "--data", data];
        let source = Osync::spawn(&mut among(&here, &command(source)));
        let sink = arguments![
            "sink",
            pair.target,
            "--control",
            control,
            "--data",
            data,
            "--owners",
            owners,
            "--once"
        ];
        let sink = Osync::spawn(&mut among(&there, &command(sink)));
        let (status, log) = sink.wait_exit(2 * SOON);
        source.terminate();
        assert_eq!(status.code(), Some(0), "{log}");
        last = log;
    }
    let ann = fs::metadata(pair.target.join("ann")).unwrap();
    ((ann.uid(), ann.gid()), last)
}

#[test]
fn files_belong_to_the_number_of_their_owner_or_to_who_has_the_name() {
    let probe = Pair::new();
    let people = people(probe.source.parent().unwrap(), "probe", HERE);
    let may = tree::is_root()
        && among(&people, &command(arguments!["--version"]))
            .output()
            .is_ok_and(|ran| ran.status.success());
    if !may {
        println!("SKIP: this test needs root and a mount namespace");
        return;
    }
    for (owners, wanted) in [("numeric", HERE), ("names", THERE)] {
        let (owner, log) = replicated(owners);

        assert_eq!(owner, wanted, "{owners}: {log}");
        assert!(log.contains("done: 0 files"), "nothing is sent for ever: {log}");
    }
}
