//! Provider `ecr`: private registries of AWS, all partitions. One token is good for all registries of a region that
//! its principal may read, so ten accounts cost one request.

pub mod host;
pub(super) mod token;

use super::pod_token::PodToken;
use super::{Ask, Coverage, Credential, FetchError, Provider, Run};
use crate::aws::{self, Place, Service, endpoint};
use crate::cache::key::CacheKey;
use crate::config::keys::Keys;
use crate::http::Url;
use crate::image::ImageRef;
use host::Host;

/// The keys of an entry.
#[derive(Debug, PartialEq, Eq)]
pub struct Settings {
    aws: aws::Settings,
}

impl Settings {
    pub(crate) fn read(keys: &mut Keys<'_>) -> Option<Self> {
        Some(Self { aws: aws::Settings::read(keys) })
    }

    fn host(&self, image: &ImageRef) -> Result<Host, FetchError> {
        let unknown = || FetchError::Host { host: image.registry().to_owned(), provider: "ecr" };
        Host::parse(image.registry()).ok_or_else(unknown)
    }

    fn address(host: &Host, ask: &Ask<'_>) -> Result<Url, FetchError> {
        let variant = endpoint::variant(host.variant, ask.variables);
        endpoint::of("ECR", ask.variables, &endpoint::ecr(&host.region, variant))
    }

    fn place(&self, host: &Host) -> Place {
        let region = self.aws.region.as_ref().unwrap_or(&host.region).clone();
        Place { region, variant: host.variant }
    }
}

impl Provider for Settings {
    fn pod_token(&self) -> Option<PodToken> {
        self.aws.pod_token()
    }

    fn recognises(&self, image: &ImageRef) -> Result<(), FetchError> {
        self.host(image).map(drop)
    }

    /// The account is not in it: a token is for all registries of a region.
    fn cache_key(&self, ask: &Ask<'_>) -> Option<CacheKey> {
        let host = self.host(ask.image).ok()?;
        let address = Self::address(&host, ask).ok()?;
        let key = CacheKey::of("ecr").part("region", &host.region).part("address", &address.to_string());
        self.aws.identify(key, ask, &self.place(&host))
    }

    fn plan(&self, ask: &Ask<'_>) -> Result<Vec<String>, FetchError> {
        let host = self.host(ask.image)?;
        let mut steps = self.aws.plan(ask, &self.place(&host))?;
        steps.push(format!("ask {} for a token", Self::address(&host, ask)?));
        Ok(steps)
    }

    fn fetch(&self, ask: &Ask<'_>, run: &Run) -> Result<Credential, FetchError> {
        let host = self.host(ask.image)?;
        let address = Self::address(&host, ask)?;
        let keys = self.aws.keys(ask, run, &self.place(&host))?;
        let service = Service { name: "ecr", region: &host.region };
        let token = token::get(address, &token::PRIVATE, &keys, service, run)?;
        Ok(Credential {
            username: token.username,
            password: token.password,
            coverage: Coverage::Registry,
            expires: token.expires,
            origin: format!("ECR in {}, asked with access key {} of {}", host.region, keys.id, keys.origin),
        })
    }

    fn identities(&self) -> Vec<&'static str> {
        self.aws.identities.iter().map(|identity| identity.name()).collect()
    }

    fn probe(&self, identity: &str, ask: &Ask<'_>, run: &Run) -> Result<bool, FetchError> {
        self.aws.probe(identity, ask, run, &self.place(&self.host(ask.image)?))
    }
}
