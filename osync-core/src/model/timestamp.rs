//! A point of a file system's time line.

use serde::{Deserialize, Serialize};

/// Seconds since 1970 and nanoseconds within the second, as `stat` reports them.
///
/// Before 1970 the seconds are negative and the nanoseconds still count upwards, 0 to 999,999,999.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
pub struct Timestamp {
    /// Whole seconds since 1970-01-01 00:00 UTC, rounded down.
    pub seconds: i64,
    /// Nanoseconds within the second: 0 to 999,999,999.
    pub nanoseconds: u32,
}
