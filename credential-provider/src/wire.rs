//! The kubelet's exec protocol: `CredentialProviderRequest` in, `CredentialProviderResponse` out.
//!
//! API group `credentialprovider.kubelet.k8s.io`; its versions v1, v1beta1 and v1alpha1 have the same fields
//! as far as they are used here. The kubelet decodes strictly: an unknown field in the response fails
//! it, and an apiVersion other than the one it asked in does too.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::image::ImageRef;
use crate::json::{self, JsonError};
use crate::provider::{Grant, Scope};
use crate::secret::{Secret, SecretBytes};
use crate::service_account::ServiceAccount;

const REQUEST_KIND: &str = "CredentialProviderRequest";
/// The `kind` of an answer.
pub const RESPONSE_KIND: &str = "CredentialProviderResponse";

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
#[derive(Debug)]
pub struct Request {
    /// The version to answer in.
    pub version: ApiVersion,
    /// Normalised repository without tag or digest: `docker.io/library/nginx`.
    pub image: String,
    /// In whose name, if the kubelet was told to say so.
    pub service_account: Option<ServiceAccount>,
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
#[serde(rename_all = "camelCase")]
struct RawRequest {
    #[serde(default)]
    image: String,
    service_account_token: Option<Secret>,
    service_account_annotations: Option<BTreeMap<String, String>>,
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
        let raw: RawRequest = json::parse_object(bytes)?;
        if raw.image.is_empty() {
            return Err(RequestError::NoImage);
        }
        let token = raw.service_account_token.filter(|token| !token.is_empty());
        let annotations = raw.service_account_annotations.unwrap_or_default();
        let service_account = token.map(|token| ServiceAccount { token, annotations });
        Ok(Self { version, image: raw.image, service_account })
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

/// The answer that carries `grant`, which the kubelet may keep for `duration`: one line of JSON.
pub fn render_grant(
    version: ApiVersion,
    grant: &Grant,
    duration: Duration,
) -> serde_json::Result<SecretBytes> {
    let Grant { credential, key, scope, .. } = grant;
    let auth = RawAuth { username: credential.username.expose(), password: credential.password.expose() };
    render(&RawResponse {
        kind: RESPONSE_KIND,
        api_version: version.as_str(),
        cache_key_type: cache_key_type(*scope),
        cache_duration: go(duration),
        auth: BTreeMap::from([(key.as_str(), auth)]),
    })
}

/// The answer that lets the kubelet pull without credentials. Never cached, because the kubelet
/// would keep the emptiness as long as it keeps a password.
pub fn render_anonymous(version: ApiVersion) -> serde_json::Result<SecretBytes> {
    render(&RawResponse {
        kind: RESPONSE_KIND,
        api_version: version.as_str(),
        cache_key_type: cache_key_type(Scope::Image),
        cache_duration: go(Duration::ZERO),
        auth: BTreeMap::new(),
    })
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct RawQuestion<'a> {
    kind: &'static str,
    api_version: &'static str,
    image: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    service_account_token: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    service_account_annotations: Option<&'a BTreeMap<String, String>>,
}

/// The question that the kubelet would ask another provider.
pub fn render_request(
    version: ApiVersion,
    image: &ImageRef,
    service_account: Option<&ServiceAccount>,
) -> serde_json::Result<SecretBytes> {
    let question = RawQuestion {
        kind: REQUEST_KIND,
        api_version: version.as_str(),
        image: image.repository(),
        service_account_token: service_account.map(|account| account.token.expose()),
        service_account_annotations: service_account.map(|account| &account.annotations),
    };
    serde_json::to_vec(&question).map(SecretBytes::new)
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

/// A time as Go writes it, in whole seconds.
pub fn go(duration: Duration) -> String {
    format!("{}s", duration.as_secs())
}

#[cfg(test)]
mod tests {
    use super::{ApiVersion, Request, RequestError, render_anonymous};

    fn request(kind: &str, version: &str, rest: &str) -> Result<Request, RequestError> {
        Request::parse(format!(r#"{{"kind":{kind},"apiVersion":{version}{rest}}}"#).as_bytes())
    }

    #[test]
    fn kind_is_judged_before_version_and_version_before_the_rest() {
        let version = r#""credentialprovider.kubelet.k8s.io/v1""#;
        let kind = r#""CredentialProviderRequest""#;
        let image = r#","image":"registry/app""#;
        let good = request(kind, version, image).unwrap();
        assert_eq!((good.version, good.image.as_str()), (ApiVersion::V1, "registry/app"));
        assert!(good.service_account.is_none());
        let problem = |kind, version, rest| request(kind, version, rest).unwrap_err();
        assert_eq!(problem(r#""Pod""#, r#""v9""#, r#","image":7"#), RequestError::Kind("Pod".into()));
        assert_eq!(problem(kind, r#""v9""#, r#","image":7"#), RequestError::Version("v9".into()));
        assert!(matches!(problem(kind, version, r#","image":7"#), RequestError::Json(_)));
        assert_eq!(problem(kind, version, ""), RequestError::NoImage);
        assert_eq!(Request::parse(b" \n").unwrap_err(), RequestError::Empty);
    }

    #[test]
    fn fields_of_a_newer_kubelet_are_passed_over() {
        let parsed = request(
            r#""CredentialProviderRequest""#,
            r#""credentialprovider.kubelet.k8s.io/v1""#,
            r#","image":"a/b","serviceAccountToken":"e30.e30.e30","podLabels":{"a":[1,{"b":null}]}"#,
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
