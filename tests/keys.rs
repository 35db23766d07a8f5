//! Keys: who has none, the wrong one or a revoked one gets nothing, and the log says so.

use std::fs;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::Signal;

use crate::cable::Wire;
use crate::program::{Addresses, Osync, SOON, arguments, command};
use crate::tree::{self, Pair};
use crate::wait;

/// What a source sends by itself: its greeting.
const GREETING_BYTES: u64 = 64;
/// All that a source says to a key that is not listed: greeting, welcome, error.
const REFUSAL_BYTES_MAX: u64 = 400;
/// How long a removed key may go on, and some for a loaded machine.
const CUT_MAX: Duration = Duration::from_secs(5);

/// A source with keys, its allow-list, and room for more keys.
pub(crate) struct Guarded {
    pub(crate) pair: Pair,
    keys: PathBuf,
    allow: PathBuf,
    pub(crate) source: Osync,
    pub(crate) addresses: Addresses,
}

impl Guarded {
    pub(crate) fn start() -> Self {
        let pair = Pair::new();
        tree::fill(&pair.source, 5, 5);
        let base = pair.source.parent().unwrap();
        let (keys, allow) = (base.join("keys"), base.join("allow"));
        fs::create_dir(&allow).unwrap();
        let any = "tcp://127.0.0.1:*";
        let key = keygen(&keys.join("source")).join("osync.key");
        let source = Osync::start(arguments![
            "source",
            pair.source,
            "--key",
            key,
            "--allow",
            allow,
            "--control",
            any,
            "--data",
            any
        ]);
        let addresses = Addresses::of(&source);
        Self { pair, keys, allow, source, addresses }
    }

    /// The directory of a new pair of keys.
    pub(crate) fn key(&self, name: &str) -> PathBuf {
        keygen(&self.keys.join(name))
    }

    pub(crate) fn admit(&self, key: &Path) {
        let name = key.file_name().unwrap();
        let list = self.allow.join(name).with_extension("pub");
        fs::copy(key.join("osync.pub"), list).unwrap();
    }

    fn revoke(&self, key: &Path) {
        let name = key.file_name().unwrap();
        fs::remove_file(self.allow.join(name).with_extension("pub")).unwrap();
    }

    /// A sink with `key` that trusts the source's, or that of `source`.
    pub(crate) fn start_sink(&self, key: &Path, source: Option<&Path>, name: &str) -> Osync {
        let source = source.map_or_else(|| self.keys.join("source"), Path::to_owned);
        let Addresses { control, data } = &self.addresses;
        Osync::start(arguments![
            "sink",
            self.target(name),
            "--name",
            name,
            "--control",
            control,
            "--data",
            data,
            "--key",
            key.join("osync.key"),
            "--source-key",
            source.join("osync.pub")
        ])
    }

    pub(crate) fn target(&self, name: &str) -> PathBuf {
        self.pair.target.with_extension(name)
    }

    fn assert_nothing_at(&self, name: &str) {
        assert_eq!(self.target(name).read_dir().unwrap().count(), 0, "{name}");
    }
}

pub(crate) fn keygen(directory: &Path) -> PathBuf {
    let output = command(arguments!["keygen", directory]).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    directory.to_owned()
}

#[test]
fn a_key_is_let_in_while_it_is_listed() {
    let guarded = Guarded::start();
    let key = guarded.key("one");
    let sink = guarded.start_sink(&key, None, "one");
    guarded.source.wait_line("is not in ");
    sink.wait_line("does not let this sink's key in");
    guarded.assert_nothing_at("one");

    guarded.admit(&key);
    sink.wait_line("in sync: ");
    let arrived = guarded.target("one").join("d0/e0/f0");
    assert!(arrived.exists());

    guarded.revoke(&key);
    guarded.source.signal(Signal::HUP);
    let cut = || guarded.source.line("disconnected: one");
    wait::for_value(CUT_MAX, cut, || guarded.source.log());
    tree::write(&guarded.pair.source, "after", "x");
    sink.wait_line("disconnected: ");
    assert!(!guarded.target("one").join("after").exists());

    guarded.admit(&key);
    let there = || guarded.target("one").join("after").exists().then_some(());
    wait::for_value(SOON, there, || sink.log());
    sink.terminate();
    guarded.source.terminate();
}

#[test]
fn a_list_that_cannot_be_read_lets_nobody_in() {
    let guarded = Guarded::start();
    let key = guarded.key("one");
    guarded.admit(&key);
    let sink = guarded.start_sink(&key, None, "one");
    sink.wait_line("in sync: ");

    fs::rename(&guarded.allow, guarded.allow.with_extension("away")).unwrap();

    guarded.source.wait_line("no sink may connect");
    guarded.source.wait_line("disconnected: one");
    sink.wait_line("disconnected: ");
}

#[test]
fn strangers_get_not_one_byte_of_the_application() {
    let guarded = Guarded::start();
    let (unlisted, other) = (guarded.key("unlisted"), guarded.key("other"));
    guarded.admit(&other);

    // By hand, so that each byte can be counted.
    for address in [&guarded.addresses.control, &guarded.addresses.data] {
        for mechanism in ["NULL", "PLAIN"] {
            let received = greet(address.strip_prefix("tcp://").unwrap(), mechanism).unwrap();
            assert!(received <= GREETING_BYTES, "{received} bytes to {mechanism}");
        }
    }
    guarded.source.wait_line("it offers no key (NULL or PLAIN)");

    // A real sink whose key is not listed, through a wire that counts what comes back.
    let [control, data] =
        [&guarded.addresses.control, &guarded.addresses.data].map(|address| Wire::to(address));
    let source_key = guarded.keys.join("source/osync.pub");
    let sink = Osync::start(arguments![
        "sink",
        guarded.target("unlisted"),
        "--control",
        control.address,
        "--data",
        data.address,
        "--key",
        unlisted.join("osync.key"),
        "--source-key",
        source_key
    ]);
    guarded.source.wait_line("is not in ");
    sink.wait_line("does not let this sink's key in");
    let connections = control.connections();
    let returned = control.returned_bytes();
    assert!(returned <= connections * REFUSAL_BYTES_MAX, "{returned} bytes in {connections}");
    assert_eq!(data.connections(), 0);

    // A listed key, but meant for another source.
    let sink = guarded.start_sink(&other, Some(&unlisted), "other");
    guarded.source.wait_line("it was made for another source's key");
    sink.wait_line("does not let this sink's key in");
    for name in ["unlisted", "other"] {
        guarded.assert_nothing_at(name);
    }
    guarded.source.terminate();
}

#[test]
fn a_name_belongs_to_the_key_that_took_it_and_a_key_to_one_sink() {
    let guarded = Guarded::start();
    let (one, two) = (guarded.key("one"), guarded.key("two"));
    guarded.admit(&one);
    guarded.admit(&two);
    let first = guarded.start_sink(&one, None, "one");
    first.wait_line("in sync: ");

    let same_key = guarded.start_sink(&one, None, "copy");
    same_key.wait_line("another sink has this name or this key");
    same_key.terminate();
    first.terminate();

    // The holder is away, and the name is still its own.
    let thief = guarded.start_sink(&two, None, "one");
    thief.wait_line("another sink has this name or this key");
    thief.terminate();
    let first = guarded.start_sink(&one, None, "one");
    first.wait_line("in sync: ");
}

#[test]
fn what_makes_keys_worthless_is_refused() {
    let pair = Pair::new();
    let base = pair.source.parent().unwrap();
    let keys = keygen(&base.join("keys"));
    let (key, public) = (keys.join("osync.key"), keys.join("osync.pub"));
    let refused = |arguments: &[&std::ffi::OsStr], words: &str| {
        let (status, log) = Osync::run(arguments);
        assert_eq!(status.code(), Some(2), "{log}");
        assert!(log.contains(words), "{log}");
        let secret = fs::read_to_string(&key).unwrap();
        let secret = secret.lines().find_map(|line| line.strip_prefix("secret ")).unwrap();
        assert!(!log.contains(secret), "a secret in the log");
    };
    let source = &pair.source;

    refused(arguments!["keygen", keys], "not overwritten");
    refused(arguments!["source", source, "--key", key], "--allow");
    refused(arguments!["source", source, "--control", "tcp://0.0.0.0:*"], "--insecure");
    refused(arguments!["source", source, "--data", "tcp://*:*"], "--insecure");
    refused(arguments!["sink", pair.target, "--key", key], "--source-key");
    refused(arguments!["sink", pair.target, "--key", key, "--source-key", "0123"], "0123");
    refused(arguments!["source", source, "--key", public, "--allow", public], "others can read");
    refused(arguments!["source", source, "--key", pair.source, "--allow", public], "not a regular");

    tree::set_mode(&key, 0o640);
    refused(arguments!["source", source, "--key", key, "--allow", public], "chmod 600");
}

#[test]
fn an_address_of_the_network_is_served_without_keys_only_if_told_so() {
    let pair = Pair::new();
    let any = "tcp://0.0.0.0:*";

    let source = Osync::start(arguments![
        "source",
        pair.source,
        "--insecure",
        "--control",
        any,
        "--data",
        any
    ]);

    source.wait_line("--insecure: whoever reaches this source can read everything");
    source.wait_line("serving ");
    source.terminate();
}

/// Says a ZMTP greeting with this mechanism and a command of it; counts the bytes that come back.
fn greet(address: &str, mechanism: &str) -> io::Result<u64> {
    let mut connection = TcpStream::connect(address)?;
    connection.set_read_timeout(Some(SOON))?;
    let mut greeting = [0; 64];
    greeting[..12].copy_from_slice(b"\xff\0\0\0\0\0\0\0\x01\x7f\x03\0");
    greeting[12..12 + mechanism.len()].copy_from_slice(mechanism.as_bytes());
    // Cut in the middle of it, perhaps.
    connection.write_all(&greeting).ok();
    connection.write_all(b"\x04\x19\x05READY\x0bSocket-Type\0\0\0\x06DEALER").ok();
    let mut received = 0;
    let mut bytes = [0; 1024];
    loop {
        match connection.read(&mut bytes) {
            Ok(0) => return Ok(received),
            Ok(count) => received += count as u64,
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Ok(received),
            Err(error) => return Err(error),
        }
    }
}
