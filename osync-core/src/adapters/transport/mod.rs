//! Transports.

pub mod in_process;
pub mod zmq;
