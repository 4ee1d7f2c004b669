//! `config.d`: files that add registries, each of which somebody else may own.

use std::io;
use std::path::{Path, PathBuf};

use super::ConfigError;

/// The folder's name, beside the file.
const FOLDER: &str = "config.d";

/// More files are a mistake: all are read at each pull.
const MOST_PARTS: usize = 100;

/// The files that add to the one at `main`, in the order of their names. Without the folder there are none.
pub(super) fn parts(main: &Path) -> Result<Vec<PathBuf>, ConfigError> {
    let path = main.with_file_name(FOLDER);
    let failed = |source| ConfigError::Folder { path: path.clone(), source };
    let entries = match std::fs::read_dir(&path) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(failed(error)),
    };
    let mut parts = Vec::new();
    for entry in entries {
        let file = entry.map_err(failed)?.path();
        // An editor's and a ConfigMap's own files begin with a dot.
        let hidden = file.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        if !hidden && file.extension().is_some_and(|extension| extension == "yaml") {
            parts.push(file);
        }
        if parts.len() > MOST_PARTS {
            return Err(ConfigError::TooManyParts { path, limit: MOST_PARTS });
        }
    }
    parts.sort();
    Ok(parts)
}
