//! Applications of Azure's directory, which prove themselves by a secret or a token of somebody else's.

use serde::Deserialize;

use super::managed::AUDIENCE;
use crate::http::{Call, Url, form};
use crate::json;
use crate::provider::{FetchError, Run};
use crate::secret::Secret;

/// An application.
#[derive(Debug)]
pub(super) struct Application {
    pub(super) authority: Url,
    pub(super) tenant: String,
    pub(super) client: String,
}

/// How it proves itself.
#[derive(Debug)]
pub(super) enum Proof {
    /// By its secret.
    Secret(Secret),
    /// By a token for the audience `api://AzureADTokenExchange`, of somebody whom it trusts.
    Assertion(Secret),
}

const STEP: &str = "entra-token";
const ASSERTION: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

#[derive(Deserialize)]
struct Answer {
    access_token: Secret,
}

impl Application {
    /// A token of the directory's.
    pub(super) fn token(&self, proof: &Proof, run: &Run) -> Result<Secret, FetchError> {
        let scope = format!("{AUDIENCE}/.default");
        let mut fields = vec![
            ("client_id", self.client.as_str()),
            ("grant_type", "client_credentials"),
            ("scope", &scope),
        ];
        match proof {
            Proof::Secret(secret) => fields.push(("client_secret", secret.expose())),
            Proof::Assertion(token) => {
                fields.extend([("client_assertion_type", ASSERTION), ("client_assertion", token.expose())]);
            }
        }
        let url = self.authority.with_segment(&self.tenant).with_segment("oauth2");
        let url = url.with_segment("v2.0").with_segment("token");
        let call = Call::post(STEP, url, "application/x-www-form-urlencoded", form(&fields))
            .tries(3)
            .explain(error_code)
            .hint("the application needs this secret, or this service account as a federated credential, and AcrPull");
        let reply = run.network.call(call)?;
        let lacks = || FetchError::Answer { step: STEP, lacks: "an access_token".to_owned() };
        let Answer { access_token } = json::parse_object(reply.body.expose()).ok().ok_or_else(lacks)?;
        Ok(access_token)
    }
}

/// `{"error": "invalid_client", …}`
fn error_code(body: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Refusal {
        error: String,
    }
    let Refusal { error } = json::parse_object(body).ok()?;
    let is_word = error.len() <= 80 && error.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    is_word.then_some(error)
}
