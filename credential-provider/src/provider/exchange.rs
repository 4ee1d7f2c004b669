//! Registries that give a user name and a password for a token of somebody whom they trust: the pod's service
//! account, by its cluster. They differ in where the token goes and where the answer has what, and so in data.

mod answer;
mod cloudsmith;
mod harbor;
mod jfrog;
mod oidc;
mod quay;
mod request;
mod subject;
mod vault;

use super::named_file::NamedFile;
use super::pod_token::PodToken;
use super::{Ask, Credential, FetchError, Provider, Run};
use crate::cache::key::CacheKey;
use crate::config::keys::Keys;
use crate::image::ImageRef;
use answer::Reading;
use request::Request;
use subject::Subject;

/// The keys of an entry.
#[derive(Debug, PartialEq, Eq)]
pub struct Settings {
    subject: Subject,
    service: Service,
}

/// A kind of registry.
#[derive(Debug, PartialEq, Eq)]
enum Service {
    Cloudsmith(cloudsmith::Settings),
    Harbor(harbor::Settings),
    Jfrog(jfrog::Settings),
    Oidc(oidc::Settings),
    Quay(quay::Settings),
    Vault(vault::Settings),
}

/// One call of an exchange, and what its answer means.
#[derive(Debug)]
struct Exchange {
    request: Request,
    reading: Reading,
}

impl Settings {
    pub(crate) fn cloudsmith(keys: &mut Keys<'_>) -> Option<Self> {
        Self::with(Subject::read(keys), cloudsmith::Settings::read(keys).map(Service::Cloudsmith))
    }

    pub(crate) fn harbor(keys: &mut Keys<'_>) -> Option<Self> {
        Self::with(Subject::read(keys), harbor::Settings::read(keys).map(Service::Harbor))
    }

    pub(crate) fn jfrog(keys: &mut Keys<'_>) -> Option<Self> {
        Self::with(Subject::read(keys), jfrog::Settings::read(keys).map(Service::Jfrog))
    }

    pub(crate) fn oidc(keys: &mut Keys<'_>) -> Option<Self> {
        Self::with(Subject::read(keys), oidc::Settings::read(keys).map(Service::Oidc))
    }

    pub(crate) fn quay(keys: &mut Keys<'_>) -> Option<Self> {
        Self::with(Subject::read(keys), quay::Settings::read(keys).map(Service::Quay))
    }

    pub(crate) fn vault(keys: &mut Keys<'_>) -> Option<Self> {
        Self::with(Subject::read(keys), vault::Settings::read(keys).map(Service::Vault))
    }

    /// The kind of registry.
    pub(super) fn name(&self) -> &'static str {
        self.service.name()
    }

    fn with(subject: Subject, service: Option<Service>) -> Option<Self> {
        Some(Self { subject, service: service? })
    }
}

impl Service {
    fn name(&self) -> &'static str {
        match self {
            Self::Cloudsmith(_) => "cloudsmith",
            Self::Harbor(_) => "harbor",
            Self::Jfrog(_) => "jfrog",
            Self::Oidc(_) => "oidc",
            Self::Quay(_) => "quay",
            Self::Vault(_) => "vault",
        }
    }

    /// The first call; none where the token itself is the password.
    fn exchange(&self, image: &ImageRef) -> Result<Option<Exchange>, FetchError> {
        match self {
            Self::Cloudsmith(settings) => settings.exchange().map(Some),
            Self::Harbor(_) => Ok(None),
            Self::Jfrog(settings) => settings.exchange(image).map(Some),
            Self::Oidc(settings) => Ok(Some(settings.exchange())),
            Self::Quay(settings) => settings.exchange(image).map(Some),
            Self::Vault(settings) => settings.login().map(Some),
        }
    }
}

impl Provider for Settings {
    fn pod_token(&self) -> Option<PodToken> {
        Some(PodToken {
            audience: None,
            annotations: Vec::new(),
            passed_on: matches!(self.service, Service::Harbor(_)),
            needed: !self.subject.lies_on_node(),
        })
    }

    fn recognises(&self, _image: &ImageRef) -> Result<(), FetchError> {
        Ok(())
    }

    fn files(&self) -> Result<Vec<NamedFile>, FetchError> {
        Ok(self.subject.file().map(NamedFile::secret).into_iter().collect())
    }

    fn refuses_globs(&self) -> Option<&'static str> {
        let asks_registry = match &self.service {
            Service::Harbor(_) => true,
            Service::Jfrog(settings) => settings.asks_registry(),
            Service::Quay(settings) => settings.asks_registry(),
            Service::Cloudsmith(_) | Service::Oidc(_) | Service::Vault(_) => false,
        };
        asks_registry
            .then_some("the pod's token goes to the registry itself: spell each one out, without \"*\"")
    }

    /// None of a token that is passed through: it is the pod's own, and nobody else's.
    fn cache_key(&self, ask: &Ask<'_>) -> Option<CacheKey> {
        self.service.exchange(ask.image).ok()??;
        let key = CacheKey::of(self.service.name()).part("settings", &format!("{self:?}"));
        self.subject.identify(key.part("registry", ask.image.registry()), ask)
    }

    fn plan(&self, ask: &Ask<'_>) -> Result<Vec<String>, FetchError> {
        let mut steps = vec![self.subject.step(ask)];
        match self.service.exchange(ask.image)? {
            None => steps.push("give it to the registry as the password".into()),
            Some(exchange) => steps.push(exchange.request.step()),
        }
        if let Service::Vault(settings) = &self.service {
            steps.push(settings.step()?);
        }
        Ok(steps)
    }

    fn fetch(&self, ask: &Ask<'_>, run: &Run) -> Result<Credential, FetchError> {
        let token = self.subject.token(ask)?;
        match (&self.service, self.service.exchange(ask.image)?) {
            (Service::Harbor(settings), _) => Ok(settings.pass_through(token)),
            (Service::Vault(settings), Some(login)) => settings.fetch(login, &token, run),
            (_, Some(exchange)) => exchange.credential(&token, run),
            (_, None) => Err(FetchError::NoIdentity("nobody exchanges the token".into())),
        }
    }
}
