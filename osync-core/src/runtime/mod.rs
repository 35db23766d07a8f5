//! Threads: drives `protocol` through `ports`.
//!
//! ```text
//! SOURCE                                     SINK
//!  feed threads --changes (bounded)--+        transport --arrivals (bounded)--+
//!  transport ---arrivals (bounded)---+        writers -----finished-----------+
//!  readers -----results--------------+        host --------commands-----------+
//!  host --------commands-------------+                                        |
//!                                    v                                        v
//!                              osync-source                              osync-sink
//!                           (SourceControlService)                   (SourceController)
//!                              |          |                             |         |
//!            live, backlog jobs|          |frames        one queue each |         |frames
//!                              v          v                             v         v
//!                        osync-reader-N  transport               osync-writer-N  transport
//!                                                                   osync-sync
//! ```
//!
//! | channel | bound | what bounds it in practice |
//! |---|---|---|
//! | arrivals | [`ARRIVALS_MAX`] | window in messages, one answer each |
//! | changes | [`CHANGES_MAX`] | the feed waits, then overflows into a mark |
//! | jobs, results | [`JOBS_MAX`] | jobs out at once, by lane and sink |
//! | tasks, finished | [`TASKS_MAX`] | window in messages |
//! | commands | [`COMMANDS_MAX`] | the host waits |
//! | to and from `osync-sync` | 1 | one barrier at a time |
//!
//! Threads share these channels, [`Counters`] and the ports themselves, and nothing else; only the writers
//! also share [`Bases`], because one signs the version on which another builds. A thread ends when
//! what it receives from is gone.
//!
//! [`Counters`]: crate::ports::counters::Counters
//! [`Bases`]: crate::runtime::delta_write::Bases

pub mod worker;
pub mod waiting;
pub mod reading;
pub mod content;
mod look;
mod put;
mod told;
pub mod read;
pub mod delta_read;
pub mod delta_write;
pub mod write;
pub mod sharing;
pub mod reader_pool;
pub mod writer_pool;
pub mod syncer;
pub mod source_loop;
pub mod sink_loop;

/// Frames that arrived and wait for an endpoint's loop.
pub const ARRIVALS_MAX: usize = 4_096;
/// Change hints that wait for the source's loop.
pub const CHANGES_MAX: usize = 4_096;
/// Jobs that wait for a reader, by lane, and results that wait for the loop.
pub const JOBS_MAX: usize = 4_096;
/// Tasks that wait for one writer, and results that wait for the loop.
pub const TASKS_MAX: usize = 2_048;
/// Commands of the host that wait for a loop.
pub const COMMANDS_MAX: usize = 64;
