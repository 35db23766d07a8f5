//! Strangers at the ports: garbage, HTTP, half handshakes, huge lengths and hundreds of slow connections,
//! while a sink replicates. It goes on, and the source neither grows nor fills its log.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use crate::keys::Guarded;
use crate::program::{Addresses, Osync, SOON, start_source};
use crate::tree::{self, Pair};
use crate::wait;

/// How long each sort of attack lasts.
const DURATION: Duration = Duration::from_millis(1_500);
/// Slow connections held at a time, to each port.
const SLOW_CONNECTIONS: usize = 200;
/// Connections of one quick sort at most.
const CONNECTIONS_MAX: usize = 5_000;
/// A small file takes no longer to arrive, whatever strangers do; or than four times what it took before
/// they came, on a machine that is busy with all other tests.
const GAP_MAX: Duration = Duration::from_secs(1);
/// The source may grow by this: buffers of connections that are open at once.
const GROWTH_BYTES_MAX: u64 = 20 * 1024 * 1024;
/// One line of each sort of refusal in half a minute, and this test is shorter.
const LINES_MAX: usize = 4;

type Attack = fn(TcpStream) -> Option<()>;

/// What is said on one connection; `None` if it was cut before all was said.
const ATTACKS: [Attack; 4] = [
    |mut connection| {
        let noise: Vec<u8> = (0..3_000_u32).map(|at| (at * 7 % 251).to_le_bytes()[0]).collect();
        connection.write_all(&noise).ok()
    },
    |mut connection| connection.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").ok(),
    // A greeting that offers CURVE, then a HELLO of the right size that is sealed for nobody.
    |connection| {
        let mut connection = greeted(connection, "CURVE")?;
        let mut hello = [0xa5; 202];
        hello[..10].copy_from_slice(b"\x04\xc8\x05HELLO\x01\0");
        hello[10..82].fill(0);
        connection.write_all(&hello).ok()?;
        connection.read(&mut [0; 64]).ok().map(drop)
    },
    // A finished handshake without keys, then a frame of 2^60 bytes.
    |connection| {
        let mut connection = greeted(connection, "NULL")?;
        connection.write_all(b"\x04\x19\x05READY\x0bSocket-Type\0\0\0\x06DEALER").ok()?;
        connection.write_all(b"\x02\x10\0\0\0\0\0\0\0").ok()?;
        connection.write_all(&[b'x'; 1_000]).ok()
    },
];

#[test]
fn strangers_do_not_disturb_a_source_with_keys() {
    let guarded = Guarded::start();
    let key = guarded.key("one");
    guarded.admit(&key);
    let sink = guarded.start_sink(&key, None, "one");
    sink.wait_line("in sync: ");

    let target = guarded.target("one");
    attack(&guarded.source, &guarded.addresses, &guarded.pair.source, &target);

    sink.terminate();
    guarded.source.terminate();
}

#[test]
fn strangers_do_not_disturb_a_source_without_keys() {
    let pair = Pair::new();
    tree::fill(&pair.source, 5, 5);
    let (source, addresses) = start_source(&pair.source);
    let sink = addresses.start_sink(&pair.target);
    sink.wait_line("in sync: ");

    attack(&source, &addresses, &pair.source, &pair.target);

    sink.terminate();
    source.terminate();
}

/// Attacks both ports in every way while small files go from `from` to `to`.
fn attack(source: &Osync, addresses: &Addresses, from: &Path, to: &Path) {
    let ports = [&addresses.control, &addresses.data]
        .map(|address| address.strip_prefix("tcp://").unwrap().to_owned());
    let quiet = worst_gap(from, to, DURATION, source);
    let before = resident_bytes(source);

    let worst = thread::scope(|scope| {
        for port in &ports {
            scope.spawn(move || {
                for attack in ATTACKS {
                    let until = Instant::now() + DURATION;
                    let connections = (0..CONNECTIONS_MAX)
                        .take_while(|_| Instant::now() < until)
                        .filter_map(|_| TcpStream::connect(port).ok());
                    assert!(connections.map(attack).count() > 0, "no attack came about");
                }
                hold_slow_connections(port);
            });
        }
        worst_gap(from, to, DURATION * 5, source)
    });

    let growth = resident_bytes(source).saturating_sub(before);
    let log = source.log();
    let lines = log.lines().filter(|line| line.contains("refused ")).count();
    println!("worst gap {quiet:?}, under attack {worst:?}, growth {growth} bytes, {lines} lines");
    assert!(worst < GAP_MAX.max(4 * quiet), "{quiet:?} {worst:?}");
    assert!(growth < GROWTH_BYTES_MAX, "{growth}");
    assert!((1..=LINES_MAX).contains(&lines), "{log}");
    assert!(!log.contains("disconnected: "), "{log}");
}

/// The longest that a small file took to arrive, of many written one after the other in this time.
fn worst_gap(from: &Path, to: &Path, duration: Duration, source: &Osync) -> Duration {
    let end = Instant::now() + duration;
    let mut worst = Duration::ZERO;
    for count in 0_u32.. {
        let written = Instant::now();
        if written >= end {
            break;
        }
        let name = format!("live{}", count % 50);
        let content = format!("{count} {duration:?}");
        fs::write(from.join(&name), &content).unwrap();
        let arrived = || (fs::read(to.join(&name)).ok()? == content.as_bytes()).then_some(());
        wait::for_value(SOON, arrived, || source.log());
        worst = worst.max(written.elapsed());
    }
    worst
}

/// Opens hundreds of connections and says a byte now and then on each.
fn hold_slow_connections(port: &str) {
    let connect = |_| TcpStream::connect(port).ok();
    let mut connections: Vec<_> = (0..SLOW_CONNECTIONS).filter_map(connect).collect();
    assert!(connections.len() > SLOW_CONNECTIONS / 2);
    for _ in 0..5 {
        connections.retain_mut(|connection| connection.write_all(b"\xff").is_ok());
        thread::sleep(DURATION / 5);
    }
}

/// A connection on which both have said their greeting.
fn greeted(mut connection: TcpStream, mechanism: &str) -> Option<TcpStream> {
    connection.set_read_timeout(Some(Duration::from_secs(2))).ok()?;
    let mut greeting = [0; 64];
    greeting[..12].copy_from_slice(b"\xff\0\0\0\0\0\0\0\x01\x7f\x03\0");
    greeting[12..12 + mechanism.len()].copy_from_slice(mechanism.as_bytes());
    connection.write_all(&greeting).ok()?;
    connection.read_exact(&mut [0; 64]).ok()?;
    Some(connection)
}

/// What of the program is in memory.
fn resident_bytes(osync: &Osync) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", osync.id())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}
