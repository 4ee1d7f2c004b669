//! The kubelet's `CredentialProviderConfig`, judged as strictly as the kubelet judges it when it starts.

mod attributes;
mod fields;
mod provider;

use super::document;
use super::version::Version;
use crate::yaml::Tree;
use fields::Fields;

/// An entry of `providers`, as far as it could be read.
#[derive(Debug, Default)]
pub struct Provider {
    /// Where it begins, from 1.
    pub line: u64,
    /// Its name, and that of its program.
    pub name: String,
    /// `matchImages`, each with its line.
    pub patterns: Vec<(u64, String)>,
    /// `args` of its program.
    pub args: Vec<String>,
    /// `tokenAttributes`, where it is given tokens.
    pub token: Option<TokenAttributes>,
}

/// Which tokens an entry is given.
#[derive(Debug, Default)]
pub struct TokenAttributes {
    /// `serviceAccountTokenAudience`.
    pub audience: String,
    /// `cacheType`.
    pub cache_type: Option<String>,
    /// `requireServiceAccount`.
    pub needs_account: bool,
    /// `requiredServiceAccountAnnotationKeys`.
    pub required: Vec<String>,
    /// `optionalServiceAccountAnnotationKeys`.
    pub optional: Vec<String>,
}

/// Something in the file that is not as it should be.
#[derive(Debug, PartialEq, Eq)]
pub struct Note {
    /// From 1; 0 where the parser cannot tell.
    pub line: u64,
    /// Whether the kubelet does not start.
    pub fatal: bool,
    /// What was seen.
    pub evidence: String,
    /// What to do.
    pub fix: &'static str,
}

const GROUP: &str = "kubelet.config.k8s.io/";
const KIND: &str = "CredentialProviderConfig";
/// The version that has `tokenAttributes`.
const NEWEST: &str = "v1";

/// The entries of the file that holds `text`, and what a kubelet of `version` does not like of it.
pub fn read(text: &str, version: Version) -> (Vec<Provider>, Vec<Note>) {
    let mut notes = Vec::new();
    let providers = match document::parse(text) {
        Ok(tree) => providers(tree, version, &mut notes),
        Err(fault) => {
            notes.push(Note::fatal(fault.line, fault.problem, "write YAML or JSON, no key twice"));
            Vec::new()
        }
    };
    if document::goes_on(text) {
        let evidence = "there is a second document, which is never read".to_owned();
        notes.push(Note { line: 0, fatal: false, evidence, fix: "move it into a file of its own" });
    }
    (providers, notes)
}

fn providers(tree: Tree, version: Version, notes: &mut Vec<Note>) -> Vec<Provider> {
    let mut fields = Fields::of("the file", tree, notes);
    let line = fields.line();
    let api = fields.text("apiVersion").unwrap_or_default();
    let kind = fields.text("kind").unwrap_or_default();
    let release = api.value.strip_prefix(GROUP).unwrap_or_default().to_owned();
    if !["v1", "v1beta1", "v1alpha1"].contains(&release.as_str()) {
        fields.refuse(
            api.line.max(1),
            format!("apiVersion {:?}", api.value),
            "write kubelet.config.k8s.io/v1",
        );
    }
    if kind.value != KIND {
        fields.refuse(kind.line.max(1), format!("kind {:?}", kind.value), "write CredentialProviderConfig");
    }
    let trees = fields.list("providers");
    fields.finish();
    if trees.is_empty() {
        notes.push(Note::fatal(line, "it has no providers".into(), "add one: see kubelet-config"));
    }
    let with_tokens = version.knows_tokens() && release == NEWEST;
    trees.into_iter().map(|tree| provider::read(tree, version, with_tokens, notes)).collect()
}

impl Note {
    fn fatal(line: u64, evidence: String, fix: &'static str) -> Self {
        Self { line, fatal: true, evidence, fix }
    }
}
