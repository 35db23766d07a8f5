//! How much may be removed at a sink without asking.

/// How many names may be removed at a sink before removals wait for a person.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RemovalLimit {
    /// Any number, but not everything: while the source is empty nothing is removed.
    #[default]
    NotAll,
    /// So many within a minute, and not everything.
    Names(u64),
    /// So many in a hundred of the names that the source has, and not everything; 100: any number, and everything.
    Percent(u8),
}

impl RemovalLimit {
    /// Whether a source that is empty makes its sinks empty.
    #[must_use]
    pub fn allows_all(self) -> bool {
        matches!(self, Self::Percent(100..))
    }
}
