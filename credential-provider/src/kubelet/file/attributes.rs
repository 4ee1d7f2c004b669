//! `tokenAttributes` of an entry.

use super::super::version::Version;
use super::fields::{At, Fields};
use super::{Note, TokenAttributes};
use crate::yaml::Tree;

const REQUIRED: &str = "requiredServiceAccountAnnotationKeys";
const OPTIONAL: &str = "optionalServiceAccountAnnotationKeys";

/// Reads `tree`, of an entry of version v1 if `of_v1`.
pub(super) fn read(tree: Tree, version: Version, of_v1: bool, notes: &mut Vec<Note>) -> TokenAttributes {
    let mut fields = Fields::of("tokenAttributes", tree, notes);
    let line = fields.line();
    if !of_v1 {
        let evidence = "tokenAttributes needs version v1 of the entry".to_owned();
        fields.refuse(line, evidence, "write apiVersion: credentialprovider.kubelet.k8s.io/v1");
    }
    if version.hides_tokens() {
        let evidence =
            format!("in {version} tokenAttributes is behind a feature gate, and fatal where that is off");
        fields.doubt(
            line,
            evidence,
            "set KubeletServiceAccountTokenForCredentialProviders=true for the kubelet",
        );
    }
    let audience = fields.text("serviceAccountTokenAudience").unwrap_or_default().value;
    if audience.is_empty() {
        fields.missing("serviceAccountTokenAudience", "name the audience that the registry expects");
    }
    let cache_type = if version.knows_cache_type() { cache_type(&mut fields) } else { None };
    let (needs_account, [required, optional]) = keys(&mut fields);
    fields.finish();
    TokenAttributes { audience, cache_type, needs_account, required, optional }
}

fn cache_type(fields: &mut Fields<'_>) -> Option<String> {
    let fix = "write Token where the token becomes the password, else ServiceAccount";
    match fields.text("cacheType") {
        Some(At { value, .. }) if ["Token", "ServiceAccount"].contains(&value.as_str()) => {
            return Some(value);
        }
        Some(At { line, value }) if !value.is_empty() => {
            fields.refuse(line, format!("cacheType {value:?} is not known"), fix);
        }
        _ => fields.missing("cacheType", fix),
    }
    None
}

/// Whether a service account is needed, and its annotations that are and those that are not.
fn keys(fields: &mut Fields<'_>) -> (bool, [Vec<String>; 2]) {
    let needed = fields.flag("requireServiceAccount");
    if needed.is_none() {
        fields.missing("requireServiceAccount", "write true or false");
    }
    let required = fields.texts(REQUIRED);
    let optional = fields.texts(OPTIONAL);
    if let (Some(false), Some(first)) = (needed, required.first()) {
        let evidence = format!("{REQUIRED} means nothing with requireServiceAccount: false");
        fields.refuse(first.line, evidence, "make one of the two agree with the other");
    }
    let mut seen: Vec<&str> = Vec::new();
    for At { line, value } in required.iter().chain(&optional) {
        if !is_qualified(value) {
            fields.refuse(*line, format!("{value:?} is no annotation's key"), "write [domain/]name");
        }
        if seen.contains(&value.as_str()) {
            fields.refuse(*line, format!("annotation {value:?} is named twice"), "name it once");
        }
        seen.push(value);
    }
    let texts = |list: Vec<At<String>>| list.into_iter().map(|text| text.value).collect();
    (needed.unwrap_or_default(), [texts(required), texts(optional)])
}

/// Whether Kubernetes takes `key` for an annotation's: an optional domain and a name.
fn is_qualified(key: &str) -> bool {
    let (domain, name) = key.split_once('/').map_or((None, key), |(domain, name)| (Some(domain), name));
    domain.is_none_or(is_domain) && name.len() <= 63 && is_word(name, b"-_.")
}

fn is_domain(text: &str) -> bool {
    text.len() <= 253 && text.split('.').all(|label| is_word(label, b"-"))
}

/// Letters and digits, with `inner` between them.
fn is_word(text: &str, inner: &[u8]) -> bool {
    let bytes = text.as_bytes();
    let mut edges = bytes.first().into_iter().chain(bytes.last());
    !bytes.is_empty()
        && edges.all(u8::is_ascii_alphanumeric)
        && bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || inner.contains(byte))
}
