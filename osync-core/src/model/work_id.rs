//! Names pieces of work.

use serde::{Deserialize, Serialize};

/// Names one piece of work within a session: from 1 upwards, never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct WorkId(pub u64);
