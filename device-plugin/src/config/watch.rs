//! Taking up a changed config file.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{Config, ConfigError, load_text};
use crate::error;
use crate::folder_watch::{FolderWatch, Interest};

/// How often the file is read when no event says so, for files reached through links to other folders.
const FALLBACK: Duration = Duration::from_secs(30);

/// Follows one config file.
///
/// It is the folder that is watched: editors replace the file, and the kubelet updates a mounted
/// ConfigMap by exchanging the link `..data` beside it.
#[derive(Debug)]
pub struct ConfigWatch {
    path: PathBuf,
    folder: FolderWatch,
    folders: BTreeSet<PathBuf>,
    last: Result<String, String>,
}

impl ConfigWatch {
    /// Follows the file at `path`, from its present text on.
    pub fn open(path: &Path) -> Result<(ConfigWatch, Config), ConfigError> {
        let parent = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let folders = BTreeSet::from([parent.to_owned()]);
        let mut folder = FolderWatch::open(Interest::NamesAndContent, FALLBACK);
        // Before the first reading, so that no change falls in between.
        folder.follow(&folders);
        let text = load_text(path)?;
        let config = Config::load_from(&text, path)?;
        Ok((ConfigWatch { path: path.to_owned(), folder, folders, last: Ok(text) }, config))
    }

    /// Waits for another valid config. An invalid one is reported once and otherwise ignored: what runs
    /// goes on running. Safe to cancel.
    pub async fn next(&mut self) -> Config {
        loop {
            self.folder.settled().await;
            self.folder.follow(&self.folders);
            if let Some(config) = self.look() {
                return config;
            }
        }
    }

    fn look(&mut self) -> Option<Config> {
        let text = load_text(&self.path).map_err(|error| error::chain(&error));
        if text == self.last {
            return None;
        }
        let config = match &text {
            Ok(text) => Config::load_from(text, &self.path).map_err(|error| report(&error)).ok(),
            Err(error) => {
                tracing::error!("the running config stays: {error}");
                None
            }
        };
        self.last = text;
        config
    }
}

fn report(error: &ConfigError) {
    let ConfigError::Invalid { path, problems } = error else { return };
    for problem in problems {
        tracing::error!("the running config stays: {}:{}: {problem}", path.display(), problem.line);
    }
}
