//! What `install --watch` says of each file it keeps, and the agent in the container beside it reads: it alone
//! may write events and answers readers of metrics.
//!
//! The file is `[{"path": "/opt/cni/bin/tripod-cni", "state": "current", "why": ""}, …]`. It lies in a folder of
//! the pod's own, since the host has nothing to do with it.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::hostfs::{self, Change, Dir, HostFsError};
use crate::plan::HostFile;
use crate::report;

/// A handful of files, with a sentence or two about each.
const LONGEST: u64 = 64 << 10;

/// A file of the host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Installed {
    /// Its path, as `install` sees it.
    pub path: PathBuf,
    /// What became of it.
    pub state: State,
    /// Why it is not current.
    pub why: String,
}

/// Whether a file is as the image and the ConfigMap say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// It is.
    Current,
    /// It cannot be written.
    Failed,
    /// The new program or configuration is of no use; the last good one stays, if there is one.
    Refused,
}

impl State {
    /// In a word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Current => "current",
            Self::Failed => "failed",
            Self::Refused => "refused",
        }
    }
}

impl Installed {
    /// What became of `file`.
    pub fn new(file: &HostFile, outcome: &Result<Change, HostFsError>) -> Self {
        let state = match outcome {
            Ok(_) => State::Current,
            // Its cause is in the image or the ConfigMap; of all others it is on the node.
            Err(HostFsError::Unfit { .. } | HostFsError::Refused { .. }) => State::Refused,
            Err(_) => State::Failed,
        };
        let why = outcome.as_ref().err().map(|error| report::chain(error)).unwrap_or_default();
        Self { path: file.path(), state, why }
    }

    /// What is at `path` cannot be worked with.
    pub fn failed(path: &Path, error: &(dyn std::error::Error + 'static)) -> Self {
        Self { path: path.to_owned(), state: State::Failed, why: report::chain(error) }
    }

    /// Its name in its folder.
    pub fn name(&self) -> &str {
        self.path.file_name().and_then(|name| name.to_str()).unwrap_or_default()
    }
}

/// Writes the file at `path`. Its folder is made, as one in which only its owner can write.
pub fn write(path: &Path, files: &[Installed]) -> Result<(), HostFsError> {
    let (Some(folder), Some(name)) = (path.parent(), path.file_name().and_then(|name| name.to_str())) else {
        let source = std::io::ErrorKind::InvalidFilename.into();
        return Err(HostFsError::Act { act: "write", path: path.to_owned(), source });
    };
    let text = serde_json::to_vec(files).unwrap_or_default();
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    Dir::open(folder)?.write(name, &text, 0o600).map(drop)
}

/// Reads the file at `path`: nothing where nobody has written it, and that it failed where it cannot be read.
pub fn read(path: &Path) -> Vec<Installed> {
    if matches!(path.try_exists(), Ok(false)) {
        return Vec::new();
    }
    match hostfs::read(path, LONGEST) {
        Ok(bytes) => {
            serde_json::from_slice(&bytes).unwrap_or_else(|error| vec![Installed::failed(path, &error)])
        }
        Err(error) => vec![Installed::failed(path, &error)],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Content;

    #[test]
    fn what_is_written_is_read_and_what_is_not_there_is_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("report/install.json");
        assert_eq!(read(&path), []);
        let content = Content::Link { target: "tripod-cni" };
        let file = HostFile { dir: "/opt/cni/bin".into(), name: "tripod-ipam".to_owned(), content };
        let unsafe_dir = HostFsError::UnsafeDir { path: "/opt/cni/bin".into(), problem: "is everyone's" };
        let files = [Ok(Change::Foreign), Err(unsafe_dir)].map(|outcome| Installed::new(&file, &outcome));
        write(&path, &files).unwrap();
        assert_eq!(read(&path), files);
        let told = files.map(|file| (file.name().to_owned(), file.state.word(), file.why));
        let name = || "tripod-ipam".to_owned();
        let why = "\"/opt/cni/bin\" is everyone's".to_owned();
        assert_eq!(told, [(name(), "current", String::new()), (name(), "failed", why)]);
        std::fs::write(&path, "{").unwrap();
        let broken = read(&path);
        assert_eq!((broken.len(), &broken[0].path, broken[0].state), (1, &path, State::Failed));
    }
}
