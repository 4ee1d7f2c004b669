//! `doctor [IMAGE]`: why an image is not pulled. Every identity of the entries that could answer is tried, and the
//! whole way gone, past what is kept from earlier runs; each with the time it took.

use std::path::Path;
use std::time::{Duration, Instant};

use crate::cache::store::Store;
use crate::claim::{self, Claim};
use crate::command::Context;
use crate::command::check_config::{Scope, check_config};
use crate::config::{Config, Policy};
use crate::error::{Error, chain};
use crate::image::ImageRef;
use crate::provider::{Ask, FetchError, Run};
use crate::report::{Finding, Severity};
use crate::service_account::ServiceAccount;

/// Examines the configuration at `path`, for `image` or, without one, for each registry that it spells out.
pub fn doctor(
    image: Option<&str>,
    path: &Path,
    service_account: Option<&ServiceAccount>,
    context: &Context,
) -> Result<Vec<Finding>, Error> {
    let mut findings = check_config(path, Scope::Files, None);
    if findings.iter().any(|finding| finding.check == "config" && finding.severity == Severity::Fail) {
        return Ok(findings);
    }
    let config = Config::load(path)?;
    findings.push(cache(&config));
    let examples = || config.patterns().filter_map(|pattern| pattern.example()).collect();
    let images: Vec<String> = image.map_or_else(examples, |image| vec![image.to_owned()]);
    if images.is_empty() {
        let evidence = "no entry spells a registry out, so none can be tried";
        findings
            .push(Finding::warn("image", path.display().to_string(), evidence).fix("name one: doctor IMAGE"));
    }
    for image in images {
        findings.extend(examine(&ImageRef::parse(&image)?, &config, path, service_account, context));
    }
    Ok(findings)
}

fn cache(config: &Config) -> Finding {
    let object = config.cache.dir.display().to_string();
    if !config.cache.shared {
        return Finding::warn("cache", object, "cache.mode is off: each pull asks anew")
            .fix("set it to shared");
    }
    let count = Store::open(&config.cache.dir).and_then(|store| store.list());
    match count {
        Ok(entries) => Finding::ok("cache", object, format!("{} credentials", entries.len())),
        Err(error) => Finding::warn("cache", object, chain(&error)).fix(error.remedy()),
    }
}

fn examine(
    image: &ImageRef,
    config: &Config,
    path: &Path,
    service_account: Option<&ServiceAccount>,
    context: &Context,
) -> Vec<Finding> {
    let Some(claim) = claim::find(config, image) else {
        let error = Error::NoEntry { image: image.to_string(), config: path.to_owned() };
        let fix = error.remedy().unwrap_or_default();
        return vec![Finding::fail("entry", image.to_string(), chain(&error)).fix(fix)];
    };
    match claim.original(image) {
        Ok(original) => {
            let ask = Ask { image: &original, service_account, variables: &context.variables };
            probe(&claim, &ask, config, context)
        }
        Err(error) => vec![Finding::fail("mirror", image.to_string(), chain(&error)).fix(error.remedy())],
    }
}

fn probe(claim: &Claim<'_>, ask: &Ask<'_>, config: &Config, context: &Context) -> Vec<Finding> {
    let provider = claim.provider();
    if let Err(error) = provider.recognises(ask.image) {
        return vec![Finding::fail("entry", ask.image.to_string(), chain(&error)).fix(error.remedy())];
    }
    let mut findings = Vec::new();
    for identity in provider.identities() {
        let (found, took) = timed(config, context, |run| provider.probe(identity, ask, run));
        findings.push(identified(identity, ask, found, took));
    }
    let (fetched, took) = timed(config, context, |run| provider.fetch(ask, run));
    findings.push(match fetched {
        Ok(credential) => {
            let evidence = format!("{}; {:.3} s", credential.origin, took.as_secs_f64());
            Finding::ok("credentials", ask.image.to_string(), evidence)
        }
        Err(error) => failed(claim, ask, &error, took),
    });
    findings
}

/// `act` with all the time that a pull would have.
fn timed<T>(config: &Config, context: &Context, act: impl FnOnce(&Run) -> T) -> (T, Duration) {
    let start = Instant::now();
    let run = Context { start, ..context.clone() }.run(config);
    let outcome = act(&run);
    (outcome, start.elapsed())
}

fn identified(identity: &str, ask: &Ask<'_>, found: Result<bool, FetchError>, took: Duration) -> Finding {
    let (object, seconds) = (format!("{identity} for {}", ask.image), took.as_secs_f64());
    match found {
        Ok(true) => Finding::ok("identity", object, format!("it is there; {seconds:.3} s")),
        Ok(false) => Finding::warn("identity", object, format!("there is none; {seconds:.3} s")).fix(
            "give the node or the pod this identity (explain IMAGE says how), or take it out of the list",
        ),
        Err(error) => Finding::fail("identity", object, format!("{}; {seconds:.3} s", chain(&error)))
            .fix(error.remedy()),
    }
}

fn failed(claim: &Claim<'_>, ask: &Ask<'_>, error: &FetchError, took: Duration) -> Finding {
    let evidence = format!("{}; {:.3} s", chain(error), took.as_secs_f64());
    let object = ask.image.to_string();
    match error.policy(claim.registry) {
        Policy::Fail => Finding::fail("credentials", object, evidence),
        Policy::Anonymous => {
            Finding::warn("credentials", object, format!("{evidence}; pulled without credentials"))
        }
    }
    .fix(error.remedy())
}
