//! Whether time is on the agent's side: its clock beside the API server's, and the life of its token. Pure but
//! for the token's file.

use std::path::Path;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use k8s_openapi::jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;
use tripod_cni::finding::Finding;

use crate::hostfs;
use crate::status::say;

/// More than NTP leaves, and less than what breaks tokens.
const MOST_SECONDS: u64 = 30;
/// The API server ends each watch after five minutes, and is asked for another.
const OLD: i64 = 900;
const LONGEST_TOKEN: u64 = 64 << 10;

/// What the agent says of its clock.
pub(super) fn skew(status: &Value, now: Timestamp) -> Finding {
    const CHECK: &str = "clock";
    let Some(clock) = status.get("clock").filter(|clock| clock.is_object()) else {
        let text = "no API server has answered yet, so that there is nothing to compare with";
        return Finding::warn(CHECK, "API server", text).fix(REACH);
    };
    let server = say(clock, "server");
    let offset = clock.get("offsetSeconds").and_then(Value::as_i64).unwrap_or_default();
    let age = say(clock, "at").parse::<Timestamp>().map_or(0, |at| at.duration_until(now).as_secs());
    if offset.unsigned_abs() >= MOST_SECONDS {
        let direction = if offset > 0 { "ahead of" } else { "behind" };
        let text = format!("this node is {} s {direction} the API server", offset.unsigned_abs());
        let fix = "let NTP (chrony, systemd-timesyncd) keep the clocks of both machines: tokens and certificates are \
            refused as expired or not valid yet";
        return Finding::warn(CHECK, server, text).fix(fix);
    }
    if age > OLD {
        let text = format!("it has not answered for {} minutes; until then the clocks agreed", age / 60);
        return Finding::warn(CHECK, server, text).fix(REACH);
    }
    Finding::ok(CHECK, server, format!("{offset} s between this node and the API server"))
}

const REACH: &str = "see why the agent reaches none: kubectl -n tripod-system logs ds/tripod -c net; apiServers in \
    node.yaml names those that need no kube-proxy. Pods keep their network meanwhile";

/// What a token says of itself.
#[derive(Debug, Deserialize)]
struct Claims {
    exp: i64,
    iat: Option<i64>,
}

/// Whether the token in `folder` is good, and renewed as the kubelet should.
pub(super) fn token(folder: &Path, now: Timestamp) -> Finding {
    const CHECK: &str = "token";
    let path = folder.join("token");
    let object = path.display().to_string();
    if !path.exists() {
        return Finding::ok(CHECK, object, "cannot be seen from here")
            .fix("run the doctor in the net container");
    }
    let claims = match hostfs::read(&path, LONGEST_TOKEN) {
        Ok(text) => claims(&text),
        Err(error) => {
            return Finding::warn(CHECK, object, crate::report::chain(&error)).fix("run it as root");
        }
    };
    let Some(Claims { exp, iat }) = claims else {
        return Finding::ok(CHECK, object, "it does not say when it expires");
    };
    let fix = "the kubelet renews it after four fifths of its life: see the kubelet's log for \"token\", and its clock; \
        deleting this pod of Tripod makes a new one";
    let (left, life) = (exp - now.as_second(), iat.map(|iat| exp - iat));
    if left <= 0 {
        let text = format!(
            "it expired {} s ago: the API server refuses the agent, and pods keep their network",
            -left
        );
        return Finding::warn(CHECK, object, text).fix(fix);
    }
    if life.is_some_and(|life| left < life / 10) {
        return Finding::warn(CHECK, object, format!("it expires in {left} s, and was not renewed")).fix(fix);
    }
    Finding::ok(CHECK, object, format!("good for another {left} s"))
}

/// The second part of a JSON Web Token. Its signature is the API server's affair.
fn claims(token: &[u8]) -> Option<Claims> {
    let part = token.split(|byte| *byte == b'.').nth(1)?;
    serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(part).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use serde_json::json;
    use tripod_cni::finding::Severity;

    use super::*;

    fn now() -> Timestamp {
        "2026-01-02T12:00:00Z".parse().unwrap()
    }

    #[test]
    fn clocks_that_differ_and_servers_that_are_silent_are_told() {
        let told = |offset: i64, at: &str| {
            let clock = json!({"server": "https://192.0.2.1:6443", "offsetSeconds": offset, "at": at});
            let found = skew(&json!({ "clock": clock }), now());
            (found.severity, found.evidence)
        };
        let lately = "2026-01-02T11:58:00Z";
        assert_eq!(told(-29, lately).0, Severity::Ok);
        let (severity, text) = told(-300, lately);
        assert_eq!((severity, &text[..]), (Severity::Warn, "this node is 300 s behind the API server"));
        assert!(told(31, lately).1.contains("31 s ahead of"));
        assert!(told(0, "2026-01-02T11:00:00Z").1.contains("for 60 minutes"));
        assert_eq!(skew(&json!({"clock": null}), now()).severity, Severity::Warn);
    }

    #[test]
    fn a_token_is_told_by_its_life_and_never_by_its_text() {
        let folder = tempfile::tempdir().unwrap();
        let told = |text: &str| {
            fs::write(folder.path().join("token"), text).unwrap();
            let found = token(folder.path(), now());
            assert!(!found.to_string().contains("s1gnature"), "{found}");
            (found.severity, found.evidence)
        };
        assert!(token(folder.path(), now()).evidence.contains("cannot be seen"));
        let begin = now().as_second();
        let signed = |iat: i64, exp: i64| {
            let claims =
                json!({"iss": "https://kubernetes", "iat": begin + iat, "exp": begin + exp}).to_string();
            format!("aGVhZA.{}.s1gnature", BASE64_URL_SAFE_NO_PAD.encode(claims))
        };
        assert_eq!(told(&signed(-1800, 1800)), (Severity::Ok, "good for another 1800 s".to_owned()));
        assert!(told(&signed(-3300, 300)).1.contains("was not renewed"));
        assert!(told(&signed(-3700, -100)).1.starts_with("it expired 100 s ago"));
        for opaque in ["s1gnature", "a.!!.s1gnature", ""] {
            assert_eq!(told(opaque).0, Severity::Ok, "{opaque}");
        }
    }
}
