//! The WireGuard device: one for both families, with a peer for each node.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};

use ipnetwork::IpNetwork;

use super::{Device, Family, Mesh, Underlay};
use crate::claims::Peer;
use crate::config::{Backend, NodeConfig};
use crate::node_facts::NodeFacts;
use crate::tripod_node::Claim;

/// Its name.
pub const NAME: &str = "tripod-wg";

/// The device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wireguard {
    /// UDP port.
    pub port: u16,
    /// Its MTU in bytes, where the underlay's is known.
    pub mtu: Option<u32>,
    /// Addresses on it: the node's own once more, since masquerade takes the leaving device's.
    pub addresses: Vec<IpAddr>,
}

/// A node behind it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WireguardPeer {
    /// Where the node hears.
    pub endpoint: SocketAddr,
    /// The addresses that packets from and to it have: its pods' and its own.
    pub allowed: BTreeSet<IpNetwork>,
}

impl WireguardPeer {
    /// The node that claims this, at `endpoint`.
    pub fn new(claim: &Claim, endpoint: SocketAddr) -> Self {
        let nodes = claim.addresses.iter().copied().map(IpNetwork::from);
        Self { endpoint, allowed: claim.pod_cidrs.iter().copied().chain(nodes).collect() }
    }
}

/// What WireGuard adds to each packet over a family, in bytes: an IP header, UDP's 8, its own 16 and a tag of 16.
fn overhead(family: Family) -> u32 {
    match family {
        Family::V4 => 20 + 8 + 16 + 16,
        Family::V6 => 40 + 8 + 16 + 16,
    }
}

/// The device that `mesh` needs, also before there is a peer.
pub(super) fn wanted(
    config: &NodeConfig,
    facts: &NodeFacts,
    underlay: &Underlay,
    mesh: &Mesh,
) -> Option<Wireguard> {
    let through = |is_ipv4: bool| {
        let is_there = |route: &super::Route| route.destination.is_ipv4() == is_ipv4;
        mesh.routes.iter().any(|route| route.device == Device::Wireguard && is_there(route))
    };
    (config.backend == Backend::Wireguard).then(|| Wireguard {
        port: config.wireguard.port,
        mtu: mtu(facts, underlay, mesh),
        addresses: facts.node_ips.iter().copied().filter(|ip| through(ip.is_ipv4())).collect(),
    })
}

/// Prefixes to which no packet may leave in plain text: where pods are by the admin's word, as far as we have pods
/// of that family, and where peers have theirs.
pub(super) fn unreachable(config: &NodeConfig, facts: &NodeFacts, peers: &[Peer]) -> BTreeSet<IpNetwork> {
    if config.backend != Backend::Wireguard {
        return BTreeSet::new();
    }
    let has_pods = |all: &&IpNetwork| facts.pod_cidrs.iter().any(|ours| ours.is_ipv4() == all.is_ipv4());
    let all = config.cluster_cidrs.iter().filter(has_pods);
    all.chain(peers.iter().flat_map(|peer| &peer.claim.pod_cidrs)).copied().collect()
}

/// What fits on the way to each peer.
fn mtu(facts: &NodeFacts, underlay: &Underlay, mesh: &Mesh) -> Option<u32> {
    let mut families: BTreeSet<_> =
        mesh.wireguard_peers.values().map(|peer| Family::of(peer.endpoint.ip())).collect();
    if families.is_empty() {
        families.extend(facts.node_ips.iter().map(|ip| Family::of(*ip)).min());
    }
    let left = |family: &Family| Some(underlay.mtu.get(family)?.saturating_sub(overhead(*family)));
    families.iter().filter_map(left).min()
}
