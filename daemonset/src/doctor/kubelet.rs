//! Whether the kubelet asks our credential provider: its flags, the files they name, and when it read them. It
//! reads them at its start only, and does not start without a program that they name.

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use k8s_openapi::jiff::Timestamp;
use serde_json::Value;
use tripod_cni::finding::Finding;

use crate::plan::{CREDENTIAL_CONFIG, CREDENTIAL_PROVIDER};
use crate::processes::{self, Process};

const CHECK: &str = "kubelet";
const CONFIG: &str = "--image-credential-provider-config";
const BIN_DIR: &str = "--image-credential-provider-bin-dir";
const RESTART: &str = "restart the kubelet, once tripod-credential-provider check-config with --kubelet-config and \
    --bin-dir finds nothing that keeps it from starting";
/// Most files of a folder that are read.
const MOST: usize = 100;

/// Looks at kubelets below `host`; our configuration is in `etc`.
pub(super) fn findings(host: &Path, etc: &Path) -> Vec<Finding> {
    let kubelets = processes::named(&host.join("proc"), "kubelet");
    if kubelets.is_empty() {
        let text = "none can be seen from here, so that its flags are not compared with what it should read";
        let fix = "run the doctor on the node itself, or give --host-root";
        return vec![Finding::ok(CHECK, "processes", text).fix(fix)];
    }
    let has_registries = registries(&etc.join(CREDENTIAL_CONFIG));
    kubelets.iter().flat_map(|kubelet| of(kubelet, has_registries)).collect()
}

fn of(kubelet: &Process, has_registries: bool) -> Vec<Finding> {
    match (kubelet.flag(&[CONFIG]), kubelet.flag(&[BIN_DIR])) {
        (None, None) if has_registries => {
            let text = format!("it has no {CONFIG}, so that {CREDENTIAL_CONFIG} is never asked");
            let fix = "wire it once: tripod-credential-provider kubelet-config prints the file and the flags";
            vec![Finding::warn(CHECK, "flags", text).fix(fix)]
        }
        (None, None) => {
            vec![Finding::ok(CHECK, "flags", "it asks no credential provider, and we have none to ask")]
        }
        (Some(config), Some(bin_dir)) => wired(kubelet, config, bin_dir),
        _ => {
            let text = format!("it has one of {CONFIG} and {BIN_DIR} only, and asks nobody");
            vec![Finding::warn(CHECK, "flags", text).fix("give it both flags, or none")]
        }
    }
}

fn wired(kubelet: &Process, config: &str, bin_dir: &str) -> Vec<Finding> {
    let files = files(kubelet, Path::new(config));
    let mut names = BTreeSet::new();
    for file in &files {
        match kubelet.read(file).ok().and_then(|text| providers(&text)) {
            Some(found) => names.extend(found),
            None => {
                let text = "the kubelet's file is not there or cannot be parsed: it would not start again";
                return vec![Finding::warn(CHECK, config, text).fix(FIX_FILE)];
            }
        }
    }
    let mut findings: Vec<Finding> =
        names.iter().filter_map(|name| program(kubelet, bin_dir, name)).collect();
    findings.extend(later(kubelet, config, &files));
    if !names.iter().any(|name| name.starts_with(CREDENTIAL_PROVIDER)) {
        let text = format!("no entry of it is {CREDENTIAL_PROVIDER}");
        findings.push(Finding::warn(CHECK, config, text).fix(FIX_FILE));
    }
    if findings.is_empty() {
        let text = format!("it reads {config} and starts what is in {bin_dir}: {}", list(&names));
        findings.push(Finding::ok(CHECK, "flags", text));
    }
    findings
}

const FIX_FILE: &str =
    "write it anew with tripod-credential-provider kubelet-config, and restart the kubelet";

fn list(names: &BTreeSet<String>) -> String {
    names.iter().map(String::as_str).collect::<Vec<_>>().join(", ")
}

/// Nothing about a program that can be executed.
fn program(kubelet: &Process, bin_dir: &str, name: &str) -> Option<Finding> {
    let path = Path::new(bin_dir).join(name);
    let found = kubelet.metadata(&path);
    let is_good = found.is_ok_and(|it| it.is_file() && it.permissions().mode() & 0o111 != 0);
    let text = "is named by the kubelet's file, and is no program there: the kubelet would not start again";
    let fix = "see the files container's log, which installs it; or take the entry out of the kubelet's file";
    (!is_good).then(|| Finding::warn(CHECK, path.display(), text).fix(fix))
}

/// A file that was changed after the kubelet read it.
fn later(kubelet: &Process, config: &str, files: &[PathBuf]) -> Option<Finding> {
    let started = kubelet.started()?;
    let changed = files.iter().filter_map(|file| kubelet.metadata(file).ok()?.modified().ok()).max()?;
    let changed = Timestamp::try_from(changed).ok()?;
    let text =
        format!("it was changed at {changed:.0}, and the kubelet has read it at its start, {started:.0}");
    // The start is known to a second or two.
    let is_later = changed.as_second() > started.as_second() + 2;
    is_later.then(|| Finding::warn(CHECK, config, text).fix(RESTART))
}

/// The file, or what the kubelet reads of a folder.
fn files(kubelet: &Process, path: &Path) -> Vec<PathBuf> {
    let Ok(names) = kubelet.names(path, MOST) else { return vec![path.to_owned()] };
    let is_read =
        |path: &PathBuf| path.extension().is_some_and(|end| end == "json" || end == "yaml" || end == "yml");
    names.iter().map(|name| path.join(name)).filter(is_read).collect()
}

/// The names of the providers in a file of the kubelet's.
fn providers(text: &str) -> Option<Vec<String>> {
    let value: Value = serde_saphyr::from_str(text).ok()?;
    let providers = value.get("providers")?.as_array()?;
    providers.iter().map(|one| one.get("name").and_then(Value::as_str).map(str::to_owned)).collect()
}

/// Whether our configuration answers for any registry.
fn registries(path: &Path) -> bool {
    let value = processes::read(path).ok().and_then(|text| serde_saphyr::from_str::<Value>(&text).ok());
    value.is_some_and(|it| it.get("registries").and_then(Value::as_array).is_some_and(|all| !all.is_empty()))
}

#[cfg(test)]
mod tests;
