//! What can go wrong between a request and its answer.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

use crate::cache::store::CacheError;
use crate::cli::UsageError;
use crate::config::{ConfigError, DEFAULT_PATH};
use crate::file::FileError;
use crate::image::ImageError;
use crate::kubelet::entries::NoAudience;
use crate::provider::FetchError;
use crate::service_account::TokenError;
use crate::wire::{ApiVersion, RequestError};

/// Why there is no answer. None of it holds a secret.
#[derive(Debug, Error)]
pub enum Error {
    /// The command line.
    #[error("cannot read the command line")]
    Usage(#[from] UsageError),
    /// A person runs the program by hand.
    #[error("the kubelet runs this program with a request on stdin, and this is a terminal")]
    Terminal,
    /// Reading the request.
    #[error("cannot read the request on stdin")]
    ReadRequest(#[source] io::Error),
    /// More than any kubelet sends.
    #[error("the request on stdin is larger than {limit} bytes")]
    RequestTooLarge {
        /// Bytes allowed.
        limit: u64,
    },
    /// Understanding the request.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// Our configuration.
    #[error("cannot use the configuration")]
    Config(#[from] ConfigError),
    /// The image asked for.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// Nothing is configured for it.
    #[error("no entry of {config:?} matches image {image}")]
    NoEntry {
        /// The image.
        image: String,
        /// Our configuration.
        config: PathBuf,
    },
    /// Nothing is configured at all.
    #[error("{config:?} has no registries")]
    NoRegistries {
        /// Our configuration.
        config: PathBuf,
    },
    /// A token for nobody in particular.
    #[error(transparent)]
    NoAudience(#[from] NoAudience),
    /// Completing a relative path.
    #[error("cannot tell the current folder")]
    CurrentFolder(#[source] io::Error),
    /// The credentials cannot be had.
    #[error("no credentials for image {image} by {}:{line}", config.display())]
    Fetch {
        /// The image.
        image: String,
        /// Our configuration.
        config: PathBuf,
        /// Where in it the entry stands.
        line: u64,
        /// Why.
        source: Box<FetchError>,
    },
    /// What is kept between runs.
    #[error(transparent)]
    Cache(#[from] CacheError),
    /// A file with a service account's token.
    #[error("cannot read the token")]
    TokenFile(#[source] FileError),
    /// Something else than a token.
    #[error("{path:?} holds no token")]
    Token {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: TokenError,
    },
    /// Writing the answer down.
    #[error("cannot render the answer as JSON")]
    Render(#[from] serde_json::Error),
}

impl Error {
    /// What the admin can do about it, where the message does not say.
    pub fn remedy(&self) -> Option<String> {
        match self {
            Self::Usage(_) | Self::Terminal => Some("see --help".into()),
            Self::Request(RequestError::Version(_)) => {
                let known = ApiVersion::ALL.map(ApiVersion::as_str).join(", ");
                Some(format!(
                    "set the apiVersion of this provider in the kubelet's configuration to one of {known}"
                ))
            }
            Self::Request(_) | Self::RequestTooLarge { .. } => {
                Some("the kubelet runs this program; to try it by hand, see --help".into())
            }
            Self::Config(error) => config_remedy(error),
            Self::NoEntry { .. } => {
                Some("add its registry to a match list, or take it out of the kubelet's matchImages".into())
            }
            Self::CurrentFolder(_) => Some("give --config and --bin-dir as absolute paths".into()),
            Self::NoAudience(_) => Some("add tokenAudience: the one that the registry expects".into()),
            Self::NoRegistries { .. } => Some("add an entry for each private registry".into()),
            Self::Fetch { source, .. } => Some(source.remedy().into()),
            Self::Cache(error) => Some(error.remedy().into()),
            Self::TokenFile(error) => Some(error.remedy().into()),
            Self::Token { .. } => {
                Some("write one there: kubectl create token NAME --audience AUDIENCE".into())
            }
            Self::ReadRequest(_) | Self::Image(_) | Self::Render(_) => None,
        }
    }
}

fn config_remedy(error: &ConfigError) -> Option<String> {
    match error {
        ConfigError::Value { others, .. } if !others.is_empty() => {
            Some(format!("{} more such: see check-config", others.len()))
        }
        ConfigError::File(crate::file::FileError::Open { path, .. }) if path.as_os_str() == DEFAULT_PATH => {
            Some(format!("{}, or name another one with --config", error.remedy()?))
        }
        _ => error.remedy().map(Into::into),
    }
}

/// An error in one line: itself and its causes, then what to do.
pub fn render(error: &Error) -> String {
    let mut line = chain(error);
    if let Some(remedy) = error.remedy() {
        line.push_str("; ");
        line.push_str(&remedy);
    }
    line
}

/// An error and its causes, joined by colons, in one line whatever a file or a request holds.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}
