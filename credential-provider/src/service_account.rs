//! The service account of the pod that is being started, by whose token credentials may be had (KEP-4412).

use std::collections::BTreeMap;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde::Deserialize;
use thiserror::Error;

use crate::json::{self, JsonError};
use crate::secret::Secret;

/// In whose name the kubelet asks.
#[derive(Debug)]
pub struct ServiceAccount {
    /// A JWT, bound to the pod and for one audience.
    pub token: Secret,
    /// Those annotations of the object that the kubelet's configuration names.
    pub annotations: BTreeMap<String, String>,
}

/// What a token says of itself. The kubelet gave it to us, so the signature is not looked at.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct Claims {
    /// Who issued it.
    #[serde(default)]
    pub iss: String,
    /// `system:serviceaccount:<namespace>:<name>`.
    #[serde(default)]
    pub sub: String,
    /// For whom it is.
    #[serde(default)]
    pub aud: Audience,
    /// When it expires, in seconds since 1970.
    #[serde(default)]
    pub exp: u64,
    #[serde(default, rename = "kubernetes.io")]
    kubernetes: Kubernetes,
}

/// One audience or several.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub enum Audience {
    /// One.
    One(String),
    /// Several.
    Several(Vec<String>),
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
struct Kubernetes {
    #[serde(default)]
    serviceaccount: Object,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
struct Object {
    #[serde(default)]
    uid: String,
}

/// Why a token tells nothing of itself.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum TokenError {
    /// Not three parts between dots, the second base64.
    #[error("the service account's token is no JWT")]
    Form,
    /// The second part is something else than claims.
    #[error("the claims of the service account's token cannot be read")]
    Claims(#[from] JsonError),
}

impl Default for Audience {
    fn default() -> Self {
        Self::Several(Vec::new())
    }
}

impl Audience {
    /// Whether `audience` is among them.
    pub fn has(&self, audience: &str) -> bool {
        match self {
            Self::One(one) => one == audience,
            Self::Several(all) => all.iter().any(|one| one == audience),
        }
    }

    /// For people.
    pub fn list(&self) -> String {
        match self {
            Self::One(audience) => audience.clone(),
            Self::Several(audiences) => audiences.join(" "),
        }
    }
}

impl Claims {
    /// Reads the claims of `token`.
    pub fn of(token: &Secret) -> Result<Self, TokenError> {
        let mut parts = token.expose().split('.');
        let (Some(_), Some(claims), Some(_), None) = (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(TokenError::Form);
        };
        let claims =
            BASE64_URL_SAFE_NO_PAD.decode(claims.trim_end_matches('=')).ok().ok_or(TokenError::Form)?;
        Ok(json::parse_object(&claims)?)
    }

    /// Who it is and for what, the same for all tokens of one service account and audience. One that was
    /// deleted and made again under its name is another.
    pub fn identity(&self) -> String {
        format!("{} {} {} {}", self.iss, self.sub, self.kubernetes.serviceaccount.uid, self.aud.list())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(claims: &str) -> Secret {
        Secret::new(format!("e30.{}.c2ln", BASE64_URL_SAFE_NO_PAD.encode(claims)))
    }

    #[test]
    fn claims_tell_who_asks_and_for_what() {
        let text = r#"{"iss":"https://c","sub":"system:serviceaccount:ns:sa","aud":["a"],"exp":7,"nbf":1,
            "kubernetes.io":{"namespace":"ns","pod":{"uid":"p"},"serviceaccount":{"name":"sa","uid":"u"}}}"#;
        let claims = Claims::of(&token(text)).unwrap();
        assert_eq!(claims.identity(), "https://c system:serviceaccount:ns:sa u a");
        assert_eq!((claims.exp, claims.aud), (7, Audience::Several(vec!["a".into()])));
        assert_eq!(Claims::of(&token(r#"{"aud":"b"}"#)).unwrap().aud.list(), "b");
    }

    #[test]
    fn what_is_no_token_is_refused_and_not_repeated() {
        for text in ["", "a.b", "a.b.c.d", "a.!.c"] {
            assert_eq!(Claims::of(&Secret::new(text.into())), Err(TokenError::Form), "{text:?}");
        }
        for claims in ["[]", "7", "{\"sub\":7}", "hunter2"] {
            let error = Claims::of(&token(claims)).unwrap_err();
            assert!(!crate::error::chain(&error).contains("hunter2"), "{error}");
        }
    }
}
