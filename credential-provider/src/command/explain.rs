//! `explain IMAGE`: what would be answered for an image, and why. Nobody is asked, and no secret is shown.

mod kubelet;

use std::path::Path;

use crate::claim::{self, Asker, Claim};
use crate::cli::KubeletFile;
use crate::config::{Config, Policy};
use crate::error::{Error, chain};
use crate::image::ImageRef;
use crate::pattern::Pattern;
use crate::provider::{Ask, FetchError};
use crate::report::Finding;

/// Follows `text`, an image as a pod names it, through the entries of `kubelet`, if its file is given, and the
/// configuration at `path`.
pub fn explain(
    text: &str,
    path: &Path,
    asker: Asker<'_>,
    kubelet: Option<&KubeletFile>,
) -> Result<Vec<Finding>, Error> {
    let config = Config::load(path)?;
    let image = ImageRef::parse(text)?;
    let asked = format!("the kubelet asks for {}", image.repository());
    let mut findings = vec![Finding::ok("image", text, asked)];
    let claim = claim::find(&config, &image);
    if let Some(kubelet) = kubelet {
        let registry = claim.map(|claim| claim.registry);
        let account = asker.service_account;
        let question = kubelet::Question { image: &image, config: path, registry, account };
        findings.extend(kubelet::check(kubelet, &question));
    }
    let Some(claim) = claim else {
        findings.push(unclaimed(path, &image));
        return Ok(findings);
    };
    findings.push(entry(&claim, &image));
    match plan(&claim, &image, asker) {
        Ok(steps) => findings.extend(steps),
        Err(error) => findings.push(failure(&claim, &image, &error)),
    }
    Ok(findings)
}

fn unclaimed(path: &Path, image: &ImageRef) -> Finding {
    let error = Error::NoEntry { image: image.to_string(), config: path.to_owned() };
    let evidence = "no match list has it: it is pulled without credentials from here";
    Finding::fail("entry", path.display().to_string(), evidence).fix(error.remedy().unwrap_or_default())
}

fn entry(claim: &Claim<'_>, image: &ImageRef) -> Finding {
    let Claim { index, registry, .. } = claim;
    let pattern = registry.patterns.iter().find(|pattern| pattern.matches(image)).map(Pattern::as_str);
    let object = format!("{}:{}", registry.file.display(), registry.line);
    let evidence = format!("registries[{index}] is the first to match, by {:?}", pattern.unwrap_or_default());
    Finding::ok("entry", object, evidence)
}

/// What would be done, step by step.
fn plan(claim: &Claim<'_>, image: &ImageRef, asker: Asker<'_>) -> Result<Vec<Finding>, FetchError> {
    let original = claim.original(image)?;
    let Asker { service_account, variables } = asker;
    let ask = Ask { image: &original, service_account, variables };
    claim.provider().recognises(&original)?;
    let mut findings = Vec::new();
    if claim.registry.mirror_of.is_some() {
        let evidence =
            format!("a mirror: the credentials of {original} are given under {}", image.registry());
        findings.push(Finding::ok("mirror", image.to_string(), evidence));
    }
    let kept = match claim.provider().cache_key(&ask).filter(|_| claim.config.cache.shared) {
        Some(key) => format!("looked for in {:?} as {key:?} first", claim.config.cache.dir),
        None => "fetched anew at each run".into(),
    };
    findings.push(Finding::ok("cache", image.to_string(), kept));
    let steps = claim.provider().plan(&ask)?;
    findings.extend(steps.into_iter().map(|step| Finding::ok("would", image.to_string(), step)));
    Ok(findings)
}

fn failure(claim: &Claim<'_>, image: &ImageRef, error: &FetchError) -> Finding {
    let why = chain(error);
    match error.policy(claim.registry) {
        Policy::Fail => Finding::fail("credentials", image.to_string(), why),
        Policy::Anonymous => Finding::warn(
            "credentials",
            image.to_string(),
            format!("{why}; answered without credentials, as the entry says"),
        ),
    }
    .fix(error.remedy())
}
