//! How much may be sent a second, in all and of the backlog alone, and how much in one message.

use std::time::Instant;

use crate::options::SourceOptions;
use crate::protocol::source::transfer::{Breach, Transfer};
use crate::queue::allowance::Allowance;
use crate::queue::mark::Lane;
use crate::wire::message::Message;

/// What a header is taken to be, in bytes.
const HEADER_BYTES: u64 = 64;
/// Bytes of content in one message where there are other sinks, if it is no more than two windows: they want the same.
const COMMON_BYTES: u64 = 256 * 1024;
/// Content in one message on the thinnest link, in bytes.
const MESSAGE_BYTES_MIN: u64 = 16 * 1024;
/// The same on any link: well below the longest payload.
const MESSAGE_BYTES_MAX: u64 = 1024 * 1024;

/// In flight while no large file is on its way, in bytes: as many messages, though they are shorter. More of them
/// only keep live changes waiting.
const SMALL_WINDOW_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// The limits of one sink.
#[derive(Debug)]
pub(super) struct Limits {
    all: Option<Allowance>,
    backlog: Option<Allowance>,
    window_bytes_max: u64,
    /// Much more falls out of the caches.
    batch_bytes_max: u64,
    /// Large, because each chunk wakes half a dozen threads at either end.
    chunk_bytes_max: u64,
}

impl Limits {
    pub(super) fn new(options: &SourceOptions, now: Instant) -> Self {
        let allowance = |rate: Option<u64>| rate.map(|rate| Allowance::new(rate, now));
        Self {
            all: allowance(options.rate_max),
            backlog: allowance(options.backlog_rate_max),
            window_bytes_max: options.window_bytes_max,
            batch_bytes_max: options.batch_bytes_max.clamp(MESSAGE_BYTES_MIN, MESSAGE_BYTES_MAX),
            chunk_bytes_max: options.chunk_bytes_max.clamp(MESSAGE_BYTES_MIN, MESSAGE_BYTES_MAX),
        }
    }

    pub(super) fn on_time(&mut self, now: Instant) {
        for allowance in [&mut self.all, &mut self.backlog].into_iter().flatten() {
            allowance.on_time(now);
        }
    }

    fn spend(&mut self, lane: Lane, bytes: u64) {
        let backlog = self.backlog.as_mut().filter(|_| lane == Lane::Backlog);
        for allowance in self.all.as_mut().into_iter().chain(backlog) {
            allowance.spend(bytes);
        }
    }

    /// When something of `lane` may be begun; `None`: at any time.
    pub(super) fn allowed_at(&self, lane: Lane) -> Option<Instant> {
        let backlog = self.backlog.as_ref().filter(|_| lane == Lane::Backlog);
        let all = self.all.as_ref().into_iter().chain(backlog);
        all.map(|allowance| allowance.allowed_at(lane)).max()
    }

    /// What may be in flight at most, in bytes, with large files on the way or without.
    pub(super) fn window_bytes_max(&self, has_large: bool) -> u64 {
        if has_large { u64::MAX } else { SMALL_WINDOW_BYTES_MAX }.min(self.window_bytes_max)
    }

    /// What a message should have at most, in bytes.
    fn message_bytes(&self) -> u64 {
        let all = [&self.all, &self.backlog].into_iter().flatten();
        all.map(Allowance::message_bytes).min().unwrap_or(u64::MAX)
    }
}

impl Transfer {
    /// Bytes of content in one message at present: a small part of the window.
    pub(super) fn batch_bytes_max(&self) -> u64 {
        let bytes = (self.data.window().size_bytes() / 2).min(self.limits.message_bytes());
        if self.has_others() && bytes >= COMMON_BYTES / 4 {
            return COMMON_BYTES.min(self.limits.batch_bytes_max);
        }
        // A power of two, so that sinks with windows much alike want the same and can share a reading.
        (1 << bytes.max(1).ilog2()).clamp(MESSAGE_BYTES_MIN, self.limits.batch_bytes_max)
    }

    /// Bytes in one chunk at present.
    pub(super) fn chunk_bytes_max(&self) -> u64 {
        let bytes = (self.data.window().size_bytes() / 4).min(self.limits.message_bytes());
        bytes.clamp(MESSAGE_BYTES_MIN, self.limits.chunk_bytes_max)
    }

    /// Whether `lane` has to wait for a limit.
    pub(super) fn is_beyond_limit(&mut self, lane: Lane, now: Instant) -> bool {
        let is_beyond = self.limits.allowed_at(lane).is_some_and(|at| at > now);
        self.is_limited |= is_beyond;
        is_beyond
    }

    /// Takes a grant of the sink, which says whether the link or the sink is the slower one.
    pub(super) fn on_credit(
        &mut self,
        consumed_bytes: u64,
        newest: u64,
        waiting: u64,
        now: Instant,
    ) -> Result<(), Breach> {
        let window = self.data.window();
        // What waits at the sink waits for the sink, not for the link.
        let is_link = waiting.saturating_mul(2) <= window.in_flight_messages();
        let is_full = is_link && (self.is_limited || window.is_half_full());
        let fresh_bytes = window.fresh_bytes(consumed_bytes);
        self.pressure.on_sight(is_full, fresh_bytes, now);
        if !self.data.on_credit(consumed_bytes, newest, now) {
            return Err(Breach("credit for more than was sent"));
        }
        self.resume_copies();
        Ok(())
    }

    /// `message` is sent with a payload of `payload_bytes` bytes.
    pub(super) fn spend(&mut self, message: &Message, payload_bytes: u64) {
        let work = work_of(message).and_then(|work| self.flight.works.get(&work));
        let lane = work.map_or(Lane::Live, |work| work.lane);
        self.limits.spend(lane, payload_bytes + HEADER_BYTES);
    }

    /// When the first lane that waits for a limit may go on.
    pub(super) fn limit_ends(&self) -> Option<Instant> {
        let lanes = [Lane::Live, Lane::Backlog].into_iter().filter(|_| self.is_limited);
        lanes.filter_map(|lane| self.limits.allowed_at(lane)).min()
    }
}

/// The piece of work that a message on the data channel belongs to.
#[expect(clippy::wildcard_enum_match_arm, reason = "the rest belongs to none")]
fn work_of(message: &Message) -> Option<crate::model::work_id::WorkId> {
    match message {
        Message::Put { work, .. }
        | Message::Open { work, .. }
        | Message::Chunk { work, .. }
        | Message::Close { work, .. }
        | Message::Abort { work }
        | Message::Compare { work, .. }
        | Message::Listing { work, .. }
        | Message::Rename { work, .. }
        | Message::Inquire { work, .. }
        | Message::Sign { work, .. }
        | Message::Copy { work, .. }
        | Message::Extend { work, .. } => Some(*work),
        _ => None,
    }
}
