//! `device-plugin.yaml`: which devices are offered under which resource name.
//!
//! The text becomes a tree with line numbers (`yaml`), and the tree a checked [`Config`] or the
//! complete list of its problems. Nothing after this module meets an unchecked value.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub mod criteria;
pub mod naming;
pub mod path_pattern;
pub mod problem;
pub mod reset;
pub mod resource_name;
pub mod sharing;
pub mod strategy;
pub mod watch;

mod check;
mod field;
mod quantity;
mod yaml;

use crate::device::{Found, Kind};
use crate::discovery::nvidia::xid::Policy;
use criteria::Criteria;
use naming::Naming;
use path_pattern::PathPattern;
use problem::Problem;
use reset::Reset;
use sharing::Sharing;
use strategy::Strategy;

/// Largest config file; a ConfigMap holds no more.
const MAX_FILE: u64 = 1024 * 1024;

/// A checked config.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Config {
    /// The rules in the order of the file. A device that several of them match belongs to the first.
    pub rules: Vec<Arc<Rule>>,
    /// What must happen after an error of NVIDIA's driver.
    pub xids: Policy,
}

/// One item of `resources`: which devices are offered, under which name, on which terms.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// What is advertised: `rename` where given, else `name`.
    pub naming: Naming,
    /// Which devices are meant.
    pub selector: Selector,
    /// On which terms containers get them.
    pub sharing: Sharing,
    /// Whether the kubelet is told no NUMA nodes of them.
    pub exclude_topology: bool,
    /// How they reach a container.
    pub strategy: Strategy,
    /// What makes them ready for the next holder.
    pub reset: Option<Reset>,
}

/// Which devices are meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Selector {
    /// Device nodes by path.
    Path(Vec<PathPattern>),
    /// Devices of a kind by what is known of them.
    Criteria(Kind, Criteria),
}

impl Selector {
    /// The kind of the devices.
    pub fn kind(&self) -> Kind {
        match self {
            Selector::Path(_) => Kind::Path,
            Selector::Criteria(kind, _) => *kind,
        }
    }

    /// Whether `found` is meant, present or not.
    pub fn selects(&self, found: &Found) -> bool {
        found.kind == self.kind()
            && match self {
                Selector::Path(patterns) => patterns.iter().any(|pattern| pattern.matches(&found.key)),
                Selector::Criteria(_, criteria) => criteria.admit(&found.properties),
            }
    }
}

/// Why there is no config.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file could not be read.
    #[error("cannot read the config file {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system answered.
        source: std::io::Error,
    },
    /// The file is larger than any sensible config.
    #[error("the config file {0} is larger than {MAX_FILE} bytes")]
    TooLarge(PathBuf),
    /// The file is not UTF-8.
    #[error("the config file {0} is not UTF-8 text")]
    NotText(PathBuf),
    /// The file was read and is wrong.
    #[error("{}", first_of(path, problems))]
    Invalid {
        /// The file.
        path: PathBuf,
        /// Everything that is wrong with it, in the order of the file; never empty.
        problems: Vec<Problem>,
    },
}

impl Config {
    /// Parses and checks a whole document.
    pub fn parse(text: &str) -> Result<Config, Vec<Problem>> {
        let document = yaml::parse(text).map_err(|problem| vec![problem])?;
        check::config(&document)
    }

    /// Loads and checks the file at `path`.
    pub fn load(path: &Path) -> Result<Config, ConfigError> {
        Config::load_from(&load_text(path)?, path)
    }

    /// Checks `text`, which came from `path`.
    pub(crate) fn load_from(text: &str, path: &Path) -> Result<Config, ConfigError> {
        Config::parse(text).map_err(|problems| ConfigError::Invalid { path: path.to_owned(), problems })
    }
}

/// Reads the file at `path`, bounded.
pub fn load_text(path: &Path) -> Result<String, ConfigError> {
    let failed = |source| ConfigError::Read { path: path.to_owned(), source };
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).map_err(failed)?;
    file.take(MAX_FILE + 1).read_to_end(&mut bytes).map_err(failed)?;
    if u64::try_from(bytes.len()).is_ok_and(|length| length > MAX_FILE) {
        return Err(ConfigError::TooLarge(path.to_owned()));
    }
    String::from_utf8(bytes).map_err(|_not_utf8| ConfigError::NotText(path.to_owned()))
}

fn first_of(path: &Path, problems: &[Problem]) -> String {
    let Some(first) = problems.first() else { return path.display().to_string() };
    let more = match problems.len() {
        1 => String::new(),
        n => format!("; {} more", n - 1),
    };
    format!("{}:{}: {first}{more}", path.display(), first.line)
}
