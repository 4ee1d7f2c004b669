//! Where a token goes, and in what shape.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Map, Value};

use crate::http::{Call, Url, form};
use crate::secret::{Secret, SecretBytes};

/// A call that hands a token over.
#[derive(Debug)]
pub(super) struct Request {
    /// Its name in errors.
    pub(super) step: &'static str,
    pub(super) url: Url,
    pub(super) body: Body,
    /// What to do when it is refused.
    pub(super) hint: &'static str,
}

/// Where the token is in it.
#[derive(Debug)]
pub(super) enum Body {
    /// The password of this user, who asks.
    Basic { user: String },
    /// In place of [`TOKEN`] in one of these values, as a JSON object.
    Json(Vec<(String, String)>),
    /// The same as a form.
    Form(Vec<(String, String)>),
    /// In the header `Authorization`, beside a JSON object.
    Bearer(Vec<(String, String)>),
}

/// Stands for the token.
pub(super) const TOKEN: &str = "${token}";

const TRIES: u32 = 3;

impl Request {
    /// The call with `token` in its place.
    pub(super) fn call(self, token: &Secret) -> Call {
        let Self { step, url, body, hint } = self;
        let call = match body {
            Body::Basic { user } => Call::get(step, url).secret("authorization", basic(&user, token)),
            Body::Json(fields) => Call::post(step, url, "application/json", json(fields, token)),
            Body::Bearer(fields) => {
                Call::post(step, url, "application/json", json(fields, token)).bearer(token)
            }
            Body::Form(fields) => {
                let fields: Vec<_> =
                    fields.into_iter().map(|(name, value)| (name, put(&value, token))).collect();
                let pairs: Vec<_> =
                    fields.iter().map(|(name, value)| (name.as_str(), value.expose())).collect();
                Call::post(step, url, "application/x-www-form-urlencoded", form(&pairs))
            }
        };
        call.tries(TRIES).hint(hint)
    }

    /// For people.
    pub(super) fn step(&self) -> String {
        format!("exchange it at {}", self.url)
    }
}

fn basic(user: &str, token: &Secret) -> Secret {
    let plain = SecretBytes::new(format!("{user}:{}", token.expose()).into_bytes());
    Secret::new(format!("Basic {}", BASE64_STANDARD.encode(plain.expose())))
}

fn put(value: &str, token: &Secret) -> Secret {
    Secret::new(value.replace(TOKEN, token.expose()))
}

fn json(fields: Vec<(String, String)>, token: &Secret) -> SecretBytes {
    let values = fields.into_iter().map(|(name, value)| (name, put(&value, token).expose().into()));
    SecretBytes::new(Value::Object(Map::from_iter(values)).to_string().into_bytes())
}
