//! ZeroMQ does what every transport must, whatever strangers send to its ports.

#![expect(
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    reason = "a test fails by panicking"
)]

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use crossbeam_channel::{Receiver, bounded};
use osync_core::adapters::transport::zmq::{ZmqTransport, capabilities};
use osync_core::model::connection::{Channel, ConnectionDetails};
use osync_core::model::session_id::SessionId;
use osync_core::ports::transport::{
    Arrival, Frame, PeerId, SinkLink, SourceLink, Transport, TransportError,
};
use osync_core::testing::conformance::transport::{DEADLINE, Fixture};

struct Zmq;

impl Fixture for Zmq {
    fn transport(&self) -> Box<dyn Transport> {
        Box::new(ZmqTransport::new())
    }

    fn details(&self) -> ConnectionDetails {
        ConnectionDetails {
            control: format!("tcp://127.0.0.1:{}", free_port()),
            data: format!("tcp://127.0.0.1:{}", free_port()),
        }
    }
}

osync_core::transport_conformance!(Zmq);

/// A port that nobody uses. Below the range that the system hands to clients: a socket that connects to
/// such a port while nobody listens may connect to itself.
fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let base = 10_000 + u16::try_from(std::process::id() % 200).unwrap() * 100;
    loop {
        let port = base + NEXT.fetch_add(1, Ordering::Relaxed) % 2_000;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

fn wildcards() -> ConnectionDetails {
    ConnectionDetails {
        control: "tcp://127.0.0.1:*".to_owned(),
        data: "tcp://127.0.0.1:*".to_owned(),
    }
}

/// A source and a sink that talk on both channels.
struct Pair {
    source: Box<dyn SourceLink>,
    at_source: Receiver<Arrival>,
    sink: Box<dyn SinkLink>,
    at_sink: Receiver<Arrival>,
    data: PeerId,
}

impl Pair {
    fn meet() -> Self {
        let transport = ZmqTransport::new();
        let (to_source, at_source) = bounded(1_024);
        let (to_sink, at_sink) = bounded(1_024);
        let mut source = transport.bind(&wildcards(), to_source).unwrap();
        let mut sink = transport.connect(&source.details(), to_sink).unwrap();
        let session = SessionId::from_random([9; 16]);
        let data = PeerId::new(&session.routing_id());
        sink.open_data(&session).unwrap();
        let deadline = Instant::now() + DEADLINE;
        loop {
            source.send(Channel::Data, &data, Frame::default()).unwrap();
            let arrival = at_sink.recv_timeout(Duration::from_millis(10));
            if matches!(arrival, Ok(Arrival::Frame { .. })) {
                break;
            }
            assert!(Instant::now() < deadline);
        }
        let mut pair = Self { source, at_source, sink, at_sink, data };
        loop {
            pair.sink.send(Channel::Control, Frame::default()).unwrap();
            let arrival = pair.at_source.recv_timeout(Duration::from_millis(10));
            if matches!(arrival, Ok(Arrival::Frame { .. })) {
                break;
            }
            assert!(Instant::now() < deadline);
        }
        pair.check("first");
        pair
    }

    /// Sends `text` both ways on both channels; nothing may come in between but leftovers of the meeting.
    fn check(&mut self, text: &'static str) {
        let frame = Frame {
            header: Bytes::from_static(text.as_bytes()),
            payload: Bytes::from(vec![5; 10_000]),
        };
        for channel in [Channel::Control, Channel::Data] {
            self.sink.send(channel, frame.clone()).unwrap();
            let peer = expect(&self.at_source, channel, &frame);
            self.source.send(channel, &peer, frame.clone()).unwrap();
            expect(&self.at_sink, channel, &frame);
        }
    }
}

/// Skips what is left of the meeting: empty frames and notices.
fn expect(arrivals: &Receiver<Arrival>, on: Channel, expected: &Frame) -> PeerId {
    loop {
        match arrivals.recv_timeout(DEADLINE).unwrap() {
            Arrival::Frame { frame, .. } if frame == Frame::default() => {}
            Arrival::Unreachable { .. } => {}
            Arrival::Frame { channel, peer, frame } => {
                assert_eq!((channel, &frame), (on, expected));
                return peer;
            }
            other => panic!("{other:?}"),
        }
    }
}

/// A DEALER that keeps to no rule of ours.
fn stranger(address: &str) -> zmq::Socket {
    let socket = zmq::Context::new().socket(zmq::DEALER).unwrap();
    socket.set_linger(0).unwrap();
    socket.set_immediate(true).unwrap();
    socket.set_reconnect_ivl(-1).unwrap();
    socket.connect(address).unwrap();
    assert_eq!(socket.poll(zmq::POLLOUT, 10_000), Ok(1));
    socket
}

#[test]
fn the_library_is_new_enough_and_has_curve() {
    let capabilities = capabilities();

    assert!(capabilities.version >= (4, 3, 4), "{capabilities:?}");
    assert!(capabilities.has_curve, "{capabilities:?}");
    assert_eq!(zmq::has("curve"), Some(true));
}

#[test]
fn wildcards_are_resolved() {
    let (arrivals, _receiver) = bounded(1);

    let details = ZmqTransport::new().bind(&wildcards(), arrivals).unwrap().details();

    for address in [details.control, details.data] {
        let port = address.strip_prefix("tcp://127.0.0.1:").unwrap();
        assert_ne!(port.parse::<u16>().unwrap(), 0);
    }
}

#[test]
fn unusable_addresses_say_what_to_do() {
    let transport = ZmqTransport::new().insecure();
    for (address, advice) in [
        ("nonsense", "write it as"),
        ("http://127.0.0.1:80", "write it as"),
        ("tcp://127.0.0.1", "write it as"),
        ("tcp://127.0.0.1:99999", "write it as"),
        ("tcp://192.0.2.1:*", "no interface"),
        ("ipc:///no/such/directory/socket", "directory"),
    ] {
        let details = ConnectionDetails { control: address.to_owned(), ..wildcards() };
        match transport.bind(&details, bounded(1).0) {
            Err(TransportError::Address { reason, .. }) => {
                assert!(reason.contains(advice), "{address}: {reason}");
            }
            Err(other) => panic!("{address}: {other}"),
            Ok(_) => panic!("{address} was bound"),
        }
    }
    for address in ["nonsense", "tcp://127.0.0.1", "tcp://127.0.0.1:*"] {
        let good = "tcp://127.0.0.1:5560";
        for (control, data) in [(address, good), (good, address)] {
            let details = ConnectionDetails { control: control.to_owned(), data: data.to_owned() };
            let refused = transport.connect(&details, bounded(1).0);
            assert!(matches!(refused, Err(TransportError::Address { .. })), "{details}");
        }
    }
}

#[test]
fn without_keys_only_this_machine_is_served_unless_told_otherwise() {
    for address in ["tcp://*:*", "tcp://0.0.0.0:*", "tcp://192.0.2.1:*"] {
        for details in [
            ConnectionDetails { control: address.to_owned(), ..wildcards() },
            ConnectionDetails { data: address.to_owned(), ..wildcards() },
        ] {
            match ZmqTransport::new().bind(&details, bounded(1).0) {
                Err(TransportError::Address { reason, .. }) => {
                    assert!(reason.contains("without keys"), "{address}: {reason}");
                }
                Err(other) => panic!("{address}: {other}"),
                Ok(_) => panic!("{address} was bound"),
            }
        }
    }
    let open = ConnectionDetails { control: "tcp://0.0.0.0:*".to_owned(), ..wildcards() };
    assert!(ZmqTransport::new().insecure().bind(&open, bounded(1).0).is_ok());
}

#[test]
fn a_path_below_a_file_is_an_error_and_not_a_panic_of_the_caller() {
    let details = ConnectionDetails { control: "ipc:///dev/null/socket".to_owned(), ..wildcards() };

    assert!(ZmqTransport::new().bind(&details, bounded(1).0).is_err());
}

#[test]
fn the_first_frames_of_new_connections_arrive() {
    let transport = ZmqTransport::new();
    for round in 0..50 {
        let (to_source, at_source) = bounded(16);
        let (to_sink, at_sink) = bounded(16);
        let mut source = transport.bind(&wildcards(), to_source).unwrap();
        let mut sink = transport.connect(&source.details(), to_sink).unwrap();
        let frame = Frame { header: Bytes::from_static(b"hello"), payload: Bytes::new() };
        sink.send(Channel::Control, frame.clone()).unwrap();
        expect(&at_source, Channel::Control, &frame);
        let session = SessionId::from_random([round; 16]);
        sink.open_data(&session).unwrap();
        sink.send(Channel::Control, frame.clone()).unwrap();
        expect(&at_source, Channel::Control, &frame);
        source.send(Channel::Data, &PeerId::new(&session.routing_id()), frame.clone()).unwrap();
        expect(&at_sink, Channel::Data, &frame);
    }
}

#[test]
fn a_sink_that_finds_nobody_ends_at_once_whatever_it_has_said() {
    let (to_sink, _at_sink) = bounded(64);
    let mut sink = ZmqTransport::new().connect(&Zmq.details(), to_sink).unwrap();
    for _ in 0..20 {
        sink.send(Channel::Control, Frame::default()).unwrap();
    }
    let began = Instant::now();
    drop(sink);

    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
}

#[test]
fn garbage_and_http_disturb_nobody() {
    let mut pair = Pair::meet();
    let details = pair.source.details();
    let noise: Vec<u8> = (0..100_000_u32).map(|at| (at * 7 % 251) as u8).collect();
    let signature = b"\xff\0\0\0\0\0\0\0\x01\x7f\x03";

    for address in [details.control, details.data] {
        let address = address.strip_prefix("tcp://").unwrap();
        for bytes in [&noise, &b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"[..], &[0; 9_000], signature] {
            let mut connection = TcpStream::connect(address).unwrap();
            // May be cut before all is written.
            connection.write_all(bytes).ok();
            connection.shutdown(std::net::Shutdown::Write).ok();
            let wait = Some(Duration::from_secs(10));
            connection.set_read_timeout(wait).unwrap();
            // Whatever the answer, the source has taken note when it closes.
            connection.read_to_end(&mut Vec::new()).ok();
        }
    }

    pair.check("after garbage");
}

#[test]
fn messages_that_are_no_frames_are_dropped() {
    let mut pair = Pair::meet();
    let stranger = stranger(&pair.source.details().control);

    stranger.send("alone", 0).unwrap();
    stranger.send_multipart(["part"; 7], 0).unwrap();
    stranger.send_multipart([&vec![1; Frame::HEADER_BYTES_MAX + 1][..], b""], 0).unwrap();
    stranger.send_multipart(["a frame", ""], 0).unwrap();

    let frame = Frame { header: Bytes::from_static(b"a frame"), payload: Bytes::new() };
    expect(&pair.at_source, Channel::Control, &frame);
    pair.check("after strangers");
}

#[test]
fn a_message_that_is_too_long_ends_its_connection_only() {
    let mut pair = Pair::meet();
    let stranger = stranger(&pair.source.details().control);

    stranger.send_multipart([&b"long"[..], &vec![0; 2 * 1024 * 1024]], 0).unwrap();

    let deadline = Instant::now() + DEADLINE;
    while stranger.poll(zmq::POLLOUT, 0) == Ok(1) {
        assert!(Instant::now() < deadline, "still connected");
        std::thread::yield_now();
    }
    pair.check("after a long message");
}

#[test]
fn a_frame_too_long_for_its_channel_is_refused_and_the_connection_lives() {
    let mut pair = Pair::meet();
    pair.at_sink.try_iter().for_each(drop);

    let frame = Frame {
        header: Bytes::from_static(b"long"),
        payload: Bytes::from(vec![0; 2 * 1024 * 1024]),
    };
    pair.sink.send(Channel::Control, frame).unwrap();

    let notice = pair.at_sink.recv_timeout(DEADLINE).unwrap();
    assert!(matches!(notice, Arrival::Unreachable { channel: Channel::Control, .. }));
    pair.check("after a long frame");
}

/// `cargo test --test transport_zmq -- --ignored --nocapture throughput`
#[test]
#[ignore = "a measurement; asserts nothing"]
fn throughput_over_loopback() {
    // Window: frames that the sink has not acknowledged, as the engine has it.
    for (frame_bytes, window, total_bytes) in
        [(256 * 1024, 32, 1 << 30), (64 * 1024, 64, 1 << 30), (1024, 512, 256 << 20)]
    {
        for is_shared in [false, true] {
            let seconds = transfer(frame_bytes, window, total_bytes / frame_bytes, is_shared);
            #[expect(clippy::cast_precision_loss, reason = "a figure to look at")]
            let (bytes, frames) = (total_bytes as f64, (total_bytes / frame_bytes) as f64);
            println!(
                "{frame_bytes:>7} bytes, {}: {:6.0} MB/s, {:7.0} frames/s",
                if is_shared { "shared payload (copied)" } else { "own payload" },
                bytes / seconds / 1e6,
                frames / seconds
            );
        }
    }
}

/// Sends `count` frames and returns how many seconds that took.
fn transfer(frame_bytes: usize, window: usize, count: usize, is_shared: bool) -> f64 {
    let Pair { mut source, at_source, mut sink, at_sink, data } = Pair::meet();
    at_sink.try_iter().for_each(drop);
    at_source.try_iter().for_each(drop);
    let template = vec![1_u8; frame_bytes];
    let shared = Bytes::from(template.clone());
    let began = Instant::now();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            for received in 1..=count {
                let arrival = at_sink.recv_timeout(DEADLINE).unwrap();
                assert!(matches!(arrival, Arrival::Frame { .. }), "{arrival:?}");
                if received % (window / 4) == 0 || received == count {
                    let header = Bytes::from(received.to_le_bytes().to_vec());
                    let payload = Bytes::new();
                    sink.send(Channel::Data, Frame { header, payload }).unwrap();
                }
            }
            // The last credit must not die with the link.
            sink
        });
        let mut consumed = 0;
        for sent in 0..count {
            while sent - consumed >= window {
                consumed = credit(&at_source);
            }
            let header = Bytes::from_static(b"a header of some thirty-two bytes");
            let payload = if is_shared { shared.clone() } else { Bytes::from(template.clone()) };
            source.send(Channel::Data, &data, Frame { header, payload }).unwrap();
        }
        while consumed < count {
            consumed = credit(&at_source);
        }
    });
    began.elapsed().as_secs_f64()
}

fn credit(arrivals: &Receiver<Arrival>) -> usize {
    match arrivals.recv_timeout(DEADLINE).unwrap() {
        Arrival::Frame { frame, .. } => usize::from_le_bytes(frame.header[..].try_into().unwrap()),
        other => panic!("{other:?}"),
    }
}
