//! How keys are had.

use crate::aws::sts::{self, Role};
use crate::aws::{Keys, Place, Settings};
use crate::cache::key::CacheKey;
use crate::provider::{FetchError, Run, Variables};
use crate::secret::Secret;
use crate::service_account::Claims;

use super::container::Endpoint;
use super::imds::Instance;

/// How keys are had.
#[derive(Debug)]
pub(super) enum Source {
    /// They are there.
    Keys(Keys),
    /// Of a role, for a token.
    Token(WebIdentity),
    /// From an endpoint for containers.
    Endpoint(Endpoint),
    /// From an instance's metadata service.
    Instance(Instance),
    /// Of a role, for other keys.
    Role(Box<Assumed>),
}

/// A token that is worth a role.
#[derive(Debug)]
pub(super) struct WebIdentity {
    pub(super) token: Secret,
    /// Where it was found, for people.
    pub(super) origin: String,
    pub(super) role: Role,
    /// Where the role is taken on, if that is not the registry's region.
    pub(super) region: Option<String>,
}

/// A role that is taken on with keys of `base`.
#[derive(Debug)]
pub(super) struct Assumed {
    pub(super) base: Source,
    pub(super) role: Role,
    /// Where it is taken on, if that is not the registry's region.
    pub(super) region: Option<String>,
}

/// What came of asking.
pub(super) enum Had {
    /// Keys.
    Keys(Keys),
    /// Who was asked knows of no identity, and why.
    Absent(String),
}

impl Source {
    /// Whether no other identity is tried after this one, whatever comes of it.
    pub(super) fn is_certain(&self) -> bool {
        match self {
            Self::Keys(_) | Self::Token(_) => true,
            Self::Endpoint(endpoint) => endpoint.is_certain(),
            Self::Instance(_) => false,
            Self::Role(assumed) => assumed.base.is_certain(),
        }
    }

    /// This one, and after it the role that `settings` name.
    pub(super) fn with_role_of(self, settings: &Settings) -> Self {
        let Some(role) = &settings.assume_role else { return self };
        let session = self.session().unwrap_or_else(|| sts::SESSION.to_owned());
        let role = Role { arn: role.arn.clone(), session, external_id: role.external_id.clone() };
        Self::Role(Box::new(Assumed { base: self, role, region: None }))
    }

    fn session(&self) -> Option<String> {
        match self {
            Self::Token(WebIdentity { role, .. }) => Some(role.session.clone()),
            Self::Keys(_) | Self::Endpoint(_) | Self::Instance(_) | Self::Role(_) => None,
        }
    }

    /// What having them would be.
    pub(super) fn steps(&self, place: &Place, variables: &Variables) -> Result<Vec<String>, FetchError> {
        Ok(match self {
            Self::Keys(keys) => vec![format!("use access key {} of {}", keys.id, keys.origin)],
            Self::Token(WebIdentity { origin, role, region, .. }) => {
                let address = sts::address(&place.in_region(region.as_deref()), variables)?;
                vec![format!("ask {address} for role {} as {:?}, with {origin}", role.arn, role.session)]
            }
            Self::Endpoint(endpoint) => vec![endpoint.step()],
            Self::Instance(instance) => vec![instance.step()],
            Self::Role(assumed) => {
                let Assumed { base, role, region } = assumed.as_ref();
                let address = sts::address(&place.in_region(region.as_deref()), variables)?;
                let mut steps = base.steps(place, variables)?;
                steps.push(format!(
                    "ask {address} for role {} as {:?}, with these keys",
                    role.arn, role.session
                ));
                steps
            }
        })
    }

    /// The keys.
    pub(super) fn keys(&self, place: &Place, variables: &Variables, run: &Run) -> Result<Had, FetchError> {
        match self {
            Self::Keys(keys) => Ok(Had::Keys(keys.clone())),
            Self::Token(WebIdentity { token, role, region, .. }) => {
                let address = sts::address(&place.in_region(region.as_deref()), variables)?;
                sts::with_token(address, role, token, run).map(Had::Keys)
            }
            Self::Endpoint(endpoint) => endpoint.keys(run),
            Self::Instance(instance) => instance.keys(run),
            Self::Role(assumed) => {
                let Assumed { base, role, region } = assumed.as_ref();
                let keys = match base.keys(place, variables, run)? {
                    Had::Keys(keys) => keys,
                    absent @ Had::Absent(_) => return Ok(absent),
                };
                let place = place.in_region(region.as_deref());
                let address = sts::address(&place, variables)?;
                sts::with_keys(address, role, &keys, &place.region, run).map(Had::Keys)
            }
        }
    }

    /// `key`, with whose keys they are.
    pub(super) fn identify(&self, key: CacheKey, place: &Place, variables: &Variables) -> Option<CacheKey> {
        match self {
            Self::Keys(Keys { id, secret, session_token, .. }) => {
                let token = session_token.as_ref().map(Secret::expose).unwrap_or_default();
                Some(key.part("key", id).part("secret", secret.expose()).part("session token", token))
            }
            Self::Token(WebIdentity { token, role, region, .. }) => {
                let key = identify_role(key, role, &place.in_region(region.as_deref()), variables)?;
                Some(key.part("subject", &Claims::of(token).ok()?.identity()))
            }
            Self::Endpoint(endpoint) => endpoint.identify(key),
            Self::Instance(instance) => Some(instance.identify(key)),
            Self::Role(assumed) => {
                let Assumed { base, role, region } = assumed.as_ref();
                let key = identify_role(key, role, &place.in_region(region.as_deref()), variables)?;
                base.identify(key, place, variables)
            }
        }
    }
}

fn identify_role(key: CacheKey, role: &Role, place: &Place, variables: &Variables) -> Option<CacheKey> {
    let Role { arn, session, external_id } = role;
    let key = key.part("role", arn).part("session", session);
    let key = key.part("external id", external_id.as_deref().unwrap_or_default());
    Some(key.part("sts", &sts::address(place, variables).ok()?.to_string()))
}
