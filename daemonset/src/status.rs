//! `tripod-node status`: what the agent knows and has done, asked of the one that runs on this node.

mod table;

use std::io::{self, Write};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use ipnetwork::IpNetwork;
use k8s_openapi::jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;
use tripod_cni::Usage;

use crate::agent::Phase;
use crate::claims::{Peer, Refusal};
use crate::cli;
use crate::installed::Installed;
use crate::mesh::{Device, MAIN, Mesh, Overlay, Route, WIREGUARD, Wireguard};
use crate::metrics::fetch;
use crate::node_facts::{NodeFacts, Readiness};
pub use table::table;
pub(crate) use table::{columns, say};

/// How a peer's pods are reached; `none` where they are not.
pub const BACKENDS: [&str; 4] = ["direct", "vxlan", "wireguard", "none"];

/// What became of a peer: linked, known without a way to it, or not believed.
pub const PEER_STATES: [&str; 3] = ["linked", "unlinked", "ignored"];

/// Longest answer of an agent: some 500 bytes for each of a few thousand nodes.
const LONGEST: usize = 8 << 20;
/// An agent that works answers at once.
const ANSWER: Duration = Duration::from_secs(5);

/// What an agent knows and has done.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    /// Name of its Node.
    pub node: String,
    /// Its phase in a word.
    pub phase: &'static str,
    /// Its phase in a sentence.
    pub detail: String,
    /// Whether pods have their network.
    pub ready: bool,
    /// When it entered its phase.
    pub since: String,
    /// What the Node object says.
    #[serde(flatten)]
    pub facts: Option<NodeFacts>,
    /// The other nodes.
    pub peers: Vec<PeerStatus>,
    /// The overlay and WireGuard devices.
    pub overlays: Vec<OverlayStatus>,
    /// What could not be done for single links with other nodes, at the last look.
    pub failures: Vec<String>,
    /// What became of the host's files; empty until container `files` has told.
    pub installed: Vec<Installed>,
    /// How full the pod CIDRs are.
    pub leases: Vec<Leases>,
    /// How many versions of `node.yaml` this run has taken over, up to the one that is applied.
    pub config_generation: u64,
    /// Prefixes of all pods, as the admin gave them.
    #[serde(rename = "clusterCIDRs")]
    pub cluster_cidrs: Vec<IpNetwork>,
    /// What the kubelet says of the node.
    pub node_ready: Option<Readiness>,
    /// This node's clock beside that of the API server which answered last.
    pub clock: Option<Clock>,
}

/// How far this node's clock was from another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Clock {
    /// Whose the other was.
    pub server: String,
    /// How many seconds this node is ahead.
    pub offset_seconds: i64,
    /// When that was, by this node.
    pub at: String,
}

/// Another node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PeerStatus {
    /// Its name.
    pub name: String,
    /// One of [`BACKENDS`].
    pub backend: &'static str,
    /// One of [`PEER_STATES`].
    pub state: &'static str,
    /// Its addresses.
    pub addresses: Vec<IpAddr>,
    /// Prefixes of its pods.
    #[serde(rename = "podCIDRs")]
    pub pod_cidrs: Vec<IpNetwork>,
    /// Why it is not linked.
    pub why: String,
    /// How its pods are reached.
    pub ways: Vec<WayStatus>,
}

/// A way to the pods of another node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct WayStatus {
    /// A prefix of its pods.
    pub destination: IpNetwork,
    /// The next hop; none behind WireGuard.
    pub gateway: Option<IpAddr>,
    /// Name of the device of ours that it is on, if it is on one.
    pub overlay: Option<&'static str>,
}

impl From<&Route> for WayStatus {
    fn from(route: &Route) -> Self {
        let overlay = match route.device {
            Device::Link(_) => None,
            Device::Overlay(family) => Some(family.overlay()),
            Device::Wireguard => Some(WIREGUARD),
        };
        Self { destination: route.destination, gateway: route.gateway, overlay }
    }
}

/// An overlay or WireGuard device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct OverlayStatus {
    /// Its name.
    pub name: &'static str,
    /// VXLAN network identifier; none of WireGuard.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vni: Option<u32>,
    /// UDP port.
    pub port: u16,
    /// The node's address that its packets come from; none of WireGuard, which has all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub local: Option<IpAddr>,
    /// Its MTU in bytes.
    pub mtu: Option<u32>,
}

/// How full the pod CIDR of a family is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Leases {
    /// `ipv4` or `ipv6`.
    pub family: &'static str,
    /// Addresses that somebody has.
    pub leased: usize,
    /// Addresses that rest.
    pub cooling: usize,
    /// Addresses that nobody has.
    pub free: usize,
}

impl From<(bool, Usage)> for Leases {
    fn from((is_ipv6, Usage { leased, cooling, free }): (bool, Usage)) -> Self {
        Self { family: if is_ipv6 { "ipv6" } else { "ipv4" }, leased, cooling, free }
    }
}

impl From<&Overlay> for OverlayStatus {
    fn from(it: &Overlay) -> Self {
        let (vni, local) = (Some(it.vni), Some(it.local));
        Self { name: it.family.overlay(), vni, port: it.port, local, mtu: it.mtu }
    }
}

impl From<&Wireguard> for OverlayStatus {
    fn from(it: &Wireguard) -> Self {
        Self { name: WIREGUARD, vni: None, port: it.port, local: None, mtu: it.mtu }
    }
}

impl Status {
    /// Notes the phase, and `now` where it is a new one.
    pub(crate) fn enter(&mut self, phase: &Phase, now: Timestamp) {
        if self.phase != phase.word() {
            // Kubernetes times have whole seconds.
            self.since = now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
        }
        (self.phase, self.detail, self.ready) = (phase.word(), phase.to_string(), *phase == Phase::Ready);
    }
}

/// What became of the nodes that are believed, as `mesh` links them, and of those that are not.
pub fn peers(mesh: &Mesh, believed: &[Peer], refused: &[(String, Refusal)]) -> Vec<PeerStatus> {
    let refused = refused.iter().map(|(name, refusal)| PeerStatus {
        name: name.clone(),
        backend: "none",
        state: "ignored",
        why: refusal.to_string(),
        ..PeerStatus::default()
    });
    believed.iter().map(|peer| linked(mesh, peer)).chain(refused).collect()
}

fn linked(mesh: &Mesh, peer: &Peer) -> PeerStatus {
    let problem = mesh.problems.iter().find(|(name, _)| *name == peer.name);
    let mut routes: Vec<&Route> =
        peer.claim.pod_cidrs.iter().flat_map(|cidr| routes_to(mesh, *cidr)).collect();
    routes.sort_unstable();
    let route = routes.first();
    PeerStatus {
        name: peer.name.clone(),
        backend: match route.map(|route| route.device) {
            Some(Device::Link(_)) => "direct",
            Some(Device::Overlay(_)) => "vxlan",
            Some(Device::Wireguard) => "wireguard",
            None => "none",
        },
        state: if problem.is_none() && route.is_some() { "linked" } else { "unlinked" },
        addresses: peer.claim.addresses.clone(),
        pod_cidrs: peer.claim.pod_cidrs.clone(),
        why: problem.map(|(_, why)| why.to_string()).unwrap_or_default(),
        ways: routes.into_iter().map(WayStatus::from).collect(),
    }
}

/// They are in order, and there may be thousands.
fn routes_to(mesh: &Mesh, destination: IpNetwork) -> impl Iterator<Item = &Route> {
    let first = Route { destination, table: MAIN, gateway: None, device: Device::Link(0), source: None };
    mesh.routes.range(first..).take_while(move |it| it.destination == destination && it.table == MAIN)
}

/// Asks the agent at `flags.health_addr` and tells what it says; says whether it is ready.
pub async fn run(flags: &cli::Status, stdout: &mut dyn Write) -> io::Result<bool> {
    let status = ask(flags.health_addr).await?;
    let told = if flags.json { format!("{status}\n") } else { table(&status) };
    stdout.write_all(told.as_bytes())?;
    Ok(status.get("ready").and_then(Value::as_bool).unwrap_or_default())
}

/// What the agent at `address` says of itself.
pub(crate) async fn ask(address: SocketAddr) -> io::Result<Value> {
    let answer = tokio::time::timeout(ANSWER, fetch(address, "/status", LONGEST)).await;
    let (code, text) = answer.unwrap_or_else(|_elapsed| Err(io::ErrorKind::TimedOut.into()))?;
    if code != 200 {
        return Err(io::Error::other(format!("the agent at {address} answered {code}")));
    }
    serde_json::from_slice(&text).map_err(io::Error::other)
}

#[cfg(test)]
mod tests;
