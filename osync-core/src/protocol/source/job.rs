//! What the machine asks to be read from the source, and what comes back.

use std::time::Instant;

use crate::compare::delta::sums::Key;
use crate::model::digest::Digest;
use crate::model::fidelity::Fidelity;
use crate::model::metadata::{Entry, Metadata, Sighting, Stamp};
use crate::model::name::Name;
use crate::model::need::Need;
use crate::model::nodes::Nodes;
use crate::model::rel_path::RelPath;
use crate::model::timestamp::Timestamp;
use crate::ports::source::NamePage;
use crate::wire::message::Basis;
use crate::wire::packing::Payload;

/// Files whose content may differ at the sink though size and time do not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Doubt {
    /// They changed at or after this, as their inodes say.
    pub since: Timestamp,
    /// Not those whose time is that of their change: whoever wrote to one did not put the time back.
    pub spares_written: bool,
}

impl Doubt {
    /// About every file.
    pub const ALL: Self =
        Self { since: Timestamp { seconds: i64::MIN, nanoseconds: 0 }, spares_written: false };

    /// Whether it is about what has this metadata and changed at `changed`.
    #[must_use]
    pub fn is_about(&self, metadata: &Metadata, changed: Timestamp) -> bool {
        let is_spared = self.spares_written && metadata.modified == changed;
        metadata.kind.is_file() && changed >= self.since && !is_spared
    }
}

/// One thing to be read from the source now.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Job {
    /// Part of the listing of a directory, with its digest.
    List {
        /// The directory.
        directory: RelPath,
        /// From the name after this one.
        after: Option<Name>,
        /// As many entries at the most.
        entries_max: usize,
        /// What the digest takes in, and which sockets and devices are left out.
        fidelity: Fidelity,
        /// Files that this is about are named.
        doubt: Option<Doubt>,
    },
    /// Part of the names of a directory of which the sink has nothing.
    Names {
        /// The directory.
        directory: RelPath,
        /// From the name after this one.
        after: Option<Name>,
        /// As many names at the most.
        names_max: usize,
        /// Other sockets and devices are left out.
        nodes: Nodes,
    },
    /// The present state of names of one directory, with the contents of small files.
    Look {
        /// The directory.
        directory: RelPath,
        /// Its names, and what of each.
        names: Vec<(Name, Need)>,
        /// Files longer than this are not read.
        inline_bytes_max: u64,
        /// Whether what has several names is taken like anything else, rather than told of.
        takes_linked: bool,
        /// No file is read that would make more bytes than this; the names left over come back.
        batch_bytes_max: usize,
        /// What becomes of names that are missing.
        missing: Missing,
        /// Other sockets and devices count as missing.
        nodes: Nodes,
    },
    /// What lies at a path to which something was moved.
    Stat {
        /// The path.
        path: RelPath,
        /// Where it lay.
        moved_from: RelPath,
        /// Other sockets and devices count as nothing.
        nodes: Nodes,
    },
    /// The next bytes of a file. The file stays open from the first such job of a piece of work to its end.
    Read {
        /// The file.
        path: RelPath,
        /// Where to read; 0 opens the file.
        offset_bytes: u64,
        /// As many bytes at the most.
        chunk_bytes_max: usize,
    },
    /// How a file and the version that the sink has of it go together. Opens the file.
    Weigh {
        /// The file.
        path: RelPath,
        /// The sink's version.
        basis: Basis,
        /// Key of all hashes.
        key: Key,
        /// Length of the blocks of the sink's version.
        block_bytes: u32,
        /// Whether the sink's version may be extended in place.
        may_extend: bool,
        /// Whether nothing is to be said while the file is as the sink has it.
        holds_back: bool,
    },
    /// The next bytes of a file that the sink's version is extended by.
    Tail {
        /// The file.
        path: RelPath,
        /// As many bytes at the most.
        chunk_bytes_max: usize,
    },
    /// What of a file is in the sink's version.
    Match {
        /// The file.
        path: RelPath,
        /// Sums of further blocks of the sink's version.
        sums: Vec<u8>,
        /// As many literal bytes in one piece at the most.
        chunk_bytes_max: usize,
        /// Whether to search no more once little is found: the link is fast.
        gives_up: bool,
    },
}

impl Job {
    /// Which sockets and devices the sink keeps it is done for; the others are not to be told of.
    #[must_use]
    pub fn nodes(&self) -> Nodes {
        match self {
            Self::List { fidelity, .. } => fidelity.nodes,
            Self::Names { nodes, .. } | Self::Look { nodes, .. } | Self::Stat { nodes, .. } => {
                *nodes
            }
            // Of regular files.
            Self::Read { .. } | Self::Weigh { .. } | Self::Tail { .. } | Self::Match { .. } => {
                Nodes::ALL
            }
        }
    }

    /// The directory whose names it reads, or the path.
    #[must_use]
    pub fn place(&self) -> &RelPath {
        match self {
            Self::List { directory, .. }
            | Self::Names { directory, .. }
            | Self::Look { directory, .. } => directory,
            Self::Stat { path, .. }
            | Self::Read { path, .. }
            | Self::Weigh { path, .. }
            | Self::Tail { path, .. }
            | Self::Match { path, .. } => path,
        }
    }

    /// Whether a file is kept open for the work it belongs to.
    #[must_use]
    pub fn holds_file(&self) -> bool {
        matches!(
            self,
            Self::Read { .. } | Self::Weigh { .. } | Self::Tail { .. } | Self::Match { .. }
        )
    }
}

/// What becomes of names that the source lacks, and a sink may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Missing {
    /// They are told of.
    IsTold,
    /// They are to be removed, unless the source is empty.
    IsRemoved,
    /// They are to be removed.
    IsRemovedAlways,
}

/// The result of a [`Job`].
#[derive(Debug, Clone)]
pub enum Done {
    /// Of [`Job::List`]; `None` if there is no such directory.
    Listed(Result<Option<Listed>, JobError>),
    /// Of [`Job::Names`]; `None` if there is no such directory.
    Named(Result<Option<NamePage>, JobError>),
    /// Of [`Job::Look`].
    Looked(Result<Looked, JobError>),
    /// Of [`Job::Stat`]; `None` if nothing lies there, or something lies where it was moved from.
    Stat(Result<Option<Metadata>, JobError>),
    /// Of [`Job::Read`] and [`Job::Tail`]; `None` if there is no such file.
    Read(Result<Option<Piece>, JobError>),
    /// Of [`Job::Weigh`]; `None` if there is no such file.
    Weighed(Result<Option<Weighed>, JobError>),
    /// Of [`Job::Match`]; `None` if there is no such file.
    Matched(Result<Option<Matched>, JobError>),
}

/// Why a job could not be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobError {
    /// One line.
    pub text: String,
    /// The whole source is not there.
    pub is_root_lost: bool,
    /// The source has become empty.
    pub is_emptied: bool,
}

/// Part of a directory's listing.
#[derive(Debug, Clone)]
pub struct Listed {
    /// Files among the entries that are doubted, in ascending order.
    pub suspects: Vec<Name>,
    /// The directory's own metadata, where the part is the first, its attributes as digests.
    pub own: Option<Metadata>,
    /// Its entries.
    pub entries: Vec<Entry>,
    /// Whether more follow.
    pub has_more: bool,
    /// Listing digest of the part.
    pub digest: Digest,
}

/// Present state of some names.
#[derive(Debug, Clone)]
pub struct Looked {
    /// The directory's own metadata; `None` if it is not there.
    pub own: Option<Metadata>,
    /// When that was read.
    pub own_read_at: Instant,
    /// Contents, then the encoded items.
    pub payload: Payload,
    /// How many bytes the items are.
    pub items_bytes: u32,
    /// What became of each name asked for, in order.
    pub outcomes: Vec<Outcome>,
}

/// What became of one name of a [`Job::Look`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It is an item of the payload.
    Placed(Placed),
    /// It has several names: what was seen of it.
    Linked(Box<Sighting>),
    /// It is a file too large to be read here.
    Large,
    /// There was no room for it.
    Left,
    /// It changed while it was read.
    Unsteady,
    /// Nothing lies there, and what the sink has there is to be removed.
    Missing,
    /// It is not the directory it was thought to be: look again without that thought.
    Changed,
    /// A filter leaves it out: nothing is to be done.
    LeftOut,
    /// It could not be read: one line says why.
    Failed(String),
}

/// What kind of item a name became.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Placed {
    /// It is to be removed.
    Absent,
    /// It is a directory.
    Directory,
    /// It is anything else.
    Other {
        /// Bytes of content in the payload.
        content_bytes: u64,
        /// What was seen of it.
        seen: Box<Sighting>,
    },
}

/// Some bytes of a large file.
#[derive(Debug, Clone)]
pub struct Piece {
    /// How long the file is by now.
    pub size_bytes: u64,
    /// Where they lie; what was passed over is a hole.
    pub offset_bytes: u64,
    /// The bytes; empty only where nothing but a hole follows.
    pub chunk: Payload,
    /// Present once the file has been read to its end.
    pub end: Option<FileEnd>,
}

/// How a file and the sink's version of it go together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Weighed {
    /// How long the file is.
    pub size_bytes: u64,
    /// It has holes, which only a file that is sent whole can keep.
    pub has_holes: bool,
    /// The sink's version is thought to be the beginning of it.
    pub has_grown: bool,
}

/// Part of the search for blocks of the sink's version in a file.
#[derive(Debug, Clone)]
pub struct Matched {
    /// What comes next in the file.
    pub steps: Vec<Step>,
    /// Whether further sums are needed before it goes on.
    pub wants_sums: bool,
    /// The file is the sink's version, byte for byte.
    pub is_same: bool,
    /// Present once the file has been gone through; the digest is the proof.
    pub end: Option<FileEnd>,
}

/// A step of putting a file together from the sink's version.
#[derive(Debug, Clone)]
pub enum Step {
    /// Blocks of the sink's version.
    Copy {
        /// The first.
        first: u32,
        /// How many.
        count: u32,
    },
    /// Bytes that it does not have there.
    Literal(Payload),
}

impl Done {
    /// The payloads in it, which may be packed.
    pub fn payloads(&mut self) -> Vec<&mut Payload> {
        match self {
            Self::Looked(Ok(looked)) => vec![&mut looked.payload],
            Self::Read(Ok(Some(piece))) => vec![&mut piece.chunk],
            Self::Matched(Ok(Some(matched))) => {
                let literals = matched.steps.iter_mut().filter_map(|step| match step {
                    Step::Literal(payload) => Some(payload),
                    Step::Copy { .. } => None,
                });
                literals.collect()
            }
            Self::Listed(_)
            | Self::Named(_)
            | Self::Looked(_)
            | Self::Stat(_)
            | Self::Read(_)
            | Self::Weighed(_)
            | Self::Matched(_) => Vec::new(),
        }
    }
}

/// What is known once a large file has been read.
#[derive(Debug, Clone)]
pub struct FileEnd {
    /// Its metadata; the size is that of all bytes read.
    pub metadata: Metadata,
    /// Which object it is.
    pub stamp: Stamp,
    /// Whether it held still from the first byte to the last.
    pub is_steady: bool,
    /// Digest of all bytes read.
    pub digest: Digest,
    /// Metadata of the directory it lies in; `None` if that is not there.
    pub own: Option<Metadata>,
    /// When that was read.
    pub own_read_at: Instant,
}
