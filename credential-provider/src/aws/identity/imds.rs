//! The metadata service of an EC2 instance, version 2 only: version 1 answers whoever can make the node send a
//! request.

use std::time::Duration;

use serde::Deserialize;

use crate::aws::{IdentityError, Keys, document};
use crate::cache::key::CacheKey;
use crate::http::{Call, Reply, Url};
use crate::json;
use crate::provider::{FetchError, Run, Variables};
use crate::secret::Secret;
use crate::step::StepError;

use super::Sight;
use super::source::{Had, Source};

/// An instance.
#[derive(Debug)]
pub(super) struct Instance {
    url: Url,
    /// Whether the environment names its address.
    is_named: bool,
}

const DISABLED: &str = "AWS_EC2_METADATA_DISABLED";
const ENDPOINT: &str = "AWS_EC2_METADATA_SERVICE_ENDPOINT";
const MODE: &str = "AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE";
const V4: &str = "http://169.254.169.254";
const V6: &str = "http://[fd00:ec2::254]";

const TTL: &str = "300";
const ROLES: [&str; 4] = ["latest", "meta-data", "iam", "security-credentials"];

/// It answers from the machine beneath, in a millisecond.
const PATIENCE: Duration = Duration::from_secs(1);
const TRIES: u32 = 3;
const LONGEST_ROLE: usize = 64;

/// That of this node.
pub(super) fn look(variables: &Variables) -> Result<Sight, FetchError> {
    if variables.text(DISABLED).is_some_and(|value| value.eq_ignore_ascii_case("true")) {
        return Ok(Sight::Absent(format!("{DISABLED} is set")));
    }
    let is_v6 = variables.text(MODE).is_some_and(|mode| mode.eq_ignore_ascii_case("ipv6"));
    let named = variables.text(ENDPOINT);
    let text = named.unwrap_or(if is_v6 { V6 } else { V4 });
    let wrong = |source| FetchError::Address { name: ENDPOINT.to_owned(), source };
    let url = Url::parse(text).map_err(wrong)?;
    Ok(Sight::There(Box::new(Source::Instance(Instance { url, is_named: named.is_some() }))))
}

impl Instance {
    pub(super) fn step(&self) -> String {
        format!("ask {} for a session, the instance's role and its keys", self.url)
    }

    pub(super) fn identify(&self, key: CacheKey) -> CacheKey {
        key.part("instance", &self.url.to_string())
    }

    pub(super) fn keys(&self, run: &Run) -> Result<Had, FetchError> {
        let session = match self.session(run) {
            // What a hop limit eats is the answer, never the connection.
            Err(error) if !self.is_named && error.is_nobody() => {
                return Ok(Had::Absent(format!("nobody answers at {}", self.url.host_and_port())));
            }
            session => session?,
        };
        match self.role(&session, run)? {
            Some(role) => self.keys_of(&role, &session, run).map(Had::Keys),
            None => Ok(Had::Absent("the instance has no role".into())),
        }
    }

    fn session(&self, run: &Run) -> Result<Secret, StepError> {
        let url = self.url.with_segment("latest").with_segment("api").with_segment("token");
        let hint = "a hop limit of 1 keeps the answer from reaching a container; \
                    the instance's metadata options must have the endpoint enabled";
        let call = Call::put("imds-token", url).header("x-aws-ec2-metadata-token-ttl-seconds", TTL);
        run.network.call(call.metadata().patience(PATIENCE).tries(TRIES).hint(hint)).map(|reply| text(&reply))
    }

    fn roles(&self) -> Url {
        ROLES.iter().fold(self.url.clone(), |url, segment| url.with_segment(segment))
    }

    /// Its name; none where there is none.
    fn role(&self, session: &Secret, run: &Run) -> Result<Option<String>, FetchError> {
        let call = Self::get("imds-role", self.roles().with_segment(""), session)
            .expect(|status| matches!(status, 200 | 404));
        let reply = run.network.call(call)?;
        if reply.status == 404 {
            return Ok(None);
        }
        let lacks = || FetchError::Answer { step: "imds-role", lacks: "the name of a role".to_owned() };
        let text = text(&reply);
        let name = text.expose().lines().next().unwrap_or_default().trim();
        if is_role(name) { Ok(Some(name.to_owned())) } else { Err(lacks()) }
    }

    fn keys_of(&self, role: &str, session: &Secret, run: &Run) -> Result<Keys, FetchError> {
        let reply = run.network.call(Self::get("imds-keys", self.roles().with_segment(role), session))?;
        if let Some(code) = refusal(reply.body.expose()) {
            return Err(IdentityError::Instance { role: role.to_owned(), code }.into());
        }
        let lacks = || FetchError::Answer { step: "imds-keys", lacks: "keys".to_owned() };
        document::keys(reply.body.expose(), format!("role {role} of the instance")).ok_or_else(lacks)
    }

    fn get(step: &'static str, url: Url, session: &Secret) -> Call {
        let call = Call::get(step, url).secret("x-aws-ec2-metadata-token", session.clone());
        call.metadata().patience(PATIENCE).tries(TRIES)
    }
}

fn text(reply: &Reply) -> Secret {
    Secret::new(String::from_utf8_lossy(reply.body.expose().trim_ascii()).into_owned())
}

/// What IAM allows as a name, and nothing that a page of a log-in has.
fn is_role(name: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "_+=,.@-".contains(c);
    (1..=LONGEST_ROLE).contains(&name.len()) && name.chars().all(allowed)
}

/// `{"Code": "AssumeRoleUnauthorizedAccess"}` comes with status 200.
fn refusal(body: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Told {
        #[serde(rename = "Code")]
        code: String,
    }
    let Told { code } = json::parse_object(body).ok()?;
    let is_word = code.len() <= 64 && code.bytes().all(|byte| byte.is_ascii_alphanumeric());
    (is_word && code != "Success").then_some(code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_role_is_a_name_of_iam() {
        assert!(is_role("eks-node_1+=,.@x"));
        for name in ["", "a/b", "<html>", "a b", &"a".repeat(65)] {
            assert!(!is_role(name), "{name}");
        }
        assert_eq!(
            refusal(br#"{"Code":"AssumeRoleUnauthorizedAccess"}"#).as_deref(),
            Some("AssumeRoleUnauthorizedAccess")
        );
        assert_eq!(refusal(br#"{"Code":"Success"}"#), None);
        assert_eq!(refusal(br#"{"Code":"the secret is x"}"#), None);
    }
}
