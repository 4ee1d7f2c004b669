//! From the kubelet's question to the answer.

use std::path::Path;
use std::time::Instant;

use crate::config::{Config, OnError};
use crate::error::Error;
use crate::image::ImageRef;
use crate::provider;
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
    let Some(claim) = provider::find(&config, &image) else {
        return Err(Error::NoEntry { image: image.to_string(), config: path.to_owned() });
    };
    match claim.fetch(&config, &image, deadline) {
        Ok(credential) => {
            Ok(Answer { document: wire::render_credential(request.version, &credential)?, complaint: None })
        }
        Err(source) => {
            let (image, config, line) = (image.to_string(), path.to_owned(), claim.registry.line);
            let error = Error::Fetch { image, config, line, source: Box::new(source) };
            put_up_with(error, claim.registry.on_error, request.version)
        }
    }
}

fn put_up_with(error: Error, policy: OnError, version: ApiVersion) -> Result<Answer, Error> {
    match policy {
        OnError::Fail => Err(error),
        OnError::Anonymous => {
            Ok(Answer { document: wire::render_anonymous(version)?, complaint: Some(error) })
        }
    }
}
