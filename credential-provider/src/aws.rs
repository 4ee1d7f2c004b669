//! Amazon Web Services: who this node or pod is there, and how a request proves it.

mod document;
pub mod endpoint;
mod error;
pub mod identity;
pub mod partition;
pub mod settings;
mod sign;
mod sts;
mod xml;

pub use error::IdentityError;
pub use identity::Identity;
pub use settings::Settings;
pub use sign::{Request, Service, SignError, signed};

use std::time::SystemTime;

use self::partition::Variant;
use crate::secret::Secret;

/// In which region, and by which of its names, a service is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// `eu-west-1`.
    pub region: String,
    /// As the registry was called.
    pub variant: Variant,
}

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

impl Place {
    /// The same kind of names in `region`, if there is one.
    fn in_region(&self, region: Option<&str>) -> Self {
        let region = region.unwrap_or(&self.region).to_owned();
        Self { region, variant: self.variant }
    }
}
