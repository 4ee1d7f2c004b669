//! One entry of a conflist: `Raw` mirrors the text, [`NetConf`] is checked. No I/O.

mod raw;

use std::net::IpAddr;
use std::path::PathBuf;

use serde_json::Value;

use crate::error::Error;
use crate::ipam::range::{Range, RangeSet};
use crate::spec::{Prior, Route, Version, is_name};
use raw::{Raw, RawIpam};

/// Longest configuration accepted on stdin, in bytes. The largest real ones, with a `prevResult` and
/// the pod's annotations, stay below 300 kB, the API server's bound for annotations.
pub(crate) const LONGEST: u64 = 1 << 20;

/// Most range sets, ranges in a set, routes and node addresses: bounds for lists from outside.
const MOST: usize = 64;

/// A checked network configuration.
#[derive(Clone, Debug)]
pub(crate) struct NetConf {
    /// The version of the request and of the answer.
    pub version: Version,
    /// The network's name, safe as a path component.
    pub name: String,
    /// MTU in bytes; absent means that of the default route's device.
    pub mtu: Option<u32>,
    /// Folder in which the agent's `ready` marker must stand; absent when the plugin works alone.
    pub agent_state: Option<PathBuf>,
    /// Preferred sources of the host's routes to pods, at most one per family is used.
    pub node_ips: Vec<IpAddr>,
    /// Where addresses come from.
    pub ipam: Ipam,
    /// `dns` of the result, handed through.
    pub dns: Option<Value>,
    /// The result of the chain so far.
    pub prior: Option<Prior>,
}

/// The built-in address management, with host-local's keys.
#[derive(Clone, Debug)]
pub(crate) struct Ipam {
    /// The lease store's folder.
    pub store: PathBuf,
    /// An attachment gets one address of each.
    pub sets: Vec<RangeSet>,
    /// The pod's routes; absent means default routes of each family.
    pub routes: Option<Vec<Route>>,
}

/// What DEL, STATUS, GC and VERSION need of a configuration: they must work with one whose ranges are
/// wrong or gone.
#[derive(Clone, Debug)]
pub(crate) struct Outline {
    /// The version of the request and of the answer.
    pub version: Version,
    /// The network's name; empty for VERSION without a configuration.
    pub name: String,
    /// The lease store's folder.
    pub store: PathBuf,
    /// Folder in which the agent's `ready` marker must stand.
    pub agent_state: Option<PathBuf>,
    /// `cni.dev/valid-attachments` as (container id, interface); absent when the key is missing.
    pub valid_attachments: Option<Vec<(String, String)>>,
    raw: Raw,
}

impl Outline {
    /// Parses what stdin held. `leases` is the folder under which networks keep their leases.
    pub(crate) fn parse(text: &[u8], leases: &std::path::Path) -> Result<Self, Error> {
        // By way of an object, since serde would also take a list for a struct.
        let object: serde_json::Map<String, Value> = serde_json::from_slice(text).map_err(Error::Decode)?;
        let raw: Raw = serde_json::from_value(Value::Object(object)).map_err(Error::Decode)?;
        let version = parse_version(&raw.cni_version)?;
        if !is_name(&raw.name) {
            let problem =
                "is no network name: letters, digits, '.', '_' and '-', beginning with a letter or digit";
            return Err(Error::config("name", json(&raw.name), problem));
        }
        let store = match raw.ipam.as_ref().and_then(|ipam| ipam.data_dir.as_ref()) {
            Some(folder) if folder.is_absolute() => folder.join(&raw.name),
            Some(folder) => {
                return Err(Error::config("ipam.dataDir", json(folder), "is not an absolute path"));
            }
            None => leases.join(&raw.name),
        };
        Ok(Self {
            version,
            name: raw.name.clone(),
            store,
            agent_state: raw.agent_state.clone(),
            valid_attachments: raw.valid_attachments(),
            raw,
        })
    }

    /// Checks the rest, before the first change to the node.
    pub(crate) fn complete(self) -> Result<NetConf, Error> {
        let Self { version, name, store, agent_state, raw, .. } = self;
        // Routed, a veth without a bridge, is what there is.
        if let Some(other) = raw.mode.as_deref().filter(|mode| *mode != "routed") {
            return Err(Error::config("mode", json(other), "is not available; use \"routed\""));
        }
        bounded("nodeIPs", &raw.node_ips)?;
        Ok(NetConf {
            version,
            name,
            mtu: check_mtu(raw.mtu)?,
            agent_state,
            node_ips: raw.node_ips.iter().map(|ip| parse_ip("nodeIPs", ip)).collect::<Result<_, _>>()?,
            ipam: complete_ipam(raw.ipam, store)?,
            dns: raw.dns.filter(|dns| !is_empty(dns)),
            prior: raw.prev_result,
        })
    }
}

fn parse_version(text: &str) -> Result<Version, Error> {
    Version::parse(text).ok_or_else(|| Error::IncompatibleVersion {
        verb: "a network configuration",
        asked: text.to_owned(),
        supported: Version::ALL.map(Version::as_str).join(", "),
    })
}

fn complete_ipam(raw: Option<RawIpam>, store: PathBuf) -> Result<Ipam, Error> {
    let raw = raw.ok_or_else(|| Error::config("ipam", "null", "is missing: give it \"ranges\""))?;
    if let Some(other) = raw.kind.as_deref().filter(|kind| *kind != "tripod") {
        return Err(Error::config("ipam.type", json(other), "is not available; use \"tripod\""));
    }
    let sets = raw.range_sets();
    bounded("ipam.ranges", &sets)?;
    if sets.iter().all(Vec::is_empty) {
        return Err(Error::config(
            "ipam.ranges",
            "[]",
            "holds no range: give [[{\"subnet\": \"10.1.0.0/24\"}]]",
        ));
    }
    let sets =
        sets.iter().enumerate().map(|(set, ranges)| complete_set(set, ranges)).collect::<Result<_, _>>()?;
    if let Some(routes) = &raw.routes {
        bounded("ipam.routes", routes)?;
    }
    Ok(Ipam { store, sets, routes: raw.routes })
}

fn complete_set(set: usize, raw: &[raw::RawRange]) -> Result<RangeSet, Error> {
    bounded(&format!("ipam.ranges[{set}]"), raw)?;
    let ranges: Vec<Range> = raw
        .iter()
        .enumerate()
        .map(|(index, range)| range.parse(&format!("ipam.ranges[{set}][{index}]")))
        .collect::<Result<_, _>>()?;
    RangeSet::new(ranges).map_err(|problem| Error::config(format!("ipam.ranges[{set}]"), json(raw), problem))
}

fn check_mtu(mtu: Option<i64>) -> Result<Option<u32>, Error> {
    match mtu {
        None | Some(0) => Ok(None),
        // IPv6 needs 1280 (RFC 8200); 65535 is what a veth takes.
        Some(mtu @ 1280..=65535) => Ok(u32::try_from(mtu).ok()),
        Some(mtu) => Err(Error::config("mtu", mtu, "is not between 1280 and 65535; 0 means detect")),
    }
}

fn parse_ip(field: &str, text: &str) -> Result<IpAddr, Error> {
    text.parse().map_err(|_error| Error::config(field, json(text), "is no IP address"))
}

fn bounded<T>(field: &str, list: &[T]) -> Result<(), Error> {
    if list.len() <= MOST {
        return Ok(());
    }
    Err(Error::config(field, format!("({} entries)", list.len()), format!("has more than {MOST} entries")))
}

fn json(value: impl serde::Serialize) -> String {
    serde_json::to_string(&value).unwrap_or_default()
}

fn is_empty(value: &Value) -> bool {
    value.is_null() || value.as_object().is_some_and(serde_json::Map::is_empty)
}

#[cfg(test)]
mod tests;
