//! `GetAuthorizationToken`, of private registries and of the public one.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde::Deserialize;

use crate::aws::{Keys, Request, Service, signed};
use crate::http::Url;
use crate::json;
use crate::provider::{FetchError, Run};
use crate::secret::{Secret, SecretBytes};

/// What differs between private registries and the public one.
#[derive(Debug)]
pub(in crate::provider) struct Api {
    /// The step's name in errors.
    step: &'static str,
    /// `X-Amz-Target`.
    target: &'static str,
}

/// Private registries.
pub(in crate::provider) const PRIVATE: Api =
    Api { step: "ecr-token", target: "AmazonEC2ContainerRegistry_V20150921.GetAuthorizationToken" };

/// The public one.
pub(in crate::provider) const PUBLIC: Api =
    Api { step: "ecr-public-token", target: "SpencerFrontendService.GetAuthorizationToken" };

const CONTENT_TYPE: &str = "application/x-amz-json-1.1";
const TRIES: u32 = 3;

/// What a registry of AWS is told.
#[derive(Debug)]
pub(in crate::provider) struct Token {
    pub(in crate::provider) username: Secret,
    pub(in crate::provider) password: Secret,
    pub(in crate::provider) expires: Option<SystemTime>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    authorization_data: OneOrMany,
}

/// Private registries answer with a list, the public one with its only element.
#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    Many(Vec<Data>),
    One(Data),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Data {
    authorization_token: Secret,
    /// Seconds since 1970, with or without a fraction.
    expires_at: Option<f64>,
}

/// Asks `address` with `keys`.
pub(in crate::provider) fn get(
    address: Url,
    api: &Api,
    keys: &Keys,
    service: Service<'_>,
    run: &Run,
) -> Result<Token, FetchError> {
    let (step, content_type, body) = (api.step, CONTENT_TYPE, SecretBytes::new(b"{}".to_vec()));
    let header = Some(("x-amz-target", api.target));
    let request = Request { step, url: address, content_type, header, body };
    let call = signed(request, keys, service, run.now)?
        .tries(TRIES)
        .explain(error_code)
        .retry(|_, body| error_code(body).is_some_and(|code| code.contains("Throttling")))
        .hint("the identity needs the right GetAuthorizationToken, and the node's clock has to be right");
    let reply = run.network.call(call)?;
    read(reply.body.expose())
        .ok_or(FetchError::Answer { step: api.step, lacks: "an authorization token".to_owned() })
}

fn read(body: &[u8]) -> Option<Token> {
    let Answer { authorization_data } = json::parse_object(body).ok()?;
    let data = match authorization_data {
        OneOrMany::Many(list) => list.into_iter().next()?,
        OneOrMany::One(data) => data,
    };
    let plain = SecretBytes::new(BASE64_STANDARD.decode(data.authorization_token.expose()).ok()?);
    let (username, password) = str::from_utf8(plain.expose()).ok()?.split_once(':')?;
    Some(Token {
        username: Secret::new(username.to_owned()),
        password: Secret::new(password.to_owned()),
        expires: data.expires_at.and_then(moment),
    })
}

fn moment(seconds: f64) -> Option<SystemTime> {
    UNIX_EPOCH.checked_add(Duration::try_from_secs_f64(seconds).ok()?)
}

/// `{"__type": "com.amazonaws…#ThrottlingException"}`, of which the last word is enough.
fn error_code(body: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Refusal {
        #[serde(rename = "__type")]
        kind: String,
    }
    let Refusal { kind } = json::parse_object(body).ok()?;
    let word = kind.rsplit('#').next()?;
    let is_word = word.len() <= 80 && word.bytes().all(|byte| byte.is_ascii_alphanumeric());
    is_word.then(|| word.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_shapes_of_the_answer_are_read() {
        let token = BASE64_STANDARD.encode("AWS:pass:word");
        for (body, expires) in [
            (
                format!(r#"{{"authorizationData":[{{"authorizationToken":"{token}","expiresAt":1.7e9}}]}}"#),
                1_700_000_000,
            ),
            (
                format!(
                    r#"{{"authorizationData":{{"authorizationToken":"{token}","expiresAt":1700000000.25}}}}"#
                ),
                1_700_000_000,
            ),
        ] {
            let read = read(body.as_bytes()).unwrap();
            assert_eq!((read.username.expose(), read.password.expose()), ("AWS", "pass:word"));
            assert_eq!(read.expires.unwrap().duration_since(UNIX_EPOCH).unwrap().as_secs(), expires);
        }
        for body in
            ["", "{}", r#"{"authorizationData":[]}"#, r#"{"authorizationData":[{"authorizationToken":"!"}]}"#]
        {
            assert!(read(body.as_bytes()).is_none(), "{body}");
        }
    }

    #[test]
    fn a_refusal_is_told_by_its_last_word() {
        let code = |body: &str| error_code(body.as_bytes());
        assert_eq!(
            code(r#"{"__type":"com.amazon#ThrottlingException","message":"x"}"#),
            Some("ThrottlingException".into())
        );
        assert_eq!(code(r#"{"__type":"AccessDeniedException"}"#), Some("AccessDeniedException".into()));
        assert_eq!(code(r#"{"__type":"not a word"}"#), None);
        assert_eq!(code("<html>"), None);
    }
}
