//! Endpoints that give keys to containers: of ECS, and of the EKS Pod Identity agent.

use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use crate::aws::{IdentityError, document};
use crate::cache::key::CacheKey;
use crate::http::{Call, Url};
use crate::provider::{FetchError, Run, Variables};
use crate::secret::Secret;
use crate::service_account::Claims;
use crate::step::{Problem, StepError};

use super::source::{Had, Source};
use super::{Sight, token_file};

/// An endpoint for containers.
#[derive(Debug)]
pub(super) struct Endpoint {
    step: &'static str,
    hint: &'static str,
    url: Url,
    token: Option<Secret>,
    /// Whose token it is; none where the endpoint is for one role only.
    subject: Option<Claims>,
}

const RELATIVE: &str = "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI";
const FULL: &str = "AWS_CONTAINER_CREDENTIALS_FULL_URI";
const TOKEN: &str = "AWS_CONTAINER_AUTHORIZATION_TOKEN";
const TOKEN_FILE: &str = "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE";
const ECS: &str = "http://169.254.170.2";

const PATIENCE: Duration = Duration::from_secs(5);
const TRIES: u32 = 3;

/// Link-local addresses of ECS and of the Pod Identity agent.
const ALLOWED: [&str; 3] = ["169.254.170.2", "169.254.170.23", "fd00:ec2::23"];

/// The agent's word for a service account that nobody has given a role.
const UNASSOCIATED: &str = "ResourceNotFoundException";

/// The one that `variables` name.
pub(super) fn look(variables: &Variables) -> Result<Sight, FetchError> {
    let Some(url) = uri(variables)? else {
        return Ok(Sight::Absent(format!("neither {RELATIVE} nor {FULL} is set")));
    };
    let token = match variables.text(TOKEN_FILE) {
        Some(path) => Some(token_file::read(Path::new(path))?),
        None => variables.get(TOKEN).cloned(),
    };
    let hint = "the environment's endpoint for containers must be this node's own";
    let endpoint = Endpoint { step: "container-credentials", hint, url, token, subject: None };
    Ok(Sight::There(Box::new(Source::Endpoint(endpoint))))
}

fn uri(variables: &Variables) -> Result<Option<Url>, FetchError> {
    let Some(path) = variables.text(RELATIVE) else { return full_uri(variables) };
    let wrong = |source| FetchError::Address { name: RELATIVE.to_owned(), source };
    Url::parse(ECS).and_then(|url| url.join(path)).map(Some).map_err(wrong)
}

/// The address in [`FULL`], if keys may be asked of it.
pub(super) fn full_uri(variables: &Variables) -> Result<Option<Url>, FetchError> {
    let Some(text) = variables.text(FULL) else { return Ok(None) };
    let url = Url::parse(text).map_err(|source| FetchError::Address { name: FULL.to_owned(), source })?;
    if is_allowed(&url) {
        return Ok(Some(url));
    }
    Err(IdentityError::Container { name: FULL, host: url.host_and_port() }.into())
}

/// Whether `url` is answered by this machine, or by an agent on it.
pub(super) fn is_on_this_node(url: &Url) -> bool {
    url.is_loopback() || url.address().is_some_and(is_link_local)
}

fn is_link_local(address: IpAddr) -> bool {
    ALLOWED.iter().any(|allowed| allowed.parse() == Ok(address))
}

/// As the SDKs have it: the token, and the keys in the answer, leave this node encrypted or not at all.
fn is_allowed(url: &Url) -> bool {
    !url.is_plain() || is_on_this_node(url)
}

impl Endpoint {
    /// The Pod Identity agent at `url`, for the owner of `token`.
    pub(super) fn agent(url: Url, token: Secret, subject: Claims) -> Self {
        let hint = "the agent must run on this node, and tokenAttributes must ask for the audience pods.eks.amazonaws.com";
        Self { step: "pod-identity", hint, url, token: Some(token), subject: Some(subject) }
    }

    /// Whether it is for one role only, which it has.
    pub(super) fn is_certain(&self) -> bool {
        self.subject.is_none()
    }

    pub(super) fn step(&self) -> String {
        match &self.subject {
            Some(claims) => format!("ask {} for keys, with the token of {}", self.url, claims.sub),
            None => format!("ask {} for keys", self.url),
        }
    }

    pub(super) fn identify(&self, key: CacheKey) -> Option<CacheKey> {
        let subject = self.subject.as_ref().map(Claims::identity).unwrap_or_default();
        // At an agent it is the token that tells whose keys are meant; a pod's is renewed all the time.
        let own = self.token.as_ref().filter(|_| self.subject.is_none());
        let token = own.map(|token| {
            Claims::of(token).map_or_else(|_| token.expose().to_owned(), |claims| claims.identity())
        });
        let key = key.part("endpoint", &self.url.to_string()).part("subject", &subject);
        Some(key.part("token", &token.unwrap_or_default()))
    }

    pub(super) fn keys(&self, run: &Run) -> Result<Had, FetchError> {
        let reply = match run.network.call(self.call()) {
            Ok(reply) => reply,
            Err(error) if self.subject.is_some() && is_unassociated(&error) => {
                return Ok(Had::Absent("the agent knows no role of this service account".into()));
            }
            Err(error) => return Err(error.into()),
        };
        let lacks = || FetchError::Answer { step: self.step, lacks: "keys".to_owned() };
        document::keys(reply.body.expose(), self.url.to_string()).map(Had::Keys).ok_or_else(lacks)
    }

    fn call(&self) -> Call {
        let call = Call::get(self.step, self.url.clone());
        // With https it may be anywhere, and a proxy on the way.
        let call = if self.url.is_plain() { call.metadata() } else { call };
        let call = match &self.token {
            Some(token) => call.secret("authorization", token.clone()),
            None => call,
        };
        call.patience(PATIENCE).tries(TRIES).explain(document::code).retry(is_throttled).hint(self.hint)
    }
}

fn is_throttled(_status: u16, body: &[u8]) -> bool {
    document::code(body).is_some_and(|code| code.contains("Throttl"))
}

fn is_unassociated(error: &StepError) -> bool {
    matches!(&error.problem, Problem::Status { code: Some(code), .. } if code == UNASSOCIATED)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_asked_of_this_node_or_over_https_only() {
        let allowed = |text: &str| is_allowed(&Url::parse(text).unwrap());
        for text in [
            "http://127.0.0.1:8080/creds",
            "http://[::1]/creds",
            "http://localhost/creds",
            "http://169.254.170.2/v2/credentials/1",
            "http://169.254.170.23/v1/credentials",
            "http://[fd00:ec2::23]/v1/credentials",
            "https://anywhere.example.com/creds",
        ] {
            assert!(allowed(text), "{text}");
        }
        for text in ["http://169.254.170.3/", "http://10.0.0.1/", "http://169.254.170.2.evil.example/"] {
            assert!(!allowed(text), "{text}");
        }
    }
}
