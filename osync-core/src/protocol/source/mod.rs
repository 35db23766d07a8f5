//! The sending side.
//!
//! [`SourceControlService`] is the machine of a source: a table of the sinks, each a [`SinkPeer`] in
//! its phase.
//!
//! [`SourceControlService`]: control_service::SourceControlService
//! [`SinkPeer`]: peer::SinkPeer

pub mod control_service;
pub mod data_service;
pub mod job;
pub mod peer;
pub mod problems;
pub mod transfer;
pub mod work;
