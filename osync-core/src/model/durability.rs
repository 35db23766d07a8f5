//! When what a sink holds is safe from a power cut.

/// How a sink makes durable what it writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Durability {
    /// Everything at once, about once a second; and no file takes the place of another before its data
    /// is on disk.
    #[default]
    Batch,
    /// As [`Durability::Batch`]; and each file is on disk, with its name, before it is confirmed.
    File,
    /// Left to the operating system; nothing is ever said to be durable.
    None,
}
