//! Whether what travels is compressed.

/// How hard payloads are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Compression {
    /// As hard as the link leaves time for; not at all on a fast one.
    #[default]
    Auto,
    /// Never.
    Off,
    /// Always at this level of zstd: 1 to 19.
    Level(i32),
}
