//! How much of an entry has to travel.

use serde::{Deserialize, Serialize};

/// What is to be sent of a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Need {
    /// It is a directory and need only exist.
    Directory,
    /// The content is thought to agree; mode, owner or times may not.
    Metadata,
    /// Everything.
    Content,
}
