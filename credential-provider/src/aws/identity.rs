//! Who one is at AWS: the places where access keys are found, each in a module of its own.

mod environment;

use crate::cache::key::CacheKey;
use crate::provider::{Ask, FetchError, Run};

use super::{Keys, Settings};

/// A place where access keys are found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Identity {
    /// `AWS_ACCESS_KEY_ID` and `AWS_SECRET_ACCESS_KEY` of the kubelet's environment.
    Environment,
}

impl Identity {
    /// By the names they have in the configuration.
    pub const NAMES: [(&str, Self); 1] = [("environment", Self::Environment)];

    /// Those of a node, in the order of the SDKs.
    pub const OF_NODES: [Self; 1] = [Self::Environment];

    /// Its name.
    pub fn name(self) -> &'static str {
        Self::NAMES.iter().find(|(_, identity)| *identity == self).map_or("", |(name, _)| name)
    }

    /// What looking there would be.
    fn step(self, ask: &Ask<'_>) -> String {
        match self {
            Self::Environment => match environment::keys(ask.variables) {
                Some(keys) => format!("use access key {} of the environment", keys.id),
                None => "look for AWS_ACCESS_KEY_ID in the environment: there is none".into(),
            },
        }
    }

    /// The keys found there; none where there is nothing to be found.
    fn keys(self, ask: &Ask<'_>, _run: &Run, _region: &str) -> Result<Option<Keys>, FetchError> {
        match self {
            Self::Environment => Ok(environment::keys(ask.variables)),
        }
    }
}

impl Settings {
    /// `key`, with all that decides whose keys are found. Other variables of AWS may as well, so all are in it; as a
    /// digest, of which nobody learns them.
    pub fn identify(&self, key: CacheKey, ask: &Ask<'_>) -> Option<CacheKey> {
        let key = key.part("settings", &format!("{self:?}"));
        let variables = ask.variables.beginning_with("AWS_");
        Some(variables.fold(key, |key, (name, value)| key.part(name, value.expose())))
    }

    /// What looking for keys would be, step by step.
    pub fn plan(&self, ask: &Ask<'_>) -> Vec<String> {
        self.identities.iter().map(|identity| identity.step(ask)).collect()
    }

    /// The first keys there are, and the role taken on with them.
    pub fn keys(&self, ask: &Ask<'_>, run: &Run, region: &str) -> Result<Keys, FetchError> {
        for identity in &self.identities {
            if let Some(keys) = identity.keys(ask, run, region)? {
                return Ok(keys);
            }
        }
        let tried: Vec<_> = self.identities.iter().map(|identity| identity.name()).collect();
        Err(FetchError::NoIdentity(format!("looked for {}", tried.join(", "))))
    }
}
