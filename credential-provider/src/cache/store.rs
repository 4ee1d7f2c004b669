//! The folder of credentials: 0700, its files 0600, all of them ours. What is not so is not used.

mod sweep;

use std::fs::{DirBuilder, File, Metadata, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use nix::libc::O_NOFOLLOW;
use nix::unistd::geteuid;
use thiserror::Error;

use super::entry::Entry;
use super::key::CacheKey;
use super::lock::{Lock, Turn};
use crate::file::read_bounded;
use crate::step::Deadline;

/// Largest file that is read, in bytes; a token of several audiences is a tenth of it.
const LARGEST_ENTRY: u64 = 64 << 10;
/// Most files that are looked at for cleaning up.
const MOST_ENTRIES: usize = 10_000;

const ENTRY: &str = "json";
const UNFINISHED: &str = "tmp";
const LOCK: &str = "lock";

/// The folder, which exists and is safe.
#[derive(Clone, Debug)]
pub struct Store {
    dir: PathBuf,
}

/// What is wrong with the folder or a file of it.
#[derive(Debug, Error)]
pub enum CacheError {
    /// Somebody else could read it, or has put it there.
    #[error("{path:?} is not used: {why}")]
    Unsafe {
        /// The folder or file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// It cannot be made, read or written.
    #[error("cannot {act} {path:?}")]
    Io {
        /// What was tried.
        act: &'static str,
        /// The folder or file.
        path: PathBuf,
        /// The kernel's answer.
        source: io::Error,
    },
    /// An entry does not fit.
    #[error("an entry cannot be written as JSON")]
    Render(#[from] serde_json::Error),
}

impl CacheError {
    /// What the admin can do about it.
    pub fn remedy(&self) -> &'static str {
        match self {
            Self::Unsafe { .. } => "remove it; this program makes it anew, for its own user alone",
            Self::Io { .. } | Self::Render(_) => {
                "see that the folder is on a tmpfs with room, or set cache.mode: off"
            }
        }
    }
}

impl Store {
    /// The folder `dir`, which is made if it is not there.
    pub fn open(dir: &Path) -> Result<Self, CacheError> {
        let io = |act, source| CacheError::Io { act, path: dir.to_owned(), source };
        let metadata = match std::fs::symlink_metadata(dir) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let made = DirBuilder::new().recursive(true).mode(0o700).create(dir);
                made.and_then(|()| std::fs::symlink_metadata(dir)).map_err(|error| io("make", error))?
            }
            found => found.map_err(|error| io("look at", error))?,
        };
        if !metadata.is_dir() {
            return Err(CacheError::Unsafe { path: dir.to_owned(), why: "it is no folder".to_owned() });
        }
        check_owner(dir, &metadata)?;
        Ok(Self { dir: dir.to_owned() })
    }

    /// What is kept under `key`.
    pub fn load(&self, key: &CacheKey) -> Result<Option<Entry>, CacheError> {
        self.read(&self.path(key, ENTRY))
    }

    /// Keeps `entry` under `key`, and forgets what is over at the time `now`.
    pub fn keep(&self, key: &CacheKey, entry: &Entry, now: SystemTime) -> Result<(), CacheError> {
        let unfinished = self.dir.join(format!("{}-{}.{UNFINISHED}", key.name(), std::process::id()));
        let bytes = entry.render()?;
        let io = |act, source| CacheError::Io { act, path: unfinished.clone(), source };
        let mut file = create_new(&unfinished).map_err(|error| io("make", error))?;
        let written = file.write_all(bytes.expose());
        let kept = written.and_then(|()| std::fs::rename(&unfinished, self.path(key, ENTRY)));
        kept.map_err(|error| {
            let _left_over = std::fs::remove_file(&unfinished);
            io("write", error)
        })?;
        self.sweep(now)
    }

    /// The lock of `key`, if nobody has it.
    pub fn try_lock(&self, key: &CacheKey) -> Option<Lock> {
        Lock::try_take(&self.path(key, LOCK))
    }

    /// The lock of `key`, waited for: see [`Lock::take`].
    pub(super) fn lock(&self, key: &CacheKey, patience: Duration, deadline: Deadline) -> Turn {
        Lock::take(&self.path(key, LOCK), patience, deadline)
    }

    /// All that is kept, by the names of its files.
    pub fn list(&self) -> Result<Vec<(String, Entry)>, CacheError> {
        let mut entries = Vec::new();
        for path in self.files()? {
            if path.extension().is_some_and(|extension| extension == ENTRY)
                && let Ok(Some(entry)) = self.read(&path)
            {
                entries.push((path.file_stem().unwrap_or_default().to_string_lossy().into_owned(), entry));
            }
        }
        entries.sort_by(|(one, _), (other, _)| one.cmp(other));
        Ok(entries)
    }

    /// None if there is no such file, or nothing that this version understands.
    fn read(&self, path: &Path) -> Result<Option<Entry>, CacheError> {
        let io = |source| CacheError::Io { act: "read", path: path.to_owned(), source };
        let file = match OpenOptions::new().read(true).custom_flags(O_NOFOLLOW).open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            opened => opened.map_err(io)?,
        };
        let metadata = file.metadata().map_err(io)?;
        if !metadata.is_file() {
            return Err(CacheError::Unsafe {
                path: path.to_owned(),
                why: "it is no regular file".to_owned(),
            });
        }
        check_owner(path, &metadata)?;
        let bytes = read_bounded(file, LARGEST_ENTRY).map_err(io)?;
        Ok(bytes.and_then(|bytes| Entry::parse(bytes.expose())))
    }

    fn files(&self) -> Result<Vec<PathBuf>, CacheError> {
        let io = |source| CacheError::Io { act: "list", path: self.dir.clone(), source };
        let entries = std::fs::read_dir(&self.dir).map_err(io)?;
        entries.take(MOST_ENTRIES).map(|entry| entry.map(|entry| entry.path()).map_err(io)).collect()
    }

    fn path(&self, key: &CacheKey, extension: &str) -> PathBuf {
        self.dir.join(format!("{}.{extension}", key.name()))
    }
}

fn create_new(path: &Path) -> io::Result<File> {
    OpenOptions::new().create_new(true).write(true).mode(0o600).custom_flags(O_NOFOLLOW).open(path)
}

fn check_owner(path: &Path, metadata: &Metadata) -> Result<(), CacheError> {
    let (owner, mode) = (metadata.uid(), metadata.mode() & 0o777);
    let why = if owner != geteuid().as_raw() {
        format!("it belongs to user {owner}")
    } else if mode & 0o077 != 0 {
        format!("mode {mode:04o} lets others in")
    } else {
        return Ok(());
    };
    Err(CacheError::Unsafe { path: path.to_owned(), why })
}
