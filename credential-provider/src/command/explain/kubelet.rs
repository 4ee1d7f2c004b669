//! Which of the kubelet's entries match an image, which of them ask this program, and why the others do not.

mod obstacles;

use std::path::Path;

use crate::cli::KubeletFile;
use crate::command::kubelet_files::{self, Entry};
use crate::config::Registry;
use crate::endpoint::Endpoint;
use crate::image::ImageRef;
use crate::kubelet::entries;
use crate::kubelet::file::TokenAttributes;
use crate::kubelet::miss;
use crate::pattern::Pattern;
use crate::report::Finding;
use crate::service_account::ServiceAccount;

const CHECK: &str = "kubelet-match";

/// More near misses of one entry tell nothing new.
const MOST_REASONS: usize = 3;

/// What is explained.
pub(super) struct Question<'q> {
    pub(super) image: &'q ImageRef,
    /// Our configuration.
    pub(super) config: &'q Path,
    /// Its entry for the image.
    pub(super) registry: Option<&'q Registry>,
    /// In whose name is asked, as far as that is known.
    pub(super) account: Option<&'q ServiceAccount>,
}

/// Follows the image through the entries of `kubelet`.
pub(super) fn check(kubelet: &KubeletFile, question: &Question<'_>) -> Vec<Finding> {
    let (entries, mut findings) = kubelet_files::load(kubelet);
    let is_ours = |entry: &Entry| entries::is_ours(&entry.provider.name, kubelet.bin_dir.as_deref());
    findings.extend(entries.iter().map(|entry| match pattern(entry, question.image) {
        None => passed_over(entry, question.image),
        Some(pattern) if is_ours(entry) => asks(entry, pattern),
        Some(pattern) => asks_another(entry, pattern),
    }));
    let matching = entries.iter().filter(|entry| pattern(entry, question.image).is_some());
    let asking: Vec<&Entry> = matching.filter(|entry| is_ours(entry)).collect();
    if asking.is_empty() {
        findings.push(unasked(kubelet, question));
    }
    findings.extend(obstacles::find(&asking, question, kubelet.version));
    findings
}

/// The first of its `matchImages` that is for `image`.
fn pattern<'e>(entry: &'e Entry, image: &ImageRef) -> Option<&'e str> {
    let mut patterns = entry.provider.patterns.iter().map(|(_, pattern)| pattern.as_str());
    patterns.find(|pattern| Endpoint::parse(pattern).is_ok_and(|endpoint| endpoint.covers(image.endpoint())))
}

fn passed_over(entry: &Entry, image: &ImageRef) -> Finding {
    let patterns = &entry.provider.patterns;
    let near = patterns.iter().filter_map(|(_, pattern)| miss::reason(pattern, image.endpoint()));
    let mut reasons: Vec<_> = near.take(MOST_REASONS).collect();
    if reasons.is_empty() {
        reasons.push(format!("none of its {} matchImages is for {}", patterns.len(), image.registry()));
    }
    let evidence = format!("{:?} does not match: {}", entry.provider.name, reasons.join("; "));
    Finding::ok(CHECK, entry.place(), evidence)
}

fn asks(entry: &Entry, pattern: &str) -> Finding {
    let args = &entry.provider.args;
    let with = if args.is_empty() { String::new() } else { format!(" with args {args:?}") };
    let token = entry.provider.token.as_ref().map_or_else(|| "without a pod's token".to_owned(), told);
    let evidence =
        format!("{:?} matches by {pattern:?} and starts this program{with}, {token}", entry.provider.name);
    Finding::ok(CHECK, entry.place(), evidence)
}

fn asks_another(entry: &Entry, pattern: &str) -> Finding {
    let evidence =
        format!("{:?} matches by {pattern:?} and starts another program than this", entry.provider.name);
    Finding::ok(CHECK, entry.place(), evidence)
}

/// With which tokens, and for which pods.
fn told(token: &TokenAttributes) -> String {
    let TokenAttributes { audience, cache_type, needs_account, required, optional } = token;
    let kind = cache_type.as_ref().map(|kind| format!(" (cacheType {kind})")).unwrap_or_default();
    let mut text = format!("with a pod's token for {audience:?}{kind}");
    if *needs_account {
        text.push_str(", not for pods without a service account");
    }
    for (list, what) in [(required, ", only if it has the annotations "), (optional, ", passing on ")] {
        if !list.is_empty() {
            text.push_str(what);
            text.push_str(&list.join(" "));
        }
    }
    text
}

fn unasked(kubelet: &KubeletFile, question: &Question<'_>) -> Finding {
    let Question { image, registry, .. } = question;
    let evidence =
        format!("no entry has this program asked about {image}: it is pulled without credentials from here");
    let patterns = registry.map(|registry| registry.patterns.as_slice()).unwrap_or_default();
    let fix = match patterns.iter().find(|pattern| pattern.matches(image)).map(Pattern::as_str) {
        Some(text) => {
            format!("put {text:?} into matchImages, as kubelet-config prints it, and restart the kubelet")
        }
        None => "take the entries that kubelet-config prints, and restart the kubelet".to_owned(),
    };
    Finding::fail(CHECK, kubelet.path.display().to_string(), evidence).fix(fix)
}
