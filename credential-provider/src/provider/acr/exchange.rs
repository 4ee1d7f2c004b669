//! A token of the directory's for one of the registry's. The registry says where; only of itself is it believed.

use serde::Deserialize;

use crate::http::{Call, Url, form};
use crate::json;
use crate::provider::{FetchError, Run};
use crate::secret::Secret;

const CHALLENGE: &str = "acr-challenge";
const EXCHANGE: &str = "acr-exchange";

#[derive(Deserialize)]
struct Answer {
    refresh_token: Secret,
}

/// The registry's own token, which is good for all its repositories that the identity may pull.
pub(super) fn token(
    registry: &str,
    tenant: Option<&str>,
    token: &Secret,
    run: &Run,
) -> Result<Secret, FetchError> {
    let wrong = |source| FetchError::Address { name: registry.to_owned(), source };
    let home = Url::parse(&format!("https://{registry}")).map_err(wrong)?;
    let service = service(&home, run)?;
    let mut fields =
        vec![("grant_type", "access_token"), ("service", &service), ("access_token", token.expose())];
    fields.extend(tenant.map(|tenant| ("tenant", tenant)));
    let url = home.join("/oauth2/exchange").map_err(wrong)?;
    let call = Call::post(EXCHANGE, url, "application/x-www-form-urlencoded", form(&fields))
        .tries(3)
        .hint("the identity needs the role AcrPull on the registry");
    let reply = run.network.call(call)?;
    let lacks = || FetchError::Answer { step: EXCHANGE, lacks: "a refresh_token".to_owned() };
    let Answer { refresh_token } = json::parse_object(reply.body.expose()).ok().ok_or_else(lacks)?;
    Ok(refresh_token)
}

/// What the registry calls itself. A realm elsewhere would be given the token by whoever follows it.
fn service(home: &Url, run: &Run) -> Result<String, FetchError> {
    let call = Call::get(
        CHALLENGE,
        home.join("/v2/").map_err(|source| FetchError::Address { name: home.to_string(), source })?,
    )
    .tries(3)
    .expect(|status| status == 401)
    .hint("the registry must be reachable from the node, by its own name");
    let reply = run.network.call(call)?;
    let lacks = || FetchError::Answer {
        step: CHALLENGE,
        lacks: "a Bearer challenge with realm and service".to_owned(),
    };
    let challenge = reply.headers("www-authenticate").find_map(Challenge::parse).ok_or_else(lacks)?;
    let realm = Url::parse(&challenge.realm).ok().ok_or_else(lacks)?;
    if !realm.is_same_origin(home) {
        return Err(FetchError::Realm { registry: home.host(), realm: realm.host() });
    }
    Ok(challenge.service)
}

/// `Bearer realm="https://…",service="…"`, the values quoted or not.
#[derive(Debug, PartialEq, Eq)]
struct Challenge {
    realm: String,
    service: String,
}

impl Challenge {
    fn parse(header: &str) -> Option<Self> {
        let (scheme, mut rest) = header.trim().split_once(' ')?;
        if !scheme.eq_ignore_ascii_case("bearer") {
            return None;
        }
        let (mut realm, mut service) = (None, None);
        while let Some((name, after)) = rest.split_once('=') {
            let (value, after) = value(after)?;
            match name.trim_matches([' ', ',']).to_ascii_lowercase().as_str() {
                "realm" => realm = Some(value),
                "service" => service = Some(value),
                _ => {}
            }
            rest = after;
        }
        Some(Self { realm: realm?, service: service? })
    }
}

/// A value and what follows it.
fn value(text: &str) -> Option<(String, &str)> {
    let (value, rest) = match text.strip_prefix('"') {
        Some(quoted) => quoted.split_once('"')?,
        None => text.split_at(text.find(',').unwrap_or(text.len())),
    };
    Some((value.trim().to_owned(), rest))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::Challenge;

    #[test]
    fn a_challenge_is_read_quoted_or_not() {
        for header in [
            r#"Bearer realm="https://r.azurecr.io/oauth2/token",service="r.azurecr.io""#,
            r#"bearer service="r.azurecr.io", realm="https://r.azurecr.io/oauth2/token", scope="a,b=c""#,
            "Bearer realm=https://r.azurecr.io/oauth2/token,service=r.azurecr.io",
        ] {
            let challenge = Challenge::parse(header).unwrap();
            let expected = ("https://r.azurecr.io/oauth2/token", "r.azurecr.io");
            assert_eq!((challenge.realm.as_str(), challenge.service.as_str()), expected, "{header}");
        }
        for header in ["", "Basic realm=\"x\"", "Bearer", "Bearer realm=\"x\"", "Bearer realm=\"x,service=y"]
        {
            assert_eq!(Challenge::parse(header), None, "{header}");
        }
    }

    proptest! {
        #[test]
        fn any_header_is_read_or_refused_without_a_panic(header in "(Bearer )?[a-z=\", ]{0,40}") {
            let _either = Challenge::parse(&header);
        }
    }
}
