//! Google: an instance's metadata, the exchange of a cluster's tokens, and impersonation.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use serde_json::json;

use super::jwt::{Expected, HOUR, rfc3339, unique};
use super::{FarEnd, Moment, Request, Response};

const EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";
const JWT: &str = "urn:ietf:params:oauth:token-type:jwt";
const SCOPE: &str = "https://www.googleapis.com/auth/cloud-platform";

/// The access tokens that are in use, and of whom.
#[derive(Clone, Debug, Default)]
pub struct AccessTokens(Arc<Mutex<HashMap<String, (String, SystemTime)>>>);

impl AccessTokens {
    fn issue(&self, whose: &str, end: SystemTime) -> String {
        let token = format!("ya29.{}-{whose}", unique());
        let mut tokens = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        tokens.insert(token.clone(), (whose.into(), end));
        token
    }

    /// Whose token it is.
    pub fn owner(&self, token: &str, now: SystemTime) -> Option<String> {
        let tokens = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        tokens.get(token).filter(|(_, end)| now < *end).map(|(whose, _)| whose.clone())
    }
}

/// The metadata service of an instance with a service account.
#[derive(Clone, Debug)]
pub struct GceMetadata {
    /// What it adds to.
    pub tokens: AccessTokens,
    /// The service account's e-mail address.
    pub account: String,
}

impl FarEnd for GceMetadata {
    fn answer(&self, request: &Request, moment: &Moment) -> Response {
        let google = |response: Response| response.header("Metadata-Flavor", "Google");
        if !request.has("Metadata-Flavor", "Google") || request.header("X-Forwarded-For").is_some() {
            return google(Response::text(403, "Missing Metadata-Flavor:Google header."));
        }
        let Some(rest) = request.path.strip_prefix("/computeMetadata/v1/instance/service-accounts/default/")
        else {
            return google(Response::text(404, "not found"));
        };
        google(match (request.method.as_str(), rest) {
            ("GET", "email") => Response::text(200, &self.account),
            ("GET", "token") => {
                let token = self.tokens.issue(&self.account, moment.expiry(HOUR));
                let left = moment.remaining(HOUR);
                Response::json(
                    200,
                    &json!({"access_token": token, "expires_in": left, "token_type": "Bearer"}),
                )
            }
            _ => Response::text(404, "not found"),
        })
    }
}

/// The exchange of tokens that a workload identity pool trusts.
#[derive(Clone, Debug)]
pub struct GoogleSts {
    /// What it adds to.
    pub tokens: AccessTokens,
    /// The pool's `audience`.
    pub pool: String,
    /// Which token it trusts.
    pub expected: Expected,
}

impl FarEnd for GoogleSts {
    fn answer(&self, request: &Request, moment: &Moment) -> Response {
        if request.route() != "POST /v1/token" {
            return status(404, "NOT_FOUND", "no such path");
        }
        let document = request.document();
        // As a form by RFC 8693, or as JSON with the names of Google's own libraries.
        let field = |name: &str, other: &str| {
            let text = document.get(name).or_else(|| document.get(other)).and_then(|value| value.as_str());
            text.map(str::to_owned).or_else(|| request.field(name)).unwrap_or_default()
        };
        let refused = |error: &str, what: &str| {
            Response::json(400, &json!({"error": error, "error_description": what}))
        };
        if field("grant_type", "grantType") != EXCHANGE {
            return refused("unsupported_grant_type", "grant_type must be that of a token exchange");
        }
        if field("audience", "audience") != self.pool {
            return refused("invalid_target", "The target service indicated by the \"audience\" is invalid.");
        }
        if field("requested_token_type", "requestedTokenType") != ACCESS_TOKEN
            || field("subject_token_type", "subjectTokenType") != JWT
        {
            return refused("invalid_request", "a token type is not supported");
        }
        if field("scope", "scope") != SCOPE {
            return refused("invalid_scope", "scope is not cloud-platform");
        }
        if let Err(why) = self.expected.check(&field("subject_token", "subjectToken"), moment.now) {
            return refused("invalid_grant", why);
        }
        let token = self.tokens.issue(&self.expected.subject, moment.expiry(HOUR));
        Response::json(
            200,
            &json!({
                "access_token": token, "issued_token_type": ACCESS_TOKEN, "token_type": "Bearer",
                "expires_in": moment.remaining(HOUR),
            }),
        )
    }

    fn throttled(&self) -> Response {
        status(429, "RESOURCE_EXHAUSTED", "Quota exceeded")
    }

    fn denied(&self) -> Response {
        status(403, "PERMISSION_DENIED", "Permission denied")
    }
}

/// The service by which one account becomes another.
#[derive(Clone, Debug)]
pub struct IamCredentials {
    /// What it adds to.
    pub tokens: AccessTokens,
    /// Who may become somebody else, by subject or e-mail address.
    pub from: String,
    /// Who that is, by e-mail address.
    pub to: String,
}

impl FarEnd for IamCredentials {
    fn answer(&self, request: &Request, moment: &Moment) -> Response {
        let path = super::message::unescape(&request.path).unwrap_or_default();
        if path != format!("/v1/projects/-/serviceAccounts/{}:generateAccessToken", self.to) {
            return status(404, "NOT_FOUND", "Not found; Gaia id not found for email");
        }
        let owner = request.bearer().and_then(|token| self.tokens.owner(token, moment.now));
        let Some(owner) = owner else {
            return status(401, "UNAUTHENTICATED", "Request had invalid authentication credentials.");
        };
        if owner != self.from {
            return self.denied();
        }
        if request.document()["scope"] != json!([SCOPE]) || request.method != "POST" {
            return status(400, "INVALID_ARGUMENT", "scope is not cloud-platform");
        }
        let end = moment.expiry(HOUR);
        let token = self.tokens.issue(&self.to, end);
        Response::json(200, &json!({"accessToken": token, "expireTime": rfc3339(end)}))
    }

    fn throttled(&self) -> Response {
        status(429, "RESOURCE_EXHAUSTED", "Quota exceeded")
    }

    fn denied(&self) -> Response {
        status(403, "PERMISSION_DENIED", "Permission 'iam.serviceAccounts.getAccessToken' denied")
    }
}

fn status(code: u16, status: &str, message: &str) -> Response {
    Response::json(code, &json!({"error": {"code": code, "message": message, "status": status}}))
}
