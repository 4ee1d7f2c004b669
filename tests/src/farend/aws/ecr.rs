//! Amazon's registries: the private ones of a region, and the public one.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

use super::sigv4::{self, Fault};
use super::{Accounts, Key};
use crate::farend::jwt::unique;
use crate::farend::{FarEnd, Moment, Request, Response, epoch};

const JSON: &str = "application/x-amz-json-1.1";
/// What a password of a registry lives for.
const LIFETIME: u64 = 12 * 3600;

/// `ecr` of one region.
#[derive(Clone, Debug)]
pub struct Ecr {
    accounts: Accounts,
    region: String,
}

/// `ecr-public`, which there is once.
#[derive(Clone, Debug)]
pub struct EcrPublic {
    accounts: Accounts,
}

impl Ecr {
    /// The registries of `region`.
    pub fn new(accounts: &Accounts, region: &str) -> Self {
        Self { accounts: accounts.clone(), region: region.into() }
    }
}

impl EcrPublic {
    /// The public registry.
    pub fn new(accounts: &Accounts) -> Self {
        Self { accounts: accounts.clone() }
    }
}

impl FarEnd for Ecr {
    fn answer(&self, request: &Request, moment: &Moment) -> Response {
        let action = "AmazonEC2ContainerRegistry_V20150921.GetAuthorizationToken";
        let signed_for = (self.region.as_str(), "ecr");
        let granted =
            authorize(request, &self.accounts, (action, &["ecr:GetAuthorizationToken"]), signed_for, moment);
        granted.map_or_else(std::convert::identity, |key| {
            let account = key.principal.split(':').nth(4).unwrap_or_default();
            let mut data = authorization(&key, moment);
            data["proxyEndpoint"] = format!("https://{account}.dkr.ecr.{}.amazonaws.com", self.region).into();
            answer(200, &json!({"authorizationData": [data]}))
        })
    }

    fn throttled(&self) -> Response {
        failure("ThrottlingException", "Rate exceeded")
    }

    fn denied(&self) -> Response {
        failure("AccessDeniedException", "User is not authorized to perform: ecr:GetAuthorizationToken")
    }
}

impl FarEnd for EcrPublic {
    fn answer(&self, request: &Request, moment: &Moment) -> Response {
        let action = "SpencerFrontendService.GetAuthorizationToken";
        let rights = ["ecr-public:GetAuthorizationToken", "sts:GetServiceBearerToken"];
        let signed_for = ("us-east-1", "ecr-public");
        let granted = authorize(request, &self.accounts, (action, &rights), signed_for, moment);
        granted.map_or_else(std::convert::identity, |key| {
            answer(200, &json!({"authorizationData": authorization(&key, moment)}))
        })
    }

    fn throttled(&self) -> Response {
        failure("ThrottlingException", "Rate exceeded")
    }

    fn denied(&self) -> Response {
        failure(
            "AccessDeniedException",
            "User is not authorized to perform: ecr-public:GetAuthorizationToken",
        )
    }
}

/// The password that names whom it was given to, so that a test sees whose it is.
fn authorization(key: &Key, moment: &Moment) -> Value {
    let password = format!("password-{}-of-{}", unique(), key.principal);
    // A fraction, as the real one has.
    let end = epoch(moment.expiry(LIFETIME));
    let end: Value = serde_json::from_str(&format!("{end}.873")).expect("a number");
    json!({"authorizationToken": BASE64_STANDARD.encode(format!("AWS:{password}")), "expiresAt": end})
}

/// Nothing, or the registries of which clients before 2019 had to tell.
fn is_question(body: &Value) -> bool {
    body.as_object().is_some_and(|body| body.keys().all(|key| key == "registryIds"))
}

fn authorize(
    request: &Request,
    accounts: &Accounts,
    (action, rights): (&str, &[&str]),
    signed_for: (&str, &str),
    moment: &Moment,
) -> Result<Key, Response> {
    if request.route() != "POST /" || !request.has("X-Amz-Target", action) || request.media() != JSON {
        return Err(failure("UnknownOperationException", ""));
    }
    if !serde_json::from_slice::<Value>(&request.body).is_ok_and(|body| is_question(&body)) {
        return Err(failure("SerializationException", "the body is another one"));
    }
    let key = sigv4::verify(request, accounts, signed_for, moment.now).map_err(refusal)?;
    match rights.iter().find(|right| !accounts.may(&key.principal, right)) {
        Some(right) => {
            let message = format!(
                "User: {} is not authorized to perform: {right} on resource: * because no identity-based \
                 policy allows the {right} action",
                key.principal
            );
            Err(failure("AccessDeniedException", &message))
        }
        None => Ok(key),
    }
}

fn refusal(fault: Fault) -> Response {
    match fault {
        Fault::Missing => failure("MissingAuthenticationTokenException", "Missing Authentication Token"),
        Fault::Incomplete(what) => failure("IncompleteSignatureException", &what),
        Fault::UnknownKey => {
            failure("UnrecognizedClientException", "The security token included in the request is invalid.")
        }
        Fault::ExpiredKey => {
            failure("ExpiredTokenException", "The security token included in the request is expired")
        }
        Fault::Skewed(what) | Fault::Mismatch(what) => failure("InvalidSignatureException", &what),
    }
}

fn failure(kind: &str, message: &str) -> Response {
    answer(400, &json!({"__type": kind, "message": message}))
}

fn answer(status: u16, document: &Value) -> Response {
    Response::new(status, JSON, document.to_string()).header("x-amzn-RequestId", "00000000-0000-4000")
}
