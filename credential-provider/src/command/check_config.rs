//! `check-config`: the mistakes that would be found at three in the morning.

mod files;
mod kubelet;

use std::collections::BTreeSet;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::cli::KubeletFile;
use crate::config::{Config, ConfigError, Policy, Registry};
use crate::error::chain;
use crate::file::{self, FileError, Loaded};
use crate::image::ImageRef;
use crate::pattern::Pattern;
use crate::provider::Source;
use crate::provider::docker_config::{Auths, AuthsError, Unusable};
use crate::report::Finding;

/// How far to look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// At the configuration, which is not yet where the files are that it names.
    Alone,
    /// And at every file and program it names.
    Files,
}

/// Looks at the configuration at `path`, and at the kubelet's own if there is one to look at.
pub fn check_config(path: &Path, scope: Scope, kubelet: Option<&KubeletFile>) -> Vec<Finding> {
    let config = Config::load(path);
    let mut findings = check_own(path, scope, &config);
    findings.extend(kubelet.into_iter().flat_map(|kubelet| kubelet::check(kubelet, config.as_ref().ok())));
    findings
}

fn check_own(path: &Path, scope: Scope, config: &Result<Config, ConfigError>) -> Vec<Finding> {
    let object = path.display().to_string();
    let loaded = match file::load(path) {
        Ok(loaded) => loaded,
        Err(error) => return vec![unreadable("config", &object, &error)],
    };
    let mut findings = Vec::from_iter(files::writable("config", path, loaded.mode));
    match config {
        Ok(config) => {
            findings.push(summary(&object, config));
            findings.extend(shadowed(config));
            if scope == Scope::Files {
                findings.extend(files::of_configuration(path, config));
            }
            for registry in &config.registries {
                for finding in check_registry(registry, scope) {
                    // Several entries may name one file.
                    if !findings.contains(&finding) {
                        findings.push(finding);
                    }
                }
            }
        }
        Err(error) => findings.extend(mistakes(&object, error)),
    }
    findings
}

fn summary(object: &str, config: &Config) -> Finding {
    match config.registries.len() {
        0 => Finding::warn("config", object, "no registries: every request fails")
            .fix("add an entry for each private registry"),
        count => Finding::ok("config", object, format!("{count} registries")),
    }
}

fn mistakes(object: &str, error: &ConfigError) -> Vec<Finding> {
    let ConfigError::Value { path, first, others } = error else {
        let object = match error {
            ConfigError::Shape { path, line, .. } => format!("{}:{line}", path.display()),
            _ => object.to_owned(),
        };
        let fix = error.remedy().unwrap_or("correct that line");
        return vec![Finding::fail("config", object, chain(error)).fix(fix)];
    };
    std::iter::once(first.as_ref())
        .chain(others)
        .map(|error| {
            Finding::fail("config", format!("{}:{}", path.display(), error.line), chain(error))
                .fix("correct that value")
        })
        .collect()
}

fn unreadable(check: &'static str, object: &str, error: &FileError) -> Finding {
    Finding::fail(check, object, chain(error)).fix(error.remedy())
}

/// Patterns that an earlier entry already has.
fn shadowed(config: &Config) -> Vec<Finding> {
    let mut seen = BTreeSet::new();
    let mut findings = Vec::new();
    for registry in &config.registries {
        for pattern in &registry.patterns {
            if !seen.insert(pattern.as_str()) {
                let evidence =
                    format!("pattern {:?} stands in an earlier entry, which answers", pattern.as_str());
                findings.push(
                    Finding::warn(
                        "match",
                        format!("{}:{}", registry.file.display(), registry.line),
                        evidence,
                    )
                    .fix("remove one of the two"),
                );
            }
        }
    }
    findings
}

fn check_registry(registry: &Registry, scope: Scope) -> Vec<Finding> {
    let entry = format!("{}:{}", registry.file.display(), registry.line);
    let mut findings: Vec<Finding> =
        registry.patterns.iter().filter(|p| p.ends_within_segment()).map(|p| open_ended(&entry, p)).collect();
    if scope == Scope::Files {
        findings.extend(check_named(&entry, registry));
    }
    findings
}

fn check_named(entry: &str, registry: &Registry) -> Vec<Finding> {
    let mut findings = files::of_registry(registry);
    match &registry.source {
        Source::DockerConfig(settings) => {
            findings.extend(check_docker_config(entry, registry, &settings.file));
        }
        Source::DockerHelper(settings) => findings.push(check_program(registry, settings.program())),
        Source::KubeletPlugin(settings) => findings.push(check_program(registry, &settings.program)),
        Source::Ecr(_)
        | Source::EcrPublic(_)
        | Source::Acr(_)
        | Source::Gcp(_)
        | Source::Ocir(_)
        | Source::Exchange(_) => {}
    }
    findings
}

fn open_ended(entry: &str, pattern: &Pattern) -> Finding {
    let text = pattern.as_str();
    Finding::warn(
        "match",
        entry,
        format!("pattern {text:?} is a prefix and also matches {:?}", format!("{text}-other")),
    )
    .fix(format!("if only what is below it is meant, write \"{text}/\""))
}

fn check_docker_config(entry: &str, registry: &Registry, path: &Path) -> Vec<Finding> {
    let object = path.display().to_string();
    let Loaded { bytes, mode } = match file::load(path) {
        Ok(loaded) => loaded,
        Err(error) => return vec![missing(registry, "file", &object, chain(&error)).fix(error.remedy())],
    };
    let auths = match Auths::parse(path, bytes.expose()) {
        Ok(auths) => auths,
        Err(error) => return vec![Finding::fail("file", object, chain(&error)).fix(error.remedy())],
    };
    let mut findings = vec![Finding::ok("file", object.as_str(), format!("{} auths keys", auths.len()))];
    findings.extend(files::writable("file", path, mode));
    findings.extend(files::readable("file", path, mode, "passwords"));
    findings.extend(check_auths(&object, &auths));
    findings.extend(
        registry.patterns.iter().filter_map(|pattern| check_pattern(entry, registry, &auths, pattern)),
    );
    findings
}

fn check_program(registry: &Registry, path: &Path) -> Finding {
    let object = path.display().to_string();
    let mode = match std::fs::metadata(path) {
        Ok(metadata) if metadata.is_file() => metadata.mode() & 0o7777,
        Ok(_) => {
            return missing(registry, "program", &object, "it is no file".into())
                .fix("name the program itself");
        }
        Err(error) => {
            return missing(registry, "program", &object, error.to_string())
                .fix("install it, or correct the path");
        }
    };
    if mode & 0o111 == 0 {
        let evidence = format!("mode {mode:04o} lets nobody execute it");
        return missing(registry, "program", &object, evidence).fix(format!("chmod 0755 {object}"));
    }
    files::writable("program", path, mode)
        .unwrap_or_else(|| Finding::ok("program", object, "it can be executed"))
}

fn check_auths(object: &str, auths: &Auths) -> Vec<Finding> {
    let mut findings = Vec::new();
    if auths.unreadable_keys() > 0 {
        let evidence = format!("{} auths keys name no registry and are passed over", auths.unreadable_keys());
        findings.push(Finding::warn("auths", object, evidence).fix("write a key as host[:port][/path]"));
    }
    // An empty entry is what "docker login" leaves where a helper keeps the password.
    for (key, problem) in auths.unusable_keys().filter(|(_, problem)| *problem != Unusable::Empty) {
        findings
            .push(Finding::warn("auths", object, format!("key {key:?}: {problem}")).fix(problem.remedy()));
    }
    findings
}

/// A pattern without globs names one registry, for which there should be credentials.
fn check_pattern(entry: &str, registry: &Registry, auths: &Auths, pattern: &Pattern) -> Option<Finding> {
    let image = ImageRef::parse(&pattern.example()?).ok()?;
    let error: AuthsError = auths.select(&image).err()?;
    let evidence = format!("for pattern {:?}: {}", pattern.as_str(), chain(&error));
    Some(missing(registry, "credentials", entry, evidence).fix(error.remedy()))
}

/// Credentials that cannot be had, which an entry may put up with.
fn missing(registry: &Registry, check: &'static str, object: &str, evidence: String) -> Finding {
    match registry.on_error {
        Policy::Fail => Finding::fail(check, object, evidence),
        Policy::Anonymous => Finding::warn(check, object, evidence),
    }
}
