//! One spec in the folder that runtimes read.

use std::fs;
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use nix::fcntl::OFlag;

use super::spec::Spec;

/// Largest file that is taken for one of ours.
const MAX_FILE: u64 = 16 * 1024 * 1024;

/// Another process must never see half a file, and a runtime that watches the folder no change where
/// nothing changed.
pub(super) fn replace(path: &Path, spec: &Spec) -> io::Result<()> {
    let text = serde_json::to_vec_pretty(spec)?;
    if content(path).is_ok_and(|present| present == text) {
        return Ok(());
    }
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    // Runtimes read only names that end in .json or .yaml.
    let temporary = path.with_extension("json.tmp");
    let written = write(&temporary, &text).and_then(|()| fs::rename(&temporary, path));
    if written.is_err() {
        // On a full disk what is left of it would be in the way of the next attempt, here and elsewhere.
        drop(fs::remove_file(&temporary));
    }
    written
}

/// Whoever else can write to the folder must not make us wait at a pipe or touch what a link leads to.
fn options() -> fs::OpenOptions {
    let mut options = fs::OpenOptions::new();
    options.custom_flags((OFlag::O_NONBLOCK | OFlag::O_NOFOLLOW).bits());
    options
}

fn write(path: &Path, text: &[u8]) -> io::Result<()> {
    options().write(true).create(true).truncate(true).open(path)?.write_all(text)
}

fn content(path: &Path) -> io::Result<Vec<u8>> {
    let file = options().read(true).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let mut bytes = Vec::new();
    file.take(MAX_FILE).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The kind that the spec at `path` describes.
pub(super) fn kind_in(path: &Path) -> Option<String> {
    let document: serde_json::Value = serde_json::from_slice(&content(path).ok()?).ok()?;
    Some(document.get("kind")?.as_str()?.to_owned())
}
