//! Sources found by name: between two network namespaces joined by a cable, and inside one.

use std::ffi::OsStr;
use std::fs;
use std::path::Path;
use std::process::{self, Command};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use crate::keys::keygen;
use crate::program::{Osync, SOON, arguments, command};
use crate::tree::{self, Pair};
use crate::wait;

/// Finding a source again after it moved: silence, and then some attempts.
const FOUND_AGAIN_MAX: Duration = Duration::from_secs(40);

/// Network namespaces, removed when dropped.
struct Network {
    names: Vec<String>,
}

impl Network {
    /// Two hosts; `None`, with the reason printed, where this cannot be had.
    fn new() -> Option<Self> {
        let id = id();
        let [a, b] = ["a", "b"].map(|end| format!("osync-{id}-{end}"));
        let (cable_a, cable_b) = (format!("osa{id}"), format!("osb{id}"));
        let steps = [
            format!("link add {cable_a} netns {a} type veth peer name {cable_b} netns {b}"),
            format!("-n {a} addr add 10.213.7.1/24 dev {cable_a}"),
            format!("-n {b} addr add 10.213.7.2/24 dev {cable_b}"),
            format!("-n {a} link set {cable_a} up"),
            format!("-n {b} link set {cable_b} up"),
            format!("-n {a} addr add 10.213.7.3/24 dev {cable_a}"),
        ];
        Self::made(vec![a.clone(), b.clone()], &steps)
    }

    /// One host, whose cable ends in itself; `None` as above.
    fn one_host() -> Option<Self> {
        let name = format!("osync-{}-one", id());
        let steps = [
            format!("-n {name} link set lo up"),
            format!("-n {name} link add inner type veth peer name outer"),
            format!("-n {name} addr add 10.213.7.1/24 dev inner"),
            format!("-n {name} link set outer up"),
            format!("-n {name} link set inner up"),
        ];
        Self::made(vec![name.clone()], &steps)
    }

    fn made(names: Vec<String>, steps: &[String]) -> Option<Self> {
        if !tree::is_root() {
            println!("skipped: only root can make network namespaces");
            return None;
        }
        let network = Self { names };
        let made = network.names.iter().map(|name| format!("netns add {name}"));
        for step in made.chain(steps.iter().cloned()) {
            if !ip(&step) {
                println!("skipped: cannot run: ip {step}");
                return None;
            }
        }
        Some(network)
    }

    /// Whether anybody on the host `end` hears multicast DNS by its loop.
    fn hears_itself_by_the_loop(&self, end: usize) -> bool {
        let mut groups = Command::new("ip");
        groups.args(["netns", "exec", &self.names[end], "cat", "/proc/net/igmp"]);
        let groups = String::from_utf8(groups.output().unwrap().stdout).unwrap();
        // A line for each interface, and below it one for each group: 224.0.0.251 is FB0000E0.
        let groups = groups.split_once("\tlo ").unwrap().1.lines().skip(1);
        groups.take_while(|line| line.starts_with("\t\t")).any(|line| line.contains("FB0000E0"))
    }

    /// Osync with these arguments in the namespace `end`.
    fn command(&self, end: usize, arguments: &[&OsStr]) -> Command {
        let osync = command(arguments);
        let mut inside = Command::new("ip");
        inside.args(["netns", "exec", &self.names[end]]).arg(osync.get_program());
        inside.args(osync.get_args()).env_remove("RUST_LOG");
        inside
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        for name in &self.names {
            ip(&format!("netns del {name}"));
        }
    }
}

/// For names that no other test has.
fn id() -> String {
    static MADE: AtomicU32 = AtomicU32::new(0);
    format!("{}-{}", process::id(), MADE.fetch_add(1, Ordering::Relaxed))
}

fn ip(arguments: &str) -> bool {
    let output = Command::new("ip").args(arguments.split(' ')).output();
    output.is_ok_and(|output| output.status.success())
}

#[test]
fn a_sink_finds_its_source_by_name_and_follows_it_to_another_address_and_port() {
    let Some(network) = Network::new() else { return };
    let pair = Pair::new();
    tree::fill(&pair.source, 3, 3);
    let base = pair.source.parent().unwrap();
    let [ours, theirs, liar] = ["source", "sink", "liar"].map(|name| keygen(&base.join(name)));
    let start_source = |key: &Path, control: &str, data: &str| {
        Osync::spawn(&mut network.command(
            0,
            arguments![
                "source",
                pair.source,
                "--announce",
                "pool",
                "--key",
                key.join("osync.key"),
                "--allow",
                theirs.join("osync.pub"),
                "--control",
                control,
                "--data",
                data
            ],
        ))
    };
    let source = start_source(&ours, "tcp://10.213.7.1:7560", "tcp://10.213.7.1:7561");
    source.wait_line("announced as pool");

    let listed = || {
        let output = network.command(1, arguments!["discover", "--seconds", "2"]).output().unwrap();
        let list = String::from_utf8(output.stdout).unwrap();
        list.contains("pool\ttcp://10.213.7.1:7560\ttcp://10.213.7.1:7561\tversion 2\t")
            .then_some(())
    };
    wait::for_value(SOON, listed, || source.log());

    let sink = Osync::spawn(&mut network.command(
        1,
        arguments![
            "sink",
            pair.target,
            "--from",
            "pool",
            "--key",
            theirs.join("osync.key"),
            "--source-key",
            ours.join("osync.pub")
        ],
    ));
    sink.wait_line("in sync: ");
    pair.assert_equal();

    // It goes, and a liar takes its name: the sink does not fall for it.
    source.terminate();
    let impostor = start_source(&liar, "tcp://10.213.7.1:7660", "tcp://10.213.7.1:7661");
    sink.wait_line("somebody else announces pool");
    impostor.terminate();

    let source = start_source(&ours, "tcp://10.213.7.3:7760", "tcp://10.213.7.3:7761");
    tree::write(&pair.source, "after", "moved");
    let arrived = || fs::read(pair.target.join("after")).is_ok().then_some(());
    wait::for_value(FOUND_AGAIN_MAX, arrived, || format!("{}\n{}", sink.log(), source.log()));
    sink.wait_line("the source is at tcp://10.213.7.3:7760");
    sink.terminate();
    source.terminate();
}

#[test]
fn a_relay_finds_its_source_by_name() {
    let Some(network) = Network::new() else { return };
    let pair = Pair::new();
    tree::fill(&pair.source, 3, 3);
    let copy = pair.source.parent().unwrap().join("copy");
    let start = |end, arguments: &[&OsStr]| Osync::spawn(&mut network.command(end, arguments));
    let (control, data) = ("tcp://10.213.7.1:7560", "tcp://10.213.7.1:7561");
    let more = arguments!["--announce", "pool", "--insecure", "--control", control, "--data", data];
    let source = start(0, &[arguments!["source", pair.source], &more[..]].concat());
    let (control, data) = ("tcp://10.213.7.2:7570", "tcp://10.213.7.2:7571");
    let more = arguments!["--insecure", "--serve-control", control, "--serve-data", data];
    let relay = start(1, &[arguments!["relay", pair.target, "--from", "pool"], &more[..]].concat());
    let sink = start(0, arguments!["sink", copy, "--control", control, "--data", data]);

    relay.wait_line("in sync: ");
    pair.assert_equal_within(SOON, "the relay");
    pair.assert_copy_within(&copy, SOON, "the sink of the relay");
    for end in [sink, relay, source] {
        end.terminate();
    }
}

#[test]
fn on_one_host_a_relay_finds_its_source_and_is_found_by_its_sink() {
    let Some(network) = Network::one_host() else { return };
    let pair = Pair::new();
    tree::fill(&pair.source, 3, 3);
    let copy = pair.source.parent().unwrap().join("copy");
    let start = |arguments: &[&OsStr]| Osync::spawn(&mut network.command(0, arguments));
    let (control, data) = ("tcp://0.0.0.0:7560", "tcp://0.0.0.0:7561");
    let more = arguments!["--announce", "pool", "--insecure", "--control", control, "--data", data];
    let source = start(&[arguments!["source", pair.source], &more[..]].concat());
    source.wait_line("announced as pool");
    let listed = || {
        let output = network.command(0, arguments!["discover", "--seconds", "2"]).output().unwrap();
        String::from_utf8(output.stdout)
            .unwrap()
            .contains("pool\ttcp://10.213.7.1:7560")
            .then_some(())
    };
    wait::for_value(SOON, listed, || source.log());
    // An announcement that came by the loop first would keep the others from being asked for.
    assert!(!network.hears_itself_by_the_loop(0));

    let (control, data) = ("tcp://0.0.0.0:7570", "tcp://0.0.0.0:7571");
    let more = arguments!["--serve-control", control, "--serve-data", data, "--announce", "copies"];
    let relay = arguments!["relay", pair.target, "--from", "pool", "--insecure"];
    let relay = start(&[relay, &more[..]].concat());
    relay.wait_line("announced as copies");
    let sink = start(arguments!["sink", copy, "--from", "copies"]);
    pair.assert_equal_within(SOON, "the relay");
    pair.assert_copy_within(&copy, SOON, "the sink of the relay");
    for end in [sink, relay, source] {
        end.terminate();
    }
}
