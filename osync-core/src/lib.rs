//! Online file replication: changes first, backlog behind them.

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
