//! The sandbox's network namespace: the only file that enters one.
//!
//! A netlink socket belongs to the namespace it was made in, for good, so the thread goes in, opens what
//! it needs and comes back; nothing that could end elsewhere lies in between.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sched::{CloneFlags, setns};

use crate::error::{self, Error};

/// Where a thread finds its own namespace. `/proc/self` would be that of the main thread.
const OWN: &str = "/proc/thread-self/ns/net";

/// An open network namespace. Its kind is proved when it is entered.
#[derive(Debug)]
pub(crate) struct Netns {
    file: File,
    own: File,
    path: PathBuf,
}

impl Netns {
    /// Opens the namespace at `path`. It must not be the plugin's own unless `may_be_own`.
    pub(crate) fn open(path: &Path, may_be_own: bool) -> Result<Self, Error> {
        // Without waiting: a FIFO in its place would keep us for ever.
        let opened = File::options().read(true).custom_flags(OFlag::O_NONBLOCK.bits()).open(path);
        let file = opened.map_err(|source| {
            let problem =
                if source.kind() == io::ErrorKind::NotFound { "does not exist" } else { "cannot be opened" };
            Error::Netns { path: path.to_owned(), problem, source: Some(source) }
        })?;
        let own = File::open(OWN).map_err(Error::state("open", Path::new(OWN)))?;
        let netns = Self { file, own, path: path.to_owned() };
        if !may_be_own && netns.is_own()? {
            return Err(netns.error("is the node's own network namespace, not a sandbox's", None));
        }
        Ok(netns)
    }

    /// Whether it is the namespace that the thread is in.
    pub(crate) fn is_own(&self) -> Result<bool, Error> {
        let identity = |file: &File| file.metadata().map(|meta| (meta.dev(), meta.ino()));
        let own = identity(&self.own).map_err(Error::state("stat", Path::new(OWN)))?;
        Ok(identity(&self.file).map_err(Error::state("stat", &self.path))? == own)
    }

    /// Runs `visit` on this thread inside the namespace and comes back.
    pub(crate) fn visit<T>(&self, visit: impl FnOnce() -> io::Result<T>) -> Result<io::Result<T>, Error> {
        if let Err(errno) = enter(self.file.as_fd()) {
            let problem = match errno {
                Errno::EINVAL => "is not a network namespace",
                Errno::EPERM => "cannot be entered: the plugin needs CAP_SYS_ADMIN",
                _ => "cannot be entered",
            };
            return Err(self.error(problem, Some(errno.into())));
        }
        let result = visit();
        // Were this to fail, the thread would work on the wrong node; ending the call is all there is.
        enter(self.own.as_fd())
            .map_err(|errno| self.error("was entered but could not be left", Some(errno.into())))?;
        Ok(result)
    }

    fn error(&self, problem: &'static str, source: Option<io::Error>) -> Error {
        Error::Netns { path: self.path.clone(), problem, source }
    }

    /// For `IFLA_NET_NS_FD`. Valid as long as this value lives.
    pub(crate) fn raw_fd(&self) -> RawFd {
        self.file.as_raw_fd()
    }
}

fn enter(namespace: BorrowedFd<'_>) -> Result<(), Errno> {
    setns(namespace, CloneFlags::CLONE_NEWNET)
}

/// Whether `error` says that the namespace is gone, which is no failure on DEL.
pub(crate) fn is_gone(error: &Error) -> bool {
    matches!(error, Error::Netns { source: Some(source), .. } if source.kind() == io::ErrorKind::NotFound
        || error::is(source, Errno::EINVAL) || error::is(source, Errno::ENOTDIR))
}
