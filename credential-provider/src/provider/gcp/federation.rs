//! Workload identity federation: a token of the cluster's becomes one of Google's, and that, where it is wanted, one
//! of a service account of Google's.

use serde::Deserialize;

use super::AccessToken;
use crate::config::keys::Keys;
use crate::http::{Call, Url, form};
use crate::json;
use crate::moment;
use crate::provider::{FetchError, Run};
use crate::secret::{Secret, SecretBytes};

/// Who is trusted, and who one becomes.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Federation {
    /// The provider of a workload identity pool, as its full name.
    audience: String,
    /// The address of a service account of Google's.
    impersonate: Option<String>,
}

const STS: &str = "https://sts.googleapis.com/v1/token";
const IAM: &str = "https://iamcredentials.googleapis.com/v1/projects/-/serviceAccounts";
const SCOPE: &str = "https://www.googleapis.com/auth/cloud-platform";
const STS_STEP: &str = "google-sts";
const IAM_STEP: &str = "google-impersonate";
const TRIES: u32 = 3;

#[derive(Deserialize)]
struct Exchanged {
    access_token: Secret,
    #[serde(default)]
    expires_in: i64,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Impersonated {
    access_token: Secret,
    expire_time: String,
}

impl Federation {
    /// None where no service account is asked with, and where a key is missing.
    pub(super) fn read(keys: &mut Keys<'_>, wanted: bool) -> Option<Self> {
        let needs = "identity \"service-account\" needs the full name of a workload identity pool's provider, \
                     //iam.googleapis.com/projects/NUMBER/locations/global/workloadIdentityPools/POOL/providers/PROVIDER";
        let audience = if wanted { keys.needed("audience", needs) } else { keys.text("audience") };
        let impersonate = keys.parsed("impersonate", account).map(|text| text.value);
        Some(Self { audience: audience?.value, impersonate })
    }

    pub(super) fn audience(&self) -> &str {
        &self.audience
    }

    pub(super) fn step(&self) -> String {
        let then = self.impersonate.as_ref().map(|account| format!(", then become {account}"));
        format!(
            "exchange the service account's token at {STS} for {}{}",
            self.audience,
            then.unwrap_or_default()
        )
    }

    pub(super) fn token(&self, subject: &Secret, run: &Run) -> Result<AccessToken, FetchError> {
        let exchanged = self.exchange(subject, run)?;
        match &self.impersonate {
            Some(account) => impersonate(account, &exchanged.secret, run),
            None => Ok(exchanged),
        }
    }

    fn exchange(&self, subject: &Secret, run: &Run) -> Result<AccessToken, FetchError> {
        let body = form(&[
            ("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange"),
            ("audience", &self.audience),
            ("scope", SCOPE),
            ("requested_token_type", "urn:ietf:params:oauth:token-type:access_token"),
            ("subject_token", subject.expose()),
            ("subject_token_type", "urn:ietf:params:oauth:token-type:jwt"),
        ]);
        let call = Call::post(STS_STEP, address(STS)?, "application/x-www-form-urlencoded", body)
            .tries(TRIES)
            .hint("the pool's provider must trust this cluster's issuer and the audience that the kubelet asks for");
        let reply = run.network.call(call)?;
        let lacks = || FetchError::Answer { step: STS_STEP, lacks: "an access_token".to_owned() };
        let Exchanged { access_token, expires_in } =
            json::parse_object(reply.body.expose()).ok().ok_or_else(lacks)?;
        Ok(AccessToken::new(access_token, expires_in, run.now))
    }
}

fn impersonate(account: &str, token: &Secret, run: &Run) -> Result<AccessToken, FetchError> {
    let url = address(&format!("{IAM}/{account}:generateAccessToken"))?;
    let body = serde_json::json!({ "scope": [SCOPE] }).to_string();
    let call = Call::post(IAM_STEP, url, "application/json", SecretBytes::new(body.into_bytes()))
        .bearer(token)
        .tries(TRIES)
        .hint(
            "the federated principal needs the role roles/iam.workloadIdentityUser on that service account",
        );
    let reply = run.network.call(call)?;
    let lacks = || FetchError::Answer { step: IAM_STEP, lacks: "an accessToken".to_owned() };
    let Impersonated { access_token, expire_time } =
        json::parse_object(reply.body.expose()).ok().ok_or_else(lacks)?;
    Ok(AccessToken { secret: access_token, expires: moment::rfc3339(&expire_time) })
}

fn address(text: &str) -> Result<Url, FetchError> {
    Url::parse(text).map_err(|source| FetchError::Address { name: text.to_owned(), source })
}

/// `name@project.iam.gserviceaccount.com`: it becomes part of an address.
fn account(text: &str) -> Result<String, String> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-._@".contains(c);
    let is_account = text.chars().all(is_plain) && text.contains('@');
    is_account.then(|| text.to_owned()).ok_or_else(|| "write name@project.iam.gserviceaccount.com".to_owned())
}
