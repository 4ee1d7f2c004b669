//! `explain IMAGE`: what would be answered for an image, and why.

use std::path::Path;
use std::time::Instant;

use super::answer::fetch;
use crate::config::{Config, OnError, Registry};
use crate::error::{Error, chain};
use crate::image::ImageRef;
use crate::provider::{self, Credential, FetchError};
use crate::report::Finding;
use crate::wire;

/// Follows `text`, an image as a pod names it, through the configuration at `path`.
pub fn explain(text: &str, path: &Path, deadline: Instant) -> Result<Vec<Finding>, Error> {
    let config = Config::load(path)?;
    let image = ImageRef::parse(text)?;
    let asked = format!("the kubelet asks for {}", image.repository());
    let mut findings = vec![Finding::ok("image", text, asked)];
    let Some((index, registry)) = config.entry_for(&image) else {
        let error = Error::NoEntry { image: image.to_string(), config: path.to_owned() };
        findings.push(
            Finding::fail(
                "entry",
                path.display().to_string(),
                "no match list has it: it is pulled without these credentials",
            )
            .fix(error.remedy().unwrap_or_default()),
        );
        return Ok(findings);
    };
    findings.push(entry(path, index, registry, &image));
    match fetch(&config, registry, &image, deadline) {
        Ok(credential) => findings.extend(answer(registry, &image, &credential)),
        Err(error) => findings.push(failure(registry, &image, &error)),
    }
    Ok(findings)
}

fn entry(path: &Path, index: usize, registry: &Registry, image: &ImageRef) -> Finding {
    let pattern = registry.patterns.iter().find(|pattern| pattern.matches(image));
    let pattern = pattern.map(crate::pattern::Pattern::as_str).unwrap_or_default();
    let object = format!("{}:{}", path.display(), registry.line);
    Finding::ok("entry", object, format!("registries[{index}] is the first to match, by {pattern:?}"))
}

fn answer(registry: &Registry, image: &ImageRef, credential: &Credential) -> [Finding; 2] {
    let kept = match provider::open(registry).cache_key(image) {
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
