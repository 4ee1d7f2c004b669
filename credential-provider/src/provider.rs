//! Where credentials come from.

pub mod docker_config;

use std::time::{Duration, Instant};

use thiserror::Error;

use crate::config::{Config, Registry, Source};
use crate::file::FileError;
use crate::image::ImageRef;
use crate::secret::Secret;
use docker_config::{AuthsError, DockerConfigFile};

/// A source of credentials, as one entry of the configuration sets it up.
pub trait Provider {
    /// Whether it is for `image`. Decided from the name alone, before anything is read or asked, so
    /// that no secret goes near a registry that only looks like the right one.
    fn claims(&self, image: &ImageRef) -> bool;

    /// Under which name credentials for `image` may be kept between two runs of this program, and shared by
    /// all images with the same name; none where fetching costs no more than a look into a cache.
    fn cache_key(&self, image: &ImageRef) -> Option<String>;

    /// Credentials for `image`, had by `deadline` at the latest. The kubelet ends the program after a minute.
    fn fetch(&self, image: &ImageRef, deadline: Instant) -> Result<Credential, FetchError>;
}

/// What a registry wants to be told.
#[derive(Debug)]
pub struct Credential {
    /// The user's name; as secret as the password, since some registries take a token there.
    pub username: Secret,
    /// The password or token.
    pub password: Secret,
    /// The `auth` key under which the kubelet files it: `host[:port][/path]` of the asked registry.
    pub key: String,
    /// Which images it is for.
    pub scope: Scope,
    /// Time left until it expires, if known.
    pub expires_in: Option<Duration>,
    /// Where it was found, for people.
    pub origin: String,
}

/// Which images an answer is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// The one asked for: others of its registry may have another answer.
    Image,
    /// All of its registry.
    Registry,
}

/// Why a provider has no credentials.
#[derive(Debug, Error)]
pub enum FetchError {
    /// The file could not be read.
    #[error(transparent)]
    File(#[from] FileError),
    /// The file was read and does not help.
    #[error(transparent)]
    Auths(#[from] AuthsError),
}

impl FetchError {
    /// What the admin can do about it.
    pub fn remedy(&self) -> &'static str {
        match self {
            Self::File(error) => error.remedy(),
            Self::Auths(error) => error.remedy(),
        }
    }
}

/// The entry that answers for an image.
pub struct Claim<'a> {
    /// Its place in `registries`, from 0.
    pub index: usize,
    /// The entry.
    pub registry: &'a Registry,
    /// Its provider.
    pub provider: Box<dyn Provider + 'a>,
}

/// The first entry of `config` whose provider claims `image`.
pub fn find<'a>(config: &'a Config, image: &ImageRef) -> Option<Claim<'a>> {
    let mut claims = config.registries.iter().enumerate().map(|(index, registry)| {
        let provider = open(registry);
        Claim { index, registry, provider }
    });
    claims.find(|claim| claim.provider.claims(image))
}

fn open(registry: &Registry) -> Box<dyn Provider + '_> {
    match &registry.source {
        Source::DockerConfig { file } => Box::new(DockerConfigFile { registry, file }),
    }
}

impl Claim<'_> {
    /// Credentials for `image`, with a scope no wider than the whole of `config` allows.
    pub fn fetch(
        &self,
        config: &Config,
        image: &ImageRef,
        deadline: Instant,
    ) -> Result<Credential, FetchError> {
        let credential = self.provider.fetch(image, deadline)?;
        let scope = if config.is_uniform_for(image) { credential.scope } else { Scope::Image };
        Ok(Credential { scope, ..credential })
    }
}

impl std::fmt::Debug for Claim<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Claim")
            .field("index", &self.index)
            .field("registry", &self.registry)
            .finish_non_exhaustive()
    }
}
