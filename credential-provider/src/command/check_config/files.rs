//! The files that the configuration consists of and names: whether they can be read, say something, and who may
//! read and write them.

use std::path::Path;

use super::missing;
use crate::config::{Config, Registry};
use crate::error::chain;
use crate::file;
use crate::http;
use crate::provider::named_file::NamedFile;
use crate::report::Finding;

/// What goes for every file, whatever it holds.
const CHECK: &str = "file";

/// The files of the configuration at `main`, and the one for all of it that it names.
pub(super) fn of_configuration(main: &Path, config: &Config) -> Vec<Finding> {
    let parts = Config::parts(main).unwrap_or_default();
    let mut findings: Vec<_> =
        parts.iter().filter_map(|path| writable("config", path, mode(path)?)).collect();
    for path in std::iter::once(main).chain(parts.iter().map(AsRef::as_ref)) {
        let inline = mode(path).and_then(|mode| Some((mode, secret_in(path, main, config)?)));
        findings.extend(inline.and_then(|(mode, what)| readable("config", path, mode, &what)));
    }
    findings.extend(config.defaults.ca_file.as_deref().map(authorities).unwrap_or_default());
    findings
}

/// None of a file that cannot be read, which is told elsewhere.
fn mode(path: &Path) -> Option<u32> {
    file::load(path).ok().map(|loaded| loaded.mode)
}

/// The secret that stands in the file at `path` itself.
fn secret_in(path: &Path, main: &Path, config: &Config) -> Option<String> {
    if path == main && config.defaults.proxy.has_password() {
        return Some("the proxy's password".to_owned());
    }
    let mut here = config.registries.iter().filter(|registry| registry.file == path);
    here.find_map(|registry| registry.secret_variable.as_ref().map(|name| format!("env {name}")))
}

fn authorities(path: &Path) -> Vec<Finding> {
    let object = path.display().to_string();
    match http::count_certificates(path) {
        Ok(count) => {
            let found = Finding::ok(CHECK, object, format!("{count} certificates of authorities"));
            mode(path)
                .and_then(|mode| writable(CHECK, path, mode))
                .map_or_else(|| vec![found], |bad| vec![bad])
        }
        Err(error) => {
            let fix = "name a file of PEM certificates in caFile, or leave it out";
            vec![Finding::fail(CHECK, object, error.to_string()).fix(fix)]
        }
    }
}

/// The files that `registry` names.
pub(super) fn of_registry(registry: &Registry) -> Vec<Finding> {
    let entry = format!("{}:{}", registry.file.display(), registry.line);
    match registry.source.provider().files() {
        Ok(files) => files.iter().flat_map(|file| named(registry, file)).collect(),
        Err(error) => vec![missing(registry, CHECK, &entry, chain(&error)).fix(error.remedy())],
    }
}

fn named(registry: &Registry, NamedFile { path, is_secret }: &NamedFile) -> Vec<Finding> {
    let object = path.display().to_string();
    let loaded = match file::load(path) {
        Ok(loaded) => loaded,
        Err(error) => return vec![missing(registry, CHECK, &object, chain(&error)).fix(error.remedy())],
    };
    if loaded.bytes.expose().trim_ascii().is_empty() {
        return vec![
            missing(registry, CHECK, &object, "it is empty".into()).fix("write into it what the entry needs"),
        ];
    }
    let mut findings = Vec::from_iter(writable(CHECK, path, loaded.mode));
    if *is_secret {
        findings.extend(readable(CHECK, path, loaded.mode, "a secret"));
    }
    if findings.is_empty() {
        let evidence = if *is_secret { "it can be read, by its owner only" } else { "it can be read" };
        findings.push(Finding::ok(CHECK, object, evidence));
    }
    findings
}

/// Who can write it decides where every password of the node goes.
pub(super) fn writable(check: &'static str, path: &Path, mode: u32) -> Option<Finding> {
    let object = path.display().to_string();
    let evidence = format!("mode {mode:04o} lets others than its owner write it");
    let fix = format!("chmod go-w {object}");
    (mode & 0o022 != 0).then(|| Finding::warn(check, object, evidence).fix(fix))
}

/// It holds `what`, which only its owner should read.
pub(super) fn readable(check: &'static str, path: &Path, mode: u32, what: &str) -> Option<Finding> {
    let object = path.display().to_string();
    let evidence = format!("mode {mode:04o} lets others than its owner read it, and it holds {what}");
    let fix = format!("chmod 0600 {object}");
    (mode & 0o044 != 0).then(|| Finding::warn(check, object, evidence).fix(fix))
}
