//! The answer of another credential provider, read as strictly as the kubelet reads it.

use std::collections::BTreeMap;
use std::time::SystemTime;

use serde::Deserialize;

use crate::endpoint::Endpoint;
use crate::go_duration;
use crate::image::ImageRef;
use crate::json::{self, JsonError};
use crate::provider::{Coverage, Credential};
use crate::secret::Secret;
use crate::wire::{ApiVersion, RESPONSE_KIND};

/// A `CredentialProviderResponse`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct Response {
    kind: String,
    api_version: String,
    #[serde(default)]
    cache_key_type: String,
    #[serde(default)]
    cache_duration: Option<String>,
    #[serde(default)]
    auth: Option<BTreeMap<String, Auth>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Auth {
    #[serde(default = "nothing")]
    username: Secret,
    #[serde(default = "nothing")]
    password: Secret,
}

fn nothing() -> Secret {
    Secret::new(String::new())
}

impl Response {
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, JsonError> {
        json::parse_object(bytes)
    }

    /// Whether it is the answer to a question in `version`.
    pub(super) fn is_of(&self, version: ApiVersion) -> bool {
        let is_scope = matches!(self.cache_key_type.as_str(), "Image" | "Registry" | "Global");
        self.kind == RESPONSE_KIND && self.api_version == version.as_str() && is_scope
    }

    /// The first of its credentials that the kubelet would use for `image`: keys in reverse alphabetic order.
    pub(super) fn credential(self, image: &ImageRef, now: SystemTime, origin: String) -> Option<Credential> {
        let covers = |key: &str| {
            let endpoint = Endpoint::parse_auths_key(key).ok()?;
            endpoint.covers(image.endpoint()).then(|| endpoint.path().to_vec())
        };
        let found = self.auth?.into_iter().rev().find_map(|(key, auth)| Some((covers(&key)?, auth)));
        let (path, Auth { username, password }) = found?;
        let coverage = match self.cache_key_type.as_str() {
            "Image" => Coverage::Path(String::from_utf8(path).ok()?),
            _ => Coverage::Registry,
        };
        let kept = self.cache_duration.and_then(|text| go_duration::parse(&text).ok());
        Some(Credential {
            username,
            password,
            coverage,
            expires: kept.and_then(|kept| now.checked_add(kept)),
            origin,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn credential(auth: &str, kept: &str) -> Option<(String, u64, Coverage)> {
        let text = format!(
            r#"{{"kind":"CredentialProviderResponse","apiVersion":"credentialprovider.kubelet.k8s.io/v1",
                "cacheKeyType":"Image","cacheDuration":{kept},"auth":{auth}}}"#
        );
        let response = Response::parse(text.as_bytes()).ok()?;
        assert!(response.is_of(ApiVersion::V1) && !response.is_of(ApiVersion::V1Beta1));
        let image = ImageRef::parse("registry.example.com/team/app").unwrap();
        let found = response.credential(&image, SystemTime::UNIX_EPOCH, String::new())?;
        let expires = found.expires.map(|at| at.duration_since(SystemTime::UNIX_EPOCH).unwrap());
        Some((found.username.expose().to_owned(), expires.unwrap_or(Duration::MAX).as_secs(), found.coverage))
    }

    #[test]
    fn the_most_specific_key_is_taken() {
        let path = |path: &str| Coverage::Path(path.to_owned());
        let both = r#"{"registry.example.com":{"username":"a"},"registry.example.com/team/":{"username":"b","password":"p"}}"#;
        assert_eq!(credential(both, "\"1h30m\""), Some(("b".into(), 5400, path("/team/"))));
        let glob = r#"{"*.example.com":{"username":"a"},"other.example.com":{"username":"b"}}"#;
        assert_eq!(credential(glob, "null"), Some(("a".into(), u64::MAX, path(""))));
        for auth in ["null", "{}", r#"{"registry.example.com:5000":{"username":"a"}}"#] {
            assert_eq!(credential(auth, "\"0s\""), None, "{auth}");
        }
        assert_eq!(credential(r#"{"registry.example.com":{"token":"a"}}"#, "\"0s\""), None);
    }
}
