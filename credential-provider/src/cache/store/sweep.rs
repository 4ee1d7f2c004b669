//! Forgetting: what is over, what runs left behind that were killed, and the locks of what is no more.

use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::super::lock::Lock;
use super::{CacheError, ENTRY, LOCK, Store, UNFINISHED};

/// So long ago nobody writes any more, and nobody has asked for what has no entry.
const ABANDONED: Duration = Duration::from_secs(3600);

impl Store {
    /// Forgets everything but the locks that are held; returns how many credentials there were.
    pub fn clear(&self) -> Result<usize, CacheError> {
        let files = self.files()?;
        for path in &files {
            if has_extension(path, LOCK) { unlock(path)? } else { remove(path)? }
        }
        Ok(files.iter().filter(|path| has_extension(path, ENTRY)).count())
    }

    /// Forgets what is over at the time `now`.
    pub(in crate::cache) fn sweep(&self, now: SystemTime) -> Result<(), CacheError> {
        for path in self.files()? {
            match path.extension().and_then(|extension| extension.to_str()) {
                Some(ENTRY) if self.read(&path)?.is_none_or(|entry| !entry.is_good(now)) => remove(&path)?,
                Some(UNFINISHED) if is_abandoned(&path, now) => remove(&path)?,
                Some(LOCK) if is_abandoned(&path, now) && !path.with_extension(ENTRY).exists() => {
                    unlock(&path)?;
                }
                _ => {}
            }
        }
        Ok(())
    }
}

fn has_extension(path: &Path, wanted: &str) -> bool {
    path.extension().is_some_and(|extension| extension == wanted)
}

/// Removes a lock that nobody holds.
fn unlock(path: &Path) -> Result<(), CacheError> {
    Lock::try_take(path).map_or(Ok(()), |lock| gone(path, lock.remove()))
}

fn remove(path: &Path) -> Result<(), CacheError> {
    gone(path, std::fs::remove_file(path))
}

fn gone(path: &Path, removed: io::Result<()>) -> Result<(), CacheError> {
    match removed {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(CacheError::Io { act: "remove", path: PathBuf::from(path), source: error })
        }
        _ => Ok(()),
    }
}

fn is_abandoned(path: &Path, now: SystemTime) -> bool {
    let changed = std::fs::symlink_metadata(path).and_then(|metadata| metadata.modified());
    changed.is_ok_and(|changed| now.duration_since(changed).is_ok_and(|age| age > ABANDONED))
}
