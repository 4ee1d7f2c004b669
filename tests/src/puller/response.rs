//! The plugin's answer, decoded as strictly as the kubelet does.

use std::time::Duration;

use serde::Deserialize;
use serde::de::{Deserializer, Error, MapAccess, Visitor};
use serde_json::Value;

/// A user with a password.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Login {
    /// The user.
    #[serde(default)]
    pub username: String,
    /// The password.
    #[serde(default)]
    pub password: String,
}

/// What is valid of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// What the answer holds for.
    pub(super) cache_key_type: CacheKeyType,
    /// How long, if it is said; negative is `Some(None)`.
    pub cache_duration: Option<Option<Duration>>,
    /// By key.
    pub auth: Vec<(String, Login)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub(super) enum CacheKeyType {
    Image,
    Registry,
    Global,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Document {
    #[serde(rename = "kind")]
    _kind: String,
    #[serde(rename = "apiVersion")]
    _api_version: String,
    cache_key_type: String,
    #[serde(default)]
    cache_duration: Option<String>,
    #[serde(default)]
    auth: Option<Auth>,
}

/// A map in which no key is there twice.
#[derive(Default)]
struct Auth(Vec<(String, Login)>);

impl<'de> Deserialize<'de> for Auth {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Logins;
        impl<'de> Visitor<'de> for Logins {
            type Value = Auth;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a map of logins")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Auth, A::Error> {
                let mut logins: Vec<(String, Login)> = Vec::new();
                while let Some((key, login)) = map.next_entry::<String, Login>()? {
                    if logins.iter().any(|(known, _)| *known == key) {
                        return Err(A::Error::custom("a key is there twice"));
                    }
                    logins.push((key, login));
                }
                Ok(Auth(logins))
            }
        }
        deserializer.deserialize_map(Logins)
    }
}

impl Response {
    /// Decodes standard output of a plugin that was asked in `version`.
    pub fn parse(stdout: &[u8], version: &str) -> Result<Self, String> {
        let value: Value =
            serde_json::from_slice(stdout).map_err(|_| "error reading GVK from response".to_owned())?;
        if value["apiVersion"] != version {
            return Err("apiVersion from credential plugin response did not match".into());
        }
        let undecodable = || "error decoding credential provider plugin response from stdout".to_owned();
        let document: Document = serde_json::from_slice(stdout).map_err(|_| undecodable())?;
        if value["kind"] != "CredentialProviderResponse" {
            return Err(undecodable());
        }
        let cache_duration = match document.cache_duration {
            Some(text) => Some(parse_duration(&text).ok_or_else(undecodable)?),
            None => None,
        };
        let kind = CacheKeyType::deserialize(Value::String(document.cache_key_type));
        let cache_key_type =
            kind.map_err(|_| "credential provider plugin did not return a valid cacheKeyType")?;
        Ok(Self { cache_key_type, cache_duration, auth: document.auth.unwrap_or_default().0 })
    }
}

/// `11h30m0.5s` as Go writes it: `None` where it is none, `Some(None)` where it is negative.
pub fn parse_duration(text: &str) -> Option<Option<Duration>> {
    let (negative, mut rest) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
    if rest == "0" {
        return Some(Some(Duration::ZERO));
    }
    let mut seconds = 0.0;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let number = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let unit = rest[number..].find(|c: char| c.is_ascii_digit()).map_or(rest.len(), |at| number + at);
        let length = match &rest[number..unit] {
            "h" => 3600.0,
            "m" => 60.0,
            "s" => 1.0,
            "ms" => 1e-3,
            "us" | "µs" => 1e-6,
            "ns" => 1e-9,
            _ => return None,
        };
        seconds += rest[..number].parse::<f64>().ok()? * length;
        rest = &rest[unit..];
    }
    Some((!negative).then(|| Duration::from_secs_f64(seconds)))
}
