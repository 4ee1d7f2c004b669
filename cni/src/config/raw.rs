//! The text of a configuration as it is written. Unknown keys are accepted here, since runtimes add
//! their own (`runtimeConfig`, `args`, `cni.dev/…`), and a list that Go leaves out may be `null`.

use std::net::IpAddr;
use std::path::PathBuf;

use ipnetwork::IpNetwork;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use crate::error::Error;
use crate::ipam::range::Range;
use crate::spec::{Prior, Route};

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Raw {
    #[serde(default)]
    pub(super) cni_version: String,
    #[serde(default)]
    pub(super) name: String,
    #[serde(default)]
    pub(super) mode: Option<String>,
    #[serde(default)]
    pub(super) mtu: Option<i64>,
    #[serde(default)]
    pub(super) agent_state: Option<PathBuf>,
    #[serde(default, rename = "nodeIPs", deserialize_with = "null_is_empty")]
    pub(super) node_ips: Vec<String>,
    #[serde(default)]
    pub(super) ipam: Option<RawIpam>,
    #[serde(default)]
    pub(super) dns: Option<Value>,
    #[serde(default)]
    pub(super) prev_result: Option<Prior>,
    /// Two levels: the outer says whether the key is there, the inner whether it is `null`.
    #[serde(default, rename = "cni.dev/valid-attachments", deserialize_with = "present")]
    valid_attachments: Option<Option<Vec<RawAttachment>>>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct RawIpam {
    #[serde(default, rename = "type")]
    pub(super) kind: Option<String>,
    #[serde(default)]
    pub(super) data_dir: Option<PathBuf>,
    #[serde(default, deserialize_with = "null_is_empty")]
    ranges: Vec<Vec<RawRange>>,
    #[serde(default)]
    pub(super) routes: Option<Vec<Route>>,
    /// host-local's old form: one range in place of `ranges`.
    #[serde(flatten)]
    single: RawRange,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct RawRange {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    subnet: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    range_start: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    range_end: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    gateway: Option<String>,
}

#[derive(Clone, Debug, Deserialize)]
struct RawAttachment {
    #[serde(rename = "containerID")]
    container_id: String,
    ifname: String,
}

impl Raw {
    pub(super) fn valid_attachments(&self) -> Option<Vec<(String, String)>> {
        let list = self.valid_attachments.as_ref()?.as_deref().unwrap_or_default();
        Some(list.iter().map(|one| (one.container_id.clone(), one.ifname.clone())).collect())
    }
}

impl RawIpam {
    /// The single range, where given, is a set of its own before the others, as in host-local.
    pub(super) fn range_sets(&self) -> Vec<Vec<RawRange>> {
        let single = self.single.subnet.is_some().then(|| vec![self.single.clone()]);
        single.into_iter().chain(self.ranges.iter().cloned()).collect()
    }
}

impl RawRange {
    pub(super) fn parse(&self, field: &str) -> Result<Range, Error> {
        let key = |name: &str| format!("{field}.{name}");
        let text = self.subnet.as_deref().unwrap_or_default();
        let bad = |problem: &str| Error::config(key("subnet"), super::json(text), problem);
        let subnet: IpNetwork = text
            .parse()
            .map_err(|_error| bad("is no CIDR, for example \"10.1.0.0/24\" or \"fd00:1::/64\""))?;
        if subnet.network() != subnet.ip() {
            return Err(bad("has host bits set"));
        }
        let bound = |name: &str, value: &Option<String>| -> Result<Option<IpAddr>, Error> {
            let Some(text) = value else { return Ok(None) };
            let ip = super::parse_ip(&key(name), text)?;
            if subnet.contains(ip) {
                return Ok(Some(ip));
            }
            Err(Error::config(key(name), super::json(text), format!("is not in subnet {subnet}")))
        };
        let start = bound("rangeStart", &self.range_start)?;
        let end = bound("rangeEnd", &self.range_end)?;
        let gateway = bound("gateway", &self.gateway)?;
        Range::new(subnet, start, end, gateway).map_err(|problem| bad(&problem))
    }
}

fn null_is_empty<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(d: D) -> Result<T, D::Error> {
    Ok(Option::<T>::deserialize(d)?.unwrap_or_default())
}

fn present<'de, D: Deserializer<'de>, T: Deserialize<'de>>(d: D) -> Result<Option<T>, D::Error> {
    T::deserialize(d).map(Some)
}
