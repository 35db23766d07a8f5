//! The receiving side.
//!
//! [`SourceController`] is the machine of a sink: it finds the source, registers, hands out tasks to the
//! writers in the order they arrive, and tells the source how they went.
//!
//! [`SourceController`]: source_controller::SourceController

pub mod task;
pub mod data_client;
pub mod barrier;
pub mod source_controller;
