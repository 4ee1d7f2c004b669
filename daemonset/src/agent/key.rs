//! This node's own key of WireGuard. Its file is on a tmpfs, so that each boot has another one, and a device that
//! is deleted meanwhile comes back with the one that others know.

use std::path::Path;

use crate::hostfs::{Dir, HostFsError, Kind};
use crate::wireguard_key::{FILE, PrivateKey};

/// A key and the end of its line have 45 bytes.
const LONGEST: u64 = 64;

/// Why there is no key.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    /// Its file.
    #[error("cannot keep this node's key of WireGuard")]
    File(#[from] HostFsError),
    /// The kernel's random numbers.
    #[error("cannot make this node's key of WireGuard")]
    Random(#[from] getrandom::Error),
}

/// The key in folder `state`; a new one where there is none. Afterwards the file is root's alone to read.
pub(super) fn keep(state: &Path) -> Result<PrivateKey, KeyFileError> {
    let dir = Dir::open(state)?;
    let key = match read(&dir)? {
        Some(key) => key,
        None => PrivateKey::generate()?,
    };
    dir.write(FILE, format!("{}\n", key.secret_text()).as_bytes(), 0o600)?;
    Ok(key)
}

fn read(dir: &Dir) -> Result<Option<PrivateKey>, HostFsError> {
    if dir.kind(FILE)? != Kind::File {
        return Ok(None);
    }
    let text = dir.read(FILE, LONGEST)?;
    let key = std::str::from_utf8(&text).ok().and_then(|text| text.trim_end().parse().ok());
    if key.is_none() {
        tracing::warn!(file = FILE, "what it holds is no key of WireGuard; making another one");
    }
    Ok(key)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{MetadataExt, PermissionsExt};

    use super::*;

    #[test]
    fn a_key_is_made_once_and_is_nobody_elses_to_read() {
        let state = tempfile::tempdir().unwrap();
        let path = state.path().join(FILE);
        let key = keep(state.path()).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o600);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        assert_eq!(keep(state.path()).unwrap(), key);
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o600);
        assert_eq!(fs::read_dir(state.path()).unwrap().count(), 1);
    }

    #[test]
    fn what_is_no_key_is_replaced_and_a_link_is_not_followed() {
        let state = tempfile::tempdir().unwrap();
        let (path, other) = (state.path().join(FILE), state.path().join("other"));
        for text in ["", "nonsense\n", &"A".repeat(1000)] {
            fs::write(&path, text).unwrap();
            let key = keep(state.path()).unwrap();
            assert_eq!(keep(state.path()).unwrap(), key);
        }
        fs::remove_file(&path).unwrap();
        fs::write(&other, "another's\n").unwrap();
        std::os::unix::fs::symlink(&other, &path).unwrap();
        let key = keep(state.path()).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), format!("{}\n", key.secret_text()));
        assert_eq!(fs::read_to_string(&other).unwrap(), "another's\n");
    }
}
