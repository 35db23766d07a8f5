//! `KeyPair`: an end's own keys, and the two files they live in.

use std::fmt::{self, Write as _};
use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use zeroize::{Zeroize, Zeroizing};
use zmq::CurveKeyPair;

use crate::adapters::transport::zmq::capabilities;
use crate::adapters::transport::zmq::keys::KeyError;
use crate::adapters::transport::zmq::keys::files::{malformed, read_secret, refused};
use crate::model::key::{PublicKey, read_hex};

const SECRET_NAME: &str = "osync.key";
const PUBLIC_NAME: &str = "osync.pub";

/// A secret key and the public one that belongs to it. The secret is wiped from memory when dropped, and
/// never shown.
#[derive(Clone)]
pub struct KeyPair {
    public: PublicKey,
    secret: Zeroizing<[u8; PublicKey::BYTES]>,
}

impl KeyPair {
    /// Makes a new pair.
    ///
    /// # Errors
    /// [`KeyError::NoCurve`] if the ZeroMQ library cannot.
    pub fn generate() -> Result<Self, KeyError> {
        if !capabilities().has_curve {
            return Err(KeyError::NoCurve);
        }
        let mut pair = CurveKeyPair::new().map_err(|_| KeyError::NoCurve)?;
        let public = PublicKey::from_bytes(pair.public_key);
        let secret = Zeroizing::new(pair.secret_key);
        pair.secret_key.zeroize();
        Ok(Self { public, secret })
    }

    /// Reads what [`KeyPair::save`] has written: the file with the secret.
    ///
    /// # Errors
    /// [`KeyError`] if it cannot be read, can be read by others, or is no such file.
    pub fn load(file: &Path) -> Result<Self, KeyError> {
        let text = read_secret(file)?;
        let (mut public, mut secret) = (None, None);
        for line in text.lines() {
            let mut words = line.split_whitespace();
            let (word, value) = (words.next(), words.next().unwrap_or_default());
            match word {
                Some("public") => public = value.parse().ok(),
                Some("secret") => {
                    let mut bytes = Zeroizing::new([0; PublicKey::BYTES]);
                    secret = read_hex(value, &mut bytes).is_ok().then_some(bytes);
                }
                Some(_) | None => {}
            }
        }
        match (public, secret) {
            (Some(public), Some(secret)) => Ok(Self { public, secret }),
            (_, _) => Err(malformed(file, "holds no key pair: make one with osync keygen")),
        }
    }

    /// Writes the pair into `directory`, made if absent, as `osync.key` (for the owner only) and `osync.pub`;
    /// returns their paths.
    ///
    /// # Errors
    /// [`KeyError::Exists`] if either is there; nothing is ever overwritten. [`KeyError::Io`].
    pub fn save(&self, directory: &Path) -> Result<(PathBuf, PathBuf), KeyError> {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(directory)
            .map_err(|source| refused("make", directory, source))?;
        let [secret_path, public_path] =
            [SECRET_NAME, PUBLIC_NAME].map(|name| directory.join(name));
        if public_path.symlink_metadata().is_ok() {
            return Err(KeyError::Exists { path: public_path });
        }
        let mut secret = Zeroizing::new(String::with_capacity(1024));
        // With room enough from the start, so that no copy is left behind; writing to it cannot fail.
        secret.push_str("# osync key pair: whoever can read this can pass for its owner\nsecret ");
        self.secret.iter().try_for_each(|byte| write!(secret, "{byte:02x}")).ok();
        write!(secret, "\npublic {}\n", self.public).ok();
        write_new(&secret_path, &secret, 0o600)?;
        write_new(&public_path, &format!("{}\n", self.public), 0o644).inspect_err(|_| {
            // Half a pair is of no use, and would be in the way of the next attempt.
            fs::remove_file(&secret_path).ok();
        })?;
        Ok((secret_path, public_path))
    }

    /// The half that may be known.
    #[must_use]
    pub fn public(&self) -> PublicKey {
        self.public
    }

    pub(crate) fn secret_bytes(&self) -> &[u8; PublicKey::BYTES] {
        &self.secret
    }
}

impl fmt::Debug for KeyPair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyPair").field("public", &self.public).finish_non_exhaustive()
    }
}

/// Makes a file that must not exist, with this mode from the first moment.
fn write_new(path: &Path, text: &str, mode: u32) -> Result<(), KeyError> {
    let write = || {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()
    };
    write().map_err(|source| {
        if source.kind() == ErrorKind::AlreadyExists {
            KeyError::Exists { path: path.to_owned() }
        } else {
            refused("write", path, source)
        }
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_saved_pair_is_loaded_and_never_overwritten() {
        let directory = tempfile::tempdir().unwrap();
        let pair = KeyPair::generate().unwrap();

        let (secret, public) = pair.save(&directory.path().join("new")).unwrap();

        assert_eq!(secret.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        let loaded = KeyPair::load(&secret).unwrap();
        assert_eq!((loaded.public, &loaded.secret), (pair.public, &pair.secret));
        assert_eq!(fs::read_to_string(public).unwrap().trim(), pair.public.to_string());
        let again = KeyPair::generate().unwrap().save(&directory.path().join("new"));
        assert!(matches!(again, Err(KeyError::Exists { .. })));
        assert_eq!(KeyPair::load(&secret).unwrap().public, pair.public);
    }

    #[test]
    fn a_secret_that_others_can_read_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let (secret, _) = KeyPair::generate().unwrap().save(directory.path()).unwrap();

        for mode in [0o640, 0o604, 0o660, 0o700 | 0o010] {
            fs::set_permissions(&secret, fs::Permissions::from_mode(mode)).unwrap();
            let refused = KeyPair::load(&secret).unwrap_err();
            assert!(matches!(refused, KeyError::Exposed { .. }), "{mode:o}: {refused}");
            assert!(refused.to_string().contains("chmod 600"), "{refused}");
        }
    }

    #[test]
    fn a_secret_is_never_shown() {
        let pair = KeyPair::generate().unwrap();
        let secret = PublicKey::from_bytes(*pair.secret).to_string();

        let shown = format!("{pair:?} {:?}", KeyPair::load(Path::new("/dev/null")));

        assert!(!shown.contains(&secret));
    }
}
