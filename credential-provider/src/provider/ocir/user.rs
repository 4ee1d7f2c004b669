//! The principal of a user: an API key that a config file of Oracle's command line client names.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::signer::{Signer, SignerError};
use crate::file;
use crate::provider::FetchError;

/// A signer for the user of `profile` in the file at `path`.
pub(super) fn signer(path: &Path, profile: &str) -> Result<Signer, FetchError> {
    let Profile { id, key_file } = Profile::load(path, profile)?;
    let key = file::load(&key_file)?;
    Ok(Signer::from_pem(id, key.bytes.expose())?)
}

/// The file with the key of `profile` in the file at `path`.
pub(super) fn key_file(path: &Path, profile: &str) -> Result<PathBuf, FetchError> {
    Profile::load(path, profile).map(|profile| profile.key_file)
}

/// A user, and where its key is.
struct Profile {
    id: String,
    key_file: PathBuf,
}

impl Profile {
    /// The one called `name` in the file at `path`.
    fn load(path: &Path, name: &str) -> Result<Self, FetchError> {
        let loaded = file::load(path)?;
        let values = section(&String::from_utf8_lossy(loaded.bytes.expose()), name);
        let missing = |key| SignerError::Profile { file: path.to_owned(), profile: name.to_owned(), key };
        let value = |key| values.get(key).cloned().ok_or_else(|| missing(key));
        let id = format!("{}/{}/{}", value("tenancy")?, value("user")?, value("fingerprint")?);
        let key_file = PathBuf::from(value("key_file")?);
        if !key_file.is_absolute() {
            // "~" stands for the home of whoever wrote the file; the kubelet has none.
            return Err(missing("key_file with an absolute path").into());
        }
        Ok(Self { id, key_file })
    }
}

/// The values of a section of an INI file.
fn section(text: &str, name: &str) -> BTreeMap<String, String> {
    let lines = text.lines().map(str::trim);
    let mut inside = false;
    let mut values = BTreeMap::new();
    for line in lines.filter(|line| !line.starts_with(['#', ';'])) {
        if let Some(section) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            inside = section.trim() == name;
        } else if let Some((key, value)) = line.split_once('=').filter(|_| inside) {
            values.insert(key.trim().to_owned(), value.trim().to_owned());
        }
    }
    values
}

#[cfg(test)]
mod tests {
    use super::section;

    #[test]
    fn a_profile_is_read_alone() {
        let text = "[DEFAULT]\nuser = a\n# user=x\n; tenancy=x\ntenancy=t=1\n\n[other]\nuser=b\n";
        let values = section(text, "DEFAULT");
        assert_eq!((values["user"].as_str(), values["tenancy"].as_str(), values.len()), ("a", "t=1", 2));
        assert_eq!(section(text, "other")["user"], "b");
        assert!(section(text, "none").is_empty());
    }
}
