//! The two files in which profiles stand.

use std::path::{Path, PathBuf};

use crate::aws::IdentityError;
use crate::aws::identity::ini::{self, Section, Sections};
use crate::provider::{FetchError, Variables};

use super::DEFAULT;

const CONFIG: (&str, &str) = ("AWS_CONFIG_FILE", ".aws/config");
const CREDENTIALS: (&str, &str) = ("AWS_SHARED_CREDENTIALS_FILE", ".aws/credentials");

pub(super) struct Files {
    config: Sections,
    credentials: Sections,
    paths: Vec<PathBuf>,
}

impl Files {
    pub(super) fn load(variables: &Variables) -> Result<Self, FetchError> {
        let path = |(name, usual): (&str, &str)| {
            let home = || Some(Path::new(variables.text("HOME")?).join(usual));
            variables.text(name).map(PathBuf::from).or_else(home)
        };
        let (config, credentials) = (path(CONFIG), path(CREDENTIALS));
        let read = |path: &Option<PathBuf>| path.as_deref().map_or_else(|| Ok(Sections::new()), ini::load);
        Ok(Self {
            config: read(&config)?,
            credentials: read(&credentials)?,
            paths: [config, credentials].into_iter().flatten().collect(),
        })
    }

    /// The profile's keys; those of the credentials file count more.
    pub(super) fn profile(&self, name: &str) -> Option<Section> {
        let quoted = [format!("profile {name}"), format!("profile \"{name}\""), format!("profile '{name}'")];
        let plain = (name == DEFAULT).then_some(DEFAULT);
        let titles = quoted.iter().map(String::as_str).chain(plain);
        let config = titles.into_iter().find_map(|title| self.config.get(title));
        let parts = [config, self.credentials.get(name)];
        let known = parts.iter().any(Option::is_some);
        let keys = parts.into_iter().flatten().flatten();
        known.then(|| keys.map(|(key, value)| (key.clone(), value.clone())).collect())
    }

    pub(super) fn names(&self) -> String {
        let paths: Vec<_> = self.paths.iter().map(|path| path.display().to_string()).collect();
        if paths.is_empty() {
            "any file: neither AWS_CONFIG_FILE nor HOME is set".into()
        } else {
            paths.join(" or ")
        }
    }

    pub(super) fn lack(&self, profile: &str) -> IdentityError {
        IdentityError::NoProfile { profile: profile.to_owned(), files: self.names() }
    }
}
