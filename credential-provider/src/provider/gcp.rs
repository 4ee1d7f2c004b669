//! Provider `gcp`: Google's registries, gcr.io and pkg.dev.

mod federation;
mod metadata;

use std::time::{Duration, SystemTime};

use super::found::{self, Found};
use super::pod_token::{self, PodToken};
use super::{Ask, Coverage, Credential, FetchError, Provider, Run, named, names};
use crate::cache::key::CacheKey;
use crate::config::keys::Keys;
use crate::image::ImageRef;
use crate::secret::Secret;
use crate::service_account::Claims;
use federation::Federation;

/// The keys of an entry.
#[derive(Debug, PartialEq, Eq)]
pub struct Settings {
    identities: Vec<Identity>,
    /// The node's service account: `default`, or an address.
    account: String,
    federation: Option<Federation>,
}

/// In whose name tokens are had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Identity {
    /// The pod's service account, by workload identity federation.
    ServiceAccount,
    /// The virtual machine's.
    Metadata,
}

const IDENTITIES: [(&str, Identity); 2] =
    [("service-account", Identity::ServiceAccount), ("metadata", Identity::Metadata)];

/// The user name with which an access token is a password.
const USER: &str = "oauth2accesstoken";

/// An access token of Google's.
#[derive(Debug)]
struct AccessToken {
    secret: Secret,
    expires: Option<SystemTime>,
}

impl AccessToken {
    /// One that lives for so many seconds; of one whose life is not known, or over, nothing is to be kept.
    fn new(secret: Secret, life: i64, now: SystemTime) -> Self {
        let life = u64::try_from(life).ok().filter(|life| *life > 0).map(Duration::from_secs);
        Self { secret, expires: life.and_then(|life| now.checked_add(life)) }
    }
}

impl Settings {
    pub(crate) fn read(keys: &mut Keys<'_>) -> Option<Self> {
        let identities = keys.choices("identity", &IDENTITIES).unwrap_or_else(|| vec![Identity::Metadata]);
        let account = keys.text("account").map_or_else(|| "default".to_owned(), |text| text.value);
        let federation = Federation::read(keys, identities.contains(&Identity::ServiceAccount));
        Some(Self { identities, account, federation })
    }

    fn token(&self, identity: Identity, ask: &Ask<'_>, run: &Run) -> Result<Found<AccessToken>, FetchError> {
        match (identity, ask.service_account, &self.federation) {
            (Identity::Metadata, ..) => metadata::token(&self.account, ask.variables, run),
            (Identity::ServiceAccount, Some(account), Some(federation)) => {
                federation.token(&account.token, run).map(Found::There)
            }
            (Identity::ServiceAccount, ..) => Ok(Found::Absent(pod_token::NOT_PASSED.into())),
        }
    }

    fn step(&self, identity: Identity, ask: &Ask<'_>) -> String {
        match (identity, ask.service_account, &self.federation) {
            (Identity::Metadata, ..) => format!("ask the metadata server for a token of {}", self.account),
            (Identity::ServiceAccount, Some(_), Some(federation)) => federation.step(),
            (Identity::ServiceAccount, ..) => "look for a service account's token: there is none".into(),
        }
    }
}

impl Provider for Settings {
    fn pod_token(&self) -> Option<PodToken> {
        self.identities.contains(&Identity::ServiceAccount).then(|| PodToken {
            audience: self.federation.as_ref().map(|federation| federation.audience().to_owned()),
            annotations: Vec::new(),
            passed_on: false,
            needed: self.identities.len() == 1,
        })
    }

    fn recognises(&self, image: &ImageRef) -> Result<(), FetchError> {
        let host = image.registry();
        let is_ours = host == "gcr.io"
            || [".gcr.io", ".pkg.dev"].iter().any(|suffix| host.strip_suffix(suffix).is_some_and(is_label));
        let unknown = || FetchError::Host { host: host.to_owned(), provider: "gcp" };
        is_ours.then_some(()).ok_or_else(unknown)
    }

    /// A token is for all of Google's registries.
    fn cache_key(&self, ask: &Ask<'_>) -> Option<CacheKey> {
        let key = CacheKey::of("gcp").part("settings", &format!("{self:?}"));
        let key = key.part("metadata", ask.variables.text(metadata::HOST).unwrap_or_default());
        match ask.service_account.filter(|_| self.identities.contains(&Identity::ServiceAccount)) {
            Some(account) => Some(key.part("subject", &Claims::of(&account.token).ok()?.identity())),
            None => Some(key),
        }
    }

    fn plan(&self, ask: &Ask<'_>) -> Result<Vec<String>, FetchError> {
        Ok(self.identities.iter().map(|identity| self.step(*identity, ask)).collect())
    }

    fn identities(&self) -> Vec<&'static str> {
        names(&IDENTITIES, &self.identities)
    }

    fn probe(&self, identity: &str, ask: &Ask<'_>, run: &Run) -> Result<bool, FetchError> {
        let found =
            named(&IDENTITIES, identity).map(|identity| self.token(identity, ask, run)).transpose()?;
        Ok(found.is_some_and(|found| found.is_there()))
    }

    fn fetch(&self, ask: &Ask<'_>, run: &Run) -> Result<Credential, FetchError> {
        let look = |identity| self.token(identity, ask, run);
        let (identity, AccessToken { secret, expires }) =
            found::first(&IDENTITIES, &self.identities(), look)?;
        let (username, coverage) = (Secret::new(USER.to_owned()), Coverage::Registry);
        let origin = format!("Google: {}", self.step(identity, ask));
        Ok(Credential { username, password: secret, coverage, expires, origin })
    }
}

/// `us`, `europe-west4-docker`.
fn is_label(text: &str) -> bool {
    let inner = text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
    inner && !text.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_googles_own_names_are_known() {
        let settings =
            Settings { identities: vec![Identity::Metadata], account: "default".into(), federation: None };
        let knows = |image: &str| settings.recognises(&ImageRef::parse(image).unwrap()).is_ok();
        for image in ["gcr.io/p/app", "eu.gcr.io/p/app", "europe-west4-docker.pkg.dev/p/r/app"] {
            assert!(knows(image), "{image}");
        }
        for image in [
            "gcr.io.evil.example/p/app",
            "evilgcr.io/p/app",
            "gcr.io:443/p/app",
            "a.b.gcr.io/p/app",
            "pkg.dev/p/app",
            "EU.gcr.io/p/app",
            "nginx",
        ] {
            assert!(!knows(image), "{image}");
        }
    }
}
