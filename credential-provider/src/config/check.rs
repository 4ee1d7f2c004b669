//! The meaning of the values: every mistake is found, not only the first.

use std::path::PathBuf;

use serde_saphyr::Spanned;

use super::raw::{RawConfig, RawRegistry};
use super::{Config, DOCKER_CONFIG, OnError, Registry, Source, VERSION, ValueError, ValueProblem};
use crate::pattern::Pattern;

/// Mistakes found so far, and the entry they are looked for in.
struct Findings {
    errors: Vec<ValueError>,
    entry: String,
}

/// At least one mistake.
pub(super) struct Mistakes {
    pub(super) first: ValueError,
    pub(super) others: Vec<ValueError>,
}

/// A checked configuration, or all that is wrong with it.
pub(super) fn check(raw: RawConfig) -> Result<Config, Box<Mistakes>> {
    let mut findings = Findings { errors: Vec::new(), entry: String::new() };
    if raw.version.value != VERSION {
        let line = raw.version.referenced.line();
        let problem = ValueProblem::Version(raw.version.value);
        findings.errors.push(ValueError { line, key: "version".into(), problem });
    }
    let mut registries = Vec::new();
    for (index, entry) in raw.registries.into_iter().enumerate() {
        findings.entry = format!("registries[{index}]");
        registries.extend(check_entry(entry, &mut findings));
    }
    let mut errors = findings.errors.into_iter();
    match errors.next() {
        None => Ok(Config { registries }),
        Some(first) => Err(Box::new(Mistakes { first, others: errors.collect() })),
    }
}

/// None if a mistake was found without which the entry cannot be built.
fn check_entry(raw: Spanned<RawRegistry>, findings: &mut Findings) -> Option<Registry> {
    let line = raw.referenced.line();
    let RawRegistry { patterns, provider, file, on_error } = raw.value;
    let patterns = patterns.unwrap_or_default();
    if patterns.is_empty() {
        findings.add(line, "match", ValueProblem::NoPattern);
    }
    let patterns = patterns.into_iter().filter_map(|text| check_pattern(text, findings)).collect();
    let on_error = on_error.map_or(Some(OnError::Fail), |text| check_on_error(text, findings));
    let source = check_source(line, provider, file, findings);
    Some(Registry { line, patterns, source: source?, on_error: on_error? })
}

fn check_pattern(text: Spanned<String>, findings: &mut Findings) -> Option<Pattern> {
    let pattern = text.value;
    match Pattern::parse(&pattern) {
        Ok(parsed) => Some(parsed),
        Err(source) => {
            findings.add(text.referenced.line(), "match", ValueProblem::Pattern { pattern, source });
            None
        }
    }
}

fn check_on_error(text: Spanned<String>, findings: &mut Findings) -> Option<OnError> {
    match text.value.as_str() {
        "fail" => Some(OnError::Fail),
        "anonymous" => Some(OnError::Anonymous),
        _ => {
            findings.add(text.referenced.line(), "onError", ValueProblem::OnError(text.value));
            None
        }
    }
}

fn check_source(
    line: u64,
    provider: Option<Spanned<String>>,
    file: Option<Spanned<String>>,
    findings: &mut Findings,
) -> Option<Source> {
    let Some(provider) = provider else {
        findings.add(line, "provider", ValueProblem::NoProvider);
        return None;
    };
    if provider.value != DOCKER_CONFIG {
        findings.add(provider.referenced.line(), "provider", ValueProblem::Provider(provider.value));
        return None;
    }
    let Some(file) = file else {
        findings.add(provider.referenced.line(), "file", ValueProblem::NoFile);
        return None;
    };
    if !file.value.starts_with('/') {
        findings.add(file.referenced.line(), "file", ValueProblem::RelativePath(file.value));
        return None;
    }
    Some(Source::DockerConfig { file: PathBuf::from(file.value) })
}

impl Findings {
    fn add(&mut self, line: u64, key: &str, problem: ValueProblem) {
        self.errors.push(ValueError { line, key: format!("{}.{key}", self.entry), problem });
    }
}
