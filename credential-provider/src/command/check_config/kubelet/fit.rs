//! Whether the kubelet's entries and ours are about the same images: a pull that the kubelet does not ask about
//! goes without credentials, and nobody says so.

use crate::cli::KubeletFile;
use crate::command::kubelet_files::Entry;
use crate::config::{Config, Registry};
use crate::endpoint::Endpoint;
use crate::kubelet::entries::{self, Token};
use crate::kubelet::miss;
use crate::report::Finding;

const CHECK: &str = "kubelet-match";

/// Compares `config` with those `entries` that start this program.
pub(super) fn check(config: &Config, entries: &[Entry], kubelet: &KubeletFile) -> Vec<Finding> {
    let is_ours = |entry: &&Entry| entries::is_ours(&entry.provider.name, kubelet.bin_dir.as_deref());
    let ours: Vec<_> = entries.iter().filter(is_ours).collect();
    let mut findings = Vec::new();
    for registry in &config.registries {
        findings.extend(check_registry(registry, &ours, kubelet));
    }
    findings.extend(ours.iter().flat_map(|entry| unanswered(config, entry)));
    findings
}

/// Images that we answer for, and are not asked about.
fn check_registry(registry: &Registry, ours: &[&Entry], kubelet: &KubeletFile) -> Vec<Finding> {
    let object = format!("{}:{}", registry.file.display(), registry.line);
    let token = match entries::token(registry) {
        Ok(token) => token.filter(|_| kubelet.version.knows_tokens()),
        Err(error) => {
            return vec![Finding::fail(CHECK, object, error.to_string()).fix("add tokenAudience to it")];
        }
    };
    let fitting: Vec<_> = ours.iter().filter(|entry| serves(entry, token.as_ref())).copied().collect();
    let asked = |text: &str| fitting.iter().any(|entry| entry.asks_about(text));
    let texts = registry.patterns.iter().map(|pattern| pattern.as_str());
    texts.filter(|text| !asked(text)).map(|text| unasked(&object, text, token.as_ref(), &fitting)).collect()
}

fn serves(entry: &Entry, token: Option<&Token>) -> bool {
    token.is_none_or(|token| entry.provider.token.as_ref().is_some_and(|own| own.audience == token.audience))
}

fn unasked(object: &str, text: &str, token: Option<&Token>, fitting: &[&Entry]) -> Finding {
    let with = token.map(|token| format!(" with a token for {:?}", token.audience)).unwrap_or_default();
    let near = fitting.iter().find_map(|entry| entry.nearly_asks_about(text));
    let why = near.map(|near| format!(": {near}")).unwrap_or_default();
    let evidence =
        format!("no entry of the kubelet's has this program asked about all of {text:?}{with}{why}");
    Finding::warn(CHECK, object, evidence).fix("take the entries that kubelet-config prints")
}

/// Images that we are asked about, and do not answer for.
fn unanswered(config: &Config, entry: &Entry) -> Vec<Finding> {
    let answers = |text: &str| {
        config.patterns().any(|pattern| covers(pattern.as_str(), text) || covers(text, pattern.as_str()))
    };
    let unanswered = entry.provider.patterns.iter().filter(|(_, text)| !answers(text));
    unanswered
        .map(|(line, text)| {
            let evidence = format!("no entry of ours answers for {text:?}, so each such pull logs an error");
            Finding::warn(CHECK, format!("{}:{line}", entry.file.display()), evidence)
                .fix("remove it, or add a registry with this match")
        })
        .collect()
}

impl Entry {
    fn asks_about(&self, text: &str) -> bool {
        self.provider.patterns.iter().any(|(_, pattern)| covers(pattern, text))
    }

    /// A pattern that looks as if it were for `text`, and why it is not.
    fn nearly_asks_about(&self, text: &str) -> Option<String> {
        let wanted = Endpoint::parse(text).ok()?;
        self.provider.patterns.iter().find_map(|(_, pattern)| miss::reason(pattern, &wanted))
    }
}

/// Whether every image of the pattern `narrow` is one of `wide`.
fn covers(wide: &str, narrow: &str) -> bool {
    matches!((Endpoint::parse(wide), Endpoint::parse(narrow)), (Ok(wide), Ok(narrow)) if wide.covers(&narrow))
}
