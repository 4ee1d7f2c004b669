//! From the kubelet's question to the answer.

use std::path::Path;

use crate::claim::{self, Asker};
use crate::command::Context;
use crate::config::{Config, Policy};
use crate::error::Error;
use crate::image::ImageRef;
use crate::provider::FetchError;
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
pub fn answer(request: &[u8], path: &Path, context: &Context) -> Result<Answer, Error> {
    let request = Request::parse(request)?;
    let config = Config::load(path)?;
    let image = ImageRef::parse(&request.image)?;
    let Some(claim) = claim::find(&config, &image) else {
        return Err(Error::NoEntry { image: image.to_string(), config: path.to_owned() });
    };
    let asker = Asker { service_account: request.service_account.as_ref(), variables: &context.variables };
    let run = context.run(&config);
    match claim.grant(&image, asker, &run) {
        Ok(grant) => {
            let kept = grant.credential.cache_duration(&config.defaults, run.now);
            Ok(Answer { document: wire::render_grant(request.version, &grant, kept)?, complaint: None })
        }
        Err(source) => {
            let policy = source.policy(claim.registry);
            put_up_with(failed(&claim, &image, source), policy, request.version)
        }
    }
}

/// `source`, with the image and the entry it went wrong for.
pub(super) fn failed(claim: &claim::Claim<'_>, image: &ImageRef, source: FetchError) -> Error {
    let (config, line) = (claim.registry.file.clone(), claim.registry.line);
    Error::Fetch { image: image.to_string(), config, line, source: Box::new(source) }
}

fn put_up_with(error: Error, policy: Policy, version: ApiVersion) -> Result<Answer, Error> {
    match policy {
        Policy::Fail => Err(error),
        Policy::Anonymous => {
            Ok(Answer { document: wire::render_anonymous(version)?, complaint: Some(error) })
        }
    }
}
