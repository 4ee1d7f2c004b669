//! `credential-provider.yaml`: which registry gets its credentials from where.
//!
//! ```yaml
//! version: v1
//! registries:
//!   - match: ["registry.example.com", "*.registry.example.com:5000"]
//!     provider: docker-config
//!     file: /etc/tripod/registry-auth.json
//!     onError: fail
//! ```
//!
//! Strict: an unknown key is an error with its line. The first entry whose `match` matches an image answers
//! for it. `config.d/*.yaml` beside the file add registries, in the order of their names. All is read at
//! each exec, so a change needs no restart of the kubelet.

mod check;
mod findings;
mod folder;
pub(crate) mod keys;
mod raw;

use std::path::{Path, PathBuf};
use std::time::Duration;

use thiserror::Error;

use crate::file::{self, FileError};
use crate::http::ProxyPolicy;
use crate::image::ImageRef;
use crate::pattern::{Pattern, PatternError};
use crate::provider::Source;

/// Where the file lies unless `--config` says otherwise.
pub const DEFAULT_PATH: &str = "/etc/tripod/credential-provider.yaml";

/// The one value of `version`.
pub const VERSION: &str = "v1";

/// A valid configuration.
#[derive(Debug)]
pub struct Config {
    /// What holds for all registries.
    pub defaults: Defaults,
    /// Where credentials are kept between two runs.
    pub cache: CacheSettings,
    /// In file order, which is the order of precedence.
    pub registries: Vec<Registry>,
}

/// What holds for all registries.
#[derive(Clone, Debug)]
pub struct Defaults {
    /// Time for an answer, all calls included.
    pub deadline: Duration,
    /// So long before a credential expires the kubelet is to ask again.
    pub cache_margin: Duration,
    /// Whether calls to the internet take a proxy.
    pub proxy: ProxyPolicy,
    /// Certificates of authorities to trust besides those of the system, in PEM.
    pub ca_file: Option<PathBuf>,
}

/// Where credentials are kept between two runs, and shared by those that run at the same time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CacheSettings {
    /// Whether they are kept at all.
    pub shared: bool,
    /// The folder, which should be on a tmpfs.
    pub dir: PathBuf,
}

/// One entry of `registries`.
#[derive(Debug, PartialEq, Eq)]
pub struct Registry {
    /// The file it stands in.
    pub file: PathBuf,
    /// Line on which it begins, from 1.
    pub line: u64,
    /// At least one.
    pub patterns: Vec<Pattern>,
    /// Where the credentials come from.
    pub source: Source,
    /// A variable of a program's, given in the entry, whose name says that it is a secret.
    pub secret_variable: Option<String>,
    /// The registry whose credentials are given, where this one is a mirror of it: `host[:port]`.
    pub mirror_of: Option<String>,
    /// For whom the pods' tokens are to be that it is asked with.
    pub token_audience: Option<String>,
    /// What to answer when they cannot be had.
    pub on_error: Policy,
    /// What to answer when nobody is there to ask in whose name.
    pub on_missing_identity: Policy,
}

/// What an entry answers when it has no credentials.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    /// Fail too: the kubelet logs it and pulls with what else it has.
    Fail,
    /// Answer without credentials, for registries with public images.
    Anonymous,
}

/// Why a configuration is refused.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// It could not be read.
    #[error(transparent)]
    File(#[from] FileError),
    /// The folder beside it could not be read.
    #[error("cannot read the folder {path:?}")]
    Folder {
        /// The folder.
        path: PathBuf,
        /// The kernel's answer.
        source: std::io::Error,
    },
    /// More files than anybody keeps track of.
    #[error("{path:?} has more than {limit} files; put several registries into one")]
    TooManyParts {
        /// The folder.
        path: PathBuf,
        /// Files allowed.
        limit: usize,
    },
    /// It is no YAML text.
    #[error("{path:?} is not UTF-8 text")]
    Encoding {
        /// The file.
        path: PathBuf,
        /// Where it stops being text.
        source: std::str::Utf8Error,
    },
    /// No YAML, or not the keys and types of this format.
    #[error("{}:{line}: {problem}", path.display())]
    Shape {
        /// The file.
        path: PathBuf,
        /// From 1; 0 when the parser cannot tell.
        line: u64,
        /// What is wrong, naming the key.
        problem: String,
    },
    /// A value that means nothing.
    #[error("{}:{}", path.display(), first.line)]
    Value {
        /// The file.
        path: PathBuf,
        /// The first such value.
        #[source]
        first: Box<ValueError>,
        /// All further ones.
        others: Vec<ValueError>,
    },
}

/// A value that means nothing, and why.
#[derive(Debug, Error)]
#[error("{key}")]
pub struct ValueError {
    /// Line of the value, from 1.
    pub line: u64,
    /// The key: `registries[0].file`.
    pub key: String,
    /// What is wrong with it, naming the value.
    #[source]
    pub problem: ValueProblem,
}

/// What is wrong with a value.
#[derive(Debug, Error)]
pub enum ValueProblem {
    /// Another format version.
    #[error("{0:?} is not known; this program reads {VERSION:?}")]
    Version(String),
    /// An entry for no image.
    #[error("no registry is named; write at least one, such as \"registry.example.com\"")]
    NoPattern,
    /// A pattern that is refused.
    #[error("pattern {pattern:?}")]
    Pattern {
        /// As written.
        pattern: String,
        /// Why.
        source: PatternError,
    },
    /// A key that must be there; says what to write.
    #[error("it is missing; {0}")]
    Missing(&'static str),
    /// A key that means nothing here.
    #[error("unknown key; {owner} has {known}")]
    UnknownKey {
        /// What the key was given to.
        owner: String,
        /// The keys it has.
        known: String,
    },
    /// Something else than the key takes. It is not repeated: it may be a secret that went into the wrong file.
    #[error("expected {0}")]
    Shape(&'static str),
    /// None of the words that mean something.
    #[error("{given:?} is not known; write {choices}")]
    Choice {
        /// As written.
        given: String,
        /// What could be written.
        choices: String,
    },
    /// A path that depends on where the kubelet was started.
    #[error("{0:?} is not an absolute path; begin it with \"/\"")]
    RelativePath(String),
    /// A text that cannot be what it is to be.
    #[error("{given:?}: {why}")]
    Refused {
        /// As written.
        given: String,
        /// Why not.
        why: String,
    },
    /// A second file that sets what only the first may.
    #[error("it may stand in {} only", .0.display())]
    Elsewhere(PathBuf),
}

impl ValueProblem {
    pub(crate) fn choice<T>(given: String, choices: &[(&str, T)]) -> Self {
        let choices: Vec<_> = choices.iter().map(|(name, _)| format!("{name:?}")).collect();
        Self::Choice { given, choices: choices.join(" or ") }
    }
}

impl ConfigError {
    /// What the admin can do about it, where the message does not say.
    pub fn remedy(&self) -> Option<&'static str> {
        match self {
            Self::File(error) => Some(error.remedy()),
            Self::Folder { .. } => Some("let the user that runs the kubelet (root) read it"),
            Self::Encoding { .. } => Some("write it as YAML in UTF-8"),
            Self::TooManyParts { .. } | Self::Shape { .. } | Self::Value { .. } => None,
        }
    }
}

impl Default for Defaults {
    /// The kubelet ends the program after a minute, without a word why.
    fn default() -> Self {
        let (deadline, cache_margin) = (Duration::from_secs(25), Duration::from_secs(300));
        Self { deadline, cache_margin, proxy: ProxyPolicy::FromEnvironment, ca_file: None }
    }
}

impl Default for CacheSettings {
    fn default() -> Self {
        Self { shared: true, dir: PathBuf::from("/run/tripod-credentials") }
    }
}

impl Config {
    /// Reads the file at `path` and those of `config.d` beside it.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let mut config = Self::parse(path, file::load(path)?.bytes.expose())?;
        for part in folder::parts(path)? {
            config.registries.extend(Self::parse_part(path, &part, file::load(&part)?.bytes.expose())?);
        }
        Ok(config)
    }

    /// The files of `config.d` beside the file at `path`.
    pub fn parts(path: &Path) -> Result<Vec<PathBuf>, ConfigError> {
        folder::parts(path)
    }

    /// Reads `bytes`, the content of the file at `path`, which errors name.
    pub fn parse(path: &Path, bytes: &[u8]) -> Result<Self, ConfigError> {
        judge(path, check::whole(path, raw(path, bytes)?))
    }

    fn parse_part(main: &Path, path: &Path, bytes: &[u8]) -> Result<Vec<Registry>, ConfigError> {
        judge(path, check::part(main, path, raw(path, bytes)?))
    }

    /// Whether every image of `image`'s registry is answered by the same entry, so that the answer
    /// for one holds for all.
    pub fn is_uniform_for(&self, image: &ImageRef) -> bool {
        !self.patterns().any(|pattern| pattern.splits_registry_of(image))
    }

    /// All patterns in file order.
    pub fn patterns(&self) -> impl Iterator<Item = &Pattern> {
        self.registries.iter().flat_map(|registry| &registry.patterns)
    }
}

fn raw(path: &Path, bytes: &[u8]) -> Result<raw::RawConfig, ConfigError> {
    let text =
        str::from_utf8(bytes).map_err(|source| ConfigError::Encoding { path: path.to_owned(), source })?;
    raw::parse(text).map_err(|raw::ShapeError { line, problem }| ConfigError::Shape {
        path: path.to_owned(),
        line,
        problem,
    })
}

fn judge<T>(path: &Path, checked: Result<T, Box<findings::Mistakes>>) -> Result<T, ConfigError> {
    checked.map_err(|mistakes| {
        let findings::Mistakes { first, others } = *mistakes;
        ConfigError::Value { path: path.to_owned(), first: Box::new(first), others }
    })
}

impl Registry {
    /// Whether this entry is for `image`.
    pub fn matches(&self, image: &ImageRef) -> bool {
        self.patterns.iter().any(|pattern| pattern.matches(image))
    }
}

#[cfg(test)]
mod tests;
