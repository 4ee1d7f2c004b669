//! Why there are no credentials.

use thiserror::Error;

use super::docker_config::AuthsError;
use super::docker_helper::HelperError;
use super::kubelet_plugin::PluginError;
use super::ocir::signer::SignerError;
use crate::aws::{IdentityError, SignError};
use crate::cache::note::Told;
use crate::child::ChildError;
use crate::config::{Policy, Registry};
use crate::file::FileError;
use crate::http::UrlError;
use crate::image::ImageError;
use crate::service_account::TokenError;
use crate::step::StepError;

/// Why a provider has no credentials.
#[derive(Debug, Error)]
pub enum FetchError {
    /// A file could not be read.
    #[error(transparent)]
    File(#[from] FileError),
    /// The Docker config was read and does not help.
    #[error(transparent)]
    Auths(#[from] AuthsError),
    /// A helper program has none.
    #[error(transparent)]
    Helper(#[from] HelperError),
    /// Another credential provider has none.
    #[error(transparent)]
    Plugin(#[from] PluginError),
    /// A program could not be run.
    #[error(transparent)]
    Child(#[from] ChildError),
    /// The registry is none of the provider's.
    #[error("{host} is no registry of {provider}: nothing was asked, and nothing is sent to it")]
    Host {
        /// The registry.
        host: String,
        /// The provider.
        provider: &'static str,
    },
    /// Nothing came of a call.
    #[error(transparent)]
    Step(#[from] StepError),
    /// A call was answered, and something is missing in the answer.
    #[error("step={step} err=answer: it lacks {lacks}")]
    Answer {
        /// The step.
        step: &'static str,
        /// What is missing.
        lacks: String,
    },
    /// A call could not be signed.
    #[error(transparent)]
    Sign(#[from] SignError),
    /// A key of Oracle's does not sign.
    #[error(transparent)]
    Signer(#[from] SignerError),
    /// An identity at AWS is there and cannot be used.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// Something that is to be an address is none.
    #[error("{name} is no address")]
    Address {
        /// Where it comes from.
        name: String,
        /// What is wrong with it.
        source: UrlError,
    },
    /// A registry that sends tokens elsewhere.
    #[error(
        "step=acr-challenge err=realm: {registry} wants the token to be sent to {realm}, which is not itself"
    )]
    Realm {
        /// The registry.
        registry: String,
        /// Where it points.
        realm: String,
    },
    /// Something that is to be an id is none.
    #[error("{name} {value:?}: {why}")]
    Identifier {
        /// What it is to be.
        name: &'static str,
        /// As written.
        value: String,
        /// Why not.
        why: String,
    },
    /// Nobody is there in whose name to ask.
    #[error("there is no identity to ask with: {0}")]
    NoIdentity(String),
    /// The pod's token tells nothing of itself.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// The pod's token is for somebody else.
    #[error(
        "the service account's token is for {found:?}, and the entry wants one for {wanted:?}: it was given to nobody"
    )]
    Audience {
        /// What the entry says.
        wanted: String,
        /// What the token says.
        found: String,
    },
    /// Another pull wanted the same, and was told why there is none.
    #[error(transparent)]
    Told(#[from] Told),
    /// Another pull asks for the same.
    #[error(
        "another pull asks for the same credentials, and was not done when the time for an answer was over"
    )]
    Waited,
    /// The mirrored registry makes no image name.
    #[error("the image's name at the mirrored registry")]
    Mirror(#[source] ImageError),
}

impl FetchError {
    /// What the admin can do about it.
    pub fn remedy(&self) -> &str {
        match self {
            Self::File(error) => error.remedy(),
            Self::Auths(error) => error.remedy(),
            Self::Helper(error) => error.remedy(),
            Self::Plugin(error) => error.remedy(),
            Self::Child(error) => error.remedy(),
            Self::Host { .. } => "correct match or provider of that entry",
            // Its hint is part of the line.
            Self::Step(_) => "explain IMAGE shows the steps, doctor tries them",
            Self::Answer { .. } => {
                "see that the address is that of the service itself, not of a proxy's login page"
            }
            Self::Sign(_) => "look at the access key for characters that no header can have",
            Self::Signer(_) => "look at the key, the profile or the certificate that the message names",
            Self::Identity(error) => error.remedy(),
            Self::Address { .. } | Self::Identifier { .. } => "correct it",
            Self::Realm { .. } => "nothing was sent there; ask who runs the registry",
            Self::NoIdentity(_) => "give the node or the pod an identity, or set onMissingIdentity",
            Self::Token(_) => "the kubelet passes the token on: look at tokenAttributes of its configuration",
            Self::Audience { .. } => {
                "give each audience its own entry of the kubelet's, as kubelet-config prints them"
            }
            Self::Told(told) => &told.remedy,
            Self::Waited => {
                "doctor IMAGE says which step takes so long; or raise defaults.deadline (up to 55s)"
            }
            Self::Mirror(_) => "correct mirrorOf",
        }
    }

    /// What the entry wants done about it.
    pub fn policy(&self, registry: &Registry) -> Policy {
        if self.is_missing_identity() { registry.on_missing_identity } else { registry.on_error }
    }

    /// Whether nobody is there in whose name to ask.
    pub(crate) fn is_missing_identity(&self) -> bool {
        matches!(self, Self::NoIdentity(_) | Self::Told(Told { no_identity: true, .. }))
    }

    /// Whether all who ask for the same would be told the same; else it is for one image alone.
    pub(crate) fn is_for_all(&self) -> bool {
        !matches!(self, Self::Plugin(PluginError::Nothing { .. }))
    }
}
