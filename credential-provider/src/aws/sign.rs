//! Requests that prove by Signature Version 4 who sends them.

use std::time::SystemTime;

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4;
use thiserror::Error;

use super::Keys;
use crate::http::{Call, Url};
use crate::secret::{Secret, SecretBytes};

/// What a signature is for.
#[derive(Clone, Copy, Debug)]
pub struct Service<'a> {
    /// `ecr`, `sts`, …
    pub name: &'a str,
    /// The region of the far end.
    pub region: &'a str,
}

/// A request that cannot be signed. What it says in full may hold a header's value.
#[derive(Debug, Error)]
#[error("the request to {service} cannot be signed with access key {key:?}")]
pub struct SignError {
    service: String,
    key: String,
}

/// What is signed: a POST to `url`.
#[derive(Debug)]
pub struct Request {
    /// The step's name in errors.
    pub step: &'static str,
    /// Where it goes.
    pub url: Url,
    /// What the body is.
    pub content_type: &'static str,
    /// Another header, if the service wants one.
    pub header: Option<(&'static str, &'static str)>,
    /// The body.
    pub body: SecretBytes,
}

/// `request`, signed with `keys` for `service`.
pub fn signed(
    request: Request,
    keys: &Keys,
    service: Service<'_>,
    now: SystemTime,
) -> Result<Call, SignError> {
    let Request { step, url, content_type, header, body } = request;
    let failed = || SignError { service: service.name.to_owned(), key: keys.id.clone() };
    let authority = url.authority();
    let named = [("content-type", content_type), ("host", authority.as_str())].into_iter().chain(header);
    let address = url.to_string();
    let request = SignableRequest::new("POST", address.as_str(), named, SignableBody::Bytes(body.expose()));
    let identity = credentials(keys).into();
    let parameters = v4::SigningParams::builder()
        .identity(&identity)
        .region(service.region)
        .name(service.name)
        .time(now)
        .settings(SigningSettings::default())
        .build();
    let (request, parameters) = (request.ok().ok_or_else(failed)?, parameters.ok().ok_or_else(failed)?);
    let (signature, _) = sign(request, &parameters.into()).ok().ok_or_else(failed)?.into_parts();
    let (added, _) = signature.into_parts();
    let call = Call::post(step, url, content_type, body);
    let call = header.into_iter().fold(call, |call, (name, value)| call.header(name, value));
    Ok(added.into_iter().fold(call, |call, header| {
        call.secret(header.name().to_owned(), Secret::new(header.value().to_owned()))
    }))
}

fn credentials(keys: &Keys) -> Credentials {
    let token = keys.session_token.as_ref().map(|token| token.expose().to_owned());
    Credentials::new(keys.id.clone(), keys.secret.expose().to_owned(), token, keys.expires, "tripod")
}
