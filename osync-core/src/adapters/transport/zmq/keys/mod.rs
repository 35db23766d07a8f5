//! Keys: who may connect to whom.
//!
//! Each end has a [`KeyPair`] of its own. A sink knows its source's public key; a source knows the public
//! keys of its sinks, an [`AllowList`]. CURVE proves both and encrypts everything in between.
//!
//! ```text
//! sink --CURVE--> libzmq --"is this key allowed?"--> Gate (its own thread) --> AllowList <-- file, reread
//!                   |  no: the connection ends, not a byte has passed
//!                   '--yes: every message carries the key, looked up in AllowList once more
//! ```

pub(super) mod allow_list;
mod files;
pub(super) mod gate;
pub(super) mod pair;

pub use allow_list::AllowList;
pub use pair::KeyPair;

use std::io;
use std::path::{Path, PathBuf};

use crate::model::key::PublicKey;

/// Why a key or a list of keys cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
#[expect(missing_docs, reason = "the message names every field")]
pub enum KeyError {
    /// The ZeroMQ library was built without CURVE.
    #[error(
        "this ZeroMQ library has no CURVE: install one that has (Debian: libzmq3-dev) and build anew"
    )]
    NoCurve,
    /// A key is never overwritten.
    #[error("{} is there already: keys are not overwritten; name another directory", path.display())]
    Exists { path: PathBuf },
    /// Others may read a secret, or write what decides who is let in.
    #[error("{} {exposure}: run: chmod {advice} {0}", path.display())]
    Exposed { path: PathBuf, exposure: &'static str, advice: &'static str },
    /// It is something else.
    #[error("{} {reason}", path.display())]
    Malformed { path: PathBuf, reason: String },
    /// The operating system refused.
    #[error("cannot {verb} {}", path.display())]
    Io { verb: &'static str, path: PathBuf, source: io::Error },
}

/// Reads the first public key of `file`: the `.pub` file that belongs to a secret key.
///
/// # Errors
/// [`KeyError`] if it cannot be read, can be written by others, or holds no key.
pub fn read_public(file: &Path) -> Result<PublicKey, KeyError> {
    let text = files::read_list(file)?;
    let key = allow_list::keys_of(&text).find_map(|(_, key)| key.ok());
    let reason = || "holds no public key: 64 hexadecimal digits at the begin of a line".to_owned();
    key.ok_or_else(|| KeyError::Malformed { path: file.to_owned(), reason: reason() })
}
