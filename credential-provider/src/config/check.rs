//! The meaning of the values: every mistake is found, not only the first.

use std::path::Path;
use std::time::Duration;

use super::findings::{Findings, Mistakes};
use super::keys::{At, Keys};
use super::raw::RawConfig;
use super::{CacheSettings, Config, Defaults, Policy, Registry, VERSION, ValueProblem};
use crate::endpoint::Endpoint;
use crate::go_duration;
use crate::http::ProxyPolicy;
use crate::pattern::Pattern;
use crate::provider::Source;
use crate::secret::Secret;
use crate::yaml::Tree;

const POLICIES: [(&str, Policy); 2] = [("fail", Policy::Fail), ("anonymous", Policy::Anonymous)];

/// A checked configuration, or all that is wrong with it.
pub(super) fn whole(file: &Path, raw: RawConfig) -> Result<Config, Box<Mistakes>> {
    let mut findings = Findings::default();
    check_version(&raw, &mut findings);
    let defaults = raw.defaults.map(|tree| defaults(tree, &mut findings)).unwrap_or_default();
    let cache = raw.cache.map(|tree| cache(tree, &mut findings)).unwrap_or_default();
    let registries = registries(file, raw.registries, &mut findings);
    findings.settle(Config { defaults, cache, registries })
}

/// The registries of a file that adds to the one at `main`.
pub(super) fn part(main: &Path, file: &Path, raw: RawConfig) -> Result<Vec<Registry>, Box<Mistakes>> {
    let mut findings = Findings::default();
    check_version(&raw, &mut findings);
    for (key, tree) in [("defaults", &raw.defaults), ("cache", &raw.cache)] {
        if let Some(tree) = tree {
            findings.add(tree.line, key.to_owned(), ValueProblem::Elsewhere(main.to_owned()));
        }
    }
    let registries = registries(file, raw.registries, &mut findings);
    findings.settle(registries)
}

fn check_version(raw: &RawConfig, findings: &mut Findings) {
    if raw.version.value != VERSION {
        let problem = ValueProblem::Version(raw.version.value.clone());
        findings.add(raw.version.referenced.line(), "version".into(), problem);
    }
}

fn defaults(tree: Tree, findings: &mut Findings) -> Defaults {
    let mut keys = Keys::new("defaults".into(), tree, findings);
    let usual = Defaults::default();
    let deadline = keys.parsed("deadline", deadline).map_or(usual.deadline, |deadline| deadline.value);
    let cache_margin = keys.duration("cacheMargin").unwrap_or(usual.cache_margin);
    let proxy = proxy(&mut keys).unwrap_or(usual.proxy);
    let ca_file = keys.path("caFile");
    keys.finish("it");
    Defaults { deadline, cache_margin, proxy, ca_file }
}

/// The kubelet ends the program after a minute, and an answer needs a moment to reach it.
fn deadline(text: &str) -> Result<Duration, String> {
    let deadline = go_duration::parse(text)?;
    let allowed = Duration::from_secs(1)..=Duration::from_secs(55);
    allowed.contains(&deadline).then_some(deadline).ok_or_else(|| "write a time from 1s to 55s".to_owned())
}

/// The URL may hold a password, so it is never repeated.
fn proxy(keys: &mut Keys<'_>) -> Option<ProxyPolicy> {
    let At { line, value } = keys.text("proxy")?;
    let policy = match value.as_str() {
        "environment" => ProxyPolicy::FromEnvironment,
        "none" => ProxyPolicy::None,
        _ => ProxyPolicy::Fixed(Secret::new(value)),
    };
    match policy.check() {
        Ok(()) => Some(policy),
        Err(_) => {
            keys.refuse(line, "proxy", ValueProblem::Shape("\"environment\", \"none\" or http://host:port"));
            None
        }
    }
}

fn cache(tree: Tree, findings: &mut Findings) -> CacheSettings {
    let mut keys = Keys::new("cache".into(), tree, findings);
    let usual = CacheSettings::default();
    let shared = keys.choice("mode", &[("shared", true), ("off", false)]).unwrap_or(usual.shared);
    let dir = keys.path("dir").unwrap_or(usual.dir);
    keys.finish("it");
    CacheSettings { shared, dir }
}

fn registries(file: &Path, trees: Vec<Tree>, findings: &mut Findings) -> Vec<Registry> {
    let entries = trees.into_iter().enumerate();
    entries
        .filter_map(|(index, tree)| registry(file, format!("registries[{index}]"), tree, findings))
        .collect()
}

/// None if a mistake was found without which the entry cannot be built.
fn registry(file: &Path, path: String, tree: Tree, findings: &mut Findings) -> Option<Registry> {
    let mut keys = Keys::new(path, tree, findings);
    let line = keys.line;
    let patterns = patterns(&mut keys);
    let needs = "name the kind of registry, such as \"ecr\" or \"docker-config\"";
    let provider = keys.needed("provider", needs);
    let on_error = keys.choice("onError", &POLICIES).unwrap_or(Policy::Fail);
    let on_missing_identity = keys.choice("onMissingIdentity", &POLICIES).unwrap_or(on_error);
    let mirror_of = keys.parsed("mirrorOf", mirrored).map(|host| host.value);
    let audience = keys.text("tokenAudience");
    let globs = if mirror_of.is_none() {
        patterns.iter().find(|pattern| pattern.as_str().contains('*'))
    } else {
        None
    };
    let secret_variable = keys.names_in("env").find(|name| is_secret(name)).map(str::to_owned);
    let source = provider.and_then(|name| source(name, globs, audience.as_ref(), keys));
    let file = file.to_owned();
    Some(Registry {
        file,
        line,
        patterns,
        source: source?,
        secret_variable,
        mirror_of,
        token_audience: audience.map(|audience| audience.value),
        on_error,
        on_missing_identity,
    })
}

/// Whether what a variable is called says that its value is to be hidden, and not where the value lies.
fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_uppercase();
    let is_place = ["_FILE", "_PATH", "_DIR", "_URL", "_ID"].iter().any(|end| name.ends_with(end));
    !is_place && ["PASSWORD", "SECRET", "TOKEN", "KEY"].iter().any(|word| name.contains(word))
}

/// What is left of `keys` is the provider's.
fn source(
    At { line, value }: At<String>,
    glob: Option<&Pattern>,
    audience: Option<&At<String>>,
    mut keys: Keys<'_>,
) -> Option<Source> {
    let Some((name, read)) = Source::READERS.iter().find(|(name, _)| *name == value) else {
        keys.refuse(line, "provider", ValueProblem::choice(value, &Source::READERS));
        return None;
    };
    let source = read(&mut keys);
    let why = source.as_ref().and_then(|source| source.provider().refuses_globs());
    if let (Some(why), Some(glob)) = (why, glob) {
        let (given, why) = (glob.as_str().to_owned(), why.to_owned());
        keys.refuse(line, "match", ValueProblem::Refused { given, why });
    }
    let wants_token = source.as_ref().is_none_or(|source| source.provider().pod_token().is_some());
    if let Some(At { line, value }) = audience.filter(|_| !wants_token) {
        let why =
            "the entry passes no pod's token on, so nothing would read it; leave the key out".to_owned();
        keys.refuse(*line, "tokenAudience", ValueProblem::Refused { given: value.clone(), why });
    }
    keys.finish(&format!("provider {name:?}"));
    source
}

fn patterns(keys: &mut Keys<'_>) -> Vec<Pattern> {
    let line = keys.line;
    let texts = keys.list("match").unwrap_or_default();
    if texts.is_empty() {
        keys.refuse(line, "match", ValueProblem::NoPattern);
    }
    texts.into_iter().filter_map(|text| pattern(text, keys)).collect()
}

fn pattern(At { line, value: pattern }: At<String>, keys: &mut Keys<'_>) -> Option<Pattern> {
    match Pattern::parse(&pattern) {
        Ok(parsed) => Some(parsed),
        Err(source) => {
            keys.refuse(line, "match", ValueProblem::Pattern { pattern, source });
            None
        }
    }
}

fn mirrored(text: &str) -> Result<String, String> {
    let endpoint = Endpoint::parse(text).map_err(|error| error.to_string())?;
    let is_host = endpoint.is_literal() && endpoint.authority() == text.as_bytes();
    is_host
        .then(|| text.to_owned())
        .ok_or_else(|| "write a registry such as \"registry.example.com:5000\"".into())
}
