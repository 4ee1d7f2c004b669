//! The host's file tree as this process sees it: `/`, a mount such as `/host`, or a made tree in tests.

use std::io::{self, Read};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use nix::fcntl::{OFlag, OpenHow, ResolveFlag, open, openat2};
use nix::sys::stat::{Mode, SFlag, fstat, major, minor};

/// Longest attribute, in bytes: the kernel gives them a page.
const LONGEST_ATTRIBUTE: u64 = 4096;

/// Where the host's `/` is.
#[derive(Clone, Debug)]
pub struct HostRoot(PathBuf);

/// What is found at a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Inode {
    /// A character or block device node.
    Device(DeviceNumber),
    /// A directory.
    Folder,
    /// Anything else.
    Other,
}

/// What makes two nodes the same device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeviceNumber {
    /// Block device, else character device.
    pub block: bool,
    /// Major number.
    pub major: u64,
    /// Minor number.
    pub minor: u64,
}

impl HostRoot {
    /// The tree below `root`.
    pub fn new(root: impl Into<PathBuf>) -> HostRoot {
        HostRoot(root.into())
    }

    /// Where this process finds the host's absolute `path`.
    pub fn locate(&self, path: &str) -> PathBuf {
        self.0.join(path.trim_start_matches('/'))
    }

    /// What the host's `path` leads to; `None` when it leads nowhere.
    ///
    /// Links are followed as the host would: an absolute link stays below the root, so that a link in
    /// `/host/dev` cannot name a node of this container's own `/dev`.
    pub fn inspect(&self, path: &str) -> io::Result<Option<Inode>> {
        let root = open(&self.0, OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())?;
        let how = OpenHow::new()
            .flags(OFlag::O_PATH | OFlag::O_CLOEXEC)
            .resolve(ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_MAGICLINKS);
        match openat2(root.as_fd(), Path::new(path), how) {
            Ok(found) => Ok(Some(inode(fstat(found)?))),
            Err(nix::Error::ENOENT | nix::Error::ENOTDIR | nix::Error::ELOOP) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// The text of the attribute at `path` below the host's `/sys` or `/proc`, without blanks around it; `None`
    /// when there is none, or nothing is in it.
    ///
    /// A made tree may hold anything: what is no file is an error and not waited for, and what is longer
    /// than an attribute is cut.
    pub fn attribute(&self, path: &str) -> io::Result<Option<String>> {
        let root = open(&self.0, OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())?;
        let how = OpenHow::new()
            .flags(OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC)
            .resolve(ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_MAGICLINKS);
        let file = match openat2(root.as_fd(), Path::new(path), how) {
            Ok(file) => std::fs::File::from(file),
            Err(nix::Error::ENOENT | nix::Error::ENOTDIR) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let mut bytes = Vec::new();
        file.take(LONGEST_ATTRIBUTE).read_to_end(&mut bytes)?;
        let text = String::from_utf8_lossy(&bytes).trim().to_owned();
        Ok(Some(text).filter(|text| !text.is_empty()))
    }

    /// Names in the host's folder `path`, sorted; names that are not UTF-8 are left out. Empty when
    /// there is no such folder.
    pub fn names(&self, path: &str) -> io::Result<Vec<String>> {
        let entries = match std::fs::read_dir(self.locate(path)) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) if error.kind() == io::ErrorKind::NotADirectory => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let mut names = Vec::new();
        for entry in entries {
            names.extend(entry?.file_name().into_string().ok());
        }
        names.sort();
        Ok(names)
    }
}

fn inode(stat: nix::sys::stat::FileStat) -> Inode {
    let number = |block| DeviceNumber { block, major: major(stat.st_rdev), minor: minor(stat.st_rdev) };
    match SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT {
        SFlag::S_IFCHR => Inode::Device(number(false)),
        SFlag::S_IFBLK => Inode::Device(number(true)),
        SFlag::S_IFDIR => Inode::Folder,
        _ => Inode::Other,
    }
}
