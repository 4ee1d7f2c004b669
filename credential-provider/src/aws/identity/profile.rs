//! A profile of the shared config and credentials files.

mod files;

use std::path::Path;

use crate::aws::partition::is_region;
use crate::aws::settings::arn;
use crate::aws::sts::{self, Role};
use crate::aws::{IdentityError, Keys, Settings};
use crate::provider::{FetchError, Variables};

use super::ini::Section;
use super::source::{Assumed, Source, WebIdentity};
use super::{Sight, container, environment, imds, token_file};
use files::Files;

const DEFAULT: &str = "default";

/// Keys of profiles that say who one is; others are settings, such as a region.
const IDENTIFYING: [&str; 6] = [
    "aws_access_key_id",
    "aws_secret_access_key",
    "role_arn",
    "credential_process",
    "sso_session",
    "sso_start_url",
];

/// The profile that `settings` or `variables` name, or else the one called `default`, if there is one.
pub(super) fn look(settings: &Settings, variables: &Variables) -> Result<Sight, FetchError> {
    let named = settings.profile.as_deref().or_else(|| variables.text("AWS_PROFILE"));
    let files = Files::load(variables)?;
    let name = named.unwrap_or(DEFAULT);
    match (files.profile(name), named) {
        (Some(keys), None) if !IDENTIFYING.iter().any(|key| keys.contains_key(*key)) => {
            Ok(Sight::Absent(format!("profile {name:?} in {} only has settings", files.names())))
        }
        (Some(_), _) => Profiles { files: &files, variables }
            .source(name, &mut Vec::new())
            .map(Box::new)
            .map(Sight::There),
        (None, Some(_)) => Err(files.lack(name).into()),
        (None, None) => Ok(Sight::Absent(format!("no profile {name:?} in {}", files.names()))),
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
