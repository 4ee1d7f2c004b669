//! `explain`: what an ADD with a configuration file would do on this node, and what stands in its way.
//! It changes nothing.

mod network;
mod node;

use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use super::{Answer, Format};
use crate::command::Dirs;
use crate::config::{self, Outline};
use crate::error::Error;
use crate::file;
use crate::finding::{self, Finding};
use crate::spec::Version;

/// Most plugins of a list that are looked at.
const MOST: usize = 64;

pub(super) fn run(file: &Path, format: Format, dirs: &Dirs, plugins: &[PathBuf]) -> Answer {
    let findings = explain(file, dirs, plugins);
    let text = match format {
        Format::Text => finding::text(&findings),
        Format::Json => finding::json(&findings),
    };
    Answer { text, good: finding::is_good(&findings), ..Answer::default() }
}

/// Everything that was looked at for an ADD with the configuration `file`.
pub fn explain(file: &Path, dirs: &Dirs, plugins: &[PathBuf]) -> Vec<Finding> {
    let list = match read(file) {
        Ok(list) => list,
        Err(unreadable) => return vec![*unreadable],
    };
    let entries = entries(&list);
    let version = version(&list);
    let object = file.display();
    let mut findings = match version {
        Some(version) => vec![Finding::ok("conflist", object, describe(&entries, version))],
        None => {
            let known = Version::ALL.map(Version::as_str).join(", ");
            let fail = Finding::fail("conflist", object, "names no CNI version that this program speaks");
            return vec![fail.fix(format!("set \"cniVersion\" to one of {known}"))];
        }
    };
    if !entries.iter().any(is_ours) {
        let text = "no entry has \"type\": \"tripod-cni\"";
        findings.push(Finding::warn("conflist", file.display(), text).fix("explain another file"));
    }
    for (index, entry) in entries.iter().enumerate() {
        let object = format!("plugins[{index}]");
        match (is_ours(entry), version) {
            (true, Some(version)) => {
                let entry = handed_over(entry.clone(), &list, version);
                findings.extend(network(&object, entry, dirs, plugins));
            }
            _ => findings.push(program(&object, kind(entry), plugins)),
        }
    }
    findings.extend(node::findings());
    findings
}

fn read(path: &Path) -> Result<Map<String, Value>, Box<Finding>> {
    let fail =
        |problem: String, fix: &str| Box::new(Finding::fail("conflist", path.display(), problem).fix(fix));
    let text = file::read(path, config::LONGEST).map_err(|error| {
        fail(format!("cannot be read: {error}"), "give the path of a file, usually below /etc/cni/net.d")
    })?;
    serde_json::from_slice(&text)
        .map_err(|error| fail(format!("is no JSON object: {error}"), "correct it at that line and column"))
}

/// The plugins of a list, or the one that a file of the older kind configures.
fn entries(list: &Map<String, Value>) -> Vec<Map<String, Value>> {
    match list.get("plugins").and_then(Value::as_array) {
        Some(plugins) => plugins.iter().take(MOST).filter_map(Value::as_object).cloned().collect(),
        None => vec![list.clone()],
    }
}

/// The newest version of the file's that we speak, as the runtime's library picks it.
fn version(list: &Map<String, Value>) -> Option<Version> {
    let listed = list.get("cniVersions").and_then(Value::as_array).into_iter().flatten();
    let single = list.get("cniVersion").unwrap_or(&Value::Null);
    let named = listed.chain([single]).map(|version| version.as_str().unwrap_or_default());
    named.filter_map(Version::parse).max()
}

fn describe(entries: &[Map<String, Value>], version: Version) -> String {
    let kinds: Vec<&str> = entries.iter().map(kind).collect();
    format!("CNI {}, plugins in this order: {}", version.as_str(), kinds.join(", "))
}

fn kind(entry: &Map<String, Value>) -> &str {
    entry.get("type").and_then(Value::as_str).unwrap_or("(no type)")
}

fn is_ours(entry: &Map<String, Value>) -> bool {
    kind(entry) == "tripod-cni"
}

/// A member of the chain that is not ours must at least be there, and so must an IPAM plugin.
fn program(object: &str, kind: &str, plugins: &[PathBuf]) -> Finding {
    match plugins.iter().map(|folder| folder.join(kind)).find(|program| program.is_file()) {
        Some(program) => Finding::ok("program", object, format!("{} is there", program.display())),
        None => {
            let folders: Vec<String> = plugins.iter().map(|folder| folder.display().to_string()).collect();
            let text = format!("plugin {kind:?} is in none of {}", folders.join(", "));
            Finding::fail("program", object, text).fix("install it, or set CNI_PATH as the runtime does")
        }
    }
}

/// What the runtime's library would hand to our entry, and what we would make of it.
fn network(object: &str, entry: Map<String, Value>, dirs: &Dirs, plugins: &[PathBuf]) -> Vec<Finding> {
    let problems = config::problems(&entry, &dirs.leases);
    if !problems.is_empty() {
        return problems.iter().map(|problem| refused(object, problem)).collect();
    }
    let text = Value::Object(entry).to_string();
    let outline = Outline::parse(text.as_bytes(), &dirs.leases);
    let findings = outline.and_then(|outline| {
        if outline.is_chained() {
            return outline.complete_chained().map(|conf| network::additions(&conf));
        }
        outline.complete().map(|conf| {
            let mut findings = network::findings(&conf, dirs);
            findings.extend(conf.ipam.plugin.map(|plugin| program(object, &plugin, plugins)));
            findings
        })
    });
    findings.unwrap_or_else(|error| vec![refused(object, &error)])
}

/// With what the runtime's library adds to an entry of `list`.
fn handed_over(
    mut entry: Map<String, Value>,
    list: &Map<String, Value>,
    version: Version,
) -> Map<String, Value> {
    entry.insert("cniVersion".into(), json!(version));
    if let Some(name) = list.get("name") {
        entry.insert("name".into(), name.clone());
    }
    // The main plugin's result is not there yet.
    entry.entry("prevResult").or_insert_with(|| json!({}));
    entry
}

fn refused(object: &str, error: &Error) -> Finding {
    let fix = "correct that key; until then every ADD fails, and DEL still works";
    Finding::fail("config", object, error.in_one_line()).fix(fix)
}

#[cfg(test)]
mod tests;
