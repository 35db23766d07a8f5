//! Transports: whole frames between two ends.
//!
//! [`zmq`] joins two processes or machines by two addresses. [`in_process`] joins two threads.

pub mod in_process;
pub mod zmq;
