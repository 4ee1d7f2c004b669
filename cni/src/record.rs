//! Attachment records: one JSON file per attachment, found by (container id, interface) alone, so that
//! DEL and GC work with whatever configuration the runtime has by then.
//!
//! A record is written as intent before the first change to the node, completed after the last, and
//! removed when nothing is left to undo. A call keeps the attachment to itself while it works on it.

mod folder;
mod hash;
mod hold;

use std::io::{self, Read};
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::datapath::shaping::ifb_name;
use crate::datapath::{host_ifname, mac_of};
use crate::file;
use crate::hostport::HostPort;
use crate::ipam::store::Owner;
use crate::nft::bridge::Guarded;
use crate::rtnl::Mac;
use crate::spec::{Args, Route};
pub use folder::{Entry, Records};
pub use hash::attachment_hash;

/// The format we write. A file of another one is not ours to read.
const FORMAT: u32 = 1;

/// How far an ADD has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stage {
    /// ADD began; what it made is unknown.
    Intent,
    /// ADD ended well.
    Complete,
}

/// What an attachment put on the node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Record {
    /// Format of this file.
    pub v: u32,
    /// How far ADD has come.
    pub stage: Stage,
    /// `CNI_CONTAINERID`.
    #[serde(rename = "containerID")]
    pub container_id: String,
    /// `CNI_IFNAME`.
    pub ifname: String,
    /// `CNI_NETNS` at ADD.
    pub netns: PathBuf,
    /// The network's name at ADD.
    pub network: String,
    /// The lease store's folder at ADD.
    pub store: PathBuf,
    /// Whether another main plugin made the links and gave the addresses.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub chained: bool,
    /// The host end's name; empty where another plugin made the links and there is none.
    pub host_ifname: String,
    /// Index of a host end that another plugin made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host_index: Option<u32>,
    /// Whether the host end holds back what goes to the pod.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub ingress_limit: bool,
    /// The ifb device that holds back what the pod sends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ifb: Option<String>,
    /// The attachment's addresses; empty in an intent, unless chained.
    #[serde(default)]
    pub addresses: Vec<IpAddr>,
    /// Ports of the node that lead to the pod. DEL and GC are not told them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub host_ports: Vec<HostPort>,
    /// The link on the node that a pod with host ports shares with other pods, if it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shared_device: Option<String>,
    /// The IPAM plugin that gave the addresses; absent where the store did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) delegated: Option<Delegated>,
    /// Whether its addresses are hidden one by one, because the IPAM plugin gave them without a subnet.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) hidden_alone: bool,
    /// Hardware address of the pod's end, where one was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) mac: Option<Mac>,
    /// The port of a bridge that the host end is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<Port>,
    /// `namespace/name` of the pod, where the runtime said it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod: Option<String>,
}

/// What an IPAM plugin did for an attachment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Delegated {
    /// Its name: it alone can take the addresses back, whatever `ipam.type` says by then.
    pub plugin: String,
    /// The routes that came with the addresses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub routes: Option<Vec<Route>>,
}

/// What an attachment in mode `bridge` is to the bridge.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Port {
    /// The bridge's name.
    pub bridge: String,
    /// The only hardware address that the pod may send from, where it is held to one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) mac: Option<Mac>,
    /// Whether the pod is in VLANs by their tags too, where it has addresses that we do not know.
    #[serde(default)]
    pub trunk: bool,
}

/// The way from the node to a pod in mode `routed`: a route and a permanent neighbour for each address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WayToPod {
    /// Name of the host end.
    pub link: String,
    /// The pod's addresses.
    pub addresses: Vec<IpAddr>,
    /// Hardware address of the pod's end.
    pub mac: [u8; 6],
}

impl Record {
    /// The way to the pod, which is nobody's but ours; none where another plugin made it, or a bridge leads
    /// there, or ADD has not ended.
    pub fn way_to_pod(&self) -> Option<WayToPod> {
        let is_routed = !self.chained && self.port.is_none() && !self.host_ifname.is_empty();
        (is_routed && self.stage == Stage::Complete).then(|| WayToPod {
            link: self.host_ifname.clone(),
            addresses: self.addresses.clone(),
            mac: self.mac.unwrap_or_else(|| mac_of(&self.owner())).0,
        })
    }

    /// What is known of an attachment before anything is made for it, or when its record is lost.
    pub(crate) fn intent(args: &Args, netns: PathBuf, network: &str, store: &Path) -> Self {
        let owner = Owner { container_id: &args.container_id, ifname: &args.ifname };
        let pod = args.pod.as_ref().map(|pod| format!("{}/{}", pod.namespace, pod.name));
        Self { netns, pod, ifb: None, ..Self::lost(&owner, network, store) }
    }

    /// What is known of an attachment by its name alone.
    pub(crate) fn lost(owner: &Owner<'_>, network: &str, store: &Path) -> Self {
        Self {
            v: FORMAT,
            stage: Stage::Intent,
            container_id: owner.container_id.to_owned(),
            ifname: owner.ifname.to_owned(),
            netns: PathBuf::new(),
            network: network.to_owned(),
            store: store.to_owned(),
            chained: false,
            host_ifname: host_ifname(owner),
            host_index: None,
            ingress_limit: false,
            ifb: Some(ifb_name(owner)),
            addresses: Vec::new(),
            host_ports: Vec::new(),
            shared_device: None,
            delegated: None,
            hidden_alone: false,
            mac: None,
            port: None,
            pod: None,
        }
    }

    /// The same for addresses that `plugin` gives, where one does.
    pub(crate) fn delegated_to(self, plugin: Option<&str>) -> Self {
        let delegated = plugin.map(|plugin| Delegated { plugin: plugin.to_owned(), routes: None });
        Self { delegated, ..self }
    }

    /// A whole attachment of a container.
    #[cfg(test)]
    pub(crate) fn for_test(container_id: &str) -> Self {
        Self {
            v: 1,
            stage: Stage::Complete,
            container_id: container_id.to_owned(),
            ifname: "eth0".into(),
            netns: "/proc/1/ns/net".into(),
            network: "tripod".into(),
            store: "/run/tripod/ipam/tripod".into(),
            chained: false,
            host_ifname: "tp0123456789abc".into(),
            host_index: None,
            ingress_limit: false,
            ifb: None,
            addresses: vec![IpAddr::from([10, 0, 0, 2])],
            host_ports: Vec::new(),
            shared_device: None,
            delegated: None,
            hidden_alone: false,
            mac: None,
            port: None,
            pod: Some("shop/web".into()),
        }
    }

    /// What the guard of bridges must know of this attachment, where its host end is a port of one.
    pub fn guarded(&self) -> Option<Guarded> {
        let port = self.port.as_ref()?;
        Some(Guarded {
            ifname: self.host_ifname.clone(),
            comment: format!("{} {}", self.container_id, self.ifname),
            addresses: if port.trunk { Vec::new() } else { self.addresses.clone() },
            mac: port.mac.map(|Mac(bytes)| bytes),
        })
    }

    /// Who holds the leases.
    pub fn owner(&self) -> Owner<'_> {
        Owner { container_id: &self.container_id, ifname: &self.ifname }
    }
}

/// The first `limit` bytes of the file at `path`.
pub(crate) fn read_bounded(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    file::options().read(true).open(path)?.take(limit).read_to_end(&mut text)?;
    Ok(text)
}
