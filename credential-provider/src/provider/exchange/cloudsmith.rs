//! Cloudsmith: OIDC for a service of an organisation.

use super::answer::{Expiry, Reading, User};
use super::request::{Body, Request, TOKEN};
use super::{Exchange, oidc};
use crate::config::keys::Keys;
use crate::http::Url;
use crate::provider::FetchError;

/// The keys of an entry.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Settings {
    organisation: String,
    service: String,
    url: Option<Url>,
}

/// Where tokens are exchanged, whatever the registry is called.
const API: &str = "https://api.cloudsmith.io";

impl Settings {
    pub(super) fn read(keys: &mut Keys<'_>) -> Option<Self> {
        let organisation =
            keys.needed("organisation", "provider \"cloudsmith\" needs the organisation's name");
        let service = keys.needed("service", "provider \"cloudsmith\" needs the slug of a service account");
        let url = keys.parsed("url", oidc::address).map(|url| url.value);
        Some(Self { organisation: organisation?.value, service: service?.value, url })
    }

    pub(super) fn exchange(&self) -> Result<Exchange, FetchError> {
        let wrong = |source| FetchError::Address { name: "organisation".into(), source };
        let base = self.url.clone().map_or_else(|| Url::parse(API), Ok).map_err(wrong)?;
        let url = base.with_segment("openid").with_segment(&self.organisation).with_segment("");
        let fields = [("oidc_token", TOKEN), ("service_slug", &self.service)];
        let body = Body::Json(fields.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec());
        let hint = "the organisation must trust this cluster, and the service its claims";
        Ok(Exchange {
            request: Request { step: "cloudsmith-token", url, body, hint },
            reading: Reading {
                username: User::Fixed(self.service.clone()),
                password: "token".into(),
                expiry: Expiry::Itself,
            },
        })
    }
}
