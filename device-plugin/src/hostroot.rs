//! The host's file tree as this process sees it: `/`, a mount such as `/host`, or a made tree in tests.

use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::dir::Dir;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, open, openat2, readlinkat};
use nix::sys::stat::{Mode, SFlag, fstat, major, minor};

/// Longest attribute, in bytes: the kernel gives them a page.
const LONGEST_ATTRIBUTE: u64 = 4096;
/// Longest table, such as that of all routes, in bytes.
const LONGEST_TABLE: u64 = 16 * 1024 * 1024;

/// How often a path is looked up at most while the machine's names change.
const MOST_ATTEMPTS: usize = 1_000;

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
        match open_below(&self.open()?, path, OFlag::O_PATH) {
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
        let text = self.text(path, LONGEST_ATTRIBUTE)?;
        Ok(text.map(|text| text.trim().to_owned()).filter(|text| !text.is_empty()))
    }

    /// The text of a file of many lines, such as `/proc/net/route`; empty when there is none.
    pub fn table(&self, path: &str) -> io::Result<String> {
        Ok(self.text(path, LONGEST_TABLE)?.unwrap_or_default())
    }

    fn open(&self) -> nix::Result<OwnedFd> {
        open(&self.0, OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())
    }

    fn text(&self, path: &str, longest: u64) -> io::Result<Option<String>> {
        let file = match open_below(&self.open()?, path, OFlag::O_RDONLY | OFlag::O_NONBLOCK) {
            Ok(file) => std::fs::File::from(file),
            Err(nix::Error::ENOENT | nix::Error::ENOTDIR) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let mut bytes = Vec::new();
        file.take(longest).read_to_end(&mut bytes)?;
        Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
    }

    /// The last name of what the link at `path` points to, such as the driver of `…/driver` in `/sys`; `None`
    /// when there is no such link. It need not lead anywhere.
    pub fn link_name(&self, path: &str) -> Option<String> {
        let (folder, name) = path.rsplit_once('/')?;
        let folder = open_below(&self.open().ok()?, folder, OFlag::O_PATH | OFlag::O_DIRECTORY).ok()?;
        let target = readlinkat(folder, name).ok()?;
        Path::new(&target).file_name()?.to_str().map(str::to_owned)
    }

    /// Where the host's `path` leads when all links are followed, as the host would name it; `None` when it
    /// leads nowhere.
    pub fn resolve(&self, path: &str) -> Option<String> {
        let root = self.open().ok()?;
        let found = open_below(&root, path, OFlag::O_PATH).ok()?;
        let name = |fd: std::os::fd::BorrowedFd<'_>| {
            std::fs::read_link(format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&fd))).ok()
        };
        let (base, found) = (name(root.as_fd())?, name(found.as_fd())?);
        let below = found.strip_prefix(&base).ok()?;
        Some(format!("/{}", below.to_str()?))
    }

    /// Names in the host's folder `path`, sorted; names that are not UTF-8 are left out. Empty when
    /// there is no such folder.
    pub fn names(&self, path: &str) -> io::Result<Vec<String>> {
        let folder = match open_below(&self.open()?, path, OFlag::O_RDONLY | OFlag::O_DIRECTORY) {
            Ok(folder) => folder,
            Err(nix::Error::ENOENT | nix::Error::ENOTDIR | nix::Error::ELOOP) => return Ok(Vec::new()),
            Err(error) => return Err(error.into()),
        };
        let mut names = Vec::new();
        for entry in Dir::from_fd(folder)?.iter() {
            let entry = entry?;
            let name = entry.file_name().to_str().ok().filter(|name| !matches!(*name, "." | ".."));
            names.extend(name.map(str::to_owned));
        }
        names.sort();
        Ok(names)
    }
}

/// Opens `path` with `root` as its `/`.
///
/// The kernel follows no `..`, of which links in `/sys` are full, while anything on the machine is renamed or
/// mounted, and wants to be asked again (openat2(2), EAGAIN).
fn open_below(root: &OwnedFd, path: &str, flags: OFlag) -> nix::Result<OwnedFd> {
    let how = OpenHow::new()
        .flags(flags | OFlag::O_CLOEXEC)
        .resolve(ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_MAGICLINKS);
    let mut opened = openat2(root.as_fd(), Path::new(path), how);
    for _ in 1..MOST_ATTEMPTS {
        if !matches!(opened, Err(nix::Error::EAGAIN)) {
            break;
        }
        std::thread::yield_now();
        opened = openat2(root.as_fd(), Path::new(path), how);
    }
    opened
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

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    #[test]
    fn a_folder_and_a_link_are_looked_for_below_the_root_too() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(folder.path().join("real/inner")).unwrap();
        symlink("/real", folder.path().join("absolute")).unwrap();
        symlink("/", folder.path().join("top")).unwrap();
        symlink("../../drivers/vfio-pci", folder.path().join("real/driver")).unwrap();
        symlink("loop", folder.path().join("loop")).unwrap();
        let root = HostRoot::new(folder.path());
        assert_eq!(root.names("/absolute").unwrap(), ["driver", "inner"]);
        assert_eq!(root.names("/top").unwrap(), ["absolute", "loop", "real", "top"]);
        assert_eq!(root.link_name("/absolute/driver").as_deref(), Some("vfio-pci"));
        assert!(root.names("/loop").unwrap().is_empty() && root.names("/nowhere").unwrap().is_empty());
        assert_eq!((root.link_name("/real/inner"), root.link_name("/loop/driver")), (None, None));
    }

    #[test]
    fn a_name_that_changes_elsewhere_gets_in_no_readers_way() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        std::fs::create_dir_all(path("sys/class")).unwrap();
        std::fs::write(path("sys/name"), "kfd\n").unwrap();
        symlink("../name", path("sys/class/link")).unwrap();
        std::fs::write(path("a"), "").unwrap();
        let (root, stop) = (HostRoot::new(folder.path()), AtomicBool::new(false));
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    std::fs::rename(path("a"), path("b")).unwrap();
                    std::fs::rename(path("b"), path("a")).unwrap();
                }
            });
            let reads: Vec<_> = (0..5_000)
                .map(|_| (root.attribute("/sys/class/link"), root.resolve("/sys/class/link")))
                .filter(|read| !matches!(read, (Ok(Some(text)), Some(_)) if text == "kfd"))
                .collect();
            stop.store(true, Ordering::Relaxed);
            assert!(reads.is_empty(), "{} reads failed, the first: {:?}", reads.len(), reads[0]);
        });
    }
}
