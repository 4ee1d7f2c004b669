//! Reading the admin's files: regular files of a bounded size, nothing else.

use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::secret::SecretBytes;

/// Largest file that is read, in bytes. A Docker config with a thousand registries is a tenth of it.
pub const LARGEST_FILE: u64 = 1 << 20;

/// A file's content and who may touch it.
#[derive(Debug)]
pub struct Loaded {
    /// What the file holds.
    pub bytes: SecretBytes,
    /// Its permission bits.
    pub mode: u32,
}

/// Why a file could not be read.
#[derive(Debug, Error)]
pub enum FileError {
    /// It is missing, or may not be opened.
    #[error("cannot open {path:?}")]
    Open {
        /// The file asked for.
        path: PathBuf,
        /// The kernel's answer.
        source: io::Error,
    },
    /// A folder, a socket, a pipe, a device.
    #[error("{path:?} is {kind}, not a regular file")]
    NotRegular {
        /// The path asked for.
        path: PathBuf,
        /// What is there instead.
        kind: &'static str,
    },
    /// More than [`LARGEST_FILE`].
    #[error("{path:?} is larger than {limit} bytes")]
    TooLarge {
        /// The file asked for.
        path: PathBuf,
        /// Bytes allowed.
        limit: u64,
    },
    /// Reading failed half way.
    #[error("cannot read {path:?}")]
    Read {
        /// The file asked for.
        path: PathBuf,
        /// The kernel's answer.
        source: io::Error,
    },
}

impl FileError {
    /// What the admin can do about it.
    pub fn remedy(&self) -> &'static str {
        match self {
            Self::Open { source, .. } if source.kind() == io::ErrorKind::NotFound => {
                "create it or correct the path"
            }
            Self::Open { .. } => "let the user that runs the kubelet (root) read it",
            Self::NotRegular { .. } => "name the file itself",
            Self::TooLarge { .. } => "remove what does not belong there",
            Self::Read { .. } => "check the disk it lies on",
        }
    }
}

/// Reads all of the file at `path`, following links.
pub fn load(path: &Path) -> Result<Loaded, FileError> {
    let open_error = |source| FileError::Open { path: path.to_owned(), source };
    // Looked at before it is opened, because opening a pipe would wait for its writer.
    check_kind(path, &std::fs::metadata(path).map_err(open_error)?)?;
    let file = File::open(path).map_err(open_error)?;
    let mode = file.metadata().map_err(open_error)?.mode() & 0o7777;
    let bytes = read_bounded(file, LARGEST_FILE)
        .map_err(|source| FileError::Read { path: path.to_owned(), source })?
        .ok_or_else(|| FileError::TooLarge { path: path.to_owned(), limit: LARGEST_FILE })?;
    Ok(Loaded { bytes, mode })
}

/// All bytes of `source`, or none if there are more than `limit`.
pub fn read_bounded(source: impl Read, limit: u64) -> io::Result<Option<SecretBytes>> {
    let mut bytes = Vec::with_capacity(4096);
    source.take(limit + 1).read_to_end(&mut bytes)?;
    let fits = u64::try_from(bytes.len()).is_ok_and(|length| length <= limit);
    let bytes = SecretBytes::new(bytes);
    Ok(fits.then_some(bytes))
}

fn check_kind(path: &Path, metadata: &Metadata) -> Result<(), FileError> {
    if metadata.is_file() {
        return Ok(());
    }
    let kind = if metadata.is_dir() { "a folder" } else { "a device, pipe or socket" };
    Err(FileError::NotRegular { path: path.to_owned(), kind })
}
