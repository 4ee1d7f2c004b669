//! Any registry that exchanges tokens by one call: all of it is configured.

use super::Exchange;
use super::answer::{Expiry, Reading, User};
use super::request::{Body, Request, TOKEN};
use crate::config::ValueProblem;
use crate::config::keys::Keys;
use crate::http::Url;
use crate::image::ImageRef;
use crate::provider::FetchError;

/// The keys of an entry.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Settings {
    url: Url,
    encoding: Encoding,
    fields: Vec<(String, String)>,
    username: Option<String>,
    username_field: String,
    password_field: String,
    expires_in_field: Option<String>,
}

/// Where the token goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Encoding {
    Json,
    Form,
    Bearer,
}

const ENCODINGS: [(&str, Encoding); 3] =
    [("json", Encoding::Json), ("form", Encoding::Form), ("bearer", Encoding::Bearer)];

impl Settings {
    pub(super) fn read(keys: &mut Keys<'_>) -> Option<Self> {
        let url = keys.needed_parsed("url", "provider \"oidc\" needs the address of the exchange", address);
        let encoding = keys.choice("encoding", &ENCODINGS).unwrap_or(Encoding::Json);
        let line = keys.line;
        let fields: Vec<_> = keys.map("request").unwrap_or_default().into_iter().collect();
        if encoding != Encoding::Bearer && !fields.iter().any(|(_, value)| value.contains(TOKEN)) {
            let needs = "one of its values has to hold ${token}, such as {subject_token: \"${token}\"}";
            keys.refuse(line, "request", ValueProblem::Missing(needs));
        }
        let text = |keys: &mut Keys<'_>, key| keys.text(key).map(|text| text.value);
        let username = text(keys, "username");
        let username_field = text(keys, "usernameField").unwrap_or_else(|| "username".to_owned());
        let password_field = text(keys, "passwordField").unwrap_or_else(|| "access_token".to_owned());
        let expires_in_field = text(keys, "expiresInField");
        let url = url?.value;
        Some(Self { url, encoding, fields, username, username_field, password_field, expires_in_field })
    }

    pub(super) fn exchange(&self) -> Exchange {
        let fields = self.fields.clone();
        let body = match self.encoding {
            Encoding::Json => Body::Json(fields),
            Encoding::Form => Body::Form(fields),
            Encoding::Bearer => Body::Bearer(fields),
        };
        let hint = "the far end must trust this cluster's tokens, and the audience that the kubelet asks for";
        let username =
            self.username.clone().map_or_else(|| User::Field(self.username_field.clone()), User::Fixed);
        let expiry = self.expires_in_field.clone().map_or(Expiry::Itself, Expiry::Field);
        Exchange {
            request: Request { step: "oidc-exchange", url: self.url.clone(), body, hint },
            reading: Reading { username, password: self.password_field.clone(), expiry },
        }
    }
}

/// The address of a service that is given tokens.
pub(super) fn address(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|error| error.to_string())?;
    if url.is_plain() && !url.is_loopback() {
        return Err("a token would go there in clear: write https://".to_owned());
    }
    Ok(url)
}

/// `configured`, or the registry itself.
pub(super) fn base(configured: Option<&Url>, image: &ImageRef) -> Result<Url, FetchError> {
    let registry = || Url::parse(&format!("https://{}", image.registry()));
    let wrong = |source| FetchError::Address { name: image.registry().to_owned(), source };
    configured.cloned().map_or_else(registry, Ok).map_err(wrong)
}
