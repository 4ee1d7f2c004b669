//! Programs that run on this node, where their processes can be seen.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use k8s_openapi::jiff::Timestamp;

/// Longest file that is read, in bytes.
const LONGEST: u64 = 1 << 20;
/// Most entries of a folder that are read.
const MOST: usize = 1 << 16;

/// A process: its folder below `/proc`, and its command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Process {
    folder: PathBuf,
    flags: Vec<String>,
}

/// The processes below `proc` that run a program of this file name.
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
    is_it.then(|| Process { folder, flags: flags.to_vec() })
}

impl Process {
    /// The value of the first of these flags, whether it stands behind `=` or in a word of its own.
    pub fn flag(&self, names: &[&str]) -> Option<&str> {
        let mut words = self.flags.iter().map(String::as_str);
        loop {
            let word = words.next()?;
            let (name, value) =
                word.split_once('=').map_or((word, None), |(name, value)| (name, Some(value)));
            if names.contains(&name) {
                return value.or_else(|| words.next());
            }
        }
    }

    /// `path` as the process itself sees it, which may be in another mount namespace.
    pub fn path(&self, path: &str) -> PathBuf {
        self.folder.join("root").join(path.trim_start_matches('/'))
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
    let mut bytes = Vec::new();
    File::open(path)?.take(LONGEST).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_found_with_its_flags_and_its_start() {
        let proc = tempfile::tempdir().unwrap();
        let folder = proc.path().join("77");
        fs::create_dir_all(&folder).unwrap();
        fs::create_dir(proc.path().join("self")).unwrap();
        fs::write(folder.join("cmdline"), "/usr/bin/containerd\0--config=/etc/c.toml\0-l\0debug\0").unwrap();
        let fields = (4..=21).map(|field| field.to_string()).collect::<Vec<_>>().join(" ");
        fs::write(folder.join("stat"), format!("77 (con) tainerd) S {fields} 1250 0")).unwrap();
        fs::write(proc.path().join("stat"), "cpu 1 2\nbtime 1700000000\n").unwrap();
        let [found] = &named(proc.path(), "containerd")[..] else { panic!() };
        assert_eq!(found.flag(&["--config", "-c"]), Some("/etc/c.toml"));
        assert_eq!((found.flag(&["--log-level", "-l"]), found.flag(&["--root"])), (Some("debug"), None));
        assert_eq!(found.started().unwrap().as_second(), 1_700_000_012);
        assert_eq!(found.path("/etc/c.toml"), folder.join("root/etc/c.toml"));
        assert_eq!(named(proc.path(), "kubelet"), []);
    }
}
