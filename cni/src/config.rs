//! One entry of a conflist: [`Outline`] is what every verb needs and survives mistakes in the rest,
//! [`NetConf`] is all of it, checked. No I/O.

mod bandwidth;
mod bridge;
mod chained;
mod ipam;
mod mode;
mod ports;
mod problems;
mod raw;
mod request;
mod sysctl;

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use ipnetwork::IpNetwork;
use serde_json::Value;

use crate::error::Error;
use crate::hostport::HostPort;
use crate::ipam::range::RangeSet;
use crate::nft::masquerade::{MULTICAST, Masquerade};
use crate::spec::{Args, Prior, Version, is_name};
pub(crate) use bandwidth::{Bandwidth, Limit};
pub(crate) use bridge::{Bridge, Vlans};
pub(crate) use chained::Chained;
pub(crate) use ipam::Ipam;
pub(crate) use mode::Mode;
pub(crate) use problems::problems;
use raw::{Object, RawAttachment, RawDns, can_be_path, parse_prefix};
pub(crate) use request::Request;
pub(crate) use sysctl::Parameter;

/// Longest configuration accepted on stdin, in bytes. A runtime may hand on the pod's annotations, of which
/// the API server takes 256 KiB, and whoever writes them in Go may need six bytes for one (`\u003c`).
pub(crate) const LONGEST: u64 = 4 << 20;

/// Most range sets, ranges in a set, routes and node addresses: bounds for lists from outside.
const MOST: usize = 64;

/// A checked network configuration.
#[derive(Clone, Debug)]
pub(crate) struct NetConf {
    /// The version of the request and of the answer.
    pub version: Version,
    /// The network's name, safe as a path component.
    pub name: String,
    /// How pods are connected.
    pub mode: Mode,
    /// MTU in bytes; absent means that of the default route's device.
    pub mtu: Option<u32>,
    /// Folder in which the agent's `ready` marker must stand; absent when the plugin works alone.
    pub agent_state: Option<PathBuf>,
    /// Preferred sources of the host's routes to pods, at most one per family is used.
    pub node_ips: Vec<IpAddr>,
    /// Where addresses come from.
    pub ipam: Ipam,
    /// Host ports that lead to the pod.
    pub host_ports: Vec<HostPort>,
    /// With `ipMasq`, the destinations that see the pod's own address.
    pub masquerade: Option<Vec<IpNetwork>>,
    /// What is asked for this attachment alone.
    pub request: Request,
    /// Limits of what passes the pod's interface.
    pub bandwidth: Bandwidth,
    /// Parameters of the pod's namespace.
    pub sysctl: Vec<Parameter>,
    /// `dns` of the result, handed through.
    pub dns: Option<Value>,
}

impl NetConf {
    /// What `ipMasq` means for a pod with these addresses: their subnets are hidden.
    pub(crate) fn masquerade_of(&self, subnets: impl IntoIterator<Item = IpNetwork>) -> Option<Masquerade> {
        let mut spared = self.masquerade.clone()?;
        let network = |one: IpNetwork| IpNetwork::new(one.network(), one.prefix()).unwrap_or(one);
        let pods: Vec<IpNetwork> = subnets.into_iter().map(network).collect();
        // An IPAM plugin's subnets are not in the configuration.
        spared.extend(
            pods.iter()
                .filter(|pods| !self.ipam.sets.iter().any(|set| set.subnets().any(|own| own == **pods))),
        );
        Some(Masquerade { pods, spared, ..Masquerade::default() })
    }
}

/// What DEL, STATUS, GC and VERSION need of a configuration: they must work with one in which the rest
/// is wrong, or one mistake would leave every pod of the node terminating.
#[derive(Clone, Debug)]
pub(crate) struct Outline {
    /// The version of the request and of the answer.
    pub version: Version,
    /// The network's name.
    pub name: String,
    /// The lease store's folder.
    pub store: PathBuf,
    /// The IPAM plugin that is asked in place of the store.
    pub plugin: Option<String>,
    /// Folder in which the agent's `ready` marker must stand.
    pub agent_state: Option<PathBuf>,
    object: Object,
}

impl Outline {
    /// Parses what stdin held. `leases` is the folder under which networks keep their leases.
    pub(crate) fn parse(text: &[u8], leases: &Path) -> Result<Self, Error> {
        let object = Object::parse(text)?;
        let version = parse_version(&object)?;
        let name = object.get::<String>("name")?.unwrap_or_default();
        if !is_name(&name) {
            let problem =
                "is no network name: letters, digits, '.', '_' and '-', beginning with a letter or digit";
            return Err(Error::config("name", json(&name), problem));
        }
        let ipam = object.object_or_empty("ipam");
        let path = |text: Option<&str>| text.filter(|text| can_be_path(text)).map(PathBuf::from);
        let data_dir = path(ipam.text("dataDir")).filter(|folder| folder.is_absolute());
        let store = data_dir.as_deref().unwrap_or(leases).join(&name);
        let agent_state = path(object.text("agentState"));
        let plugin = ipam::plugin(&ipam).map(str::to_owned);
        Ok(Self { version, name, store, plugin, agent_state, object })
    }

    /// `cni.dev/valid-attachments` as (container id, interface). `None` when the key is missing; `null`,
    /// which a runtime without pods sends, is an empty list.
    pub(crate) fn valid_attachments(&self) -> Result<Option<Vec<(String, String)>>, Error> {
        const KEY: &str = "cni.dev/valid-attachments";
        if !self.object.has(KEY) {
            return Ok(None);
        }
        let list = self.object.get::<Vec<RawAttachment>>(KEY)?.unwrap_or_default();
        Ok(Some(list.into_iter().map(|one| (one.container_id, one.ifname)).collect()))
    }

    /// `prevResult`, which CHECK must have.
    pub(crate) fn prior(&self) -> Result<Prior, Error> {
        let missing = Error::Missing { field: "prevResult", needed: "CHECK needs the result of ADD" };
        self.object.get("prevResult")?.ok_or(missing)
    }

    /// `prevResult` as it was given, where it is a result.
    pub(crate) fn prior_result(&self) -> Result<Option<Value>, Error> {
        let prior = self.object.get::<Prior>("prevResult")?;
        Ok(prior.and_then(|_| self.object.value("prevResult").cloned()))
    }

    /// Whether another main plugin makes the links, and this one only adds to them.
    pub(crate) fn is_chained(&self) -> bool {
        self.object.text("mode") == Some("chained")
    }

    /// Checks the rest of a configuration of any mode but `chained`, before the first change to the node.
    pub(crate) fn complete(self) -> Result<NetConf, Error> {
        let Self { version, name, store, object, .. } = self;
        let mode = Mode::complete(&object)?;
        let runtime = runtime_config(&object)?;
        let node_ips = object.get::<Vec<String>>("nodeIPs")?.unwrap_or_default();
        bounded("nodeIPs", &node_ips)?;
        object.get::<RawDns>("dns")?;
        let ipam = complete_ipam(&mode, &object, &runtime, store)?;
        Ok(NetConf {
            version,
            name,
            mode,
            mtu: check_mtu(object.get("mtu")?)?,
            agent_state: object.path("agentState")?,
            node_ips: node_ips.iter().map(|ip| parse_ip("nodeIPs", ip)).collect::<Result<_, _>>()?,
            host_ports: ports::complete(&runtime)?,
            masquerade: complete_masquerade(&object, &ipam)?,
            ipam,
            request: Request::complete(&object, &runtime)?,
            bandwidth: Bandwidth::complete(&object, &runtime)?,
            sysctl: Parameter::complete(&object)?,
            dns: complete_dns(&object)?,
        })
    }

    /// Checks what an IPAM plugin needs, and leaves the rest to the main plugin whose configuration it is.
    pub(crate) fn complete_ipam(self, args: &Args) -> Result<Ipam, Error> {
        let runtime = runtime_config(&self.object)?;
        let mut ipam = Ipam::pool(&self.object, &runtime, self.store)?;
        ipam.fits(self.version)?;
        ipam.plan(&Request::complete(&self.object, &runtime)?.or_of(args)?)?;
        Ok(ipam)
    }
}

impl NetConf {
    /// With what the environment asks for this attachment, and all that is asked for assigned to ranges.
    pub(crate) fn asked_by(mut self, args: &Args) -> Result<Self, Error> {
        self.request = self.request.or_of(args)?;
        self.asked()
    }

    /// The same where the environment asks for nothing.
    fn asked(mut self) -> Result<Self, Error> {
        self.ipam.fits(self.version)?;
        self.ipam.plan(&self.request)?;
        Ok(self)
    }
}

fn runtime_config(object: &Object) -> Result<Object, Error> {
    Ok(object.object("runtimeConfig")?.unwrap_or_else(|| object.object_or_empty("runtimeConfig")).folded())
}

fn complete_dns(object: &Object) -> Result<Option<Value>, Error> {
    Ok(object.object("dns")?.map(|dns| dns.whole()).transpose()?.filter(|dns| !is_empty(dns)))
}

/// All that any verb reads of a configuration.
pub(crate) fn parse(text: &[u8]) -> Result<(), Error> {
    let outline = Outline::parse(text, Path::new("/run/tripod/ipam"))?;
    outline.valid_attachments()?;
    if outline.object.has("prevResult") {
        outline.prior()?;
    }
    if outline.is_chained() { outline.complete_chained().map(drop) } else { outline.complete().map(drop) }
}

fn parse_version(object: &Object) -> Result<Version, Error> {
    let text = object.get::<String>("cniVersion")?.unwrap_or_default();
    Version::parse(&text).ok_or_else(|| Error::UnknownVersion {
        asked: text,
        supported: Version::ALL.map(Version::as_str).join(", "),
    })
}

/// A bridge without addresses is a network too: its pods are ports and nothing more.
fn complete_ipam(mode: &Mode, object: &Object, runtime: &Object, store: PathBuf) -> Result<Ipam, Error> {
    let Mode::Bridge(bridge) = mode else { return Ipam::complete(object, runtime, store) };
    if object.object("ipam")?.is_some_and(|ipam| ipam.keys().next().is_some()) {
        if bridge.leave_pod_end_down {
            let problem = "gives the pod no address to use: take out \"ipam\"";
            return Err(Error::config("disableContainerInterface", "true", problem));
        }
        return Ipam::complete(object, runtime, store);
    }
    if bridge.gateway {
        let problem = "needs \"ipam\" with \"ranges\", whose gateway the bridge becomes";
        return Err(Error::config("isGateway", "true", problem));
    }
    Ok(Ipam { store, ..Ipam::default() })
}

/// Spared are the network itself, groups, and `masqueradeExclude`.
fn complete_masquerade(object: &Object, ipam: &Ipam) -> Result<Option<Vec<IpNetwork>>, Error> {
    const KEY: &str = "masqueradeExclude";
    let exclude = object.get::<Vec<String>>(KEY)?.unwrap_or_default();
    bounded(KEY, &exclude)?;
    let exclude = exclude.iter().map(|text| parse_prefix(KEY, text)).collect::<Result<Vec<_>, _>>()?;
    if !object.get::<bool>("ipMasq")?.unwrap_or_default() {
        return Ok(None);
    }
    let own = ipam.sets.iter().flat_map(RangeSet::subnets);
    let mut spared: Vec<IpNetwork> = Vec::new();
    for prefix in own.chain(exclude).chain(MULTICAST) {
        if !spared.contains(&prefix) {
            spared.push(prefix);
        }
    }
    Ok(Some(spared))
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
    most(field, list.len())
}

fn most(field: &str, length: usize) -> Result<(), Error> {
    if length <= MOST {
        return Ok(());
    }
    Err(Error::config(field, format!("({length} entries)"), format!("has more than {MOST} entries")))
}

fn json(value: impl serde::Serialize) -> String {
    serde_json::to_string(&value).unwrap_or_default()
}

/// What Go writes for something that was not set.
fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => map.values().all(is_empty),
        Value::String(text) => text.is_empty(),
        _ => false,
    }
}

#[cfg(test)]
mod tests;
