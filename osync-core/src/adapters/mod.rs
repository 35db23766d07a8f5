//! Ports for real systems: a directory, inotify, ZeroMQ, and what a host in the same process needs.
//!
//! | port | adapters |
//! |---|---|
//! | [`Source`](crate::ports::source::Source) | [`fs::source::DirectorySource`], [`filters::FilteredSource`] |
//! | [`Sink`](crate::ports::sink::Sink) | [`fs::sink::DirectorySink`], [`relay::RelaySink`] |
//! | [`ChangeFeed`](crate::ports::change_feed::ChangeFeed) | [`feed::fanotify::FanotifyFeed`], [`feed::inotify::InotifyFeed`], [`feed::poll::PollFeed`], [`feed::mapped::MappedFeed`], [`feed::channel::ChannelFeed`], [`filters::FilteredFeed`] |
//! | [`Transport`](crate::ports::transport::Transport) | [`transport::zmq::ZmqTransport`], [`transport::in_process::InProcessTransport`] |
//!
//! Adapters know the vocabulary and the ports, never the protocol or the runtime; nothing below imports them.

pub mod accounts;
pub mod feed;
pub mod filters;
pub mod fs;
pub mod relay;
pub mod transport;
