//! The entries that the kubelet's file needs for ours: one for all registries that no pod's token is asked for, and
//! one for each audience of tokens, since an entry of the kubelet's has exactly one.

use std::path::{Path, PathBuf};

use thiserror::Error;

use super::version::Version;
use crate::config::{Config, Registry};

/// This program's own name in the kubelet's folder of providers.
pub const NAME: &str = "tripod-credential-provider";

/// An entry of `providers`.
#[derive(Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its name, and that of its program.
    pub name: String,
    /// `matchImages`, none twice.
    pub patterns: Vec<String>,
    /// `tokenAttributes`.
    pub token: Option<Token>,
}

/// Which tokens an entry is given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// `serviceAccountTokenAudience`.
    pub audience: String,
    /// Whether an answer is for one token, and not for all of the service account.
    pub passed_on: bool,
    /// `requireServiceAccount`.
    pub required: bool,
    /// `optionalServiceAccountAnnotationKeys`.
    pub annotations: Vec<String>,
}

/// A token without which the registry cannot be asked, and nobody says for whom it is to be.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("{}:{line}: the entry asks with a pod's token, and does not say for which audience", file.display())]
pub struct NoAudience {
    /// The file it stands in.
    pub file: PathBuf,
    /// Where in it.
    pub line: u64,
}

/// The entries for `config` in the file of a kubelet of `version`.
pub fn plan(config: &Config, version: Version) -> Result<Vec<Entry>, NoAudience> {
    let mut entries: Vec<Entry> = Vec::new();
    for registry in &config.registries {
        let token = if version.knows_tokens() { token(registry)? } else { None };
        let index = match entries.iter().position(|entry| same_tokens(entry.token.as_ref(), token.as_ref())) {
            Some(index) => index,
            None => {
                entries.push(Entry {
                    name: name(registry, token.as_ref(), &entries),
                    patterns: vec![],
                    token: None,
                });
                entries.len() - 1
            }
        };
        if let Some(entry) = entries.get_mut(index) {
            entry.add(registry, token);
        }
    }
    Ok(entries)
}

/// What `registry` needs of a pod's token; none where it asks without.
pub fn token(registry: &Registry) -> Result<Option<Token>, NoAudience> {
    let Some(wanted) = registry.source.provider().pod_token() else { return Ok(None) };
    let audience = registry.token_audience.clone().or(wanted.audience);
    let (passed_on, required, annotations) = (wanted.passed_on, wanted.needed, wanted.annotations);
    match audience {
        Some(audience) => Ok(Some(Token { audience, passed_on, required, annotations })),
        None if !required => Ok(None),
        None => Err(NoAudience { file: registry.file.clone(), line: registry.line }),
    }
}

/// Whether one entry of the kubelet's can serve both.
fn same_tokens(one: Option<&Token>, other: Option<&Token>) -> bool {
    match (one, other) {
        (None, None) => true,
        (Some(one), Some(other)) => {
            (&one.audience, one.passed_on, one.required) == (&other.audience, other.passed_on, other.required)
        }
        _ => false,
    }
}

/// The program's own name, with the provider's where there has to be another one.
fn name(registry: &Registry, token: Option<&Token>, taken: &[Entry]) -> String {
    if token.is_none() {
        return NAME.to_owned();
    }
    let name = format!("{NAME}-{}", registry.source.name());
    let is_free = |name: &String| taken.iter().all(|entry| entry.name != *name);
    let numbered = (2..).map(|number: u32| format!("{name}-{number}"));
    std::iter::once(name.clone()).chain(numbered).find(is_free).unwrap_or(name)
}

impl Entry {
    fn add(&mut self, registry: &Registry, token: Option<Token>) {
        let patterns = registry.patterns.iter().map(|pattern| pattern.as_str().to_owned());
        extend(&mut self.patterns, patterns);
        match (&mut self.token, token) {
            (Some(own), Some(token)) => extend(&mut own.annotations, token.annotations),
            (own, token) => *own = token,
        }
    }

    /// Whether its program is a link to this one.
    pub fn is_link(&self) -> bool {
        self.name != NAME
    }
}

fn extend(list: &mut Vec<String>, more: impl IntoIterator<Item = String>) {
    for item in more {
        if !list.contains(&item) {
            list.push(item);
        }
    }
}

/// Whether an entry called `name`, with programs in `bin_dir`, starts this program.
pub fn is_ours(name: &str, bin_dir: Option<&Path>) -> bool {
    let by_name = name.strip_prefix(NAME).is_some_and(|rest| rest.is_empty() || rest.starts_with('-'));
    let target = bin_dir.and_then(|folder| std::fs::canonicalize(folder.join(name)).ok());
    by_name || target.is_some_and(|target| target.file_name().is_some_and(|file| file == NAME))
}
