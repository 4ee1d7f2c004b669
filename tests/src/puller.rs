//! What the kubelet (1.34 and later) does with credential provider plugins before it pulls an image: which
//! it executes, how often, what it accepts of them, how long it remembers it, and in which order it tries
//! the credentials.

mod memory;
mod plugin;
mod response;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tripod_credential_provider::endpoint::Endpoint;

use memory::Memory;
pub use response::{Login, Response, parse_duration};

/// An entry of the kubelet's `CredentialProviderConfig`.
#[derive(Clone, Debug)]
pub struct Provider {
    /// The plugin.
    pub program: PathBuf,
    /// `args`.
    pub args: Vec<String>,
    /// The kubelet's environment with `env`; nothing else is passed on.
    pub env: BTreeMap<String, String>,
    /// `matchImages`.
    pub match_images: Vec<String>,
    /// `apiVersion`.
    pub api_version: String,
    /// `defaultCacheDuration`.
    pub default_cache_duration: Duration,
    /// `tokenAttributes`.
    pub token: Option<TokenAttributes>,
    /// How long it may run; a minute in the kubelet.
    pub timeout: Duration,
}

/// Which tokens a plugin is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TokenAttributes {
    /// `cacheType`.
    pub cache_type: CacheType,
    /// `requireServiceAccount`.
    pub required: bool,
}

/// What an answer for a token is remembered by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CacheType {
    /// The token itself.
    Token,
    /// Its ServiceAccount.
    ServiceAccount,
}

/// A pod's ServiceAccount with what the API server has given for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// `namespace/name`.
    pub name: String,
    /// Its UID.
    pub uid: String,
    /// Its token, of this pod.
    pub token: String,
    /// Those of its annotations that the configuration lists.
    pub annotations: BTreeMap<String, String>,
}

/// A kubelet as far as credentials go.
#[derive(Debug, Default)]
pub struct Puller {
    providers: Vec<(Provider, Memory)>,
    execs: AtomicUsize,
    failures: Mutex<Vec<String>>,
}

impl Provider {
    /// A plugin of version `v1` for these images.
    pub fn new(program: &Path, match_images: &[&str]) -> Self {
        Self {
            program: program.to_owned(),
            args: Vec::new(),
            env: BTreeMap::new(),
            match_images: match_images.iter().map(|pattern| (*pattern).to_owned()).collect(),
            api_version: "credentialprovider.kubelet.k8s.io/v1".into(),
            default_cache_duration: Duration::from_hours(12),
            token: None,
            timeout: Duration::from_mins(1),
        }
    }

    /// Adds arguments.
    pub fn args<'a>(mut self, args: impl IntoIterator<Item = &'a str>) -> Self {
        self.args.extend(args.into_iter().map(str::to_owned));
        self
    }

    /// Has it given tokens.
    pub fn with_tokens(self, cache_type: CacheType, required: bool) -> Self {
        Self { token: Some(TokenAttributes { cache_type, required }), ..self }
    }
}

impl Puller {
    /// A kubelet with these entries, that has pulled nothing yet.
    pub fn new(providers: impl IntoIterator<Item = Provider>) -> Self {
        let providers = providers.into_iter().map(|provider| (provider, Memory::default())).collect();
        Self { providers, ..Self::default() }
    }

    /// The credentials to try for `image`, as in `registry:5000/team/app`, of a pod that runs as `account`.
    pub fn credentials(&self, image: &str, account: Option<&Account>) -> Vec<Login> {
        let mut keyring = Vec::new();
        for (provider, memory) in &self.providers {
            let given = self.ask(provider, memory, image, account);
            keyring.extend(given.iter().map(|(key, login)| (plain_key(key), login.clone())));
        }
        look_up(keyring, image)
    }

    /// How many plugins were executed.
    pub fn execs(&self) -> usize {
        self.execs.load(Ordering::Relaxed)
    }

    /// What a kubelet would have logged.
    pub fn failures(&self) -> Vec<String> {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn ask(
        &self,
        provider: &Provider,
        memory: &Memory,
        image: &str,
        account: Option<&Account>,
    ) -> Vec<(String, Login)> {
        let account = account.filter(|_| provider.token.is_some());
        let unusable = provider.token.is_some_and(|token| token.required) && account.is_none();
        if unusable || !provider.match_images.iter().any(|pattern| covers(pattern, image)) {
            return Vec::new();
        }
        let execute = || {
            self.execs.fetch_add(1, Ordering::Relaxed);
            provider.execute(image, account)
        };
        memory.recall(provider, image, account, execute).unwrap_or_else(|failure| {
            self.failures.lock().unwrap_or_else(PoisonError::into_inner).push(failure);
            Vec::new()
        })
    }
}

fn covers(pattern: &str, image: &str) -> bool {
    matches!((Endpoint::parse(pattern), Endpoint::parse(image)), (Ok(p), Ok(i)) if p.covers(&i))
}

/// A key as the keyring keeps it: no scheme, no version of the registry's API.
fn plain_key(key: &str) -> String {
    let key = key.trim_start_matches("https://").trim_start_matches("http://");
    let (host, path) = key.find('/').map_or((key, ""), |at| key.split_at(at));
    let path = if path.starts_with("/v1/") || path.starts_with("/v2/") { &path[3..] } else { path };
    if path == "/" { host.to_owned() } else { format!("{host}{path}") }
}

/// Longer keys come before their beginnings, and what is equal in order of the configuration.
fn look_up(mut keyring: Vec<(String, Login)>, image: &str) -> Vec<Login> {
    keyring.sort_by(|(one, _), (other, _)| other.cmp(one));
    let matching = |wanted: &dyn Fn(&str) -> bool| {
        keyring.iter().filter(|(key, _)| wanted(key)).map(|(_, login)| login.clone()).collect::<Vec<_>>()
    };
    let found = matching(&|key| covers(key, image));
    if found.is_empty() && image.starts_with("docker.io/") {
        return matching(&|key| key == "index.docker.io" || key.starts_with("index.docker.io/"));
    }
    found
}
