//! Under which name a credential is kept.

use std::fmt::Write;

use sha2::{Digest, Sha256};

/// Who asked whom for what, as a digest: it is a file's name, and tells nothing to who lists the folder.
#[derive(Clone)]
pub struct CacheKey(Sha256);

impl CacheKey {
    /// A key of the provider of this name.
    pub fn of(provider: &str) -> Self {
        Self(Sha256::new()).part("provider", provider)
    }

    /// The same for this `value` of what is called `name`.
    #[must_use]
    pub fn part(mut self, name: &str, value: &str) -> Self {
        for text in [name, value] {
            // With their lengths, no two lists of parts are the same bytes.
            self.0.update(u64::try_from(text.len()).unwrap_or(u64::MAX).to_be_bytes());
            self.0.update(text);
        }
        self
    }

    /// Sixty-four hexadecimal digits.
    pub fn name(&self) -> String {
        self.0.clone().finalize().iter().fold(String::new(), |mut text, byte| {
            let written = write!(text, "{byte:02x}");
            debug_assert!(written.is_ok(), "writing into a String cannot fail");
            text
        })
    }
}

impl std::fmt::Debug for CacheKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::CacheKey;

    #[test]
    fn parts_do_not_run_into_each_other() {
        let name = |parts: &[(&str, &str)]| {
            parts.iter().fold(CacheKey::of("x"), |key, (name, value)| key.part(name, value)).name()
        };
        assert_eq!(name(&[("a", "bc")]), name(&[("a", "bc")]));
        assert_ne!(name(&[("a", "bc")]), name(&[("ab", "c")]));
        assert_ne!(name(&[("a", "b"), ("c", "d")]), name(&[("a", "bcd")]));
        assert_eq!(name(&[]).len(), 64);
    }
}
