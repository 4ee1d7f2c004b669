//! The Security Token Service of a region: roles for tokens, and roles for other roles.

use super::sigv4::{self, Fault};
use super::{Accounts, Key, Trust};
use crate::farend::jwt::{self, HOUR, Issuer, rfc3339};
use crate::farend::{FarEnd, Moment, Request, Response};

const XMLNS: &str = "https://sts.amazonaws.com/doc/2011-06-15/";

/// `sts` of one region.
#[derive(Clone, Debug)]
pub struct Sts {
    accounts: Accounts,
    region: String,
}

impl Sts {
    /// The service in `region`.
    pub fn new(accounts: &Accounts, region: &str) -> Self {
        Self { accounts: accounts.clone(), region: region.into() }
    }

    fn assume(&self, request: &Request, moment: &Moment) -> Result<Response, Response> {
        if request.route() != "POST /" || request.field("Version").as_deref() != Some("2011-06-15") {
            return Err(failure(400, "InvalidAction", "Could not find operation for this version"));
        }
        match request.field("Action").as_deref() {
            Some("AssumeRoleWithWebIdentity") => self.with_web_identity(request, moment),
            Some("AssumeRole") => self.with_signature(request, moment),
            _ => Err(failure(400, "InvalidAction", "Could not find operation")),
        }
    }

    fn with_web_identity(&self, request: &Request, moment: &Moment) -> Result<Response, Response> {
        let (role, session) = (needed(request, "RoleArn")?, session_name(request)?);
        let token = needed(request, "WebIdentityToken")?;
        let denied = || not_authorized("sts:AssumeRoleWithWebIdentity");
        let Some(Trust::WebIdentity { issuer, subject, audience }) = self.accounts.trust(&role) else {
            return Err(denied());
        };
        let claims = believe(&issuer, &token, moment)?;
        if !jwt::is_for(&claims, &audience) {
            return Err(failure(400, "InvalidIdentityToken", "Incorrect token audience"));
        }
        if claims["sub"] != subject || !self.accounts.may(&role, "sts:AssumeRoleWithWebIdentity") {
            return Err(denied());
        }
        let key = self.issue(&role, &session, lifetime(request)?, moment);
        let more = format!("<SubjectFromWebIdentityToken>{subject}</SubjectFromWebIdentityToken>");
        Ok(success("AssumeRoleWithWebIdentity", &key, &more))
    }

    fn with_signature(&self, request: &Request, moment: &Moment) -> Result<Response, Response> {
        let caller = sigv4::verify(request, &self.accounts, (&self.region, "sts"), moment.now);
        let caller = caller.map_err(|fault| refusal(&fault))?;
        let (role, session) = (needed(request, "RoleArn")?, session_name(request)?);
        let trusted = match self.accounts.trust(&role) {
            Some(Trust::Principal { arn, external_id }) => {
                is_session_of(&caller.principal, &arn)
                    && (external_id.is_none() || request.field("ExternalId") == external_id)
            }
            _ => false,
        };
        if !trusted || !self.accounts.may(&caller.principal, "sts:AssumeRole") {
            return Err(not_authorized(&format!("sts:AssumeRole on resource: {role}")));
        }
        let key = self.issue(&role, &session, lifetime(request)?, moment);
        Ok(success("AssumeRole", &key, ""))
    }

    fn issue(&self, role: &str, session: &str, seconds: u64, moment: &Moment) -> Key {
        let principal = role.replace(":iam:", ":sts:").replace(":role/", ":assumed-role/");
        self.accounts.issue(&format!("{principal}/{session}"), moment.expiry(seconds))
    }
}

impl FarEnd for Sts {
    fn answer(&self, request: &Request, moment: &Moment) -> Response {
        self.assume(request, moment).unwrap_or_else(std::convert::identity)
    }

    fn throttled(&self) -> Response {
        failure(400, "Throttling", "Rate exceeded")
    }

    fn denied(&self) -> Response {
        not_authorized("sts:AssumeRoleWithWebIdentity")
    }
}

/// Whether `principal` is `arn` itself or a session of the role `arn`.
fn is_session_of(principal: &str, arn: &str) -> bool {
    let session = arn.replace(":iam:", ":sts:").replace(":role/", ":assumed-role/") + "/";
    principal == arn || principal.starts_with(&session)
}

fn needed(request: &Request, name: &str) -> Result<String, Response> {
    let absent = || failure(400, "ValidationError", &format!("Value null at '{name}' must not be null"));
    request.field(name).filter(|value| !value.is_empty()).ok_or_else(absent)
}

fn session_name(request: &Request) -> Result<String, Response> {
    let name = needed(request, "RoleSessionName")?;
    let allowed = |c: char| c.is_ascii_alphanumeric() || "_+=,.@-".contains(c);
    if (2..=64).contains(&name.len()) && name.chars().all(allowed) {
        return Ok(name);
    }
    Err(failure(400, "ValidationError", "Value at 'roleSessionName' failed to satisfy constraint"))
}

fn lifetime(request: &Request) -> Result<u64, Response> {
    let Some(text) = request.field("DurationSeconds") else { return Ok(HOUR) };
    let seconds = text.parse().ok().filter(|seconds| (900..=12 * HOUR).contains(seconds));
    seconds.ok_or_else(|| failure(400, "ValidationError", "Value at 'durationSeconds' is out of range"))
}

fn believe(issuer: &Issuer, token: &str, moment: &Moment) -> Result<serde_json::Value, Response> {
    issuer.verify(token, moment.now).map_err(|fault| match fault {
        jwt::Fault::Expired => failure(400, "ExpiredTokenException", "Token expired: current date/time"),
        jwt::Fault::Forged => failure(400, "InvalidIdentityToken", "Couldn't retrieve verification key"),
    })
}

fn refusal(fault: &Fault) -> Response {
    match fault {
        Fault::Missing => {
            failure(403, "MissingAuthenticationToken", "Request is missing Authentication Token")
        }
        Fault::Incomplete(what) => failure(400, "IncompleteSignature", what),
        Fault::UnknownKey => failure(403, "InvalidClientTokenId", "The security token is invalid."),
        Fault::ExpiredKey => failure(403, "ExpiredToken", "The security token is expired"),
        Fault::Skewed(what) | Fault::Mismatch(what) => failure(403, "SignatureDoesNotMatch", what),
    }
}

fn not_authorized(action: &str) -> Response {
    failure(403, "AccessDenied", &format!("Not authorized to perform {action}"))
}

fn failure(status: u16, code: &str, message: &str) -> Response {
    let body = format!(
        "<ErrorResponse xmlns=\"{XMLNS}\">\n  <Error>\n    <Type>Sender</Type>\n    <Code>{code}</Code>\n    \
         <Message>{message}</Message>\n  </Error>\n  <RequestId>0-0</RequestId>\n</ErrorResponse>\n"
    );
    Response::new(status, "text/xml", body)
}

fn success(action: &str, key: &Key, more: &str) -> Response {
    let Key { id, secret, token, expires, principal } = key;
    let token = token.as_deref().unwrap_or_default();
    // A fraction of a second, as the real one sometimes has.
    let end = rfc3339(expires.expect("the end of a temporary key")).replace('Z', ".250Z");
    let body = format!(
        "<{action}Response xmlns=\"{XMLNS}\">\n  <{action}Result>\n    <AssumedRoleUser>\n      \
         <Arn>{principal}</Arn>\n      <AssumedRoleId>AROA:x</AssumedRoleId>\n    </AssumedRoleUser>\n    \
         <Credentials>\n      <AccessKeyId>{id}</AccessKeyId>\n      \
         <SecretAccessKey>{secret}</SecretAccessKey>\n      <SessionToken>{token}</SessionToken>\n      \
         <Expiration>{end}</Expiration>\n    </Credentials>\n    {more}\n  </{action}Result>\n  \
         <ResponseMetadata><RequestId>0-0</RequestId></ResponseMetadata>\n</{action}Response>\n"
    );
    Response::new(200, "text/xml", body)
}
