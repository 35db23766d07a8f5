//! The public half of a key pair: who an end is.

use std::fmt;
use std::str::FromStr;

/// 32 bytes that anybody may know; as text, 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PublicKey([u8; 32]);

/// The text is no key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a key has {digits} hexadecimal digits", digits = 2 * PublicKey::BYTES)]
pub struct KeyTextError;

impl PublicKey {
    /// Its length.
    pub const BYTES: usize = 32;

    /// Makes a key of its bytes.
    #[must_use]
    pub fn from_bytes(bytes: [u8; Self::BYTES]) -> Self {
        Self(bytes)
    }

    /// A short name for the key that nobody can make another key for: 32 hexadecimal digits of its hash.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        let mut digits = blake3::hash(&self.0).to_hex().to_string();
        digits.truncate(32);
        digits
    }

    /// Its bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; Self::BYTES] {
        &self.0
    }
}

impl FromStr for PublicKey {
    type Err = KeyTextError;

    fn from_str(text: &str) -> Result<Self, KeyTextError> {
        let mut bytes = [0; Self::BYTES];
        read_hex(text, &mut bytes)?;
        Ok(Self(bytes))
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({self})")
    }
}

/// Fills `bytes` with what the hexadecimal digits of `text` say; for secrets too, so it allocates nothing.
///
/// # Errors
/// [`KeyTextError`] if there are not exactly two digits for each byte.
pub fn read_hex(text: &str, bytes: &mut [u8; PublicKey::BYTES]) -> Result<(), KeyTextError> {
    let digits = text.as_bytes();
    if digits.len() != 2 * bytes.len() {
        return Err(KeyTextError);
    }
    let value = |digit: u8| char::from(digit).to_digit(16).ok_or(KeyTextError);
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        let both = value(pair[0])? * 16 + value(pair[1])?;
        *byte = u8::try_from(both).map_err(|_| KeyTextError)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_survives_as_text() {
        let key = PublicKey::from_bytes(std::array::from_fn(|at| u8::try_from(at * 8).unwrap()));

        assert_eq!(key.to_string().parse(), Ok(key));
        assert_eq!(key.to_string().to_uppercase().parse(), Ok(key));
    }

    #[test]
    fn other_text_is_no_key() {
        let key = PublicKey::from_bytes([7; 32]).to_string();
        for text in ["", "07", &key[1..], &format!("{key}0"), &key.replacen('0', "g", 1)] {
            assert_eq!(text.parse::<PublicKey>(), Err(KeyTextError), "{text}");
        }
        assert_eq!("é".repeat(32).parse::<PublicKey>(), Err(KeyTextError));
    }
}
