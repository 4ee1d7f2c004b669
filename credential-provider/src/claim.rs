//! Which entry of the configuration answers for an image, and its answer.

use std::cell::Cell;

use crate::cache::{self, store::Store};
use crate::config::{CacheSettings, Config, Registry};
use crate::image::ImageRef;
use crate::provider::{Ask, FetchError, Grant, Provider, Run, Variables};
use crate::service_account::{Claims, ServiceAccount};

/// The entry that answers for an image.
#[derive(Clone, Copy, Debug)]
pub struct Claim<'a> {
    /// Its place among all registries, from 0.
    pub index: usize,
    /// The entry.
    pub registry: &'a Registry,
    /// The whole configuration.
    pub config: &'a Config,
}

/// In whose name is asked.
#[derive(Clone, Copy, Debug)]
pub struct Asker<'a> {
    /// The pod's service account, if the kubelet told of it.
    pub service_account: Option<&'a ServiceAccount>,
    /// The program's own environment.
    pub variables: &'a Variables,
}

/// The first entry of `config` that is for `image`.
pub fn find<'a>(config: &'a Config, image: &ImageRef) -> Option<Claim<'a>> {
    let mut entries = config.registries.iter().enumerate();
    let (index, registry) = entries.find(|(_, registry)| registry.matches(image))?;
    Some(Claim { index, registry, config })
}

impl Claim<'_> {
    /// Its provider.
    pub fn provider(&self) -> &dyn Provider {
        self.registry.source.provider()
    }

    /// What the configuration calls it.
    pub fn provider_name(&self) -> &'static str {
        self.registry.source.name()
    }

    /// `image` as the registry calls it whose credentials are given: another one, where the asked one is its
    /// mirror.
    pub fn original(&self, image: &ImageRef) -> Result<ImageRef, FetchError> {
        let Some(host) = &self.registry.mirror_of else { return Ok(image.clone()) };
        let path = image.repository().strip_prefix(image.registry()).unwrap_or_default();
        ImageRef::parse(&format!("{host}{path}")).map_err(FetchError::Mirror)
    }

    /// What the kubelet is given for `image`.
    pub fn grant(&self, image: &ImageRef, asker: Asker<'_>, run: &Run) -> Result<Grant, FetchError> {
        let original = self.original(image)?;
        let provider = self.provider();
        provider.recognises(&original)?;
        let Asker { service_account, variables } = asker;
        self.check_audience(service_account)?;
        let ask = Ask { image: &original, service_account, variables };
        let is_kept = Cell::new(true);
        let fetch = |run: &Run| {
            is_kept.set(false);
            provider.fetch(&ask, run)
        };
        let kept = provider.cache_key(&ask).and_then(|key| Some((open(&self.config.cache)?, key)));
        let credential = match kept {
            Some((store, key)) => cache::through(&store, &key, run, fetch)?,
            None => fetch(run)?,
        };
        Ok(Grant { is_kept: is_kept.get(), ..credential.grant(self.config, image) })
    }

    /// A token for somebody else is not to reach who is asked here: the match lists of two entries of the kubelet's
    /// may overlap, and each passes a token of its own.
    fn check_audience(&self, service_account: Option<&ServiceAccount>) -> Result<(), FetchError> {
        let (Some(wanted), Some(account)) = (&self.registry.token_audience, service_account) else {
            return Ok(());
        };
        let audience = Claims::of(&account.token)?.aud;
        if audience.has(wanted) {
            return Ok(());
        }
        Err(FetchError::Audience { wanted: wanted.clone(), found: audience.list() })
    }
}

/// None where nothing can be kept: then each run asks for itself.
fn open(settings: &CacheSettings) -> Option<Store> {
    if settings.shared { Store::open(&settings.dir).ok() } else { None }
}
