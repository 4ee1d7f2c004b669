//! The Security Token Service: roles for tokens, and roles for other keys.

use super::xml::Texts;
use super::{Keys, Place, Request, Service, endpoint, signed};
use crate::http::{Call, Url, form};
use crate::moment;
use crate::provider::{FetchError, Run, Variables};
use crate::secret::Secret;

/// A role, and under which name it is taken on: the name stands in the account's audit log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Role {
    /// `arn:aws:iam::123456789012:role/name`.
    pub(super) arn: String,
    /// 2 to 64 characters out of [`session_name`].
    pub(super) session: String,
    /// What the role's owner asks for besides.
    pub(super) external_id: Option<String>,
}

/// The name where nothing is known that says more.
pub(super) const SESSION: &str = "tripod";

const TOKEN_STEP: &str = "sts-web-identity";
const KEYS_STEP: &str = "sts-assume-role";
const CONTENT_TYPE: &str = "application/x-www-form-urlencoded";
const VERSION: &str = "2011-06-15";
const TRIES: u32 = 3;
const LONGEST_NAME: usize = 64;

/// `text` as a session's name: what must not stand there becomes a dash.
pub(super) fn session_name(text: &str) -> String {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "_+=,.@-".contains(c);
    let name = text.chars().take(LONGEST_NAME).map(|c| if allowed(c) { c } else { '-' }).collect::<String>();
    if name.len() < 2 { SESSION.to_owned() } else { name }
}

/// Where roles are taken on.
pub(super) fn address(place: &Place, variables: &Variables) -> Result<Url, FetchError> {
    let usual = endpoint::sts(&place.region, endpoint::variant(place.variant, variables));
    endpoint::of("STS", variables, &usual)
}

/// Keys of `role` for `token`; nothing proves the request but the token itself.
pub(super) fn with_token(url: Url, role: &Role, token: &Secret, run: &Run) -> Result<Keys, FetchError> {
    let fields = [
        ("Action", "AssumeRoleWithWebIdentity"),
        ("Version", VERSION),
        ("RoleArn", &role.arn),
        ("RoleSessionName", &role.session),
        ("WebIdentityToken", token.expose()),
    ];
    let call = Call::post(TOKEN_STEP, url, CONTENT_TYPE, form(&fields))
        .hint("the role must trust the token's issuer, subject and audience");
    ask(TOKEN_STEP, call, role, run)
}

/// Keys of `role` for the owner of `keys`.
pub(super) fn with_keys(
    url: Url,
    role: &Role,
    keys: &Keys,
    region: &str,
    run: &Run,
) -> Result<Keys, FetchError> {
    let fields = [
        ("Action", "AssumeRole"),
        ("Version", VERSION),
        ("RoleArn", &role.arn),
        ("RoleSessionName", &role.session),
    ];
    let external_id = role.external_id.as_ref().map(|id| ("ExternalId", id.as_str()));
    let fields: Vec<_> = fields.into_iter().chain(external_id).collect();
    let (step, content_type, body) = (KEYS_STEP, CONTENT_TYPE, form(&fields));
    let request = Request { step, url, content_type, header: None, body };
    let call = signed(request, keys, Service { name: "sts", region }, run.now)?
        .hint("the role must trust whose keys these are, and its external id must be this one");
    ask(KEYS_STEP, call, role, run)
}

fn ask(step: &'static str, call: Call, role: &Role, run: &Run) -> Result<Keys, FetchError> {
    let call =
        call.tries(TRIES).explain(code).retry(|_, body| code(body).is_some_and(|code| is_passing(&code)));
    let reply = run.network.call(call)?;
    let lacks = || FetchError::Answer { step, lacks: "credentials".to_owned() };
    read(reply.body.expose(), role).ok_or_else(lacks)
}

fn read(body: &[u8], role: &Role) -> Option<Keys> {
    let texts = Texts::read(str::from_utf8(body).ok()?)?;
    let get = |name| texts.get(&["Credentials", name]).filter(|text| !text.is_empty());
    Some(Keys {
        id: get("AccessKeyId")?,
        secret: Secret::new(get("SecretAccessKey")?),
        session_token: Some(Secret::new(get("SessionToken")?)),
        expires: get("Expiration").and_then(|text| moment::rfc3339(&text)),
        origin: format!("role {}", role.arn),
    })
}

fn code(body: &[u8]) -> Option<String> {
    Texts::read(str::from_utf8(body).ok()?)?.get(&["Error", "Code"])
}

/// Besides those that tell by their status. The service itself asks the token's issuer.
fn is_passing(code: &str) -> bool {
    code.contains("Throttl") || matches!(code, "RequestLimitExceeded" | "IDPCommunicationError")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_is_named_after_who_asks() {
        assert_eq!(session_name("team-puller"), "team-puller");
        assert_eq!(session_name("te:am/pü ller"), "te-am-p--ller");
        assert_eq!(session_name(&"a".repeat(80)).len(), 64);
        assert_eq!([session_name(""), session_name("x")], [SESSION, SESSION]);
    }

    #[test]
    fn an_answer_is_read_and_a_refusal_told_by_its_code() {
        let role = Role { arn: "arn".into(), session: SESSION.into(), external_id: None };
        let answer = "<R><Result><Credentials><AccessKeyId>ASIA1</AccessKeyId><SecretAccessKey>s/+</SecretAccessKey>\
            <SessionToken>t==</SessionToken><Expiration>2026-11-21T08:00:00.250Z</Expiration></Credentials></Result></R>";
        let keys = read(answer.as_bytes(), &role).unwrap();
        assert_eq!((keys.id.as_str(), keys.secret.expose()), ("ASIA1", "s/+"));
        assert!(keys.expires.unwrap() > moment::epoch(1_795_248_000).unwrap());
        assert!(read(answer.replace("<SessionToken>t==</SessionToken>", "").as_bytes(), &role).is_none());
        let refusal =
            b"<ErrorResponse><Error><Type>Sender</Type><Code>Throttling</Code></Error></ErrorResponse>";
        assert!(code(refusal).is_some_and(|code| is_passing(&code)));
        assert!(!is_passing("AccessDenied"));
    }
}
