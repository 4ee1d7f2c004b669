//! From the kubelet's question to the answer.

use std::path::Path;

use crate::claim::{self, Asker, Claim};
use crate::command::Context;
use crate::config::{Config, Policy};
use crate::error::Error;
use crate::image::ImageRef;
use crate::provider::{Grant, Run};
use crate::secret::SecretBytes;
use crate::telemetry::Told;
use crate::wire::{self, Request};

/// A document for stdout, and a line for stderr if something had to be put up with.
#[derive(Debug)]
pub struct Answer {
    /// The response, with secrets.
    pub document: SecretBytes,
    /// Why it holds no credentials.
    pub complaint: Option<Error>,
}

/// Answers `request`, the bytes from stdin, by the configuration at `path`. What became of it is in `told`, also
/// where it is an error.
pub fn answer(request: &[u8], path: &Path, context: &Context, told: &mut Told) -> Result<Answer, Error> {
    let request = Request::parse(request)?;
    let config = Config::load(path)?;
    let image = ImageRef::parse(&request.image)?;
    let Some(claim) = claim::find(&config, &image) else {
        return Err(Error::NoEntry { image: image.to_string(), config: path.to_owned() });
    };
    told.provider = claim.provider_name();
    let asker = Asker { service_account: request.service_account.as_ref(), variables: &context.variables };
    let run = context.run(&config);
    match give(&claim, &image, asker, &run)? {
        Given::Grant(grant) => {
            (told.is_given, told.is_kept) = (true, grant.is_kept);
            let kept = grant.credential.cache_duration(&config.defaults, run.now);
            Ok(Answer { document: wire::render_grant(request.version, &grant, kept)?, complaint: None })
        }
        Given::Nothing(error) => {
            Ok(Answer { document: wire::render_anonymous(request.version)?, complaint: Some(error) })
        }
    }
}

/// What the kubelet is given.
pub(super) enum Given {
    /// Credentials.
    Grant(Grant),
    /// None, and why: the entry puts up with that.
    Nothing(Error),
}

/// What the kubelet is given for `image`; an error where it is given no answer.
pub(super) fn give(claim: &Claim<'_>, image: &ImageRef, asker: Asker<'_>, run: &Run) -> Result<Given, Error> {
    let source = match claim.grant(image, asker, run) {
        Ok(grant) => return Ok(Given::Grant(grant)),
        Err(source) => source,
    };
    let policy = source.policy(claim.registry);
    let (config, line) = (claim.registry.file.clone(), claim.registry.line);
    let error = Error::Fetch { image: image.to_string(), config, line, source: Box::new(source) };
    match policy {
        Policy::Fail => Err(error),
        Policy::Anonymous => Ok(Given::Nothing(error)),
    }
}
