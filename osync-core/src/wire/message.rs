//! The messages, as values.
//!
//! Metadata that is to be set has its attributes in full and travels in a payload; metadata that is only
//! compared has digests of them, and may stand in a header.
//!
//! `v` marks those from source to sink, `^` those from sink to source; `c` travels on the command
//! channel, `d` on the data channel.

use serde::{Deserialize, Serialize};

use crate::model::account::Account;
use crate::model::digest::Digest;
use crate::model::fidelity::Fidelity;
use crate::model::metadata::Metadata;
use crate::model::name::Name;
use crate::model::need::Need;
use crate::model::rel_path::RelPath;
use crate::model::session_id::SessionId;
use crate::model::sink_id::SinkId;
use crate::model::work_id::WorkId;

/// A message with its place in the conversation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Envelope {
    /// Which session it belongs to: the first eight bytes of the session id; 0 before there is one.
    pub session: u64,
    /// Its number on this channel in this direction and session, from 1 upwards without gaps; 0 if the
    /// message stands outside the order (the handshake).
    pub sequence: u64,
    /// The message.
    pub message: Message,
}

/// Everything the two ends say to each other.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Message {
    /// `^c` A sink presents itself.
    Hello {
        /// Its name.
        sink: SinkId,
        /// What it can hold.
        fidelity: Fidelity,
    },
    /// `vc` The sink is welcome and shall connect its data channel under this id.
    HelloAcknowledgement {
        /// Fresh and unguessable.
        session: SessionId,
    },
    /// `vc` The sink is not welcome.
    Refused {
        /// Why.
        refusal: Refusal,
        /// The same for a person: one line.
        text: String,
    },
    /// `^c` The data channel is being connected; send synchronisation messages on it.
    RegistrationRequest,
    /// `vd` Proves the data channel; repeated until the sink has seen one.
    SynchronisationMessage,
    /// `vc` Synchronisation messages are being sent.
    RegistrationRequestAcknowledgement,
    /// `^c` A synchronisation message arrived.
    RegistrationSuccess,
    /// `vc` Synchronisation messages have stopped; transfer begins.
    RegistrationSuccessAcknowledgement {
        /// What this session keeps.
        fidelity: Fidelity,
    },
    /// `vd` The present state of some names of one directory.
    Put {
        /// The piece of work.
        work: WorkId,
        /// The directory.
        directory: RelPath,
        /// How many bytes of the payload are the encoded [`Item`]s. The contents of the files lie before
        /// them, in order, without gaps.
        items_bytes: u32,
        /// How many bytes at the end of the payload are the directory's own metadata, to be set after the
        /// items; none if it is not there.
        own_bytes: u32,
        /// How long everything before that is once decompressed; none if it is not compressed.
        unpacked_bytes: Option<u32>,
    },
    /// `vd` A file too large for a `Put` begins.
    Open {
        /// The piece of work, to which its chunks belong.
        work: WorkId,
        /// The file.
        path: RelPath,
        /// How long it is thought to be, in bytes.
        size_bytes: u64,
        /// It is put together from the older version that was inquired about.
        from_basis: bool,
    },
    /// `vd` The next bytes of the file, as payload.
    Chunk {
        /// The piece of work.
        work: WorkId,
        /// Where they belong; chunks come in order, and of a file that is sent whole what lies between them
        /// are holes.
        offset_bytes: u64,
        /// How many they are once decompressed; none if they are not compressed.
        unpacked_bytes: Option<u32>,
    },
    /// `vd` The file is complete and shall become visible: the encoded [`Closing`] is the payload.
    Close {
        /// The piece of work.
        work: WorkId,
        /// Digest of all chunks; of a file from a basis its proof.
        digest: Digest,
    },
    /// `vd` The file shall be forgotten; nothing of it becomes visible.
    Abort {
        /// The piece of work.
        work: WorkId,
    },
    /// `vd` Does this part of the directory look like this?
    Compare {
        /// The piece of work.
        work: WorkId,
        /// Which part of which directory.
        range: Range,
        /// Listing digest of the part at the source.
        digest: Digest,
    },
    /// `vd` What this part of the directory looks like: the encoded entries are the payload.
    Listing {
        /// The piece of work: that of the `Compare` before it.
        work: WorkId,
        /// Which part of which directory.
        range: Range,
        /// The directory's own metadata, where the part is the first, its attributes as digests.
        own: Option<Metadata>,
    },
    /// `vd` What lies at `from` shall lie at `to`, if it is of the kind, size and time in `metadata`.
    Rename {
        /// The piece of work.
        work: WorkId,
        /// Where it lies.
        from: RelPath,
        /// Where it shall lie.
        to: RelPath,
        /// What lies at `to` at the source, its attributes as digests.
        metadata: Metadata,
    },
    /// `^d` How much the sink has consumed: data messages may be in flight up to the window beyond it.
    Credit {
        /// Header and payload bytes of all data messages consumed in this session.
        consumed_bytes: u64,
        /// Sequence of the message consumed last.
        newest: u64,
        /// Messages that have arrived and are not consumed.
        waiting: u64,
    },
    /// `^c` How a `Compare` or `Listing` went.
    Answer {
        /// The piece of work.
        work: WorkId,
        /// The result.
        answer: Answer,
    },
    /// `^c` A `Put`, `Close`, `Abort` or `Rename` is done.
    Applied {
        /// The piece of work.
        work: WorkId,
        /// What of it could not be done; the rest is.
        failures: Vec<Failure>,
    },
    /// `^c` Tell me when everything that has happened by now is here.
    SyncRequest {
        /// Comes back in the answer.
        cookie: u64,
    },
    /// `vc` It is.
    InSync {
        /// Of the request.
        cookie: u64,
        /// How many paths could not be replicated.
        problems: u64,
        /// Some of them, each with the reason.
        named: Vec<(RelPath, String)>,
    },
    /// `vc` What is not replicated at present; said when that has changed.
    Problems {
        /// How many paths.
        count: u64,
        /// Some of them, each with the reason.
        named: Vec<(RelPath, String)>,
    },
    /// `vc` `^c` Still here. Sent when nothing else was for a while.
    Heartbeat,
    /// `vc` `^c` Let us end this session.
    TerminationRequest,
    /// `vc` `^c` It is ended.
    TerminationAcknowledgement,
    /// `vd` A large file begins: which version of it is there?
    Inquire {
        /// The piece of work, to which everything about this file belongs.
        work: WorkId,
        /// The file.
        path: RelPath,
        /// Key of all hashes of this piece of work.
        key: [u8; 32],
    },
    /// `^c` In answer to that, or to a `Sign` that cannot be answered any more.
    Basis {
        /// The piece of work.
        work: WorkId,
        /// The version; none if there is none to build upon.
        basis: Option<Basis>,
    },
    /// `vd` What are the sums of these blocks of it? From the first on, without gaps.
    Sign {
        /// The piece of work.
        work: WorkId,
        /// Length of all blocks but the last.
        block_bytes: u32,
        /// The first block.
        first: u32,
        /// How many.
        count: u32,
    },
    /// `^c` In answer to that: eight bytes a block.
    Sums {
        /// The piece of work.
        work: WorkId,
        /// The sums.
        #[serde(with = "serde_bytes")]
        sums: Vec<u8>,
    },
    /// `vd` These blocks of it come next in the file.
    Copy {
        /// The piece of work.
        work: WorkId,
        /// Where they belong, in order and without gaps as chunks do.
        offset_bytes: u64,
        /// The first block.
        first: u32,
        /// How many.
        count: u32,
    },
    /// `vd` It has only grown: what follows is appended to the file itself.
    Extend {
        /// The piece of work.
        work: WorkId,
        /// How long it must be now.
        size_bytes: u64,
    },
    /// `^c` The first so many `Applied` of this session survive a power cut of the sink.
    Durable {
        /// How many.
        applied: u64,
    },
    /// `vd` Who some of the numbers are that metadata after this speaks of; only where names were agreed upon.
    Accounts {
        /// Users and groups of the source, valid ones.
        accounts: Vec<Account>,
    },
}

/// The version of a file that a sink has.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Basis {
    /// Its length.
    pub size_bytes: u64,
    /// It has further names.
    pub is_shared: bool,
    /// Digest of samples of it.
    pub samples: Digest,
}

/// Why a source does not take a sink.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Refusal {
    /// Another sink of this name is connected; it may be a former self, so try again.
    NameInUse,
    /// As many sinks as allowed are connected; try again.
    TooManySinks,
    /// The session is unknown or over; say hello again.
    NoSuchSession,
    /// The source is ending.
    Ending,
}

/// What ends a file that came in chunks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Closing {
    /// The file's metadata; the size is that of all chunks.
    pub metadata: Metadata,
    /// Metadata of the directory it lies in.
    pub own: Option<Metadata>,
}

/// Part of a directory: the names above `after` up to and including `until`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Range {
    /// The directory.
    pub directory: RelPath,
    /// From the first name, if none.
    pub after: Option<Name>,
    /// To the last name, if none.
    pub until: Option<Name>,
}

/// The present state of one name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Item {
    /// The name.
    pub name: Name,
    /// What lies there.
    pub state: State,
}

/// What lies at a name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum State {
    /// Nothing.
    Absent,
    /// A directory. Its own metadata comes with a `Put` for it.
    Directory,
    /// A symbolic link, a named pipe, a socket or a device.
    Special(Metadata),
    /// A regular file whose content is in the payload.
    File(Metadata),
    /// What the sink has there, if kind, size and time agree, and if it has no more names there than here.
    Kept(Metadata),
    /// No directory; anything else is left out of replication and stays.
    AbsentDirectory,
    /// Nothing but perhaps a directory, which is left out of replication and stays.
    AbsentOther,
    /// Another name of what lies at `to`, if that agrees as with `Kept`, this name counted.
    Linked {
        /// What lies there.
        metadata: Metadata,
        /// A name that the sink has of it.
        to: RelPath,
    },
}

impl State {
    /// The metadata that it comes with.
    #[must_use]
    pub fn metadata(&self) -> Option<&Metadata> {
        match self {
            Self::Special(metadata)
            | Self::File(metadata)
            | Self::Kept(metadata)
            | Self::Linked { metadata, .. } => Some(metadata),
            Self::Absent | Self::AbsentDirectory | Self::AbsentOther | Self::Directory => None,
        }
    }
}

/// The sink's view of a part of a directory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Answer {
    /// It is the same.
    Equal,
    /// It is not; send the listing.
    Differs,
    /// The directory does not exist here.
    Missing,
    /// In answer to a listing.
    Entries {
        /// The directory's own metadata differs.
        own: bool,
        /// Which entries differ: ascending index into the listing.
        wanted: Vec<(u32, Need)>,
        /// Names that the listing does not have.
        extra: Vec<Name>,
        /// Whether this is the last message of the answer.
        is_last: bool,
    },
    /// The sink could not look.
    Failed {
        /// Why: one line.
        text: String,
    },
}

/// Why part of a piece of work could not be done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// Which item of a `Put`; none for the directory's own metadata and for other messages.
    pub item: Option<u32>,
    /// What the sink has is not what the source thought: look again, it is no problem.
    pub is_stale: bool,
    /// It is no fault of this entry: the whole target takes nothing at present.
    pub is_target: bool,
    /// Why: one line.
    pub text: String,
}
