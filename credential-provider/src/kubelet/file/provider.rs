//! An entry of `providers`.

use super::super::version::Version;
use super::attributes;
use super::fields::{At, Fields};
use super::{Note, Provider};
use crate::endpoint::Endpoint;
use crate::error::chain;
use crate::go_duration;
use crate::pattern::Pattern;
use crate::wire::ApiVersion;
use crate::yaml::Tree;

const OWNER: &str = "the entry";

/// Reads `tree`. `with_tokens` says whether the kubelet and the file's version know `tokenAttributes`.
pub(super) fn read(tree: Tree, version: Version, with_tokens: bool, notes: &mut Vec<Note>) -> Provider {
    let mut fields = Fields::of(OWNER, tree, notes);
    let line = fields.line();
    let name = name(&mut fields);
    let api = api_version(&mut fields);
    let patterns = patterns(&mut fields);
    duration(&mut fields);
    let args = fields.texts("args").into_iter().map(|text| text.value).collect();
    let variables = fields.list("env");
    let tokens = if with_tokens { fields.take("tokenAttributes") } else { None };
    fields.finish();
    variables.into_iter().for_each(|tree| variable(tree, notes));
    let token = tokens.map(|tree| attributes::read(tree, version, api == Some(ApiVersion::V1), notes));
    Provider { line, name, patterns, args, token }
}

fn name(fields: &mut Fields<'_>) -> String {
    let Some(At { line, value }) = fields.text("name") else {
        fields.missing("name", "name the program's file");
        return String::new();
    };
    if value.contains(['/', ' ']) || [".", "..", ""].contains(&value.as_str()) {
        fields.refuse(line, format!("name {value:?} is no file's name"), "name the program's file");
    }
    value
}

fn api_version(fields: &mut Fields<'_>) -> Option<ApiVersion> {
    let fix = "write credentialprovider.kubelet.k8s.io/v1";
    let Some(At { line, value }) = fields.text("apiVersion").filter(|text| !text.value.is_empty()) else {
        fields.missing("apiVersion", fix);
        return None;
    };
    let known = ApiVersion::ALL.into_iter().find(|version| version.as_str() == value);
    if known.is_none() {
        fields.refuse(line, format!("apiVersion {value:?} is not known"), fix);
    }
    known
}

fn patterns(fields: &mut Fields<'_>) -> Vec<(u64, String)> {
    let texts = fields.texts("matchImages");
    if texts.is_empty() {
        fields.missing("matchImages", "name the registries: see kubelet-config");
    }
    for At { line, value } in &texts {
        if let Err(error) = Endpoint::parse(value) {
            fields.refuse(
                *line,
                format!("matchImages {value:?}: {}", chain(&error)),
                "write host[:port][/path]",
            );
        } else if let Err(error) = Pattern::parse(value) {
            fields.doubt(*line, format!("matchImages {value:?}: {}", chain(&error)), "correct it");
        }
    }
    texts.into_iter().map(|text| (text.line, text.value)).collect()
}

fn duration(fields: &mut Fields<'_>) {
    let Some(At { line, value }) = fields.text("defaultCacheDuration") else {
        fields.missing("defaultCacheDuration", "write defaultCacheDuration: 0s");
        return;
    };
    let unsigned = value.strip_prefix(['-', '+']).unwrap_or(&value).replace(['\u{b5}', '\u{3bc}'], "u");
    let fix = "write a time such as 0s or 12h";
    match go_duration::parse(&unsigned) {
        Err(_) => fields.refuse(line, format!("defaultCacheDuration {value:?} is no time"), fix),
        Ok(length) if value.starts_with('-') && !length.is_zero() => {
            fields.refuse(line, format!("defaultCacheDuration {value:?} is below zero"), fix);
        }
        Ok(_) => {}
    }
}

fn variable(tree: Tree, notes: &mut Vec<Note>) {
    let mut fields = Fields::of("the variable", tree, notes);
    fields.text("name");
    fields.text("value");
    fields.finish();
}
