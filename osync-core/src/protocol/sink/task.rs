//! What the machine asks to be done to the sink, and what comes back.

use bytes::Bytes;

use crate::model::account::Account;
use crate::model::digest::Digest;
use crate::model::fidelity::Fidelity;
use crate::model::metadata::Metadata;
use crate::model::rel_path::RelPath;
use crate::model::work_id::WorkId;
use crate::wire::message::{Message, Range};
use crate::wire::packing::Payload;

/// One thing to be done to the sink.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Task {
    /// Tasks of one directory are done in order, by one writer: this one.
    pub directory: RelPath,
    /// To come back with the result.
    pub ticket: Ticket,
    /// What to do.
    pub action: Action,
}

/// Names a task to the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ticket {
    /// Which session it belongs to, counted from 1: a result of an earlier one is of no interest.
    pub epoch: u64,
    /// Number of the data message it came with.
    pub sequence: u64,
    /// Length of that message.
    pub bytes: u64,
    /// The source goes on once it is done, so credit is granted at once.
    pub is_awaited: bool,
}

/// What a task does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Learn who some users and groups are, before any task that comes later is begun.
    Learn {
        /// Of the source.
        accounts: Vec<Account>,
    },
    /// Bring some names of the directory to a state.
    Put {
        /// To confirm.
        work: WorkId,
        /// Contents, the encoded items, and the directory's own metadata, to be set last.
        payload: Payload,
        /// How many bytes the items are.
        items_bytes: u32,
        /// How many bytes the directory's own metadata is.
        own_bytes: u32,
    },
    /// Begin a file that arrives in chunks.
    Open {
        /// To which its chunks belong.
        work: WorkId,
        /// The file.
        path: RelPath,
        /// How long it is thought to be, in bytes.
        size_bytes: u64,
        /// It is put together from the basis.
        from_basis: bool,
    },
    /// Answer which version of a file is there.
    Inquire {
        /// To answer, and to which everything about this file belongs.
        work: WorkId,
        /// The file.
        path: RelPath,
        /// Key of all hashes.
        key: [u8; 32],
    },
    /// Answer the sums of some of its blocks.
    Sign {
        /// Which file, and to answer.
        work: WorkId,
        /// Length of all blocks but the last.
        block_bytes: u32,
        /// The first block.
        first: u32,
        /// How many.
        count: u32,
    },
    /// Append blocks of the basis.
    Copy {
        /// Which file.
        work: WorkId,
        /// Where they belong.
        offset_bytes: u64,
        /// The first block.
        first: u32,
        /// How many.
        count: u32,
    },
    /// Append what follows to the basis itself.
    Extend {
        /// Which file.
        work: WorkId,
        /// How long it must be now.
        size_bytes: u64,
    },
    /// Append to it.
    Chunk {
        /// Which file.
        work: WorkId,
        /// Where the bytes belong.
        offset_bytes: u64,
        /// The bytes.
        payload: Payload,
    },
    /// Make it visible.
    Close {
        /// Which file, and to confirm.
        work: WorkId,
        /// Its encoded metadata and the directory's own, to be set last.
        payload: Bytes,
        /// Digest of its content.
        digest: Digest,
    },
    /// Forget it.
    Abort {
        /// Which file, and to confirm.
        work: WorkId,
    },
    /// Answer whether part of the directory has this digest.
    Compare {
        /// To answer.
        work: WorkId,
        /// Which part.
        range: Range,
        /// The source's digest.
        digest: Digest,
        /// What it takes in.
        fidelity: Fidelity,
    },
    /// Answer what differs from this listing.
    Listing {
        /// To answer.
        work: WorkId,
        /// Which part.
        range: Range,
        /// The directory's own metadata at the source.
        own: Option<Metadata>,
        /// The encoded entries.
        payload: Bytes,
        /// What counts.
        fidelity: Fidelity,
    },
    /// Move an entry.
    Rename {
        /// To confirm.
        work: WorkId,
        /// Where it lies.
        from: RelPath,
        /// Where it shall lie.
        to: RelPath,
        /// What it must be like, if it is a file.
        metadata: Metadata,
    },
    /// Nothing: a heartbeat that is only counted.
    Nothing,
}

impl Action {
    /// Whether it only reads, and may be done beside what else concerns its directory.
    #[must_use]
    pub fn is_aside(&self) -> bool {
        matches!(self, Self::Sign { .. })
    }
}

/// How a task went.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Finished {
    /// What to tell the source, on the command channel.
    pub replies: Vec<Message>,
    /// The source sent something it cannot mean: the session must be given up.
    pub breach: Option<String>,
}
