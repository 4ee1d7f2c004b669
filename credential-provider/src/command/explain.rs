//! `explain IMAGE`: what would be answered for an image, and why.

use std::path::Path;
use std::time::Instant;

use crate::config::{Config, OnError, Registry};
use crate::error::{Error, chain};
use crate::image::ImageRef;
use crate::pattern::Pattern;
use crate::provider::{self, Claim, Credential, FetchError};
use crate::report::Finding;
use crate::wire;

/// Follows `text`, an image as a pod names it, through the configuration at `path`.
pub fn explain(text: &str, path: &Path, deadline: Instant) -> Result<Vec<Finding>, Error> {
    let config = Config::load(path)?;
    let image = ImageRef::parse(text)?;
    let asked = format!("the kubelet asks for {}", image.repository());
    let mut findings = vec![Finding::ok("image", text, asked)];
    let Some(claim) = provider::find(&config, &image) else {
        findings.push(unclaimed(path, &image));
        return Ok(findings);
    };
    findings.push(entry(path, &claim, &image));
    match claim.fetch(&config, &image, deadline) {
        Ok(credential) => findings.extend(answer(&claim, &image, &credential)),
        Err(error) => findings.push(failure(claim.registry, &image, &error)),
    }
    Ok(findings)
}

fn unclaimed(path: &Path, image: &ImageRef) -> Finding {
    let error = Error::NoEntry { image: image.to_string(), config: path.to_owned() };
    let evidence = "no match list has it: it is pulled without credentials from here";
    Finding::fail("entry", path.display().to_string(), evidence).fix(error.remedy().unwrap_or_default())
}

fn entry(path: &Path, claim: &Claim<'_>, image: &ImageRef) -> Finding {
    let Claim { index, registry, .. } = claim;
    let pattern = registry.patterns.iter().find(|pattern| pattern.matches(image)).map(Pattern::as_str);
    let object = format!("{}:{}", path.display(), registry.line);
    let evidence = format!("registries[{index}] is the first to match, by {:?}", pattern.unwrap_or_default());
    Finding::ok("entry", object, evidence)
}

fn answer(claim: &Claim<'_>, image: &ImageRef, credential: &Credential) -> [Finding; 2] {
    let kept = match claim.provider.cache_key(image) {
        Some(key) => format!("kept between runs under {key:?}"),
        None => "fetched anew at each run".into(),
    };
    let response = format!(
        "auth key {:?}, cacheKeyType {}, cacheDuration {}",
        credential.key,
        wire::cache_key_type(credential.scope),
        wire::cache_duration(credential)
    );
    [
        Finding::ok("credentials", image.to_string(), format!("{}, {kept}", credential.origin)),
        Finding::ok("answer", image.to_string(), response),
    ]
}

fn failure(registry: &Registry, image: &ImageRef, error: &FetchError) -> Finding {
    let why = chain(error);
    match registry.on_error {
        OnError::Fail => Finding::fail("credentials", image.to_string(), why),
        OnError::Anonymous => Finding::warn(
            "credentials",
            image.to_string(),
            format!("{why}; answered without credentials (onError)"),
        ),
    }
    .fix(error.remedy())
}
