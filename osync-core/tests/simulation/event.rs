//! What can happen in a simulated world.

use std::time::Instant;

use osync_core::model::change::Change;
use osync_core::model::connection::Channel;
use osync_core::model::frame::Frame;
use osync_core::model::rel_path::RelPath;
use osync_core::ports::transport::PeerId;

use crate::source_side::{Read, Reading};
use crate::writers::Written;

/// Something that happens at a moment.
#[derive(Debug)]
pub(crate) enum Event {
    Operate,
    /// A file is rewritten or grows, again and again until then.
    Hammer {
        path: RelPath,
        until: Instant,
    },
    Strike,
    Quiet,
    Check,
    Ask {
        sink: usize,
    },
    Repair,
    CutSink {
        sink: usize,
    },
    StartSource,
    StartSink {
        sink: usize,
    },
    SourceGone,
    FeedReady {
        incarnation: u64,
    },
    Report {
        incarnation: u64,
        change: Change,
    },
    Reading(Box<Reading>),
    Read(Box<Read>),
    Writing {
        sink: usize,
        incarnation: u64,
        index: usize,
    },
    Written(Box<Written>),
    Synced {
        sink: usize,
        incarnation: u64,
        synced: Result<bool, String>,
    },
    Established {
        connection: usize,
    },
    ToSource {
        connection: usize,
        frame: Frame,
    },
    ToSink {
        connection: usize,
        frame: Frame,
    },
    UnreachableAtSource {
        incarnation: u64,
        channel: Channel,
        peer: PeerId,
    },
    UnreachableAtSink {
        sink: usize,
        incarnation: u64,
        channel: Channel,
    },
}
