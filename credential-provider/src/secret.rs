//! Text that must not be seen: it has no `Display`, its `Debug` shows nothing, and its memory is wiped on drop.

use secrecy::zeroize::Zeroizing;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Deserializer};

/// A user name, password or token.
#[derive(Clone, Debug)]
pub struct Secret(SecretString);

/// The bytes of a file that holds secrets, wiped on drop.
pub struct SecretBytes(Zeroizing<Vec<u8>>);

impl Secret {
    /// Takes `text` over.
    pub fn new(text: String) -> Self {
        Self(text.into())
    }

    /// The text itself. To be called only where it leaves for the kubelet, or is taken apart.
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }

    /// Whether there is no text.
    pub fn is_empty(&self) -> bool {
        self.expose().is_empty()
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Self::new)
    }
}

impl SecretBytes {
    /// Takes `bytes` over.
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// The bytes themselves.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl std::fmt::Debug for SecretBytes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SecretBytes({} bytes)", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use super::{Secret, SecretBytes};

    #[test]
    fn nothing_prints_a_secret() {
        let shown =
            format!("{:?} {:?}", Secret::new("hunter2".into()), SecretBytes::new(b"hunter2".to_vec()));
        assert!(!shown.contains("hunter2"), "{shown}");
    }
}
