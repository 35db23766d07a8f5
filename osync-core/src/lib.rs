//! Online file replication: changes first, backlog behind them.

pub mod adapters;
pub mod model;
pub mod ports;
#[cfg(feature = "testing")]
pub mod testing;
