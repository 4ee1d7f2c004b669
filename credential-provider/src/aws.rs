//! Amazon Web Services: who this node or pod is there, and how a request proves it.

pub(crate) mod endpoint;
pub mod identity;
pub mod partition;
pub mod settings;
mod sign;

pub use identity::Identity;
pub use settings::Settings;
pub use sign::{Request, Service, SignError, signed};

use std::time::SystemTime;

use crate::secret::Secret;

/// An access key.
#[derive(Clone, Debug)]
pub struct Keys {
    /// Its id, which is no secret.
    pub id: String,
    /// The secret it signs with.
    pub secret: Secret,
    /// What comes with a temporary one.
    pub session_token: Option<Secret>,
    /// When it expires, if it does.
    pub expires: Option<SystemTime>,
    /// Where it was found, for people.
    pub origin: String,
}
