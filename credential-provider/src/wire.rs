//! The kubelet's exec protocol: `CredentialProviderRequest` in, `CredentialProviderResponse` out.
//!
//! API group `credentialprovider.kubelet.k8s.io`; its versions v1, v1beta1 and v1alpha1 have the same fields
//! as far as they are used here. The kubelet decodes strictly: an unknown field in the response fails
//! it, and an apiVersion other than the one it asked in does too.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::json::{self, JsonError};
use crate::provider::{Credential, Scope};
use crate::secret::SecretBytes;

const REQUEST_KIND: &str = "CredentialProviderRequest";
const RESPONSE_KIND: &str = "CredentialProviderResponse";

/// Longest piece of a request that an error repeats, in characters.
const LONGEST_QUOTE: usize = 120;

/// The versions of the API group that the kubelet may speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ApiVersion {
    /// Since Kubernetes 1.26.
    V1,
    /// Since 1.24.
    V1Beta1,
    /// Since 1.20.
    V1Alpha1,
}

/// What the kubelet asks.
#[derive(Debug, PartialEq, Eq)]
pub struct Request {
    /// The version to answer in.
    pub version: ApiVersion,
    /// Normalised repository without tag or digest: `docker.io/library/nginx`.
    pub image: String,
}

/// Why a request was not understood. The document is never repeated as a whole: it may hold a
/// service account token.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum RequestError {
    /// Nothing on stdin.
    #[error("the request on stdin is empty")]
    Empty,
    /// No JSON, or values of other types than the protocol's.
    #[error("the request on stdin is no {REQUEST_KIND}")]
    Json(#[from] JsonError),
    /// Some other object.
    #[error("the request on stdin has kind {0:?}, not {REQUEST_KIND:?}")]
    Kind(String),
    /// A version that this program does not know.
    #[error("the request on stdin has apiVersion {0:?}")]
    Version(String),
    /// No `image`, or an empty one.
    #[error("the request on stdin names no image")]
    NoImage,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct TypeMeta {
    #[serde(default)]
    api_version: String,
    #[serde(default)]
    kind: String,
}

#[derive(Deserialize)]
struct RawRequest {
    #[serde(default)]
    image: String,
}

impl ApiVersion {
    /// Every version, newest first.
    pub const ALL: [Self; 3] = [Self::V1, Self::V1Beta1, Self::V1Alpha1];

    /// The `apiVersion` of this version's documents.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::V1 => "credentialprovider.kubelet.k8s.io/v1",
            Self::V1Beta1 => "credentialprovider.kubelet.k8s.io/v1beta1",
            Self::V1Alpha1 => "credentialprovider.kubelet.k8s.io/v1alpha1",
        }
    }
}

impl Request {
    /// Reads a request; kind and version are judged before anything else. Unknown fields are left
    /// alone, since a newer kubelet may send more.
    pub fn parse(bytes: &[u8]) -> Result<Self, RequestError> {
        if bytes.trim_ascii().is_empty() {
            return Err(RequestError::Empty);
        }
        let meta: TypeMeta = json::parse_object(bytes)?;
        if meta.kind != REQUEST_KIND {
            return Err(RequestError::Kind(quote(&meta.kind)));
        }
        let version = ApiVersion::ALL
            .into_iter()
            .find(|version| version.as_str() == meta.api_version)
            .ok_or_else(|| RequestError::Version(quote(&meta.api_version)))?;
        let RawRequest { image } = json::parse_object(bytes)?;
        if image.is_empty() { Err(RequestError::NoImage) } else { Ok(Self { version, image }) }
    }
}

fn quote(text: &str) -> String {
    text.chars().take(LONGEST_QUOTE).collect()
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct RawResponse<'a> {
    kind: &'static str,
    api_version: &'static str,
    cache_key_type: &'static str,
    cache_duration: String,
    auth: BTreeMap<&'a str, RawAuth<'a>>,
}

#[derive(Serialize)]
struct RawAuth<'a> {
    username: &'a str,
    password: &'a str,
}

/// The answer that carries `credential`, one line of JSON.
pub fn render_credential(version: ApiVersion, credential: &Credential) -> serde_json::Result<SecretBytes> {
    let auth = RawAuth { username: credential.username.expose(), password: credential.password.expose() };
    render(&RawResponse {
        kind: RESPONSE_KIND,
        api_version: version.as_str(),
        cache_key_type: cache_key_type(credential.scope),
        cache_duration: cache_duration(credential),
        auth: BTreeMap::from([(credential.key.as_str(), auth)]),
    })
}

/// The answer that lets the kubelet pull without credentials. Never cached, because the kubelet
/// would keep the emptiness as long as it keeps a password.
pub fn render_anonymous(version: ApiVersion) -> serde_json::Result<SecretBytes> {
    render(&RawResponse {
        kind: RESPONSE_KIND,
        api_version: version.as_str(),
        cache_key_type: cache_key_type(Scope::Image),
        cache_duration: "0s".into(),
        auth: BTreeMap::new(),
    })
}

fn render(response: &RawResponse<'_>) -> serde_json::Result<SecretBytes> {
    let mut bytes = serde_json::to_vec(response)?;
    bytes.push(b'\n');
    Ok(SecretBytes::new(bytes))
}

/// How the kubelet's own cache may reuse an answer.
pub fn cache_key_type(scope: Scope) -> &'static str {
    match scope {
        Scope::Image => "Image",
        Scope::Registry => "Registry",
    }
}

/// For how long the kubelet may reuse an answer, as a Go duration: until the credential expires,
/// and not at all when nobody knows when that is.
pub fn cache_duration(credential: &Credential) -> String {
    format!("{}s", credential.expires_in.map_or(0, |left| left.as_secs()))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{ApiVersion, Request, RequestError, cache_duration, render_anonymous};
    use crate::provider::{Credential, Scope};
    use crate::secret::Secret;

    fn request(kind: &str, version: &str, rest: &str) -> Result<Request, RequestError> {
        Request::parse(format!(r#"{{"kind":{kind},"apiVersion":{version}{rest}}}"#).as_bytes())
    }

    #[test]
    fn kind_is_judged_before_version_and_version_before_the_rest() {
        let version = r#""credentialprovider.kubelet.k8s.io/v1""#;
        let kind = r#""CredentialProviderRequest""#;
        let image = r#","image":"registry/app""#;
        assert_eq!(
            request(kind, version, image),
            Ok(Request { version: ApiVersion::V1, image: "registry/app".into() })
        );
        assert_eq!(request(r#""Pod""#, r#""v9""#, r#","image":7"#), Err(RequestError::Kind("Pod".into())));
        assert_eq!(request(kind, r#""v9""#, r#","image":7"#), Err(RequestError::Version("v9".into())));
        assert!(matches!(request(kind, version, r#","image":7"#), Err(RequestError::Json(_))));
        assert_eq!(request(kind, version, ""), Err(RequestError::NoImage));
        assert_eq!(Request::parse(b" \n"), Err(RequestError::Empty));
    }

    #[test]
    fn fields_of_a_newer_kubelet_are_passed_over() {
        let parsed = request(
            r#""CredentialProviderRequest""#,
            r#""credentialprovider.kubelet.k8s.io/v1""#,
            r#","image":"a/b","serviceAccountToken":"t","podLabels":{"a":[1,{"b":null}]}"#,
        );
        assert_eq!(parsed.map(|request| request.image), Ok("a/b".into()));
    }

    #[test]
    fn an_error_repeats_only_the_start_of_a_long_value() {
        let Err(RequestError::Kind(kind)) = request(&format!("{:?}", "x".repeat(5000)), r#""""#, "") else {
            panic!("the kind is wrong");
        };
        assert_eq!(kind.len(), super::LONGEST_QUOTE);
    }

    #[test]
    fn an_answer_is_kept_until_the_credential_expires_and_not_at_all_when_that_is_unknown() {
        let secret = || Secret::new(String::new());
        let mut credential = Credential {
            username: secret(),
            password: secret(),
            key: String::new(),
            scope: Scope::Image,
            expires_in: None,
            origin: String::new(),
        };
        assert_eq!(cache_duration(&credential), "0s");
        credential.expires_in = Some(Duration::from_millis(90_999));
        assert_eq!(cache_duration(&credential), "90s");
    }

    #[test]
    fn an_answer_without_credentials_is_never_kept() {
        let document = render_anonymous(ApiVersion::V1Beta1).unwrap();
        let expected = concat!(
            r#"{"kind":"CredentialProviderResponse","apiVersion":"credentialprovider.kubelet.k8s.io/v1beta1","#,
            r#""cacheKeyType":"Image","cacheDuration":"0s","auth":{}}"#,
            "\n"
        );
        assert_eq!(str::from_utf8(document.expose()), Ok(expected));
    }
}
