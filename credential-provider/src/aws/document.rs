//! Keys as metadata services write them: one JSON object.

use serde::Deserialize;

use super::Keys;
use crate::json;
use crate::moment;
use crate::secret::Secret;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Document {
    access_key_id: String,
    secret_access_key: Secret,
    token: Option<Secret>,
    expiration: Option<String>,
}

/// The keys in `body`, found at `origin`.
pub(super) fn keys(body: &[u8], origin: String) -> Option<Keys> {
    let Document { access_key_id: id, secret_access_key: secret, token, expiration } =
        json::parse_object(body).ok()?;
    let expires = expiration.as_deref().and_then(moment::rfc3339);
    let is_whole = !id.is_empty() && !secret.is_empty();
    is_whole.then(|| Keys { id, secret, session_token: token, expires, origin })
}

/// The machine code of a refusal: `{"code": "AccessDeniedException"}`.
pub(super) fn code(body: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Refusal {
        #[serde(alias = "Code")]
        code: String,
    }
    json::parse_object(body).ok().map(|Refusal { code }| code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_whole_or_none() {
        let body = br#"{"AccessKeyId":"ASIA1","SecretAccessKey":"s","Token":"t","Expiration":"2026-11-21T08:00:00Z"}"#;
        let found = keys(body, "here".into()).unwrap();
        assert_eq!((found.id.as_str(), found.secret.expose()), ("ASIA1", "s"));
        assert_eq!(found.expires, moment::epoch(1_795_248_000));
        for body in ["", "[]", r#"{"AccessKeyId":"a"}"#, r#"{"AccessKeyId":"","SecretAccessKey":"s"}"#] {
            assert!(keys(body.as_bytes(), String::new()).is_none(), "{body}");
        }
        assert_eq!(code(br#"{"code":"Throttled","message":"x"}"#).as_deref(), Some("Throttled"));
    }
}
