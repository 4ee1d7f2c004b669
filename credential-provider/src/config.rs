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
//! for it. The file is read at each exec, so a change needs no restart of the kubelet.

mod check;
mod raw;

use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::file::{self, FileError};
use crate::image::ImageRef;
use crate::pattern::{Pattern, PatternError};

/// Where the file lies unless `--config` says otherwise.
pub const DEFAULT_PATH: &str = "/etc/tripod/credential-provider.yaml";

/// The one value of `version`.
pub const VERSION: &str = "v1";

/// The `provider` that reads a Docker `config.json`.
pub const DOCKER_CONFIG: &str = "docker-config";

/// A valid configuration.
#[derive(Debug, PartialEq, Eq)]
pub struct Config {
    /// In file order, which is the order of precedence.
    pub registries: Vec<Registry>,
}

/// One entry of `registries`.
#[derive(Debug, PartialEq, Eq)]
pub struct Registry {
    /// Line on which it begins, from 1.
    pub line: u64,
    /// At least one.
    pub patterns: Vec<Pattern>,
    /// Where the credentials come from.
    pub source: Source,
    /// What to answer when they cannot be had.
    pub on_error: OnError,
}

/// A `provider` and the keys that belong to it.
#[derive(Debug, PartialEq, Eq)]
pub enum Source {
    /// A Docker `config.json`.
    DockerConfig {
        /// Absolute path.
        file: PathBuf,
    },
}

/// What an entry answers when its provider fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnError {
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
    /// An entry that does not say where the credentials come from.
    #[error("it is missing; this version has {DOCKER_CONFIG:?}")]
    NoProvider,
    /// A provider that does not exist.
    #[error("{0:?} is not known; this version has {DOCKER_CONFIG:?}")]
    Provider(String),
    /// `docker-config` without its file.
    #[error("it is missing; provider {DOCKER_CONFIG:?} needs the path of a Docker config.json")]
    NoFile,
    /// A path that depends on where the kubelet was started.
    #[error("{0:?} is not an absolute path; begin it with \"/\"")]
    RelativePath(String),
    /// Another policy.
    #[error("{0:?} is not known; write \"fail\" or \"anonymous\"")]
    OnError(String),
}

impl ConfigError {
    /// What the admin can do about it, where the message does not say.
    pub fn remedy(&self) -> Option<&'static str> {
        match self {
            Self::File(error) => Some(error.remedy()),
            Self::Encoding { .. } => Some("write it as YAML in UTF-8"),
            Self::Shape { .. } | Self::Value { .. } => None,
        }
    }
}

impl Config {
    /// Reads the file at `path`.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        Self::parse(path, file::load(path)?.bytes.expose())
    }

    /// Reads `bytes`, the content of the file at `path`, which errors name.
    pub fn parse(path: &Path, bytes: &[u8]) -> Result<Self, ConfigError> {
        let text = str::from_utf8(bytes)
            .map_err(|source| ConfigError::Encoding { path: path.to_owned(), source })?;
        let raw = raw::parse(text).map_err(|raw::ShapeError { line, problem }| ConfigError::Shape {
            path: path.to_owned(),
            line,
            problem,
        })?;
        check::check(raw).map_err(|mistakes| {
            let check::Mistakes { first, others } = *mistakes;
            ConfigError::Value { path: path.to_owned(), first: Box::new(first), others }
        })
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

impl Registry {
    /// Whether this entry is for `image`.
    pub fn matches(&self, image: &ImageRef) -> bool {
        self.patterns.iter().any(|pattern| pattern.matches(image))
    }
}

#[cfg(test)]
mod tests;
