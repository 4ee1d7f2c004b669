//! JFrog Artifactory: an OIDC integration with identity mappings.

use super::answer::{Expiry, Reading, User};
use super::request::{Body, Request, TOKEN};
use super::{Exchange, oidc};
use crate::config::keys::Keys;
use crate::http::Url;
use crate::image::ImageRef;
use crate::provider::FetchError;

/// The keys of an entry.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Settings {
    integration: String,
    audience: Option<String>,
    username: Option<String>,
    url: Option<Url>,
}

impl Settings {
    pub(super) fn read(keys: &mut Keys<'_>) -> Option<Self> {
        let integration =
            keys.needed("integration", "provider \"jfrog\" needs the name of its OIDC integration");
        let audience = keys.text("audience").map(|text| text.value);
        let username = keys.text("username").map(|text| text.value);
        let url = keys.parsed("url", oidc::address).map(|url| url.value);
        Some(Self { integration: integration?.value, audience, username, url })
    }

    /// Whether it is the registry itself that is given the token.
    pub(super) fn asks_registry(&self) -> bool {
        self.url.is_none()
    }

    pub(super) fn exchange(&self, image: &ImageRef) -> Result<Exchange, FetchError> {
        let base = oidc::base(self.url.as_ref(), image)?;
        let url = base
            .join("/access/api/v1/oidc/token")
            .map_err(|source| FetchError::Address { name: "url".into(), source })?;
        let hint = "the integration must trust this cluster and map the service account to a user or scope";
        let username = self.username.clone().map_or_else(|| User::Field("username".into()), User::Fixed);
        Ok(Exchange {
            request: Request { step: "jfrog-token", url, body: Body::Json(self.fields()), hint },
            reading: Reading {
                username,
                password: "access_token".into(),
                expiry: Expiry::Field("expires_in".into()),
            },
        })
    }

    fn fields(&self) -> Vec<(String, String)> {
        let fields = [
            ("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange"),
            ("subject_token_type", "urn:ietf:params:oauth:token-type:id_token"),
            ("subject_token", TOKEN),
            ("provider_name", &self.integration),
            ("provider_type", "Generic OpenID Connect"),
        ];
        let audience = self.audience.as_deref().map(|audience| ("audience", audience));
        fields.into_iter().chain(audience).map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
    }
}
