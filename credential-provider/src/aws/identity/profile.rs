//! A profile of the shared config and credentials files.

use std::path::{Path, PathBuf};

use crate::aws::partition::is_region;
use crate::aws::settings::arn;
use crate::aws::sts::{self, Role};
use crate::aws::{IdentityError, Keys, Settings};
use crate::provider::{FetchError, Variables};

use super::ini::{self, Section, Sections};
use super::source::{Assumed, Source, WebIdentity};
use super::{Sight, container, environment, imds, token_file};

const DEFAULT: &str = "default";
const CONFIG: (&str, &str) = ("AWS_CONFIG_FILE", ".aws/config");
const CREDENTIALS: (&str, &str) = ("AWS_SHARED_CREDENTIALS_FILE", ".aws/credentials");

/// The profile that `settings` or `variables` name, or else the one called `default`, if there is one.
pub(super) fn look(settings: &Settings, variables: &Variables) -> Result<Sight, FetchError> {
    let named = settings.profile.as_deref().or_else(|| variables.text("AWS_PROFILE"));
    let files = Files::load(variables)?;
    let name = named.unwrap_or(DEFAULT);
    match (files.profile(name), named) {
        (Some(_), _) => Profiles { files: &files, variables }
            .source(name, &mut Vec::new())
            .map(Box::new)
            .map(Sight::There),
        (None, Some(_)) => Err(files.lack(name).into()),
        (None, None) => Ok(Sight::Absent(format!("no profile {name:?} in {}", files.names()))),
    }
}

struct Files {
    config: Sections,
    credentials: Sections,
    paths: Vec<PathBuf>,
}

impl Files {
    fn load(variables: &Variables) -> Result<Self, FetchError> {
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
    fn profile(&self, name: &str) -> Option<Section> {
        let quoted = [format!("profile {name}"), format!("profile \"{name}\""), format!("profile '{name}'")];
        let plain = (name == DEFAULT).then_some(DEFAULT);
        let titles = quoted.iter().map(String::as_str).chain(plain);
        let config = titles.into_iter().find_map(|title| self.config.get(title));
        let parts = [config, self.credentials.get(name)];
        let known = parts.iter().any(Option::is_some);
        let keys = parts.into_iter().flatten().flatten();
        known.then(|| keys.map(|(key, value)| (key.clone(), value.clone())).collect())
    }

    fn names(&self) -> String {
        let paths: Vec<_> = self.paths.iter().map(|path| path.display().to_string()).collect();
        if paths.is_empty() {
            "any file: neither AWS_CONFIG_FILE nor HOME is set".into()
        } else {
            paths.join(" or ")
        }
    }

    fn lack(&self, profile: &str) -> IdentityError {
        IdentityError::NoProfile { profile: profile.to_owned(), files: self.names() }
    }
}

struct Profiles<'a> {
    files: &'a Files,
    variables: &'a Variables,
}

impl Profiles<'_> {
    /// How keys of the profile `name` are had; `above` are the profiles that build on it.
    fn source(&self, name: &str, above: &mut Vec<String>) -> Result<Source, FetchError> {
        let profile = Profile { name, keys: self.files.profile(name).ok_or_else(|| self.files.lack(name))? };
        // One that builds on itself means its own access key.
        let is_own_base =
            above.last().is_some_and(|last| last == name) && profile.text("aws_access_key_id").is_some();
        if above.iter().any(|other| other == name) && !is_own_base {
            above.push(name.to_owned());
            return Err(IdentityError::Circle(above.join(" -> ")).into());
        }
        above.push(name.to_owned());
        match profile.text("role_arn").filter(|_| !is_own_base) {
            Some(role) => self.role(&profile, role, above),
            None => Ok(Source::Keys(profile.keys()?)),
        }
    }

    fn role(&self, profile: &Profile<'_>, arn: &str, above: &mut Vec<String>) -> Result<Source, FetchError> {
        let (role, region) = (profile.role(arn)?, profile.region()?);
        if let Some(path) = profile.text("web_identity_token_file") {
            let origin = format!("the token in {path}");
            let token = token_file::read(Path::new(path))?;
            return Ok(Source::Token(WebIdentity { token, origin, role, region }));
        }
        let base = match (profile.text("source_profile"), profile.text("credential_source")) {
            (Some(name), None) => self.source(name, above)?,
            (None, Some(source)) => self.named_source(profile, source)?,
            (Some(_), Some(_)) => {
                return Err(profile.wrong("has both source_profile and credential_source").into());
            }
            (None, None) => {
                let why = "has a role_arn and neither source_profile, credential_source nor web_identity_token_file";
                return Err(profile.wrong(why).into());
            }
        };
        Ok(Source::Role(Box::new(Assumed { base, role, region })))
    }

    fn named_source(&self, profile: &Profile<'_>, name: &str) -> Result<Source, FetchError> {
        let sight = match name {
            "Environment" => environment::look(self.variables)?,
            "EcsContainer" => container::look(self.variables)?,
            "Ec2InstanceMetadata" => imds::look(self.variables)?,
            _ => {
                let why =
                    "has a credential_source other than Environment, EcsContainer and Ec2InstanceMetadata";
                return Err(profile.wrong(why).into());
            }
        };
        match sight {
            Sight::There(source) => Ok(*source),
            Sight::Absent(why) => {
                Err(profile.wrong(&format!("needs credential_source {name}: {why}")).into())
            }
        }
    }
}

struct Profile<'a> {
    name: &'a str,
    keys: Section,
}

impl Profile<'_> {
    fn text(&self, key: &str) -> Option<&str> {
        self.keys.get(key).filter(|value| !value.is_empty()).map(|value| value.expose())
    }

    fn wrong(&self, why: &str) -> IdentityError {
        IdentityError::Profile { profile: self.name.to_owned(), why: why.to_owned() }
    }

    fn keys(&self) -> Result<Keys, IdentityError> {
        let (id, secret) = (self.text("aws_access_key_id"), self.keys.get("aws_secret_access_key"));
        let (Some(id), Some(secret)) = (id, secret.filter(|secret| !secret.is_empty())) else {
            return Err(self.wrong(self.other_source()));
        };
        let session_token = self.keys.get("aws_session_token").filter(|token| !token.is_empty()).cloned();
        let origin = format!("profile {}", self.name);
        Ok(Keys { id: id.to_owned(), secret: secret.clone(), session_token, expires: None, origin })
    }

    /// What it has in place of an access key.
    fn other_source(&self) -> &'static str {
        let has = |key| self.text(key).is_some();
        if has("credential_process") {
            "runs a program (credential_process), which is not done here: have it write aws_access_key_id and \
             aws_secret_access_key, or a token file"
        } else if has("sso_session") || has("sso_start_url") {
            "needs a person to sign in (sso)"
        } else {
            "has neither aws_access_key_id with aws_secret_access_key nor role_arn"
        }
    }

    fn role(&self, text: &str) -> Result<Role, IdentityError> {
        let holder = format!("profile {:?}", self.name);
        let refused = |why| IdentityError::Role { name: "role_arn".to_owned(), holder, why };
        let session = sts::session_name(self.text("role_session_name").unwrap_or(sts::SESSION));
        let external_id = self.text("external_id").map(str::to_owned);
        Ok(Role { arn: arn(text).map_err(refused)?, session, external_id })
    }

    fn region(&self) -> Result<Option<String>, IdentityError> {
        match self.text("region") {
            Some(region) if !is_region(region) => Err(self.wrong("has a region that is none")),
            region => Ok(region.map(str::to_owned)),
        }
    }
}
