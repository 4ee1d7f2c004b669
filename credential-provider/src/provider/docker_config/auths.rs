//! The content of a Docker `config.json`, and which of its `auths` is for an image.
//!
//! Keys are read, matched and ordered as the kubelet does with a pull secret of the same content. Keys are
//! shown to people without the `user@` that a URL may carry; values never.

mod entry;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use thiserror::Error;

pub use entry::Unusable;
use entry::{RawEntry, UserPassword};

use crate::endpoint::Endpoint;
use crate::image::{DOCKER_HUB, DOCKER_HUB_INDEX, ImageRef};
use crate::json::{self, JsonError};
use crate::provider::Coverage;
use crate::secret::Secret;

/// How many keys an error lists.
const LISTED_KEYS: usize = 5;

/// A Docker config.
#[derive(Debug)]
pub struct Auths {
    file: PathBuf,
    /// In the kubelet's order: the reverse of alphabetic, so that longer paths come first.
    entries: Vec<Entry>,
    /// Registries that have a helper program of their own, and its name.
    helped: Vec<(Endpoint, String)>,
    /// The helper of all others, if they have one.
    store: Option<String>,
    /// Keys that name no registry, which the kubelet passes over.
    unreadable: usize,
}

/// One of `auths`.
#[derive(Debug)]
struct Entry {
    key: String,
    endpoint: Endpoint,
    raw: RawEntry,
}

/// Credentials for an image, and where they stood.
#[derive(Debug)]
pub struct Selected {
    /// User name.
    pub username: Secret,
    /// Password.
    pub password: Secret,
    /// For which images the file gives this answer.
    pub coverage: Coverage,
    /// The key in the file, without scheme and API path.
    pub auths_key: String,
}

/// Why a Docker config has no credentials for an image.
#[derive(Debug, Error)]
pub enum AuthsError {
    /// No JSON, or another document.
    #[error("{file:?} is no Docker config")]
    Shape {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        source: JsonError,
    },
    /// None of its keys is for the image.
    #[error("{file:?} has no auths key for {image}; {keys}")]
    NoKey {
        /// The file.
        file: PathBuf,
        /// The image.
        image: String,
        /// Which registries it does have credentials for.
        keys: String,
    },
    /// They are kept by a helper program.
    #[error("{file:?} leaves the credentials for {image} to the helper program docker-credential-{helper}")]
    Helper {
        /// The file.
        file: PathBuf,
        /// The image.
        image: String,
        /// Its name without the prefix.
        helper: String,
    },
    /// The matching key holds nothing that the kubelet could be given.
    #[error("auths key {key:?} of {file:?} cannot be used for {image}")]
    Unusable {
        /// The file.
        file: PathBuf,
        /// The key, without scheme and API path.
        key: String,
        /// The image.
        image: String,
        /// Why.
        source: Unusable,
    },
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawFile {
    auths: Option<BTreeMap<String, RawEntry>>,
    cred_helpers: Option<BTreeMap<String, String>>,
    creds_store: Option<String>,
}

impl AuthsError {
    /// What the admin can do about it.
    pub fn remedy(&self) -> &'static str {
        match self {
            Self::Shape { .. } => {
                "write it as \"docker login\" does: {\"auths\": {\"REGISTRY\": {\"auth\": \"...\"}}}"
            }
            Self::NoKey { .. } => {
                "add an auths key for it (host and port must be equal), or narrow \"match\""
            }
            Self::Helper { .. } => {
                "say with helperDir in which folder helper programs are, or put user name and password under auths"
            }
            Self::Unusable { source, .. } => source.remedy(),
        }
    }
}

impl Auths {
    /// Reads `bytes`, the content of `file`, which errors name.
    pub fn parse(file: &Path, bytes: &[u8]) -> Result<Self, AuthsError> {
        let raw: RawFile = json::parse_object(bytes)
            .map_err(|source| AuthsError::Shape { file: file.to_owned(), source })?;
        let auths = raw.auths.unwrap_or_default();
        let found = auths.len();
        let mut entries: Vec<Entry> =
            auths.into_iter().filter_map(|(key, raw)| Entry::read(&key, raw)).collect();
        let unreadable = found - entries.len();
        entries.sort_by(|one, other| other.key.as_bytes().cmp(one.key.as_bytes()));
        let helped = raw.cred_helpers.unwrap_or_default();
        let endpoint =
            |(host, helper): (String, String)| Some((Endpoint::parse_auths_key(&host).ok()?, helper));
        let helped = helped.into_iter().filter_map(endpoint).collect();
        let store = raw.creds_store.filter(|store| !store.is_empty());
        Ok(Self { file: file.to_owned(), entries, helped, store, unreadable })
    }

    /// The credentials that are most specific for `image`.
    pub fn select(&self, image: &ImageRef) -> Result<Selected, AuthsError> {
        let mut empty = None;
        for entry in self.candidates(image) {
            match entry.raw.user_password() {
                Ok(found) => return Ok(self.selected(entry, found, image)),
                // With a helper, "docker login" leaves an empty object as a reminder.
                Err(Unusable::Empty) => empty = empty.or(Some(entry)),
                Err(source) => return Err(self.unusable(entry, image, source)),
            }
        }
        let (file, name) = (self.file.clone(), image.to_string());
        if let Some(helper) = self.helper_for(image) {
            return Err(AuthsError::Helper { file, image: name, helper: helper.to_owned() });
        }
        match empty {
            Some(entry) => Err(self.unusable(entry, image, Unusable::Empty)),
            None => Err(AuthsError::NoKey { file, image: name, keys: self.list_keys() }),
        }
    }

    /// Keys that name no registry; the kubelet passes over such keys too.
    pub fn unreadable_keys(&self) -> usize {
        self.unreadable
    }

    /// Keys whose value cannot be used, with the reason. Empty ones are fine where a helper has the password.
    pub fn unusable_keys(&self) -> impl Iterator<Item = (&str, Unusable)> {
        self.entries.iter().filter_map(|entry| {
            let problem = entry.raw.user_password().err()?;
            Some((entry.key.as_str(), problem))
        })
    }

    /// How many keys there are that name a registry.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    fn candidates(&self, image: &ImageRef) -> impl Iterator<Item = &Entry> {
        let covers = move |entry: &&Entry| entry.endpoint.covers(image.endpoint());
        let is_hub = image.registry() == DOCKER_HUB;
        let direct = self.entries.iter().filter(covers).count() > 0;
        // Docker's own name of the Hub counts only where nothing else does.
        self.entries
            .iter()
            .filter(move |entry| if direct { covers(entry) } else { is_hub && entry.key == DOCKER_HUB_INDEX })
    }

    fn selected(&self, entry: &Entry, found: UserPassword, image: &ImageRef) -> Selected {
        let UserPassword { username, password } = found;
        let coverage = self.coverage(entry, image);
        Selected { username, password, coverage, auths_key: entry.key.clone() }
    }

    /// Keys with a path divide a registry among several passwords.
    fn coverage(&self, entry: &Entry, image: &ImageRef) -> Coverage {
        let divides =
            |entry: &Entry| !entry.path().is_empty() && entry.endpoint.covers_host(image.endpoint());
        if self.entries.iter().any(divides) {
            Coverage::Path(String::from_utf8_lossy(entry.path()).into_owned())
        } else {
            Coverage::Registry
        }
    }

    /// The name of the helper program that keeps the credentials of `image`'s registry.
    fn helper_for(&self, image: &ImageRef) -> Option<&str> {
        let is_hub = image.registry() == DOCKER_HUB;
        let is_helped = |(endpoint, _): &&(Endpoint, String)| {
            endpoint.covers_host(image.endpoint())
                || is_hub && endpoint.authority() == DOCKER_HUB_INDEX.as_bytes()
        };
        let own = self.helped.iter().find(is_helped).map(|(_, helper)| helper.as_str());
        own.or(self.store.as_deref())
    }

    fn unusable(&self, entry: &Entry, image: &ImageRef, source: Unusable) -> AuthsError {
        let (file, key, image) = (self.file.clone(), entry.key.clone(), image.to_string());
        AuthsError::Unusable { file, key, image, source }
    }

    fn list_keys(&self) -> String {
        let listed: Vec<_> =
            self.entries.iter().take(LISTED_KEYS).map(|entry| format!("{:?}", entry.key)).collect();
        match self.entries.len() {
            0 => "it has none at all".into(),
            count if count > LISTED_KEYS => {
                format!("it has {} and {} more", listed.join(", "), count - LISTED_KEYS)
            }
            _ => format!("it has {}", listed.join(", ")),
        }
    }
}

impl Entry {
    /// None for a key that is no registry, or one that reads differently the second time the kubelet reads it.
    fn read(key: &str, raw: RawEntry) -> Option<Self> {
        let key = String::from_utf8(Endpoint::parse_auths_key(key).ok()?.key()).ok()?;
        let endpoint = Endpoint::parse(&key).ok()?;
        Some(Self { key, endpoint, raw })
    }

    fn path(&self) -> &[u8] {
        self.endpoint.path()
    }
}

#[cfg(test)]
mod tests;
