//! One at a time for each credential: a lock on a file of its own, in which its holder leaves a note.
//!
//! The file may be removed by whoever holds its lock, and by nobody else. Who was waiting then has the lock of a
//! file that no longer is the one of that name, which counts for nothing: it begins anew with the new file.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::libc::O_NOFOLLOW;

use super::note::{News, Note};
use crate::step::Deadline;

/// Held until dropped, and by nobody whose process is gone: the kernel keeps it with the open file.
#[derive(Debug)]
pub struct Lock {
    path: PathBuf,
    file: File,
}

/// What became of one try.
pub(super) enum Try {
    Taken(Lock),
    Held(File),
    /// Locked, and meanwhile removed.
    Removed,
}

/// How waiting ended.
#[derive(Debug)]
pub(super) enum Turn {
    /// It is ours.
    Ours(Lock),
    /// Its holder should be done and is not, or there can be no lock: it is to be done without.
    Without,
    /// Its holder is at work, and there is no time left.
    Late,
}

/// The first pause between two tries, and the longest.
const PAUSES: (Duration, Duration) = (Duration::from_micros(500), Duration::from_millis(20));
/// A holder's own clock has run out, and it still has to say so.
const LAST_WORDS: Duration = Duration::from_millis(500);
/// Largest note that is read, in bytes.
const LARGEST_NOTE: usize = 32 << 10;

impl Lock {
    /// None if another holds it, or the file cannot be locked.
    pub(super) fn try_take(path: &Path) -> Option<Self> {
        loop {
            match attempt(path).ok()? {
                Try::Taken(lock) => return Some(lock),
                Try::Held(_) => return None,
                Try::Removed => {}
            }
        }
    }

    /// Waits until `deadline`; for a holder that does not say how long it will take, until `patience` is over. The
    /// kernel has no lock with a time limit, so it is tried again and again.
    pub(super) fn take(path: &Path, patience: Duration, deadline: Deadline) -> Turn {
        let (mut until, mut pause) = (Instant::now() + patience, PAUSES.0);
        loop {
            match attempt(path) {
                Err(_) => return Turn::Without,
                Ok(Try::Taken(lock)) => return Turn::Ours(lock),
                Ok(Try::Removed) => {}
                Ok(Try::Held(_)) if deadline.is_past() => return Turn::Late,
                Ok(Try::Held(file)) => {
                    if Instant::now() >= until {
                        let Some(left) = promised(&file) else { return Turn::Without };
                        until = Instant::now() + left;
                    }
                    std::thread::sleep(pause.min(deadline.left()));
                    pause = (pause * 2).min(PAUSES.1);
                }
            }
        }
    }

    /// What the last holder left.
    pub(super) fn note(&self) -> Option<Note> {
        read(&self.file)
    }

    /// Leaves a note in the place of what was there. Where that cannot be, others ask for themselves.
    pub(super) fn leave(&self, note: &Note) {
        let written = serde_json::to_vec(note).map_err(io::Error::from).and_then(|bytes| {
            self.file.set_len(0)?;
            self.file.write_all_at(&bytes, 0)
        });
        if written.is_err() {
            self.leave_nothing();
        }
    }

    /// Forgets what was there.
    pub(super) fn leave_nothing(&self) {
        let _stays = self.file.set_len(0);
    }

    /// Removes the file, which is safe now: those who wait for this lock will find that it is gone.
    pub(super) fn remove(self) -> io::Result<()> {
        std::fs::remove_file(&self.path)
    }
}

fn read(file: &File) -> Option<Note> {
    let mut bytes = vec![0; LARGEST_NOTE];
    let length = file.read_at(&mut bytes, 0).ok()?;
    Note::parse(bytes.get(..length)?)
}

/// How much longer the holder will take by its own words; none if it should be done.
fn promised(file: &File) -> Option<Duration> {
    match read(file)?.news {
        News::Asking(until) => Some(until.left_with(LAST_WORDS)).filter(|left| !left.is_zero()),
        News::Failed(_) | News::Alone => None,
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
        Err(TryLockError::WouldBlock) => return Ok(Try::Held(file)),
        Err(TryLockError::Error(error)) => return Err(error),
        Ok(()) => {}
    }
    let (locked, named) = (file.metadata()?, std::fs::symlink_metadata(path));
    let is_same = named.is_ok_and(|named| (named.dev(), named.ino()) == (locked.dev(), locked.ino()));
    let lock = || Lock { path: path.to_owned(), file };
    Ok(if is_same { Try::Taken(lock()) } else { Try::Removed })
}
