//! What of a file a sink can take from an older version of it, its *basis*.
//!
//! ```text
//! sink    basis   --sums-->  a short sum of each block         (8 bytes a block)
//! source  file    --matcher, against the signature-->  blocks of the basis, and the bytes between them
//! sink    basis + blocks + bytes = file; the proof says that it is
//! ```
//!
//! The block that should come next is tried first, so what has not changed costs one hash. Only in the
//! gaps a checksum rolls byte by byte. A sum is short, because it only chooses; what was chosen is proven
//! by the whole hash of each block, which both ends fold into one digest ([`proof`]).
//!
//! Hashes are keyed, freshly for every transfer: nobody can prepare a file whose blocks collide.
//!
//! Origin: rsync (Tridgell, 1996).

pub mod sums;
pub mod samples;
pub mod signature;
pub mod proof;
pub mod script;
pub mod matcher;
