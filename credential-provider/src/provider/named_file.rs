//! A file that an entry of the configuration names.

use std::path::PathBuf;

/// A file that an entry names, and which is read when a credential is fetched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedFile {
    /// Where it lies.
    pub path: PathBuf,
    /// Whether it holds a password, a token or a private key, so that nobody but its owner should read it.
    pub is_secret: bool,
}

impl NamedFile {
    /// One with a password, a token or a private key.
    pub fn secret(path: PathBuf) -> Self {
        Self { path, is_secret: true }
    }

    /// One that everybody may read.
    pub fn public(path: PathBuf) -> Self {
        Self { path, is_secret: false }
    }
}
