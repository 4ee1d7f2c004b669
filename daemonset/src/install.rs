//! `install`: makes the host's files what the image and the ConfigMap say, once or for as long as it runs.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::hostfs::{self, Change, Dir, HostFsError};
use crate::installed::{self, Installed};
use crate::plan::{self, Facts, HostFile, Places};
use crate::report;
use crate::watch::Watch;

/// An installation that did not come about.
#[derive(Debug, thiserror::Error)]
pub enum InstallError {
    /// The mounted ConfigMap cannot be looked into.
    #[error("cannot list the configuration in {path:?}")]
    ListConfig {
        /// Its folder.
        path: PathBuf,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
    /// A file could not be made what it shall be; the others were tried all the same.
    #[error("{failed} of {planned} files are not installed")]
    Files {
        /// How many failed.
        failed: usize,
        /// How many there are.
        planned: usize,
        /// The first failure; all of them are in the log.
        #[source]
        first: HostFsError,
    },
    /// The plan could not be told.
    #[error("cannot write to standard output")]
    Tell(#[source] io::Error),
    /// The folders cannot be watched.
    #[error("cannot watch folders for changes")]
    Watch(#[source] io::Error),
}

/// Tells on `stdout` what an installation would do to each file; nothing is touched.
pub fn preview(places: &Places, stdout: &mut dyn Write) -> Result<(), InstallError> {
    let configs = places.config.as_deref().map_or_else(|| Ok(Vec::new()), names_in)?;
    let (files, mut failures) = (plan::plan(places, &Facts { configs }), Vec::new());
    for file in &files {
        let path = file.path();
        let told = match hostfs::preview(file) {
            Ok(preview) => format!("{preview:<8} {}\n", path.display()),
            Err(error) => {
                let line = format!("refuse   {}: {}\n", path.display(), report::chain(&error));
                failures.push(error);
                line
            }
        };
        stdout.write_all(told.as_bytes()).map_err(InstallError::Tell)?;
    }
    all_or_first(files.len(), failures, 0).map(drop)
}

/// Installs once. Returns how many files had to change. A configuration that is refused is told, and no failure:
/// its mistakes are no reason to keep a node without the rest.
pub fn once(places: &Places) -> Result<usize, InstallError> {
    attempt(places).and_then(summary)
}

/// A file, and what became of it.
type Outcome = (HostFile, Result<Change, HostFsError>);

fn attempt(places: &Places) -> Result<Vec<Outcome>, InstallError> {
    let configs = places.config.as_deref().map_or_else(|| Ok(Vec::new()), names_in)?;
    let files = plan::plan(places, &Facts { configs });
    Ok(files.into_iter().map(apply).collect())
}

fn apply(file: HostFile) -> Outcome {
    let (path, outcome) = (file.path(), hostfs::apply(&file));
    match &outcome {
        Ok(Change::None) => {}
        Ok(Change::Written) => tracing::info!(path = %path.display(), "installed"),
        Ok(Change::Foreign) => tracing::debug!(path = %path.display(), "left alone: it is not ours"),
        Err(error) => {
            tracing::error!(path = %path.display(), error = report::chain(error), "not installed");
        }
    }
    (file, outcome)
}

fn summary(outcomes: Vec<Outcome>) -> Result<usize, InstallError> {
    let planned = outcomes.len();
    let changed = outcomes.iter().filter(|(_, outcome)| matches!(outcome, Ok(Change::Written))).count();
    let failures = outcomes.into_iter().filter_map(|(_, outcome)| outcome.err());
    let failures = failures.filter(|error| !matches!(error, HostFsError::Refused { .. })).collect();
    all_or_first(planned, failures, changed)
}

fn all_or_first(planned: usize, failures: Vec<HostFsError>, changed: usize) -> Result<usize, InstallError> {
    let failed = failures.len();
    match failures.into_iter().next() {
        None => Ok(changed),
        Some(first) => Err(InstallError::Files { failed, planned, first }),
    }
}

/// Installs again whenever something changes on either side, and every `period` in case a change went
/// unseen. Failures are told and tried again, what became of each file also in a file at `told`. Returns when
/// `stop` does; the host keeps everything.
pub async fn keep(
    places: &Places,
    told: Option<&Path>,
    period: Duration,
    stop: impl Future<Output = ()>,
) -> Result<(), InstallError> {
    tokio::pin!(stop);
    let mut pause = SETTLE;
    loop {
        // Armed before the look, so that no change falls between the two.
        let mut watch = Watch::open().map_err(InstallError::Watch)?;
        arm(&mut watch, places);
        let outcomes = attempt(places);
        tell(told, places, &outcomes);
        pause = next_pause(pause, &outcomes.and_then(summary));
        tokio::select! {
            () = &mut stop => return Ok(()),
            () = watch.changed(period) => {}
        }
        tokio::select! {
            () = &mut stop => return Ok(()),
            () = tokio::time::sleep(pause) => {}
        }
    }
}

fn tell(path: Option<&Path>, places: &Places, outcomes: &Result<Vec<Outcome>, InstallError>) {
    let files: Vec<_> = match outcomes {
        Ok(outcomes) => outcomes.iter().map(|(file, outcome)| Installed::new(file, outcome)).collect(),
        Err(error) => {
            tracing::error!(error = report::chain(error), "nothing is installed");
            vec![Installed::failed(places.config.as_deref().unwrap_or(&places.source), error)]
        }
    };
    let Some(path) = path else { return };
    if let Err(error) = installed::write(path, &files) {
        tracing::warn!(error = report::chain(&error), "the agent is not told what became of the files");
    }
}

/// Changes come in bursts: a file is made, written, renamed. One look answers all of them.
const SETTLE: Duration = Duration::from_millis(50);

/// Somebody who reverts our files each time is not won over by haste.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// How long to collect changes before the next look: longer each time the last one still had to act.
fn next_pause(last: Duration, outcome: &Result<usize, InstallError>) -> Duration {
    match outcome {
        Ok(0) => SETTLE,
        _ => (last * 2).min(LONGEST_PAUSE),
    }
}

fn arm(watch: &mut Watch, places: &Places) {
    let targets = places.targets();
    for dir in &targets {
        // Only a folder that exists can be watched; the look that follows tells why this one cannot be.
        if let Err(error) = Dir::open(dir) {
            tracing::debug!(path = %dir.display(), error = report::chain(&error), "not made");
        }
    }
    for dir in targets.into_iter().chain(places.config.as_deref()) {
        if let Err(error) = watch.add(dir) {
            tracing::debug!(path = %dir.display(), error = report::chain(&error), "not watched");
        }
    }
}

fn names_in(path: &Path) -> Result<Vec<String>, InstallError> {
    let list = |source| InstallError::ListConfig { path: path.to_owned(), source };
    let entries = fs::read_dir(path).map_err(list)?;
    entries
        .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
        .collect::<Result<_, _>>()
        .map_err(list)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fight_over_files_slows_down_and_a_quiet_look_ends_it() {
        let mut pause = SETTLE;
        for _ in 0..20 {
            pause = next_pause(pause, &Ok(1));
        }
        assert_eq!(pause, LONGEST_PAUSE);
        assert_eq!(next_pause(pause, &Ok(0)), SETTLE);
    }
}
