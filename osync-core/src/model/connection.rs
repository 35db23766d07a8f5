//! Where the two channels are.

use std::fmt;

/// The addresses of a source's two channels, in the form of its transport (`tcp://host:port` for ZeroMQ).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ConnectionDetails {
    /// The command channel: registration, answers, acknowledgements, heartbeats.
    pub control: String,
    /// The data channel: content one way, credit the other.
    pub data: String,
}

impl ConnectionDetails {
    /// The command channel's default address: this machine only.
    pub const CONTROL_DEFAULT: &'static str = "tcp://127.0.0.1:5560";
    /// The data channel's default address: this machine only.
    pub const DATA_DEFAULT: &'static str = "tcp://127.0.0.1:5561";
}

impl Default for ConnectionDetails {
    fn default() -> Self {
        Self { control: Self::CONTROL_DEFAULT.to_owned(), data: Self::DATA_DEFAULT.to_owned() }
    }
}

impl fmt::Display for ConnectionDetails {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} and {}", self.control, self.data)
    }
}

/// The two channels between a source and a sink.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Channel {
    /// The command channel.
    Control,
    /// The data channel.
    Data,
}
