//! The sending side.
//!
//! [`SourceControlService`] is the machine of a source: a table of the sinks, each a [`SinkPeer`] in
//! its phase.
//!
//! [`SourceControlService`]: control_service::SourceControlService
//! [`SinkPeer`]: peer::SinkPeer

pub mod job;
pub mod data_service;
pub mod course;
pub mod confirmed;
pub mod work;
pub mod problems;
pub mod transfer;
pub mod peer;
pub mod control_service;
