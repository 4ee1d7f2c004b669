//! One at a time for each credential: a lock on a file of its own.
//!
//! The file may be removed by whoever holds its lock, and by nobody else. Who was waiting then has the lock of a
//! file that no longer is the one of that name, which counts for nothing: it begins anew with the new file.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::libc::O_NOFOLLOW;

/// Held until dropped, and by nobody whose process is gone: the kernel keeps it with the open file.
#[derive(Debug)]
pub struct Lock {
    path: PathBuf,
    _file: File,
}

/// What became of one try.
enum Try {
    Taken(Lock),
    Held,
    /// Locked, and meanwhile removed.
    Removed,
}

/// The first pause between two tries, and the longest.
const PAUSES: (Duration, Duration) = (Duration::from_micros(500), Duration::from_millis(20));

impl Lock {
    /// None if another holds it, or the file cannot be locked.
    pub(super) fn try_take(path: &Path) -> Option<Self> {
        loop {
            match attempt(path).ok()? {
                Try::Taken(lock) => return Some(lock),
                Try::Held => return None,
                Try::Removed => {}
            }
        }
    }

    /// None if another still holds it after `patience`, or the file cannot be locked. The kernel has no lock with
    /// a time limit, so it is tried again and again.
    pub(super) fn take(path: &Path, patience: Duration) -> Option<Self> {
        let until = Instant::now() + patience;
        let mut pause = PAUSES.0;
        loop {
            match attempt(path).ok()? {
                Try::Taken(lock) => return Some(lock),
                Try::Held if Instant::now() >= until => return None,
                Try::Held => {
                    std::thread::sleep(pause);
                    pause = (pause * 2).min(PAUSES.1);
                }
                Try::Removed => {}
            }
        }
    }

    /// Removes the file, which is safe now: those who wait for this lock will find that it is gone.
    pub(super) fn remove(self) -> io::Result<()> {
        std::fs::remove_file(&self.path)
    }
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .create(true)
        .truncate(false)
        .read(true)
        .write(true)
        .mode(0o600)
        .custom_flags(O_NOFOLLOW)
        .open(path)
}

fn attempt(path: &Path) -> io::Result<Try> {
    let file = open(path)?;
    match file.try_lock() {
        Err(TryLockError::WouldBlock) => return Ok(Try::Held),
        Err(TryLockError::Error(error)) => return Err(error),
        Ok(()) => {}
    }
    let (locked, named) = (file.metadata()?, std::fs::symlink_metadata(path));
    let is_same = named.is_ok_and(|named| (named.dev(), named.ino()) == (locked.dev(), locked.ino()));
    let lock = || Lock { path: path.to_owned(), _file: file };
    Ok(if is_same { Try::Taken(lock()) } else { Try::Removed })
}
