//! From the kubelet's question to the answer.

use std::path::Path;
use std::time::Instant;

use crate::config::{Config, OnError, Registry};
use crate::error::Error;
use crate::image::ImageRef;
use crate::provider::{self, Credential, FetchError, Scope};
use crate::secret::SecretBytes;
use crate::wire::{self, ApiVersion, Request};

/// A document for stdout, and a line for stderr if something had to be put up with.
#[derive(Debug)]
pub struct Answer {
    /// The response, with secrets.
    pub document: SecretBytes,
    /// Why it holds no credentials.
    pub complaint: Option<Error>,
}

/// Answers `request`, the bytes from stdin, by the configuration at `path`.
pub fn answer(request: &[u8], path: &Path, deadline: Instant) -> Result<Answer, Error> {
    let request = Request::parse(request)?;
    let config = Config::load(path)?;
    let image = ImageRef::parse(&request.image)?;
    let Some((_, registry)) = config.entry_for(&image) else {
        return Err(Error::NoEntry { image: image.to_string(), config: path.to_owned() });
    };
    match fetch(&config, registry, &image, deadline) {
        Ok(credential) => {
            Ok(Answer { document: wire::render_credential(request.version, &credential)?, complaint: None })
        }
        Err(source) => {
            let (image, config, line) = (image.to_string(), path.to_owned(), registry.line);
            put_up_with(
                Error::Fetch { image, config, line, source: Box::new(source) },
                registry.on_error,
                request.version,
            )
        }
    }
}

/// Credentials for `image` by the entry `registry`, with a scope no wider than the whole configuration allows.
pub fn fetch(
    config: &Config,
    registry: &Registry,
    image: &ImageRef,
    deadline: Instant,
) -> Result<Credential, FetchError> {
    let credential = provider::open(registry).fetch(image, deadline)?;
    let scope = if config.is_uniform_for(image) { credential.scope } else { Scope::Image };
    Ok(Credential { scope, ..credential })
}

fn put_up_with(error: Error, policy: OnError, version: ApiVersion) -> Result<Answer, Error> {
    match policy {
        OnError::Fail => Err(error),
        OnError::Anonymous => {
            Ok(Answer { document: wire::render_anonymous(version)?, complaint: Some(error) })
        }
    }
}
