//! The text of a configuration as it is written, read key by key, so that an error names the key.
//! Unknown keys are left alone, since runtimes add their own (`args`, `cni.dev/…`), and a key that is
//! `null` counts as missing, as Go writes a list or map that it has not set.

use std::net::IpAddr;
use std::path::PathBuf;

use ipnetwork::IpNetwork;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::json;
use crate::error::{Error, shorten};
use crate::ipam::range::Range;
use crate::spec::{Route, RouteOptions};

/// A JSON object, with its path in the document for messages.
#[derive(Clone, Debug)]
pub(super) struct Object {
    path: String,
    keys: Map<String, Value>,
    folded: bool,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", expecting = "a range such as {\"subnet\": \"10.1.0.0/24\"}")]
pub(super) struct RawRange {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    subnet: Option<String>,
    #[serde(default, alias = "rangestart", skip_serializing_if = "Option::is_none")]
    range_start: Option<String>,
    #[serde(default, alias = "rangeend", skip_serializing_if = "Option::is_none")]
    range_end: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    gateway: Option<String>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(expecting = "a route such as {\"dst\": \"0.0.0.0/0\"}")]
pub(super) struct RawRoute {
    dst: String,
    gw: Option<String>,
    #[serde(flatten)]
    options: RouteOptions,
}

/// `dns`, which is handed through, but only as what the result may hold.
#[derive(Clone, Debug, Deserialize)]
#[serde(expecting = "an object such as {\"nameservers\": [\"192.0.2.53\"]}")]
pub(super) struct RawDns {
    #[serde(rename = "nameservers")]
    _nameservers: Option<Vec<String>>,
    #[serde(rename = "domain")]
    _domain: Option<String>,
    #[serde(rename = "search")]
    _search: Option<Vec<String>>,
    #[serde(rename = "options")]
    _options: Option<Vec<String>>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(expecting = "an attachment such as {\"containerID\": \"…\", \"ifname\": \"eth0\"}")]
pub(super) struct RawAttachment {
    #[serde(rename = "containerID")]
    pub(super) container_id: String,
    pub(super) ifname: String,
}

impl Object {
    pub(super) fn parse(text: &[u8]) -> Result<Self, Error> {
        let keys = serde_json::from_slice(text).map_err(Error::Decode)?;
        Ok(Self { path: String::new(), keys, folded: false })
    }

    /// Whether the key is there, even as `null`.
    pub(super) fn has(&self, key: &str) -> bool {
        self.keys.contains_key(key)
    }

    /// The value of `key`, unless it is missing or `null`.
    pub(super) fn value(&self, key: &str) -> Option<&Value> {
        let found = if self.folded { self.keys.get(&key.to_ascii_lowercase()) } else { self.keys.get(key) };
        found.filter(|value| !value.is_null())
    }

    /// The value of `key` as what it should be.
    pub(super) fn get<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>, Error> {
        let Some(value) = self.value(key) else { return Ok(None) };
        let decoded = serde_json::from_value(value.clone());
        decoded.map(Some).map_err(|error| Error::config(self.name(key), json(value), wrong(&error)))
    }

    /// The text of `key`, however wrong the rest is.
    pub(super) fn text(&self, key: &str) -> Option<&str> {
        self.value(key)?.as_str()
    }

    /// The path under `key`, which can be one.
    pub(super) fn path(&self, key: &str) -> Result<Option<PathBuf>, Error> {
        match self.get::<String>(key)?.filter(|path| !path.is_empty()) {
            Some(path) if !can_be_path(&path) => {
                Err(Error::config(self.name(key), json(path), "holds a NUL, as no path does"))
            }
            path => Ok(path.map(PathBuf::from)),
        }
    }

    /// The object under `key`.
    pub(super) fn object(&self, key: &str) -> Result<Option<Self>, Error> {
        let keys = self.get::<Map<String, Value>>(key)?;
        Ok(keys.map(|keys| Self { path: self.name(key), keys, folded: self.folded }))
    }

    /// The objects in the list under `key`; none when it is missing.
    pub(super) fn objects(&self, key: &str) -> Result<Vec<Self>, Error> {
        let list = self.get::<Vec<Map<String, Value>>>(key)?.unwrap_or_default();
        let path = self.name(key);
        let object = |(index, keys)| Self { path: format!("{path}[{index}]"), keys, folded: self.folded };
        Ok(list.into_iter().enumerate().map(object).collect())
    }

    /// The object under `key`, empty when it is none.
    pub(super) fn object_or_empty(&self, key: &str) -> Self {
        let keys = self.value(key).and_then(Value::as_object).cloned().unwrap_or_default();
        Self { path: self.name(key), keys, folded: self.folded }
    }

    /// The same with keys, however deep, found in any case: a runtime written in Go may send them with a
    /// capital letter, and its own decoder takes any.
    pub(super) fn folded(self) -> Self {
        Self { keys: self.keys.into_iter().map(fold).collect(), folded: true, ..self }
    }

    /// The whole object as one value.
    pub(super) fn whole<T: DeserializeOwned>(&self) -> Result<T, Error> {
        let value = Value::Object(self.keys.clone());
        serde_json::from_value(value)
            .map_err(|error| Error::config(&self.path, json(&self.keys), wrong(&error)))
    }

    /// Path of `key` in the document.
    pub(super) fn name(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    pub(super) fn keys(&self) -> impl Iterator<Item = (&String, &Value)> {
        self.keys.iter()
    }
}

impl RawRange {
    /// The range whose keys stand in `object` among others.
    pub(super) fn within(object: &Object) -> Result<Self, Error> {
        Ok(Self {
            subnet: object.get("subnet")?,
            range_start: object.get("rangeStart")?,
            range_end: object.get("rangeEnd")?,
            gateway: object.get("gateway")?,
        })
    }

    pub(super) fn is_given(&self) -> bool {
        self.subnet.is_some()
    }

    pub(super) fn parse(&self, field: &str) -> Result<Range, Error> {
        let key = |name: &str| format!("{field}.{name}");
        let subnet = parse_prefix(&key("subnet"), self.subnet.as_deref().unwrap_or_default())?;
        let bad = |problem: String| Error::config(key("subnet"), json(subnet), problem);
        if let Some(problem) = unusable(subnet.network()) {
            return Err(bad(problem.to_owned()));
        }
        let bound = |name: &str, value: &Option<String>| -> Result<Option<IpAddr>, Error> {
            let Some(text) = value else { return Ok(None) };
            let ip = super::parse_ip(&key(name), text)?;
            if subnet.contains(ip) {
                return Ok(Some(ip));
            }
            Err(Error::config(key(name), json(text), format!("is not in subnet {subnet}")))
        };
        let start = bound("rangeStart", &self.range_start)?;
        let end = bound("rangeEnd", &self.range_end)?;
        let gateway = bound("gateway", &self.gateway)?;
        Range::new(subnet, start, end, gateway).map_err(bad)
    }
}

impl RawRoute {
    pub(super) fn parse(&self, field: &str) -> Result<Route, Error> {
        let gw = self.gw.as_deref().map(|text| super::parse_ip(&format!("{field}.gw"), text));
        let dst = parse_prefix(&format!("{field}.dst"), &self.dst)?;
        Ok(Route { dst, gw: gw.transpose()?, options: self.options })
    }
}

/// No file has a name with a NUL in it, or none.
pub(super) fn can_be_path(text: &str) -> bool {
    !text.is_empty() && !text.contains('\0')
}

/// The decoder quotes the whole value.
fn wrong(error: &serde_json::Error) -> String {
    format!("is wrong: {}", shorten(&error.to_string()))
}

fn fold((key, value): (String, Value)) -> (String, Value) {
    (key.to_ascii_lowercase(), fold_value(value))
}

fn fold_value(value: Value) -> Value {
    match value {
        Value::Object(keys) => Value::Object(keys.into_iter().map(fold).collect()),
        Value::Array(list) => Value::Array(list.into_iter().map(fold_value).collect()),
        other => other,
    }
}

pub(super) fn parse_prefix(field: &str, text: &str) -> Result<IpNetwork, Error> {
    let bad = |problem: &str| Error::config(field, json(text), problem);
    if !text.contains('/') {
        return Err(bad("has no prefix length, as in \"10.1.0.0/24\" or \"fd00:1::/64\""));
    }
    let prefix: IpNetwork =
        text.parse().map_err(|_error| bad("is no CIDR, as in \"10.1.0.0/24\" or \"fd00:1::/64\""))?;
    if prefix.network() != prefix.ip() {
        return Err(bad("has host bits set"));
    }
    Ok(prefix)
}

/// Why pods cannot have addresses of a prefix that begins at `network`.
fn unusable(network: IpAddr) -> Option<&'static str> {
    let local6 = |ip: IpAddr| matches!(ip, IpAddr::V6(v6) if v6.is_unicast_link_local() || v6.to_ipv4_mapped().is_some());
    let local4 = |ip: IpAddr| matches!(ip, IpAddr::V4(v4) if v4.is_link_local());
    match network {
        ip if ip.is_loopback() => Some("is a loopback prefix"),
        ip if ip.is_multicast() => Some("is a multicast prefix"),
        ip if local4(ip) || local6(ip) => Some("is a prefix whose addresses are not routed"),
        _ => None,
    }
}
