//! The one folder that holds everything a run makes, and the name by which its traces are known.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;

use super::cgroups;
use super::eventually::retry;
use crate::programs::target_dir;

/// What every run's mark begins with.
pub const MARK: &str = "tripod-e2e-";
/// Where runs have their folders. Not `TMPDIR`: it may lie where nodes have layers of their own.
pub const TEMPORARY: &str = "/tmp";
const LOCK: &str = "lock";

/// A folder below the machine's temporary one; removed when dropped.
#[derive(Debug)]
pub struct StateFolder {
    path: PathBuf,
    logs: PathBuf,
    /// Held as long as the run lives, however it ends.
    _lock: File,
}

impl StateFolder {
    /// Makes the folder. Logs of the run called `name` are kept in `target/`, as they are most wanted
    /// after it has failed; those of its last run are dropped.
    pub fn create(name: &str) -> anyhow::Result<Self> {
        let logs = std::path::absolute(target_dir().join("cluster/logs").join(name))?;
        if logs.exists() {
            fs::remove_dir_all(&logs)?;
        }
        fs::create_dir_all(&logs).with_context(|| logs.display().to_string())?;
        let path = tempfile::Builder::new().prefix(MARK).tempdir_in(TEMPORARY)?.keep();
        let lock = File::create(path.join(LOCK))?;
        lock.lock()?;
        Ok(Self { path, logs, _lock: lock })
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where programs log to.
    pub fn logs(&self) -> &Path {
        &self.logs
    }

    /// Part of the name of whatever the run makes on the machine: folder, cgroups.
    pub fn mark(&self) -> String {
        self.path.file_name().expect("a temporary folder has a name").to_string_lossy().into_owned()
    }
}

impl Drop for StateFolder {
    fn drop(&mut self) {
        let removed = retry(Duration::from_secs(10), || Ok(fs::remove_dir_all(&self.path)?));
        if let Err(error) = removed {
            eprintln!("{}: {error:#}", self.path.display());
        }
    }
}

/// Removes folders and cgroups of runs that were killed before they could, and names them. What ran in
/// them died with them.
pub fn sweep() -> anyhow::Result<Vec<String>> {
    let mut swept = Vec::new();
    for entry in fs::read_dir(TEMPORARY)? {
        let entry = entry?;
        let mark = entry.file_name().to_string_lossy().into_owned();
        if mark.starts_with(MARK) && is_abandoned(&entry.path()) {
            cgroups::remove_all(&mark)?;
            fs::remove_dir_all(entry.path())?;
            swept.push(mark);
        }
    }
    Ok(swept)
}

fn is_abandoned(folder: &Path) -> bool {
    // A folder without a lock is one that a run is making just now.
    File::open(folder.join(LOCK)).is_ok_and(|lock| lock.try_lock().is_ok())
}
