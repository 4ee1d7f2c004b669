//! Who one is at AWS: the places where access keys are found, each in a module of its own.

mod container;
mod environment;
mod imds;
mod ini;
mod pod;
mod profile;
mod source;
mod token_file;

use crate::cache::key::CacheKey;
use crate::provider::{Ask, FetchError, Run};

use super::{Keys, Place, Settings};
use source::{Had, Source};

/// A place where access keys are found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Identity {
    /// `AWS_ACCESS_KEY_ID` and `AWS_SECRET_ACCESS_KEY` of the kubelet's environment.
    Environment,
    /// A token that lies on the node, as `AWS_WEB_IDENTITY_TOKEN_FILE` says, is worth a role.
    WebIdentity,
    /// A profile of the shared config and credentials files.
    Profile,
    /// An endpoint for containers, which the environment names.
    Container,
    /// The EKS Pod Identity agent, which is shown the token of the pod's service account.
    PodIdentity,
    /// The instance's metadata service.
    Imds,
    /// The token of the pod's service account is worth a role.
    ServiceAccount,
}

/// What can be told of an identity without asking anybody.
enum Sight {
    /// It is there, as far as that can be told.
    There(Box<Source>),
    /// It is not, and why.
    Absent(String),
}

impl Identity {
    /// By the names they have in the configuration.
    pub const NAMES: [(&str, Self); 7] = [
        ("environment", Self::Environment),
        ("web-identity", Self::WebIdentity),
        ("profile", Self::Profile),
        ("container", Self::Container),
        ("pod-identity", Self::PodIdentity),
        ("imds", Self::Imds),
        ("service-account", Self::ServiceAccount),
    ];

    /// Those of a node, in the order of the SDKs.
    pub const OF_NODES: [Self; 5] =
        [Self::Environment, Self::WebIdentity, Self::Profile, Self::Container, Self::Imds];

    /// Its name.
    pub fn name(self) -> &'static str {
        Self::NAMES.iter().find(|(_, identity)| *identity == self).map_or("", |(name, _)| name)
    }

    fn look(self, settings: &Settings, ask: &Ask<'_>) -> Result<Sight, FetchError> {
        match self {
            Self::Environment => environment::look(ask.variables),
            Self::WebIdentity => token_file::look(ask.variables),
            Self::Profile => profile::look(settings, ask.variables),
            Self::Container => container::look(ask.variables),
            Self::PodIdentity => pod::look_for_agent(ask),
            Self::Imds => imds::look(ask.variables),
            Self::ServiceAccount => pod::look_for_role(settings, ask),
        }
    }
}

impl Settings {
    /// `key`, with all that decides whose keys are found. Tokens that are renewed all the time are in it by what
    /// they say, so that all pods of a service account share.
    pub fn identify(&self, mut key: CacheKey, ask: &Ask<'_>, place: &Place) -> Option<CacheKey> {
        for identity in &self.identities {
            key = key.part("identity", identity.name());
            if let Sight::There(source) = identity.look(self, ask).ok()? {
                key = source.identify(key, place, ask.variables)?;
                if source.is_certain() {
                    break;
                }
            }
        }
        let text = |text: Option<&String>| text.cloned().unwrap_or_default();
        let assumed = self.assume_role.as_ref();
        Some(
            key.part("assume role", &text(assumed.map(|role| &role.arn)))
                .part("external id", &text(assumed.and_then(|role| role.external_id.as_ref()))),
        )
    }

    /// What looking for keys would be, step by step.
    pub fn plan(&self, ask: &Ask<'_>, place: &Place) -> Result<Vec<String>, FetchError> {
        let (mut steps, mut absent) = (Vec::new(), Vec::new());
        for identity in &self.identities {
            let name = identity.name();
            match identity.look(self, ask)? {
                Sight::Absent(why) => {
                    steps.push(format!("pass over identity {name}: {why}"));
                    absent.push(format!("{name} ({why})"));
                }
                Sight::There(source) => {
                    let source = source.with_role_of(self);
                    let told = source.steps(place, ask.variables)?;
                    steps.extend(told.into_iter().map(|step| format!("{name}: {step}")));
                    if source.is_certain() {
                        break;
                    }
                }
            }
        }
        if absent.len() == self.identities.len() { Err(no_identity(&absent)) } else { Ok(steps) }
    }

    /// The first keys there are, and the role taken on with them.
    pub fn keys(&self, ask: &Ask<'_>, run: &Run, place: &Place) -> Result<Keys, FetchError> {
        let mut absent = Vec::new();
        for identity in &self.identities {
            match self.keys_of(*identity, ask, run, place)? {
                Had::Keys(keys) => return Ok(keys),
                Had::Absent(why) => absent.push(format!("{} ({why})", identity.name())),
            }
        }
        Err(no_identity(&absent))
    }

    /// Whether the identity called `name` is there, found out by having keys of it.
    pub fn probe(&self, name: &str, ask: &Ask<'_>, run: &Run, place: &Place) -> Result<bool, FetchError> {
        let identity = self.identities.iter().find(|identity| identity.name() == name);
        let had = identity.map(|identity| self.keys_of(*identity, ask, run, place)).transpose()?;
        Ok(matches!(had, Some(Had::Keys(_))))
    }

    fn keys_of(
        &self,
        identity: Identity,
        ask: &Ask<'_>,
        run: &Run,
        place: &Place,
    ) -> Result<Had, FetchError> {
        match identity.look(self, ask)? {
            Sight::There(source) => source.with_role_of(self).keys(place, ask.variables, run),
            Sight::Absent(why) => Ok(Had::Absent(why)),
        }
    }
}

fn no_identity(absent: &[String]) -> FetchError {
    FetchError::NoIdentity(format!("looked for {}", absent.join(", ")))
}
