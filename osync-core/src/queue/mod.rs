//! What is still to be done for one sink. Pure: no I/O, no clock; the time comes in.

pub mod mark;
pub mod mark_set;
pub mod claims;
pub mod window;
pub mod pace;
pub mod agenda;
