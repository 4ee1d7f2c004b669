//! What the kubelet reads where its `--image-credential-provider-config` leads: the entries of all files, and what
//! it does not like of them.

mod parts;

use std::path::{Path, PathBuf};

use crate::cli::KubeletFile;
use crate::error::chain;
use crate::file;
use crate::kubelet::file::{Note, Provider, read};
use crate::kubelet::version::Version;
use crate::report::Finding;

pub(super) const CHECK: &str = "kubelet-config";

/// A provider and the file it stands in.
pub(super) struct Entry {
    pub(super) file: PathBuf,
    pub(super) provider: Provider,
}

/// The entries in the order in which the kubelet asks them, and what was seen of the files.
pub(super) fn load(kubelet: &KubeletFile) -> (Vec<Entry>, Vec<Finding>) {
    let (files, mut findings) = parts::find(&kubelet.path, kubelet.version);
    let mut entries = Vec::new();
    for path in files {
        let (found, seen) = load_file(&path, kubelet.version);
        entries.extend(found.into_iter().map(|provider| Entry { file: path.clone(), provider }));
        findings.extend(seen);
    }
    findings.extend(duplicates(&entries));
    (entries, findings)
}

fn load_file(path: &Path, version: Version) -> (Vec<Provider>, Vec<Finding>) {
    let object = path.display().to_string();
    let loaded = match file::load(path) {
        Ok(loaded) => loaded,
        Err(error) => {
            return (Vec::new(), vec![Finding::fail(CHECK, object, chain(&error)).fix(error.remedy())]);
        }
    };
    let Ok(text) = str::from_utf8(loaded.bytes.expose()) else {
        let finding = Finding::fail(CHECK, object, "it is not UTF-8 text").fix("write YAML or JSON in UTF-8");
        return (Vec::new(), vec![finding]);
    };
    let (providers, notes) = read(text, version);
    let mut findings: Vec<_> = notes.iter().map(|note| finding(&object, note)).collect();
    if findings.is_empty() {
        let evidence = format!("a kubelet {version} takes its {} entries", providers.len());
        findings.push(Finding::ok(CHECK, object, evidence));
    }
    (providers, findings)
}

fn finding(object: &str, note: &Note) -> Finding {
    let Note { line, fatal, evidence, fix } = note;
    let place = if *line == 0 { object.to_owned() } else { format!("{object}:{line}") };
    let found = if *fatal { Finding::fail } else { Finding::warn };
    found(CHECK, place, evidence.as_str()).fix(*fix)
}

/// Names are unique in all files together.
fn duplicates(entries: &[Entry]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (index, entry) in entries.iter().enumerate() {
        let name = &entry.provider.name;
        let first = entries.iter().take(index).find(|other| other.provider.name == *name);
        if let Some(first) = first.filter(|_| !name.is_empty()) {
            let evidence = format!("name {name:?} stands at {} already", first.place());
            findings.push(
                Finding::fail(CHECK, entry.place(), evidence).fix("link the program under another name"),
            );
        }
    }
    findings
}

impl Entry {
    pub(super) fn place(&self) -> String {
        format!("{}:{}", self.file.display(), self.provider.line)
    }
}
