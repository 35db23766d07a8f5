//! Online file replication as a library: changes first, backlog behind them.
//!
//! osync keeps a *sink* equal to a *source*, one way, while the source changes. A change made now is at
//! the sink in milliseconds, from the first minute on; everything else trickles over behind it. Both
//! are trees of files, and either may be something else than a directory: see [the four ports](#the-four-ports).
//!
//! # Mirroring a folder
//!
//! ```no_run
//! use std::{path::Path, sync::Arc};
//!
//! use osync_core::Mirror;
//! use osync_core::adapters::feed::inotify::InotifyFeed;
//! use osync_core::adapters::fs::{sink::DirectorySink, source::DirectorySource};
//! use osync_core::options::{SinkOptions, SourceOptions};
//!
//! fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let (from, to) = (Path::new("/srv/pool"), Path::new("/srv/copy"));
//!     let mirror = Mirror::start(
//!         Arc::new(DirectorySource::open(from)?),
//!         Box::new(InotifyFeed::new(from)?),
//!         Arc::new(DirectorySink::open(to)?),
//!         SourceOptions::default(),
//!         SinkOptions::default(),
//!         Arc::new(()), // nobody listens to events
//!     )?;
//!     mirror.wait_in_sync(None)?; // then it goes on following changes, until
//!     mirror.stop();
//!     Ok(mirror.join()?)
//! }
//! ```
//!
//! What the sink has and the source has not is removed. [`Mirror::start`] returns at once; the work is done
//! by threads of the library. [`Mirror::wait_in_sync`] asks a question: is everything there that had
//! happened when I asked? Its answer says how many paths could not be replicated; which ones, a
//! [`Monitor`] hears.
//!
//! Over a network the two halves are a [`SourceEndpoint`], which binds two addresses, and one
//! [`SinkEndpoint`] or more, which connect to them:
//!
//! ```no_run
//! # use std::{path::Path, sync::Arc};
//! # use osync_core::adapters::{feed::inotify::InotifyFeed, fs::{sink::DirectorySink, source::DirectorySource}};
//! # use osync_core::options::{SinkOptions, SourceOptions};
//! use osync_core::adapters::transport::zmq::ZmqTransport;
//! use osync_core::model::connection::ConnectionDetails;
//! use osync_core::{SinkEndpoint, SourceEndpoint};
//!
//! # fn source(pool: &Path) -> Result<(), Box<dyn std::error::Error>> {
//! // Here the files are:
//! let source = SourceEndpoint::start(
//!     Arc::new(DirectorySource::open(pool)?),
//!     Box::new(InotifyFeed::new(pool)?),
//!     &ZmqTransport::new(),
//!     &ConnectionDetails::default(),
//!     SourceOptions::default(),
//!     Arc::new(()),
//! )?;
//! # Ok(source.join()?) }
//! # fn sink(copy: &Path) -> Result<(), Box<dyn std::error::Error>> {
//! // There the copy is to be:
//! let sink = SinkEndpoint::start(
//!     Arc::new(DirectorySink::open(copy)?),
//!     &ZmqTransport::new(),
//!     &ConnectionDetails::default(),
//!     SinkOptions::default(),
//!     Arc::new(()),
//! )?;
//! # Ok(sink.join()?) }
//! ```
//!
//! Either may be started first, killed, and started again: they find each other and converge.
//!
//! # The idea: marks
//!
//! The engine keeps no list of files and no database. Per sink it keeps *marks*. A mark says "something
//! here may differ" and nothing more: at one entry, in one directory, or anywhere below one. To
//! *discharge* a mark is to look at the source now, bring the sink to that state, and hear the sink confirm.
//!
//! | what happens | becomes |
//! |---|---|
//! | the change feed reports a path | a mark of that entry, in the live lane |
//! | a directory appears or moves in | a mark of its subtree, in the live lane |
//! | a sink registers | a mark of everything, in the backlog lane |
//! | the change feed loses reports | a mark of what they may have concerned, in the backlog lane |
//! | too many marks in too little memory | fewer, coarser ones |
//! | a file changes while it is read, or cannot be read | its mark again, a little later |
//!
//! A directory is compared by the digest of its listing: where both ends have the same that costs a few
//! dozen bytes, where they differ the differing names are looked at again. Reports are hints and listings
//! are questions; only the present state of the source is ever sent. So a lost, late or needless hint
//! costs work and no correctness, and every fault ends in the same place: a mark.
//!
//! Marks are in one of two *lanes*, and live goes before backlog, down to the bytes in flight: a
//! [`window`](queue::window) keeps those so few that a live change never waits long behind a copy.
//!
//! # Layers
//!
//! ```text
//!  7  mirror             both ends in one process                          Mirror
//!  6  source_endpoint    sink_endpoint       what most hosts ever call     SourceEndpoint, SinkEndpoint
//!  5  error              why an endpoint stopped
//!  4  runtime   |   adapters   |   testing   threads | real systems | suites; none knows another
//!  3  protocol           state machines: messages and the time go in, messages and actions come out
//!  2  options | queue | compare | ports | wire   marks, windows | listings | the traits | the bytes
//!  1  model              plain values: paths, names, metadata, digests
//! ```
//!
//! A module knows rows below its own only; rows 1 to 3, but for the traits, know no file, socket, clock or
//! thread. A test reads the source and checks both.
//!
//! # Threads
//!
//! ```text
//!   change feed --changes--+                          +--one queue each--> osync-writer-0 ..
//!                          v                          |                         | Sink
//!    Source          osync-source <== Transport ==> osync-sink <----finished----+
//!      |                ^     |                       ^
//!  osync-reader-0 ..    |     |                       |
//!      ^   |            |     |                     host: wait_in_sync, stop
//!      |   +--results---+     |
//!      +-----live, backlog----+
//! ```
//!
//! `osync-source` and `osync-sink` own the state machines and wait for nothing but their queues; reading and
//! writing happen in pools beside them. Every queue is bounded. A transport and a feed have threads of
//! their own (`osync-zmq`, `osync-feed`). [`runtime`] has the table of all channels.
//!
//! # The four ports
//!
//! | port | stands for | ours | bring your own when |
//! |---|---|---|---|
//! | [`Source`] | a tree to be read | [`DirectorySource`](adapters::fs::source::DirectorySource) | the data lives in a program or a store |
//! | [`ChangeFeed`] | who says where to look | [`FanotifyFeed`](adapters::feed::fanotify::FanotifyFeed), [`InotifyFeed`](adapters::feed::inotify::InotifyFeed), [`ChannelFeed`](adapters::feed::channel::ChannelFeed) | rarely: whoever knows what it writes tells a `ChannelFeed` |
//! | [`Sink`] | a tree to be written | [`DirectorySink`](adapters::fs::sink::DirectorySink) | the copy goes into an object store, an archive, a test |
//! | [`Transport`] | whole frames between two ends | [`ZmqTransport`](adapters::transport::zmq::ZmqTransport), [`InProcessTransport`](adapters::transport::in_process::InProcessTransport) | the ends meet over something else |
//!
//! The traits are object safe and say who calls, from which threads, and what an error leads to. With the
//! feature `testing` there is a conformance suite for each in `osync_core::testing::conformance`: run it
//! against yours. `osync-core/examples/own_source.rs` replicates a map in memory that the program changes itself.
//!
//! # What a host sees
//!
//! A [`Monitor`] hears events: sessions that begin and end, paths that cannot be replicated, a change feed that
//! lost reports. [`QueueReport`] says what is still to be done, by lane, and how far behind the sink is;
//! [`TransferReport`] what has been done. Trouble with one path is a [`Problem`], counted and tried again; only
//! what stops a whole endpoint is an [`Error`]. The library logs through the crate `log` and never prints,
//! exits or reads the environment.
//!
//! # Limits
//!
//! Linux only. One way only. Regular files with their holes, directories, symbolic links and named pipes, with
//! extended attributes, access lists and hard links; sockets and devices with leave
//! ([`DirectorySource::with_devices`](adapters::fs::source::DirectorySource::with_devices)). A confirmation says that a
//! version is visible; that it survives a power cut is said apart
//! ([`SinkOptions::durability`](options::SinkOptions::durability)). An edit made while no source ran that keeps size
//! and time to the nanosecond is found if the host keeps
//! [`SourceOptions::horizons`](options::SourceOptions::horizons). Encryption and admission need keys
//! ([`ZmqTransport`](adapters::transport::zmq::ZmqTransport)). `docs/guarantees.md` in the repository has every promise
//! with its limits and its tests.
//!
//! [`Source`]: ports::source::Source
//! [`Sink`]: ports::sink::Sink
//! [`ChangeFeed`]: ports::change_feed::ChangeFeed
//! [`Transport`]: ports::transport::Transport
//! [`Monitor`]: ports::monitor::Monitor
//! [`Problem`]: ports::monitor::Problem
//! [`QueueReport`]: model::report::QueueReport
//! [`TransferReport`]: model::report::TransferReport

pub mod model;
pub mod ports;
pub mod wire;
pub mod compare;
pub mod queue;
pub mod options;
pub mod protocol;
pub mod runtime;
pub mod adapters;
#[cfg(feature = "testing")]
pub mod testing;
pub mod error;
pub mod source_endpoint;
pub mod sink_endpoint;
pub mod mirror;

pub use error::Error;
pub use mirror::Mirror;
pub use sink_endpoint::{InSync, SinkEndpoint};
pub use source_endpoint::SourceEndpoint;
