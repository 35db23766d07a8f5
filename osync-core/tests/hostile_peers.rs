//! Ends that hold a valid key and mean harm: a source that sends a sink valid messages, mutated ones and
//! every trick with paths and links, and a sink that does the same to a source.
//!
//! `OSYNC_TEST_HOSTILE_MESSAGES` makes them send more than the default.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(clippy::wildcard_enum_match_arm, reason = "what is not waited for is passed over")]

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use crossbeam_channel::{Receiver, bounded};
use osync_core::adapters::feed::channel::ChannelFeed;
use osync_core::adapters::fs::sink::DirectorySink;
use osync_core::adapters::fs::source::DirectorySource;
use osync_core::adapters::transport::in_process::InProcessTransport;
use osync_core::model::change::{Change, Touch};
use osync_core::model::connection::{Channel, ConnectionDetails};
use osync_core::model::fidelity::Fidelity;
use osync_core::model::metadata::Kind;
use osync_core::model::name::Name;
use osync_core::model::rel_path::RelPath;
use osync_core::model::session_id::SessionId;
use osync_core::model::sink_id::SinkId;
use osync_core::options::{SinkOptions, SourceOptions};
use osync_core::ports::transport::{Arrival, Frame, PeerId, SinkLink, SourceLink, Transport};
use osync_core::testing::strategies;
use osync_core::wire::message::{Answer, Envelope, Item, Message, State};
use osync_core::wire::{decode, encode};
use osync_core::{SinkEndpoint, SourceEndpoint};
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::TestRunner;
use tempfile::TempDir;

/// Hostile messages that each test sends.
const MESSAGES: usize = 600;
/// Messages of one session at most; a breach ends it earlier.
const PER_SESSION: usize = 12;
/// Far more than any step takes.
const DEADLINE: Duration = Duration::from_secs(30);
/// The bytes that an answer is scanned for, and that only exist outside.
const SECRET: &[u8] = b"a secret from outside";

/// A directory for the victim, and one outside that it must not touch.
struct Place {
    _directory: TempDir,
    inside: PathBuf,
    outside: PathBuf,
    before: Vec<(i64, i64)>,
}

impl Place {
    fn new() -> Self {
        let directory = TempDir::new().unwrap();
        let root = directory.path().canonicalize().unwrap();
        let (inside, outside) = (root.join("inside"), root.join("outside"));
        fs::create_dir(&inside).unwrap();
        // Names that the strategies choose, too.
        for path in ["a", "b", "ab/a", "ba/b"] {
            fs::create_dir_all(outside.join(path).parent().unwrap()).unwrap();
            fs::write(outside.join(path), SECRET).unwrap();
        }
        let before = Self::last_changes(&outside);
        Self { _directory: directory, inside, outside, before }
    }

    fn last_changes(outside: &Path) -> Vec<(i64, i64)> {
        let paths = [".", "a", "b", "ab", "ab/a", "ba", "ba/b"];
        let metadata = paths.map(|path| fs::symlink_metadata(outside.join(path)).unwrap());
        metadata.iter().map(|metadata| (metadata.ctime(), metadata.ctime_nsec())).collect()
    }

    fn assert_untouched(&self) {
        assert_eq!(Self::last_changes(&self.outside), self.before);
    }
}

/// Values out of strategies, the same in every run.
struct Choices(TestRunner);

impl Choices {
    fn new() -> Self {
        Self(TestRunner::deterministic())
    }

    fn of<S: Strategy>(&mut self, strategy: &S) -> S::Value {
        strategy.new_tree(&mut self.0).unwrap().current()
    }

    fn below(&mut self, limit: usize) -> usize {
        self.of(&(0..limit))
    }

    /// Now and then with one byte changed, but never in magic and version: another version is the end.
    fn maybe_mutated(&mut self, mut frame: Frame) -> Frame {
        if self.below(4) == 0 && frame.header.len() > 6 {
            let mut header = frame.header.to_vec();
            let at = 6 + self.below(header.len() - 6);
            header[at] = self.of(&proptest::num::u8::ANY);
            frame.header = Bytes::from(header);
        }
        if self.below(8) == 0 && !frame.payload.is_empty() {
            let mut payload = frame.payload.to_vec();
            let at = self.below(payload.len());
            payload[at] ^= 1 + self.of(&(0..=254_u8));
            frame.payload = Bytes::from(payload);
        }
        frame
    }
}

fn messages() -> usize {
    let given = std::env::var("OSYNC_TEST_HOSTILE_MESSAGES").ok();
    given.map_or(MESSAGES, |text| text.parse().unwrap())
}

fn details() -> ConnectionDetails {
    ConnectionDetails { control: "control".to_owned(), data: "data".to_owned() }
}

fn envelope(session: u64, sequence: u64, message: Message) -> Frame {
    encode::frame(&Envelope { session, sequence, message }, Bytes::new())
}

#[test]
fn a_hostile_source_touches_nothing_outside_the_target() {
    let place = Place::new();
    let transport = InProcessTransport::new();
    let (sender, arrivals) = bounded(4_096);
    let mut link = transport.bind(&details(), sender).unwrap();
    let sink = Arc::new(DirectorySink::open(&place.inside).unwrap());
    let options = SinkOptions::default();
    let victim = SinkEndpoint::start(sink, &transport, &details(), options, Arc::new(())).unwrap();

    let mut choices = Choices::new();
    let (mut sent, mut sessions) = (0, 0_u8);
    while sent < messages() {
        sessions = sessions.wrapping_add(1);
        let session = SessionId::from_random([sessions.max(1); 16]);
        let control = welcome(&mut *link, &arrivals, session);
        let data = PeerId::new(&session.routing_id());
        for sequence in 1..=PER_SESSION as u64 {
            let (message, payload) = hostile_push(&mut choices, &place.outside);
            let envelope = Envelope { session: session.tag(), sequence, message };
            let frame = choices.maybe_mutated(encode::frame(&envelope, payload));
            link.send(Channel::Data, &data, frame).unwrap();
            sent += 1;
        }
        let message = choices.of(&strategies::message());
        let frame = choices.maybe_mutated(envelope(session.tag(), 1, message));
        link.send(Channel::Control, &control, frame).unwrap();
    }

    assert!(!victim.is_finished(), "it died");
    place.assert_untouched();
    drop(victim);
    place.assert_untouched();
    assert!(nodes_below(&place.inside).is_empty(), "nobody gave leave to make them");
}

/// Sockets and devices below `directory`.
fn nodes_below(directory: &Path) -> Vec<PathBuf> {
    let mut nodes = Vec::new();
    let mut pending = vec![directory.to_owned()];
    while let Some(directory) = pending.pop() {
        for entry in fs::read_dir(directory).unwrap().map(Result::unwrap) {
            let (path, file_type) = (entry.path(), entry.file_type().unwrap());
            if file_type.is_dir() {
                pending.push(path);
            } else if file_type.is_socket()
                || file_type.is_char_device()
                || file_type.is_block_device()
            {
                nodes.push(path);
            }
        }
    }
    nodes
}

/// Leads the sink into transfer as a source does, whatever it says twice; returns its command channel.
fn welcome(link: &mut dyn SourceLink, arrivals: &Receiver<Arrival>, session: SessionId) -> PeerId {
    let deadline = Instant::now() + DEADLINE;
    let tag = session.tag();
    loop {
        let Ok(arrival) = arrivals.recv_deadline(deadline) else { panic!("never registered") };
        let Arrival::Frame { peer, frame, .. } = arrival else { continue };
        let Ok(Envelope { session: said, message, .. }) = decode::envelope(&frame) else {
            continue;
        };
        let mut say =
            |message| link.send(Channel::Control, &peer, envelope(tag, 0, message)).unwrap();
        match message {
            Message::Hello { .. } => say(Message::HelloAcknowledgement { session }),
            Message::RegistrationRequest if said == tag => {
                say(Message::RegistrationRequestAcknowledgement);
                let data = PeerId::new(&session.routing_id());
                let frame = envelope(tag, 0, Message::SynchronisationMessage);
                link.send(Channel::Data, &data, frame).unwrap();
            }
            Message::RegistrationSuccess if said == tag => {
                let fidelity = Fidelity::FULL;
                say(Message::RegistrationSuccessAcknowledgement { fidelity });
                return peer;
            }
            _ => {}
        }
    }
}

/// A message on the data channel: mostly puts that lay links to the outside and write through them.
fn hostile_push(choices: &mut Choices, outside: &Path) -> (Message, Bytes) {
    if choices.below(3) == 0 {
        return (choices.of(&strategies::message()), Bytes::new());
    }
    let mut items = choices.of(&proptest::collection::vec(strategies::item(), 1..6));
    items.sort_by(|a: &Item, b| a.name.cmp(&b.name));
    items.dedup_by(|a, b| a.name == b.name);
    let target: Box<[u8]> = outside.as_os_str().as_encoded_bytes().into();
    for item in &mut items {
        if let State::Special(metadata) = &mut item.state
            && let Kind::Symlink { .. } = metadata.kind
        {
            metadata.kind = Kind::Symlink { target: target.clone() };
        }
    }
    let mut payload = Vec::new();
    let items_bytes = encode::append_items(&items, &mut payload);
    let work = osync_core::model::work_id::WorkId(choices.below(8) as u64);
    let directory = choices.of(&strategies::rel_path());
    (
        Message::Put { work, directory, own_bytes: 0, items_bytes, unpacked_bytes: None },
        Bytes::from(payload),
    )
}

#[test]
fn a_hostile_sink_learns_nothing_from_outside_and_disturbs_no_other() {
    let place = Place::new();
    for name in ["link", "a", "ab"] {
        symlink(&place.outside, place.inside.join(name)).unwrap();
    }
    for file in 0..20 {
        fs::create_dir_all(place.inside.join("d")).unwrap();
        fs::write(place.inside.join(format!("d/{file}")), "inside").unwrap();
    }
    let transport = InProcessTransport::new();
    let (feed, changes) = ChannelFeed::new();
    let source = SourceEndpoint::start(
        Arc::new(DirectorySource::open(&place.inside).unwrap()),
        Box::new(feed),
        &transport,
        &details(),
        SourceOptions::default(),
        Arc::new(()),
    )
    .unwrap();
    changes.report(Change::Ready).unwrap();
    let good = place.outside.with_file_name("good");
    let options = SinkOptions::default().with_name(SinkId::new("good").unwrap());
    let sink = Arc::new(DirectorySink::open(&good).unwrap());
    let good_sink = SinkEndpoint::start(sink, &transport, &details(), options, Arc::new(()));
    let good_sink = good_sink.unwrap();

    let (sender, arrivals) = bounded(4_096);
    let mut link = transport.connect(&details(), sender).unwrap();
    let mut choices = Choices::new();
    let (mut sent, mut round) = (0, 0);
    while sent < messages() {
        round += 1;
        let session = register(&mut *link, &arrivals);
        let mut numbers = [0_u64; 2];
        for _ in 0..PER_SESSION {
            let asked = arrivals.try_iter().filter_map(|arrival| asked_by(&arrival)).last();
            let (channel, message) = hostile_reply(&mut choices, asked.as_ref());
            let number = &mut numbers[usize::from(channel == Channel::Data)];
            *number += 1;
            let frame = choices.maybe_mutated(envelope(session.tag(), *number, message));
            link.send(channel, frame).unwrap();
            sent += 1;
        }
        link.reset().unwrap();
        // The other one follows all the while.
        let name = format!("live{round}");
        fs::write(place.inside.join(&name), "live").unwrap();
        let path = RelPath::new(name.as_bytes()).unwrap();
        changes.report(Change::Entry { path, touch: Touch::Settled }).unwrap();
        let deadline = Instant::now() + DEADLINE;
        while !good.join(&name).exists() {
            assert!(Instant::now() < deadline, "the good sink waits for {name}");
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    assert!(!source.is_finished(), "it died");
    assert!(!good_sink.is_finished());
    place.assert_untouched();
}

/// Registers as a sink does. What an earlier session left under way may still arrive, a welcome too.
fn register(link: &mut dyn SinkLink, arrivals: &Receiver<Arrival>) -> SessionId {
    let hello = Message::Hello { sink: SinkId::new("hostile").unwrap(), fidelity: Fidelity::FULL };
    let deadline = Instant::now() + DEADLINE;
    let mut registering = None;
    link.send(Channel::Control, envelope(0, 0, hello.clone())).unwrap();
    loop {
        assert!(Instant::now() < deadline, "never registered");
        let Ok(arrival) = arrivals.recv_timeout(Duration::from_millis(500)) else {
            link.send(Channel::Control, envelope(0, 0, hello.clone())).unwrap();
            continue;
        };
        let Arrival::Frame { frame, .. } = arrival else { continue };
        let Ok(Envelope { session: tag, message, .. }) = decode::envelope(&frame) else { continue };
        match message {
            Message::HelloAcknowledgement { session } => {
                registering = Some(session);
                link.open_data(&session).unwrap();
                let request = envelope(session.tag(), 0, Message::RegistrationRequest);
                link.send(Channel::Control, request).unwrap();
            }
            Message::SynchronisationMessage => {
                if let Some(session) = registering.filter(|session| session.tag() == tag) {
                    let success = envelope(tag, 0, Message::RegistrationSuccess);
                    link.send(Channel::Control, success).unwrap();
                    return session;
                }
            }
            _ => {}
        }
    }
}

/// What the source wants to know; nothing that it sends is from outside.
fn asked_by(arrival: &Arrival) -> Option<Message> {
    let Arrival::Frame { frame, .. } = arrival else { return None };
    let leaked = frame.payload.windows(SECRET.len()).any(|window| window == SECRET);
    assert!(!leaked, "the source reveals what lies outside");
    let Ok(Envelope { message, .. }) = decode::envelope(frame) else { return None };
    matches!(message, Message::Compare { .. } | Message::Listing { .. }).then_some(message)
}

/// An answer to what was asked, with names that lead outside, or anything.
fn hostile_reply(choices: &mut Choices, asked: Option<&Message>) -> (Channel, Message) {
    let names = || ["link", "a", "ab", "d"].map(|name| Name::new(name.as_bytes()).unwrap());
    let message = match asked {
        Some(Message::Compare { work, .. }) => {
            let answer = if choices.below(2) == 0 { Answer::Differs } else { Answer::Missing };
            Message::Answer { work: *work, answer }
        }
        Some(Message::Listing { work, .. }) => {
            let need = osync_core::model::need::Need::Content;
            let wanted = (0..3).map(|index| (index, need)).collect();
            let extra = names().to_vec();
            let answer = Answer::Entries { own: true, wanted, extra, is_last: true };
            Message::Answer { work: *work, answer }
        }
        Some(_) | None => choices.of(&strategies::message()),
    };
    let is_credit = matches!(message, Message::Credit { .. });
    (if is_credit { Channel::Data } else { Channel::Control }, message)
}
