//! Why a file of the host is not what it shall be.

use std::io;
use std::path::{Path, PathBuf};

use nix::errno::Errno;

use super::trial::TrialError;

/// A file operation that failed.
#[derive(Debug, thiserror::Error)]
pub enum HostFsError {
    /// The operation was tried and refused.
    #[error("cannot {act} {path:?}")]
    Act {
        /// What was tried.
        act: &'static str,
        /// On which path.
        path: PathBuf,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
    /// A program that does not run on this node.
    #[error("{path:?} stays as it was, for the new program does not run there")]
    Unfit {
        /// Its path.
        path: PathBuf,
        /// Why, and what to do.
        #[source]
        source: TrialError,
    },
    /// A configuration that its program cannot work with.
    #[error("{path:?} stays as it was, for its program does not take the new content")]
    Refused {
        /// Its path.
        path: PathBuf,
        /// Which, and where.
        #[source]
        source: TrialError,
    },
    /// A configuration of which its program says nothing.
    #[error("{path:?} stays as it was, for its program cannot be asked about the new content")]
    Unchecked {
        /// Its path.
        path: PathBuf,
        /// Why not.
        #[source]
        source: TrialError,
    },
    /// A folder to write to in which others could replace our files.
    #[error("{path:?} {problem}")]
    UnsafeDir {
        /// The folder.
        path: PathBuf,
        /// What is wrong with it and what to do.
        problem: &'static str,
    },
    /// A file longer than it can sensibly be.
    #[error("{path:?} is longer than {limit} bytes")]
    TooLong {
        /// The file.
        path: PathBuf,
        /// The bound in bytes.
        limit: u64,
    },
}

/// What the system's answer means on `path`.
pub(super) fn refused<'a>(act: &'static str, path: &'a Path) -> impl Fn(io::Error) -> HostFsError + 'a {
    move |source| HostFsError::Act { act, path: path.to_owned(), source }
}

/// The same of an answer by number.
pub(super) fn failed<'a>(act: &'static str, path: &'a Path) -> impl Fn(Errno) -> HostFsError + 'a {
    move |errno| refused(act, path)(errno.into())
}
