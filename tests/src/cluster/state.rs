//! The one folder that holds everything a run makes, and the name by which its traces are known.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;

use super::eventually::retry;
use crate::programs::target_dir;

/// What every run's mark begins with.
pub const MARK: &str = "tripod-e2e-";

/// A folder below the machine's temporary one; removed when dropped.
#[derive(Debug)]
pub struct StateFolder {
    path: PathBuf,
    logs: PathBuf,
}

impl StateFolder {
    /// Makes the folder. Logs of the run called `name` are kept in `target/`, as they are most wanted
    /// after it has failed; those of its last run are dropped.
    pub fn create(name: &str) -> anyhow::Result<Self> {
        let logs = std::path::absolute(target_dir().join("cluster/logs").join(name))?;
        if logs.exists() {
            std::fs::remove_dir_all(&logs)?;
        }
        std::fs::create_dir_all(&logs).with_context(|| logs.display().to_string())?;
        let path = tempfile::Builder::new().prefix(MARK).tempdir()?.keep();
        Ok(Self { path, logs })
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
        let removed = retry(Duration::from_secs(10), || Ok(std::fs::remove_dir_all(&self.path)?));
        if let Err(error) = removed {
            eprintln!("{}: {error:#}", self.path.display());
        }
    }
}
