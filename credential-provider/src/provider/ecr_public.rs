//! Provider `ecr-public`: the one public registry of AWS, where who says who he is may pull more. Without an identity
//! it can be pulled from all the same, so an entry may want `onMissingIdentity: anonymous`.

use super::ecr::host::PUBLIC;
use super::ecr::token;
use super::pod_token::PodToken;
use super::{Ask, Coverage, Credential, FetchError, Provider, Run};
use crate::aws::endpoint::PUBLIC_REGION;
use crate::aws::partition::Variant;
use crate::aws::{self, Place, Service, endpoint};
use crate::cache::key::CacheKey;
use crate::config::keys::Keys;
use crate::http::Url;
use crate::image::ImageRef;

/// The keys of an entry.
#[derive(Debug, PartialEq, Eq)]
pub struct Settings {
    aws: aws::Settings,
}

impl Settings {
    pub(crate) fn read(keys: &mut Keys<'_>) -> Option<Self> {
        Some(Self { aws: aws::Settings::read(keys) })
    }

    fn address(ask: &Ask<'_>) -> Result<Url, FetchError> {
        let variant = endpoint::variant(Variant::default(), ask.variables);
        endpoint::of("ECR_PUBLIC", ask.variables, &endpoint::ecr_public(variant))
    }

    fn place(&self) -> Place {
        let region = self.aws.region.clone().unwrap_or_else(|| PUBLIC_REGION.to_owned());
        Place { region, variant: Variant::default() }
    }
}

impl Provider for Settings {
    fn pod_token(&self) -> Option<PodToken> {
        self.aws.pod_token()
    }

    fn recognises(&self, image: &ImageRef) -> Result<(), FetchError> {
        let host = image.registry();
        let unknown = || FetchError::Host { host: host.to_owned(), provider: "ecr-public" };
        PUBLIC.contains(&host).then_some(()).ok_or_else(unknown)
    }

    fn cache_key(&self, ask: &Ask<'_>) -> Option<CacheKey> {
        let key = CacheKey::of("ecr-public").part("address", &Self::address(ask).ok()?.to_string());
        self.aws.identify(key, ask, &self.place())
    }

    fn plan(&self, ask: &Ask<'_>) -> Result<Vec<String>, FetchError> {
        let mut steps = self.aws.plan(ask, &self.place())?;
        steps.push(format!("ask {} for a token", Self::address(ask)?));
        Ok(steps)
    }

    fn fetch(&self, ask: &Ask<'_>, run: &Run) -> Result<Credential, FetchError> {
        let keys = self.aws.keys(ask, run, &self.place())?;
        let service = Service { name: "ecr-public", region: PUBLIC_REGION };
        let token = token::get(Self::address(ask)?, &token::PUBLIC, &keys, service, run)?;
        Ok(Credential {
            username: token.username,
            password: token.password,
            coverage: Coverage::Registry,
            expires: token.expires,
            origin: format!("ECR Public, asked with access key {} of {}", keys.id, keys.origin),
        })
    }

    fn identities(&self) -> Vec<&'static str> {
        self.aws.identities.iter().map(|identity| identity.name()).collect()
    }

    fn probe(&self, identity: &str, ask: &Ask<'_>, run: &Run) -> Result<bool, FetchError> {
        self.aws.probe(identity, ask, run, &self.place())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_its_own_names_are_known() {
        let settings = Settings {
            aws: aws::Settings {
                identities: Vec::new(),
                region: None,
                profile: None,
                role_annotations: Vec::new(),
                service_account_role: None,
                assume_role: None,
            },
        };
        let knows = |image: &str| settings.recognises(&ImageRef::parse(image).unwrap()).is_ok();
        assert!(knows("public.ecr.aws/docker/library/nginx") && knows("ecr-public.aws.com/x/app"));
        for image in
            ["public.ecr.aws.evil.example/x", "xpublic.ecr.aws/x", "public.ecr.aws:443/x", "ecr.aws/x"]
        {
            assert!(!knows(image), "{image}");
        }
    }
}
