//! Where credentials come from.

pub mod acr;
pub mod docker_config;
pub mod docker_helper;
pub mod ecr;
pub mod ecr_public;
pub mod exchange;
mod fetch_error;
mod found;
pub mod gcp;
pub mod kubelet_plugin;
pub mod named_file;
pub mod ocir;
pub mod pod_token;

pub use fetch_error::FetchError;

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use crate::cache::key::CacheKey;
use crate::config::keys::Keys;
use crate::config::{Config, Defaults};
use crate::http::Client;
use crate::image::ImageRef;
use crate::secret::Secret;
use crate::service_account::ServiceAccount;
use crate::step::Deadline;
use named_file::NamedFile;
use pod_token::PodToken;

/// A source of credentials, as one entry of the configuration sets it up.
pub trait Provider {
    /// Whether it is for the registry of `image`. Decided from the name alone, before anything is read or
    /// asked, so that no secret goes near a registry that only looks like the right one.
    fn recognises(&self, image: &ImageRef) -> Result<(), FetchError>;

    /// Why no pattern of the entry may have a glob, if so: where a token goes to whatever registry an image names,
    /// everybody who can have a host that a glob takes in could collect tokens.
    fn refuses_globs(&self) -> Option<&'static str> {
        None
    }

    /// Under which name credentials for what is asked may be kept between two runs, and shared by all who ask for
    /// the same name; none where fetching costs no more than a look into a cache, or where nothing may be kept.
    fn cache_key(&self, ask: &Ask<'_>) -> Option<CacheKey>;

    /// What a fetch would do, step by step, for people. It may look at files of this machine, and asks nobody.
    fn plan(&self, ask: &Ask<'_>) -> Result<Vec<String>, FetchError>;

    /// Credentials for what is asked, had by the deadline of `run`.
    fn fetch(&self, ask: &Ask<'_>, run: &Run) -> Result<Credential, FetchError>;

    /// The files that the entry names and that are read as they are; none where there are other ways to look at them.
    fn files(&self) -> Result<Vec<NamedFile>, FetchError> {
        Ok(Vec::new())
    }

    /// The identities that it looks for, in their order; none where it has only one way.
    fn identities(&self) -> Vec<&'static str> {
        Vec::new()
    }

    /// Looks for one of [`identities`](Self::identities) alone; false where there is no such identity here.
    fn probe(&self, _identity: &str, _ask: &Ask<'_>, _run: &Run) -> Result<bool, FetchError> {
        Ok(false)
    }

    /// Which token of the pod it asks with; none where it asks in another name.
    fn pod_token(&self) -> Option<PodToken> {
        None
    }
}

/// What is asked for, and in whose name.
#[derive(Clone, Copy, Debug)]
pub struct Ask<'a> {
    /// The image, of the registry that the credentials are for.
    pub image: &'a ImageRef,
    /// The pod's service account, if the kubelet told of it.
    pub service_account: Option<&'a ServiceAccount>,
    /// The program's own environment.
    pub variables: &'a Variables,
}

/// The program's own environment, as far as it is text.
#[derive(Clone, Debug, Default)]
pub struct Variables(BTreeMap<String, Secret>);

/// One run of the program.
#[derive(Debug)]
pub struct Run {
    /// When it ends at the latest.
    pub deadline: Deadline,
    /// When it started.
    pub now: SystemTime,
    /// The way to others.
    pub network: Client,
}

/// What a registry wants to be told.
#[derive(Debug)]
pub struct Credential {
    /// The user's name; as secret as the password, since some registries take a token there.
    pub username: Secret,
    /// The password or token.
    pub password: Secret,
    /// Which images of the registry it is for.
    pub coverage: Coverage,
    /// When it expires, if known.
    pub expires: Option<SystemTime>,
    /// Where it was found, for people.
    pub origin: String,
}

/// Which images of the registry that was asked for a credential is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Coverage {
    /// All of them.
    Registry,
    /// Those below this path, which begins with a slash or is empty; others may have another credential.
    Path(String),
}

/// A credential as the kubelet is given it.
#[derive(Debug)]
pub struct Grant {
    /// What the registry wants to be told.
    pub credential: Credential,
    /// The `auth` key under which the kubelet files it: `host[:port][/path]` of the asked registry.
    pub key: String,
    /// Which images the answer is for.
    pub scope: Scope,
    /// Whether an earlier run kept it.
    pub is_kept: bool,
}

/// Which images an answer is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// The one asked for: others of its registry may have another answer.
    Image,
    /// All of its registry.
    Registry,
}

/// A `provider` and the keys that belong to it.
#[derive(Debug, PartialEq, Eq)]
pub enum Source {
    /// A Docker `config.json`.
    DockerConfig(docker_config::Settings),
    /// A program that speaks Docker's credential helper protocol.
    DockerHelper(docker_helper::Settings),
    /// A credential provider of the kubelet.
    KubeletPlugin(kubelet_plugin::Settings),
    /// Private registries of AWS.
    Ecr(ecr::Settings),
    /// The public registry of AWS.
    EcrPublic(ecr_public::Settings),
    /// Registries of Azure.
    Acr(acr::Settings),
    /// Registries of Google.
    Gcp(gcp::Settings),
    /// Registries of Oracle.
    Ocir(ocir::Settings),
    /// Registries that exchange tokens.
    Exchange(exchange::Settings),
}

/// Reads the keys of a provider; none if one is wrong, which is told to the keys.
pub(crate) type Reader = fn(&mut Keys<'_>) -> Option<Source>;

impl Source {
    /// Each provider by the name it has in the configuration.
    pub(crate) const READERS: [(&str, Reader); 14] = [
        ("ecr", |keys| ecr::Settings::read(keys).map(Self::Ecr)),
        ("ecr-public", |keys| ecr_public::Settings::read(keys).map(Self::EcrPublic)),
        ("acr", |keys| acr::Settings::read(keys).map(Self::Acr)),
        ("gcp", |keys| gcp::Settings::read(keys).map(Self::Gcp)),
        ("ocir", |keys| ocir::Settings::read(keys).map(Self::Ocir)),
        ("harbor", |keys| exchange::Settings::harbor(keys).map(Self::Exchange)),
        ("quay", |keys| exchange::Settings::quay(keys).map(Self::Exchange)),
        ("jfrog", |keys| exchange::Settings::jfrog(keys).map(Self::Exchange)),
        ("cloudsmith", |keys| exchange::Settings::cloudsmith(keys).map(Self::Exchange)),
        ("vault", |keys| exchange::Settings::vault(keys).map(Self::Exchange)),
        ("oidc", |keys| exchange::Settings::oidc(keys).map(Self::Exchange)),
        ("docker-config", |keys| docker_config::Settings::read(keys).map(Self::DockerConfig)),
        ("docker-helper", |keys| docker_helper::Settings::read(keys).map(Self::DockerHelper)),
        ("kubelet-plugin", |keys| kubelet_plugin::Settings::read(keys).map(Self::KubeletPlugin)),
    ];

    /// Its name in the configuration.
    pub fn name(&self) -> &'static str {
        match self {
            Self::DockerConfig(_) => "docker-config",
            Self::DockerHelper(_) => "docker-helper",
            Self::KubeletPlugin(_) => "kubelet-plugin",
            Self::Ecr(_) => "ecr",
            Self::EcrPublic(_) => "ecr-public",
            Self::Acr(_) => "acr",
            Self::Gcp(_) => "gcp",
            Self::Ocir(_) => "ocir",
            Self::Exchange(settings) => settings.name(),
        }
    }

    /// The provider.
    pub fn provider(&self) -> &dyn Provider {
        match self {
            Self::DockerConfig(settings) => settings,
            Self::DockerHelper(settings) => settings,
            Self::KubeletPlugin(settings) => settings,
            Self::Ecr(settings) => settings,
            Self::EcrPublic(settings) => settings,
            Self::Acr(settings) => settings,
            Self::Gcp(settings) => settings,
            Self::Ocir(settings) => settings,
            Self::Exchange(settings) => settings,
        }
    }
}

impl Variables {
    /// Those of `pairs`.
    pub fn new(pairs: impl IntoIterator<Item = (String, String)>) -> Self {
        Self(pairs.into_iter().map(|(name, value)| (name, Secret::new(value))).collect())
    }

    /// The value of `name`; an empty one counts as none.
    pub fn get(&self, name: &str) -> Option<&Secret> {
        self.0.get(name).filter(|value| !value.is_empty())
    }

    /// Those whose names begin with `prefix`.
    pub fn beginning_with<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = (&'a str, &'a Secret)> {
        let all = self.0.iter().filter(move |(name, _)| name.starts_with(prefix));
        all.map(|(name, value)| (name.as_str(), value))
    }

    /// The value of `name`, which is no secret.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.get(name).map(Secret::expose)
    }
}

impl Credential {
    /// How long the kubelet may use it after `now` without asking again: never until it expires, and not
    /// at all where that is soon or not known.
    pub fn cache_duration(&self, defaults: &Defaults, now: SystemTime) -> Duration {
        const TOO_SHORT: Duration = Duration::from_secs(60);
        let left = self.life(now).unwrap_or_default();
        let kept = left.saturating_sub(defaults.cache_margin);
        if kept <= TOO_SHORT { Duration::ZERO } else { kept }
    }

    /// What is left of its life after `now`; none of a life that no registry gives, such as one in milliseconds
    /// where seconds are meant. The kubelet would refuse an answer that is kept for centuries.
    pub fn life(&self, now: SystemTime) -> Option<Duration> {
        const LONGEST: Duration = Duration::from_secs(30 * 24 * 3600);
        let left = self.expires?.duration_since(now).ok()?;
        (left <= LONGEST).then_some(left)
    }

    /// The credential as the kubelet is given it for `image`, with a scope no wider than the whole of
    /// `config` allows.
    pub fn grant(self, config: &Config, image: &ImageRef) -> Grant {
        let (path, scope) = match &self.coverage {
            Coverage::Registry => ("", Scope::Registry),
            Coverage::Path(path) => (path.as_str(), Scope::Image),
        };
        let scope = if config.is_uniform_for(image) { scope } else { Scope::Image };
        Grant { key: answer_key(image, path), scope, credential: self, is_kept: false }
    }
}

/// Those of `table` that are `chosen`, by name and in the chosen order.
fn names<T: PartialEq>(table: &[(&'static str, T)], chosen: &[T]) -> Vec<&'static str> {
    let name = |one: &T| table.iter().find(|(_, other)| other == one).map(|(name, _)| *name);
    chosen.iter().filter_map(name).collect()
}

/// The one of `table` that is called `name`.
fn named<T: Copy>(table: &[(&str, T)], name: &str) -> Option<T> {
    table.iter().find(|(other, _)| *other == name).map(|(_, one)| *one)
}

/// The key for the kubelet's answer: the asked registry itself, never a glob, with the path that the
/// credentials are limited to. (An IPv6 address without a port stays out of reach: the kubelet
/// takes its brackets for a glob, in `matchImages` as well as here.)
pub(crate) fn answer_key(image: &ImageRef, path: &str) -> String {
    // The kubelet strips the first "/v1" or "/v2" from a key, so such a path needs one to lose.
    let api = if path.starts_with("/v1/") || path.starts_with("/v2/") { "/v2" } else { "" };
    format!("{}{api}{path}", image.registry())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_ends_before_the_credential_and_is_not_kept_when_that_is_soon_or_unknown() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
        let kept = |expires: Option<i64>| {
            let at = |seconds: i64| match u64::try_from(seconds) {
                Ok(later) => now + Duration::from_secs(later),
                Err(_) => now - Duration::from_secs(seconds.unsigned_abs()),
            };
            let secret = || Secret::new(String::new());
            let (username, password, coverage) = (secret(), secret(), Coverage::Registry);
            let expires = expires.map(at);
            let credential = Credential { username, password, coverage, expires, origin: String::new() };
            credential.cache_duration(&Defaults::default(), now).as_secs()
        };
        assert_eq!(kept(None), 0);
        assert_eq!(kept(Some(-348_000_000)), 0, "moto's clock stands still in 2015");
        assert_eq!(kept(Some(360)), 0);
        assert_eq!(kept(Some(361)), 61);
        assert_eq!(kept(Some(43_200)), 42_900);
        assert_eq!(kept(Some(1_795_248_000_000)), 0, "milliseconds where seconds are meant");
    }
}
