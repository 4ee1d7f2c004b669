//! Keys of WireGuard. Pure, but for the random bytes of a new one.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Name of the file of a node's private key in the agent's state folder.
pub const FILE: &str = "wireguard.key";

/// Length of a key in bytes.
const LENGTH: usize = 32;

/// A public key; prints in base64, as WireGuard's own tools write it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PublicKey(pub [u8; LENGTH]);

/// A private key, which prints as nothing that tells about it.
#[derive(Clone, PartialEq, Eq)]
pub struct PrivateKey([u8; LENGTH]);

/// A text that is no key. It is not repeated: it may be one that lacks a letter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it is no key of WireGuard, which has 44 characters of base64")]
pub struct KeyError;

impl PrivateKey {
    /// A new one.
    pub fn generate() -> Result<Self, getrandom::Error> {
        let mut bytes = [0; LENGTH];
        getrandom::fill(&mut bytes)?;
        Ok(Self::from_bytes(bytes))
    }

    /// The key of these bytes, of which Curve25519 has some of its own (RFC 7748, section 5).
    pub fn from_bytes(mut bytes: [u8; LENGTH]) -> Self {
        let [first, .., last] = &mut bytes;
        *first &= 0xf8;
        *last = (*last & 0x7f) | 0x40;
        Self(bytes)
    }

    /// Its bytes, for the kernel alone.
    pub fn secret(&self) -> [u8; LENGTH] {
        self.0
    }

    /// Its text, for its file alone.
    pub fn secret_text(&self) -> String {
        STANDARD.encode(self.0)
    }
}

impl FromStr for PrivateKey {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        parse(text).map(Self::from_bytes)
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PrivateKey(hidden)")
    }
}

impl FromStr for PublicKey {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        // Nobody has the key of a node that has none.
        parse(text).and_then(|bytes| if bytes == [0; LENGTH] { Err(KeyError) } else { Ok(Self(bytes)) })
    }
}

fn parse(text: &str) -> Result<[u8; LENGTH], KeyError> {
    if text.len() != LENGTH.div_ceil(3) * 4 {
        return Err(KeyError);
    }
    let bytes = STANDARD.decode(text).ok().and_then(|bytes| bytes.try_into().ok());
    bytes.ok_or(KeyError)
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&STANDARD.encode(self.0))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for PublicKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for PublicKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_public_key_reads_back_and_what_is_none_is_refused() {
        let text = "zK8Q4anX0F/yvdKg8XjLl0aaHPe+iA8OaHWnepNdHSE=";
        assert_eq!(text.parse::<PublicKey>().unwrap().to_string(), text);
        let zero = "A".repeat(43) + "=";
        let long = text.to_owned() + "=";
        for wrong in ["", "x", &zero, &long, &text[..43], &text.replace('E', "F"), &text.replace('z', "_")] {
            assert_eq!(wrong.parse::<PublicKey>(), Err(KeyError), "{wrong:?}");
        }
    }

    #[test]
    fn a_private_key_is_one_of_the_curve_and_stays_hidden() {
        let (one, other) = (PrivateKey::generate().unwrap(), PrivateKey::generate().unwrap());
        assert_ne!(one, other);
        for key in [&one, &other, &PrivateKey::from_bytes([0xff; 32])] {
            let [first, .., last] = key.secret();
            assert_eq!((first & 7, last & 0xc0), (0, 0x40));
            assert_eq!(key.secret_text().parse::<PrivateKey>().as_ref(), Ok(key));
            assert_eq!(format!("{key:?}"), "PrivateKey(hidden)");
        }
        assert!(!KeyError.to_string().contains(&one.secret_text()));
    }
}
