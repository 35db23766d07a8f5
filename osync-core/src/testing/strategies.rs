//! proptest strategies for the vocabulary and the messages.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use crate::model::account::{Account, AccountKind};
use crate::model::attributes::{Attribute, Attributes, Class, Classes};
use crate::model::digest::Digest;
use crate::model::fidelity::{Fidelity, Owner};
use crate::model::metadata::{Device, Entry, Kind, Metadata};
use crate::model::name::Name;
use crate::model::need::Need;
use crate::model::nodes::Nodes;
use crate::model::rel_path::RelPath;
use crate::model::session_id::SessionId;
use crate::model::sink_id::SinkId;
use crate::model::timestamp::Timestamp;
use crate::model::work_id::WorkId;
use crate::wire::message::{Answer, Basis, Failure, Item, Message, Range, Refusal, State};

/// Names out of few letters, so that they meet, and now and then any bytes that are legal.
pub fn name() -> impl Strategy<Value = Name> {
    let few = "[ab]{1,2}".prop_map(String::into_bytes);
    let any = vec(any::<u8>(), 1..=Name::BYTES_MAX);
    prop_oneof![4 => few, 1 => any].prop_filter_map("not a name", |bytes| Name::new(bytes).ok())
}

/// Paths of up to five components, the root among them.
pub fn rel_path() -> impl Strategy<Value = RelPath> {
    vec(name(), 0..=5).prop_filter_map("too long", |names| {
        names.iter().try_fold(RelPath::root(), |path, name| path.join(name)).ok()
    })
}

/// Times before 1970 and after 2262 among them.
pub fn timestamp() -> impl Strategy<Value = Timestamp> {
    (any::<i64>(), 0..1_000_000_000_u32)
        .prop_map(|(seconds, nanoseconds)| Timestamp { seconds, nanoseconds })
}

/// Any kind of entry.
pub fn kind() -> impl Strategy<Value = Kind> {
    let target = vec(1..=u8::MAX, 1..64).prop_map(Vec::into_boxed_slice);
    prop_oneof![
        any::<u64>().prop_map(|size_bytes| Kind::File { size_bytes }),
        Just(Kind::Directory),
        target.prop_map(|target| Kind::Symlink { target }),
        node(),
    ]
}

/// Any kind of entry that has no content.
fn node() -> impl Strategy<Value = Kind> {
    let device = (0..=Device::MAJOR_MAX, 0..=Device::MINOR_MAX)
        .prop_map(|(major, minor)| Device { major, minor });
    prop_oneof![
        Just(Kind::Fifo),
        Just(Kind::Socket),
        device.clone().prop_map(Kind::CharacterDevice),
        device.prop_map(Kind::BlockDevice),
    ]
}

/// Attributes in full, of every class and of some names only, so that they meet; often none.
pub fn attributes() -> impl Strategy<Value = Attributes> {
    let name = prop_oneof![
        "user\\.[ab]",
        "trusted\\.[ab]",
        "security\\.[ab]",
        Just("system.posix_acl_access".to_owned()),
    ];
    proptest::collection::btree_map(name, vec(any::<u8>(), 0..9), 0..4).prop_map(|attributes| {
        let attribute = |(name, value): (String, Vec<u8>)| Attribute {
            name: name.into_bytes().into(),
            value: value.into(),
        };
        Attributes::new(attributes.into_iter().map(attribute).collect())
    })
}

/// Metadata of an entry of `kind`, its attributes in full.
pub fn metadata(kind: impl Strategy<Value = Kind>) -> impl Strategy<Value = Metadata> {
    (kind, timestamp(), 0..=0o7777_u32, any::<u32>(), any::<u32>(), attributes(), 1..=u32::MAX)
        .prop_map(|(kind, modified, mode, uid, gid, attributes, names)| {
            let names = if kind.is_directory() { 1 } else { names };
            Metadata { kind, modified, mode, uid, gid, attributes, names }
        })
}

/// As [`metadata`], its attributes as digests.
fn digested(kind: impl Strategy<Value = Kind>) -> impl Strategy<Value = Metadata> {
    metadata(kind)
        .prop_map(|metadata| Metadata { attributes: metadata.attributes.digested(), ..metadata })
}

/// The listing of a directory: sorted, each name once.
pub fn listing() -> impl Strategy<Value = Vec<Entry>> {
    proptest::collection::btree_map(name(), digested(kind()), 0..12).prop_map(|entries| {
        entries.into_iter().map(|(name, metadata)| Entry { name, metadata }).collect()
    })
}

/// Items of a `Put` without content.
pub fn item() -> impl Strategy<Value = Item> {
    let special = prop_oneof![node(), Just(Kind::Symlink { target: Box::from(*b"to") })];
    let state = prop_oneof![
        Just(State::Absent),
        Just(State::Directory),
        Just(State::AbsentDirectory),
        Just(State::AbsentOther),
        metadata(special).prop_map(State::Special),
        metadata(Just(Kind::File { size_bytes: 0 })).prop_map(State::File),
        metadata(kind()).prop_map(State::Kept),
        linked(),
    ];
    (name(), state).prop_map(|(name, state)| Item { name, state })
}

fn linked() -> impl Strategy<Value = State> {
    let metadata =
        metadata(kind().prop_filter("directories have one name", |kind| !kind.is_directory()));
    let to = rel_path().prop_filter("the root has no other name", |path| !path.is_root());
    (metadata, to).prop_map(|(metadata, to)| State::Linked { metadata, to })
}

/// Any need.
pub fn need() -> impl Strategy<Value = Need> {
    prop_oneof![Just(Need::Directory), Just(Need::Metadata), Just(Need::Content)]
}

/// Any message.
pub fn message() -> impl Strategy<Value = Message> {
    prop_oneof![handshake(), data(), control()]
}

fn own() -> impl Strategy<Value = Option<Metadata>> {
    option::of(digested(Just(Kind::Directory)))
}

fn digest() -> impl Strategy<Value = Digest> {
    any::<[u8; 8]>().prop_map(|bytes| Digest::of(&bytes))
}

fn work() -> impl Strategy<Value = WorkId> {
    any::<u64>().prop_map(WorkId)
}

fn unpacked() -> impl Strategy<Value = Option<u32>> {
    option::of(0..=4_194_304_u32)
}

fn range() -> impl Strategy<Value = Range> {
    (rel_path(), option::of(name()), option::of(name()))
        .prop_map(|(directory, after, until)| Range { directory, after, until })
}

fn fidelity() -> impl Strategy<Value = Fidelity> {
    any::<(u8, bool, [bool; 4], bool, [bool; 2])>().prop_map(|values| {
        let (owner, set_id, classes, links, [sockets, devices]) = values;
        let has = |(class, has): (Class, bool)| has.then_some(class);
        let attributes = Class::ALL.into_iter().zip(classes).filter_map(has);
        let attributes = attributes.fold(Classes::NONE, Classes::with);
        let owner = [Owner::Dropped, Owner::Numbered, Owner::Named][usize::from(owner % 3)];
        Fidelity { owner, set_id, attributes, links, nodes: Nodes { sockets, devices } }
    })
}

fn handshake() -> impl Strategy<Value = Message> {
    let sink = "[a-z:/]{1,40}".prop_map(|text| SinkId::new(text).expect("printable"));
    let session = any::<[u8; 16]>().prop_map(SessionId::from_random);
    let refusal = prop_oneof![
        Just(Refusal::NameInUse),
        Just(Refusal::TooManySinks),
        Just(Refusal::NoSuchSession),
        Just(Refusal::Ending),
    ];
    prop_oneof![
        (sink, fidelity()).prop_map(|(sink, fidelity)| Message::Hello { sink, fidelity }),
        session.prop_map(|session| Message::HelloAcknowledgement { session }),
        (refusal, ".{0,20}").prop_map(|(refusal, text)| Message::Refused { refusal, text }),
        Just(Message::RegistrationRequest),
        Just(Message::SynchronisationMessage),
        Just(Message::RegistrationRequestAcknowledgement),
        Just(Message::RegistrationSuccess),
        fidelity().prop_map(|fidelity| Message::RegistrationSuccessAcknowledgement { fidelity }),
    ]
}

fn data() -> impl Strategy<Value = Message> {
    prop_oneof![
        (work(), rel_path(), any::<(u32, u32)>(), unpacked()).prop_map(
            |(work, directory, (items_bytes, own_bytes), unpacked_bytes)| {
                Message::Put { work, directory, items_bytes, own_bytes, unpacked_bytes }
            }
        ),
        (work(), rel_path(), any::<u64>(), any::<bool>()).prop_map(
            |(work, path, size_bytes, from_basis)| {
                Message::Open { work, path, size_bytes, from_basis }
            }
        ),
        (work(), rel_path(), any::<[u8; 32]>()).prop_map(|(work, path, key)| Message::Inquire {
            work,
            path,
            key
        }),
        (work(), 1..=u32::MAX, any::<u32>(), 1..4_096_u32).prop_map(
            |(work, block_bytes, first, count)| Message::Sign { work, block_bytes, first, count }
        ),
        (work(), any::<u64>(), any::<u32>(), 1..=u32::MAX).prop_map(
            |(work, offset_bytes, first, count)| {
                Message::Copy { work, offset_bytes, first, count }
            }
        ),
        (work(), any::<u64>()).prop_map(|(work, size_bytes)| Message::Extend { work, size_bytes }),
        (work(), any::<u64>(), unpacked()).prop_map(|(work, offset_bytes, unpacked_bytes)| {
            Message::Chunk { work, offset_bytes, unpacked_bytes }
        }),
        (work(), digest()).prop_map(|(work, digest)| Message::Close { work, digest }),
        work().prop_map(|work| Message::Abort { work }),
        (work(), range(), digest()).prop_map(|(work, range, digest)| Message::Compare {
            work,
            range,
            digest
        }),
        (work(), range(), own()).prop_map(|(work, range, own)| Message::Listing {
            work,
            range,
            own
        }),
        vec(account(), 0..9).prop_map(|accounts| Message::Accounts { accounts }),
        (work(), rel_path(), rel_path(), digested(kind()))
            .prop_map(|(work, from, to, metadata)| Message::Rename { work, from, to, metadata }),
        any::<(u64, u64, u64)>().prop_map(|(consumed_bytes, newest, waiting)| {
            Message::Credit { consumed_bytes, newest, waiting }
        }),
    ]
}

fn account() -> impl Strategy<Value = Account> {
    let kind = prop_oneof![Just(AccountKind::User), Just(AccountKind::Group)];
    (kind, 1..u32::MAX, vec(1..=u8::MAX, 1..=Account::NAME_BYTES_MAX))
        .prop_map(|(kind, id, name)| Account { kind, id, name: name.into() })
}

fn control() -> impl Strategy<Value = Message> {
    let entries =
        (any::<bool>(), vec((any::<u32>(), need()), 0..9), vec(name(), 0..9), any::<bool>())
            .prop_map(|(own, wanted, extra, is_last)| Answer::Entries {
                own,
                wanted,
                extra,
                is_last,
            });
    let answer = prop_oneof![
        Just(Answer::Equal),
        Just(Answer::Differs),
        Just(Answer::Missing),
        entries,
        ".{0,20}".prop_map(|text| Answer::Failed { text }),
    ];
    let basis = (any::<u64>(), any::<bool>(), digest())
        .prop_map(|(size_bytes, is_shared, samples)| Basis { size_bytes, is_shared, samples });
    let sums = vec(any::<u8>(), 0..99).prop_map(|mut sums| {
        sums.truncate(sums.len() / 8 * 8);
        sums
    });
    let failure = (option::of(any::<u32>()), any::<bool>(), any::<bool>(), ".{0,20}")
        .prop_map(|(item, is_stale, is_target, text)| Failure { item, is_stale, is_target, text });
    prop_oneof![
        (work(), answer).prop_map(|(work, answer)| Message::Answer { work, answer }),
        (work(), option::of(basis)).prop_map(|(work, basis)| Message::Basis { work, basis }),
        (work(), sums).prop_map(|(work, sums)| Message::Sums { work, sums }),
        (work(), vec(failure, 0..4))
            .prop_map(|(work, failures)| Message::Applied { work, failures }),
        any::<u64>().prop_map(|applied| Message::Durable { applied }),
        any::<u64>().prop_map(|cookie| Message::SyncRequest { cookie }),
        (any::<(u64, u64)>(), vec((rel_path(), ".{0,20}"), 0..3))
            .prop_map(|((cookie, problems), named)| Message::InSync { cookie, problems, named }),
        Just(Message::Heartbeat),
        Just(Message::TerminationRequest),
        Just(Message::TerminationAcknowledgement),
    ]
}
