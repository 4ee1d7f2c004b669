//! Programs that run on this node, where their processes can be seen.
//!
//! A pod names its processes as it likes and fills its file system with whatever it likes. So only processes of the
//! node's own PID namespace are believed, and their files are opened as they see them: no link leads out of their
//! root, and nothing but a regular file is opened for reading.

use std::fs::{self, File, Metadata};
use std::io::{self, Read};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use k8s_openapi::jiff::Timestamp;
use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, open, openat2};
use nix::sys::stat::Mode;

/// Longest file that is read, in bytes.
const LONGEST: u64 = 1 << 20;
/// Most entries of a folder that are read.
const MOST: usize = 1 << 16;
/// How often a path is looked up whose folders are being moved.
const TRIES: usize = 8;

/// A process: its folder below `/proc`, and its command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Process {
    folder: PathBuf,
    flags: Vec<String>,
}

/// The processes below `proc` that run a program of this file name, in the PID namespace of its process 1.
pub fn named(proc: &Path, name: &str) -> Vec<Process> {
    let is_number = |path: &PathBuf| {
        path.file_name().is_some_and(|name| name.as_encoded_bytes().iter().all(u8::is_ascii_digit))
    };
    let entries = fs::read_dir(proc).into_iter().flatten().flatten().take(MOST);
    entries.map(|entry| entry.path()).filter(is_number).filter_map(|folder| process(folder, name)).collect()
}

fn process(folder: PathBuf, name: &str) -> Option<Process> {
    let text = read(&folder.join("cmdline")).ok()?;
    let words: Vec<String> = text.split('\0').filter(|word| !word.is_empty()).map(str::to_owned).collect();
    let (program, flags) = words.split_first()?;
    let is_it = Path::new(program).file_name().is_some_and(|file| file == name);
    (is_it && is_of_the_node(&folder)).then(|| Process { folder, flags: flags.to_vec() })
}

/// Whether a process is in the PID namespace of `/proc` itself, and not in one below it, as pods are: then it has
/// one number only. Unlike the links in `ns`, everybody may read that. Where nothing says so, it is nobody's word.
fn is_of_the_node(folder: &Path) -> bool {
    let Ok(status) = read(&folder.join("status")) else { return false };
    let numbers = status.lines().find_map(|line| line.strip_prefix("NSpid:"));
    numbers.is_some_and(|numbers| numbers.split_whitespace().count() == 1)
}

impl Process {
    /// The value of the last of these flags, which is the one that counts, whether it stands behind `=` or in a
    /// word of its own.
    pub fn flag(&self, names: &[&str]) -> Option<&str> {
        let (mut words, mut last) = (self.flags.iter().map(String::as_str), None);
        while let Some(word) = words.next() {
            let (name, value) =
                word.split_once('=').map_or((word, None), |(name, value)| (name, Some(value)));
            if names.contains(&name) {
                last = value.or_else(|| words.next());
            }
        }
        last
    }

    /// The text of the regular file at `path` as the process itself sees it, which may be in another mount
    /// namespace.
    pub fn read(&self, path: &Path) -> io::Result<String> {
        let place = self.place(path)?;
        let found = place.metadata()?;
        // A device is not even opened for reading.
        if !found.is_file() {
            return Err(io::Error::other("it is no regular file"));
        }
        // What is opened is what was looked at, whatever has its name by now.
        read(&Path::new("/proc/self/fd").join(place.as_raw_fd().to_string()))
    }

    /// What is at `path` as the process sees it.
    pub fn metadata(&self, path: &Path) -> io::Result<Metadata> {
        self.place(path)?.metadata()
    }

    /// The names in the folder at `path` as the process sees it, in order, `most` of them at most.
    pub fn names(&self, path: &Path, most: usize) -> io::Result<Vec<String>> {
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let mut folder = Dir::from_fd(self.open(path, flags)?)?;
        let entries = folder.iter().flatten();
        let names = entries.filter_map(|entry| entry.file_name().to_str().map(str::to_owned).ok());
        let mut names: Vec<String> = names.filter(|name| name != "." && name != "..").take(most).collect();
        names.sort();
        Ok(names)
    }

    /// What is at `path`, found and not opened.
    fn place(&self, path: &Path) -> io::Result<File> {
        self.open(path, OFlag::O_PATH | OFlag::O_CLOEXEC).map(File::from)
    }

    /// Looks `path` up below the root of the process: an absolute link of its own leads there, too.
    fn open(&self, path: &Path, flags: OFlag) -> io::Result<OwnedFd> {
        let of_root = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let root = open(&self.folder.join("root"), of_root, Mode::empty())?;
        let resolve = ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_MAGICLINKS;
        let mut found = Err(Errno::EAGAIN);
        for _ in 0..TRIES {
            found = openat2(&root, path, OpenHow::new().flags(flags).resolve(resolve));
            // The kernel does not say where `..` leads while folders are moved.
            if !matches!(found, Err(Errno::EAGAIN)) {
                break;
            }
        }
        Ok(found?)
    }

    /// When it started, by the node's clock as it is now.
    pub fn started(&self) -> Option<Timestamp> {
        let proc = self.folder.parent()?;
        let boot = read(&proc.join("stat")).ok()?;
        let boot = boot.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse::<i64>().ok()?;
        // The name, in parentheses, may hold anything; the start is the 22nd field (proc_pid_stat(5)).
        let stat = read(&self.folder.join("stat")).ok()?;
        let ticks = stat.rsplit_once(')')?.1.split_whitespace().nth(19)?.parse::<i64>().ok()?;
        Timestamp::from_second(boot + ticks / TICKS_PER_SECOND).ok()
    }
}

/// `USER_HZ`, which is the same on every machine that we run on.
const TICKS_PER_SECOND: i64 = 100;

/// The text of a file, as far as it may reach.
pub fn read(path: &Path) -> io::Result<String> {
    read_up_to(path, LONGEST)
}

/// So many bytes of a file as text, at most. Waits for no writer.
pub fn read_up_to(path: &Path, most: u64) -> io::Result<String> {
    let mut bytes = Vec::new();
    let file = File::options().read(true).custom_flags(OFlag::O_NONBLOCK.bits()).open(path)?;
    file.take(most).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests;
