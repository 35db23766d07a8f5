//! A point of a file system's time line.

use std::time::{SystemTime, UNIX_EPOCH};

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

impl Timestamp {
    /// The same moment, if it is one of this type's.
    #[must_use]
    pub fn from_system(time: SystemTime) -> Option<Self> {
        let (before, after) = match time.duration_since(UNIX_EPOCH) {
            Ok(since) => (false, since),
            Err(error) => (true, error.duration()),
        };
        let seconds = i64::try_from(after.as_secs()).ok()?;
        Some(match (before, after.subsec_nanos()) {
            (false, nanoseconds) => Self { seconds, nanoseconds },
            (true, 0) => Self { seconds: -seconds, nanoseconds: 0 },
            (true, nanoseconds) => {
                Self { seconds: -seconds - 1, nanoseconds: 1_000_000_000 - nanoseconds }
            }
        })
    }
}
