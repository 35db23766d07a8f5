//! The set-id bits: kept between ends of root, and elsewhere as it was said.

use std::fs;
use std::os::unix::fs::{MetadataExt, chown};
use std::process::Command;

use crate::program::{Addresses, Osync, SOON, arguments, command};
use crate::tree::{self, Pair};

const NOBODY: u32 = 65_534;

/// `command` as root or as somebody else.
fn run_as(is_root: bool, command: &Command) -> Command {
    let mut wrapped = Command::new("setpriv");
    if !is_root {
        wrapped.args(["--reuid=65534", "--regid=65534", "--clear-groups"]);
    }
    wrapped.arg(command.get_program()).args(command.get_args());
    wrapped
}

/// One end: whether root runs it, and what it is told.
type End = (bool, &'static str);

/// The mode and owner at the sink of a set-id program, after both ends have run once as told; and what that took the
/// second time.
fn replicated(source: End, sink: End) -> (u32, u32, String) {
    let pair = Pair::new();
    tree::set_mode(pair.source.parent().unwrap(), 0o777);
    tree::write(&pair.source, "program", "x");
    tree::set_mode(pair.source.join("program"), 0o6755);
    // Large, so that it travels in another way.
    tree::write(&pair.source, "large", vec![7; 500_000]);
    tree::set_mode(pair.source.join("large"), 0o6755);
    let mut last = String::new();
    for _ in 0..2 {
        let Addresses { control, data } = Addresses::free();
        let ends = [("source", &pair.source, source), ("sink", &pair.target, sink)];
        let [source, mut sink] = ends.map(|(role, root, (is_root, set_id))| {
            let line =
                arguments![role, root, "--control", control, "--data", data, "--set-id", set_id];
            run_as(is_root, &command(line))
        });
        let mut source = source;
        let source = Osync::spawn(&mut source);
        let (status, log) = Osync::spawn(sink.arg("--once")).wait_exit(2 * SOON);
        source.terminate();
        assert_eq!(status.code(), Some(0), "{log}");
        last = log;
    }
    let [program, large] =
        ["program", "large"].map(|name| fs::metadata(pair.target.join(name)).unwrap());
    assert_eq!(program.mode(), large.mode());
    (program.mode() & 0o7777, program.uid(), last)
}

#[test]
fn they_are_kept_between_ends_of_root_and_elsewhere_as_told() {
    let probe = Pair::new();
    tree::set_mode(probe.source.parent().unwrap(), 0o777);
    let may = tree::is_root()
        && chown(&probe.source, Some(NOBODY), Some(NOBODY)).is_ok()
        && run_as(false, &command(arguments!["--version"])).status().is_ok_and(|ran| ran.success());
    if !may {
        println!("SKIP: this test runs osync as root and as nobody");
        return;
    }
    let (kept, dropped) = (0o6755, 0o0755);
    for (source, sink, wanted) in [
        ((true, "auto"), (true, "auto"), kept),
        ((true, "auto"), (true, "off"), dropped),
        ((true, "off"), (true, "auto"), dropped),
        ((false, "auto"), (true, "auto"), dropped),
        ((false, "on"), (true, "auto"), kept),
        ((true, "auto"), (false, "auto"), dropped),
        ((true, "auto"), (false, "on"), kept),
    ] {
        let (mode, owner, log) = replicated(source, sink);

        assert_eq!(mode, wanted, "{source:?} to {sink:?}: {mode:o}\n{log}");
        assert_eq!(owner, if sink.0 { 0 } else { NOBODY });
        assert!(log.contains("done: 0 files"), "nothing is sent for ever: {log}");
    }
}
