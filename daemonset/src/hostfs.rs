//! Files of the host: whole or not at all, at every moment.
//!
//! Runtimes watch these folders, execute from them and survive our crashes, so a file is written under
//! a temporary name beside its own, gets its mode and reaches the disk, and only then takes the name. A
//! program is executed once before that, and the credential provider asked whether it takes its configuration.

mod error;
mod trial;

use std::fs::{self, DirBuilder, File};
use std::io::{self, BufWriter, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use nix::dir::Dir as Listing;
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat, readlinkat, renameat};
use nix::sys::stat::{Mode, SFlag, fstatat};
use nix::unistd::{UnlinkatFlags, symlinkat, unlinkat};

use crate::plan::{Content, HostFile};
pub use error::HostFsError;
use error::{failed, refused};
pub use trial::TrialError;

/// How many bytes are read or written at once.
const CHUNK: usize = 64 * 1024;

/// Permission bits of programs.
const PROGRAM_MODE: u32 = 0o755;

/// Whether the host had to change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// It was as wanted.
    None,
    /// The file was made or replaced.
    Written,
    /// Something else has the name and stays.
    Foreign,
}

/// What has a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Nothing.
    Absent,
    /// A plain file.
    File,
    /// A symbolic link to this.
    Link(String),
    /// A folder, a socket or the like.
    Other,
}

/// Makes `file` what it shall be.
pub fn apply(file: &HostFile) -> Result<Change, HostFsError> {
    let dir = Dir::open(&file.dir)?;
    match &file.content {
        Content::Link { target } => dir.link(&file.name, target),
        Content::LinkIfAbsent { target } => dir.link_if_absent(&file.name, target),
        Content::Copy { source, mode, reader } => {
            let source = accepted(file, source, reader.as_deref())?;
            dir.copy(&file.name, &source, *mode, |_| Ok(()))
        }
        Content::Program { source, trial } => {
            let unfit = |source| HostFsError::Unfit { path: file.path(), source };
            dir.copy(&file.name, source, PROGRAM_MODE, |new| trial::run(new, trial).map_err(unfit))
        }
    }
}

/// The file to copy, once the `reader` of a configuration, if there is one, has said that it can work with it. It
/// is asked at each look, and before anything is written: what lies there may be what it does not take.
fn accepted(file: &HostFile, source: &Path, reader: Option<&Path>) -> Result<PathBuf, HostFsError> {
    let Some(reader) = reader else { return Ok(source.to_owned()) };
    // A ConfigMap is swapped as a whole, and no version of it changes.
    let version = fs::canonicalize(source).map_err(refused("open", source))?;
    match trial::read(reader, &version) {
        Ok(()) => Ok(version),
        Err(TrialError::Mistake(said)) => {
            let said = said.replace(&*version.to_string_lossy(), &source.to_string_lossy());
            Err(HostFsError::Refused { path: file.path(), source: TrialError::Mistake(said) })
        }
        Err(source) => Err(HostFsError::Unchecked { path: file.path(), source }),
    }
}

/// What [`apply`] would do to `file`; nothing is touched, and no folder made.
pub fn preview(file: &HostFile) -> Result<&'static str, HostFsError> {
    if let Content::Copy { source, reader, .. } = &file.content {
        accepted(file, source, reader.as_deref())?;
    }
    let Some(dir) = Dir::open_existing(&file.dir)? else { return Ok("write") };
    let is_absent = dir.kind(&file.name)? == Kind::Absent;
    let is_kept = match &file.content {
        Content::Link { target } => dir.links_to(&file.name, target),
        Content::LinkIfAbsent { .. } => !is_absent,
        Content::Copy { source, mode, .. } => dir.is_copy(&file.name, source, *mode)?,
        Content::Program { source, .. } => dir.is_copy(&file.name, source, PROGRAM_MODE)?,
    };
    Ok(match (is_kept, is_absent) {
        (true, _) => "keep",
        (false, true) => "write",
        (false, false) => "replace",
    })
}

/// Reads at most `limit` bytes of a file.
pub fn read(path: &Path, limit: u64) -> Result<Vec<u8>, HostFsError> {
    let file = File::open(path).map_err(refused("open", path))?;
    let mut content = Vec::new();
    file.take(limit + 1).read_to_end(&mut content).map_err(refused("read", path))?;
    if u64::try_from(content.len()).is_ok_and(|length| length > limit) {
        return Err(HostFsError::TooLong { path: path.to_owned(), limit });
    }
    Ok(content)
}

/// A folder of the host that only its owner can write to, held open so that nobody can swap it.
#[derive(Debug)]
pub struct Dir {
    path: PathBuf,
    fd: OwnedFd,
}

impl Dir {
    /// Opens `path`, and makes it first when it is missing. Refuses a symbolic link and a folder in which
    /// somebody other than its owner could replace what root will execute or believe.
    pub fn open(path: &Path) -> Result<Self, HostFsError> {
        let made = DirBuilder::new().recursive(true).mode(0o755).create(path);
        made.map_err(refused("create folder", path))?;
        Self::open_there(path)
    }

    /// As [`Self::open`], without making the folder: nothing where there is none.
    pub fn open_existing(path: &Path) -> Result<Option<Self>, HostFsError> {
        match fs::symlink_metadata(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            _ => Self::open_there(path).map(Some),
        }
    }

    fn open_there(path: &Path) -> Result<Self, HostFsError> {
        let unsafe_dir = |problem| HostFsError::UnsafeDir { path: path.to_owned(), problem };
        let flags = OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let fd = match nix::fcntl::open(path, flags, Mode::empty()) {
            // The kernel's answers to a link where a folder was asked for.
            Err(Errno::ELOOP | Errno::ENOTDIR) => {
                return Err(unsafe_dir("is a symbolic link; name the folder it points to"));
            }
            other => other.map_err(failed("open folder", path))?,
        };
        let metadata = File::from(fd.try_clone().map_err(refused("open folder", path))?).metadata();
        if metadata.map_err(refused("inspect folder", path))?.permissions().mode() & 0o022 != 0 {
            return Err(unsafe_dir("is writable by its group or by everyone; run chmod go-w on it"));
        }
        Ok(Self { path: path.to_owned(), fd })
    }

    /// Gives the file `name` this content and mode, unless it has both.
    pub fn write(&self, name: &str, content: &[u8], mode: u32) -> Result<Change, HostFsError> {
        if self.equals(name, &mut &*content, mode)? {
            return Ok(Change::None);
        }
        self.replace(name, &mut &*content, mode)
    }

    /// The names in the folder.
    pub fn names(&self) -> Result<Vec<String>, HostFsError> {
        let listing = Listing::openat(&self.fd, ".", OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty());
        let mut listing = listing.map_err(failed("list folder", &self.path))?;
        let entries = listing.iter().map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()));
        entries.collect::<Result<_, Errno>>().map_err(failed("list folder", &self.path))
    }

    /// What has this name.
    pub fn kind(&self, name: &str) -> Result<Kind, HostFsError> {
        let found = match fstatat(&self.fd, name, AtFlags::AT_SYMLINK_NOFOLLOW) {
            Err(Errno::ENOENT) => return Ok(Kind::Absent),
            found => found.map_err(failed("inspect", &self.path_of(name)))?,
        };
        match SFlag::from_bits_truncate(found.st_mode) & SFlag::S_IFMT {
            SFlag::S_IFREG => Ok(Kind::File),
            SFlag::S_IFLNK => {
                let target =
                    readlinkat(self.fd.as_fd(), name).map_err(failed("read", &self.path_of(name)))?;
                Ok(Kind::Link(target.to_string_lossy().into_owned()))
            }
            _ => Ok(Kind::Other),
        }
    }

    /// At most `limit` bytes of the plain file `name`.
    pub fn read(&self, name: &str, limit: u64) -> Result<Vec<u8>, HostFsError> {
        let path = self.path_of(name);
        let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
        let file = File::from(openat(&self.fd, name, flags, Mode::empty()).map_err(failed("open", &path))?);
        let mut content = Vec::new();
        file.take(limit).read_to_end(&mut content).map_err(refused("read", &path))?;
        Ok(content)
    }

    /// Removes the file `name`, and what a killed writer of it left; absence is success.
    pub fn remove(&self, name: &str) -> Result<(), HostFsError> {
        self.remove_temporaries(name)?;
        match unlinkat(&self.fd, name, UnlinkatFlags::NoRemoveDir) {
            Err(Errno::ENOENT) => return Ok(()),
            removed => removed.map_err(failed("remove", &self.path_of(name)))?,
        }
        nix::unistd::fsync(&self.fd).map_err(failed("sync folder", &self.path))
    }

    fn path_of(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Whether `name` is a regular file of this content and mode.
    fn equals(&self, name: &str, wanted: &mut dyn Read, mode: u32) -> Result<bool, HostFsError> {
        let path = self.path_of(name);
        let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
        let mut file = match openat(&self.fd, name, flags, Mode::empty()) {
            Ok(fd) => File::from(fd),
            Err(Errno::ENOENT | Errno::ELOOP) => return Ok(false),
            Err(errno) => return Err(failed("open", &path)(errno)),
        };
        let metadata = file.metadata().map_err(refused("inspect", &path))?;
        if !metadata.is_file() || metadata.mode() & 0o7777 != mode {
            return Ok(false);
        }
        same_bytes(&mut file, wanted).map_err(refused("compare", &path))
    }

    fn is_copy(&self, name: &str, source: &Path, mode: u32) -> Result<bool, HostFsError> {
        self.equals(name, &mut File::open(source).map_err(refused("open", source))?, mode)
    }

    /// Makes `name` a copy of `source`, once `check` finds nothing wrong with the copy under another name.
    fn copy(
        &self,
        name: &str,
        source: &Path,
        mode: u32,
        check: impl FnOnce(&Path) -> Result<(), HostFsError>,
    ) -> Result<Change, HostFsError> {
        if self.is_copy(name, source, mode)? {
            return Ok(Change::None);
        }
        let mut content = File::open(source).map_err(refused("open", source))?;
        self.replace_by(name, |temporary| {
            self.write_temporary(temporary, &mut content, mode)?;
            check(&self.path_of(temporary))
        })
    }

    fn replace(&self, name: &str, content: &mut dyn Read, mode: u32) -> Result<Change, HostFsError> {
        self.replace_by(name, |temporary| self.write_temporary(temporary, content, mode))
    }

    /// Gives `name` to what `make` makes under a temporary one.
    fn replace_by(
        &self,
        name: &str,
        make: impl FnOnce(&str) -> Result<(), HostFsError>,
    ) -> Result<Change, HostFsError> {
        // The runtime reads names ending in .conf, .conflist and .json; a process number ends in none.
        let temporary = format!("{}{}", temporary_prefix(name), std::process::id());
        self.remove_temporaries(name)?;
        let moved = make(&temporary).and_then(|()| {
            renameat(&self.fd, temporary.as_str(), &self.fd, name)
                .map_err(failed("replace", &self.path_of(name)))
        });
        if moved.is_err() {
            // The first failure is the one to tell; what stays here, the next write removes.
            if let Err(errno) = unlinkat(&self.fd, temporary.as_str(), UnlinkatFlags::NoRemoveDir) {
                tracing::debug!(path = %self.path_of(&temporary).display(), %errno, "not removed");
            }
        }
        moved?;
        nix::unistd::fsync(&self.fd).map_err(failed("sync folder", &self.path))?;
        Ok(Change::Written)
    }

    /// The mode is set before the name, so that nobody executes a plugin that cannot be executed yet.
    fn write_temporary(&self, name: &str, content: &mut dyn Read, mode: u32) -> Result<(), HostFsError> {
        let path = self.path_of(name);
        let flags = OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_WRONLY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let fd =
            openat(&self.fd, name, flags, Mode::S_IRUSR | Mode::S_IWUSR).map_err(failed("create", &path))?;
        let file = File::from(fd);
        let mut writer = BufWriter::with_capacity(CHUNK, &file);
        io::copy(content, &mut writer).and_then(|_length| writer.flush()).map_err(refused("write", &path))?;
        drop(writer);
        file.set_permissions(fs::Permissions::from_mode(mode)).map_err(refused("set the mode of", &path))?;
        file.sync_all().map_err(refused("sync", &path))
    }

    /// Removes what a killed predecessor left. Of two writers of one file at once, which no pod of ours
    /// has, one then fails to rename and tries again.
    fn remove_temporaries(&self, name: &str) -> Result<(), HostFsError> {
        let prefix = temporary_prefix(name);
        for stale in self.names()?.iter().filter(|other| other.starts_with(&prefix)) {
            match unlinkat(&self.fd, stale.as_str(), UnlinkatFlags::NoRemoveDir) {
                Ok(()) | Err(Errno::ENOENT) => {}
                Err(errno) => return Err(failed("remove", &self.path_of(stale))(errno)),
            }
        }
        Ok(())
    }

    fn link(&self, name: &str, target: &str) -> Result<Change, HostFsError> {
        if self.links_to(name, target) {
            return Ok(Change::None);
        }
        self.replace_by(name, |temporary| {
            symlinkat(target, &self.fd, temporary).map_err(failed("link", &self.path_of(temporary)))
        })
    }

    fn link_if_absent(&self, name: &str, target: &str) -> Result<Change, HostFsError> {
        let path = self.path_of(name);
        match symlinkat(target, &self.fd, name) {
            Ok(()) => nix::unistd::fsync(&self.fd).map_err(failed("sync folder", &self.path)),
            Err(Errno::EEXIST) if self.links_to(name, target) => return Ok(Change::None),
            Err(Errno::EEXIST) => return Ok(Change::Foreign),
            Err(errno) => return Err(failed("link", &path)(errno)),
        }
        .map(|()| Change::Written)
    }

    fn links_to(&self, name: &str, target: &str) -> bool {
        let is_there = fstatat(&self.fd, name, AtFlags::AT_SYMLINK_NOFOLLOW).is_ok();
        is_there && readlinkat(self.fd.as_fd(), name).is_ok_and(|found| found == target)
    }
}

fn temporary_prefix(name: &str) -> String {
    format!(".tripod.{name}.")
}

fn same_bytes(one: &mut dyn Read, other: &mut dyn Read) -> io::Result<bool> {
    let (mut left, mut right) = (vec![0; CHUNK], vec![0; CHUNK]);
    loop {
        let (read_left, read_right) = (fill(one, &mut left)?, fill(other, &mut right)?);
        if left.get(..read_left) != right.get(..read_right) {
            return Ok(false);
        }
        if read_left == 0 {
            return Ok(true);
        }
    }
}

/// Reads until `buffer` is full or the source is at its end.
fn fill(source: &mut dyn Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match source.read(rest) {
            Ok(0) => break,
            Ok(length) => filled += length,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}
