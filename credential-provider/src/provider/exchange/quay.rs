//! Quay: a robot account with a federated identity.

use super::answer::{Expiry, Reading, User};
use super::request::{Body, Request};
use super::{Exchange, oidc};
use crate::config::keys::Keys;
use crate::http::Url;
use crate::image::ImageRef;
use crate::provider::FetchError;

/// The keys of an entry.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Settings {
    robot: String,
    url: Option<Url>,
}

impl Settings {
    pub(super) fn read(keys: &mut Keys<'_>) -> Option<Self> {
        let robot = keys.needed("robot", "provider \"quay\" needs a robot account such as \"team+puller\"");
        let url = keys.parsed("url", oidc::address).map(|url| url.value);
        Some(Self { robot: robot?.value, url })
    }

    /// Whether it is the registry itself that is given the token.
    pub(super) fn asks_registry(&self) -> bool {
        self.url.is_none()
    }

    pub(super) fn exchange(&self, image: &ImageRef) -> Result<Exchange, FetchError> {
        let base = oidc::base(self.url.as_ref(), image)?;
        let url = base
            .join("/oauth2/federation/robot/token")
            .map_err(|source| FetchError::Address { name: "url".into(), source })?;
        let hint = "the robot must have this cluster and service account as a federated identity";
        let body = Body::Basic { user: self.robot.clone() };
        Ok(Exchange {
            request: Request { step: "quay-token", url, body, hint },
            reading: Reading {
                username: User::Fixed(self.robot.clone()),
                password: "token".into(),
                expiry: Expiry::Itself,
            },
        })
    }
}
