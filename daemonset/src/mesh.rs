//! What links this node's pods with those of other nodes, decided from whom there is and how they are
//! reached. Pure.
//!
//! A peer on a link of ours gets one route per prefix. Any other gets its packets through VXLAN, by an
//! overlay device per family of the network between the nodes: a route, a permanent neighbour for its next
//! hop, and a forwarding entry that says behind which node that neighbour is. Nothing is learned from
//! packets.
//!
//! Where the admin wants encryption, all peers are behind one WireGuard device for both families: a route there,
//! and on the device a peer whose key decides which addresses its packets may come from. Where that route is
//! missing, another one says that there is no way: a default route would take the packets along in plain text. With
//! `clusterCIDRs` that holds for all pods there are, also for those of nodes that nobody believes.
//!
//! What pods say to a node they must say through the overlay as well: in between may be machines that drop
//! packets with pods' addresses. Rules for packets from our pods look into a table of their own, where nodes
//! behind the overlay are. For the same reason packets between pods and nodes pass a strict `rp_filter`.

mod overlay;
mod wireguard;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

use ipnetwork::IpNetwork;

use crate::claims::Peer;
use crate::config::{Backend, NodeConfig};
use crate::mac::Mac;
use crate::node_facts::NodeFacts;
use crate::wireguard_key::PublicKey;
pub use overlay::{Family, Overlay};
pub use wireguard::{NAME as WIREGUARD, Wireguard, WireguardPeer};

/// The main routing table.
pub const MAIN: u32 = 254;

/// The table of nodes behind the overlay, which only packets of our pods are looked up in.
pub const FROM_PODS: u32 = 84;

/// Preference of the rules for packets of our pods: before the main table's 32766, behind what an admin or
/// a VPN usually puts first.
pub const RULE_PRIORITY: u32 = 30_084;

/// How a node's address is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// It is on this link.
    OnLink(u32),
    /// Behind a router, by this link unless by several.
    Routed(Option<u32>),
    /// The kernel knows no way.
    Unknown,
}

/// The network between the nodes, as the kernel sees it now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Underlay {
    /// How each address of each peer is reached.
    pub reach: BTreeMap<IpAddr, Reach>,
    /// MTU of the link that carries our address, by family.
    pub mtu: BTreeMap<Family, u32>,
    /// Whether this kernel leaves wrong checksums on packets that are masqueraded and then go through VXLAN,
    /// when hardware is to compute them. Linux did before 5.7, and whoever used Services waited a minute.
    pub has_broken_checksums: bool,
}

/// Through which device a route leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Device {
    /// The link of this index.
    Link(u32),
    /// The overlay over this family.
    Overlay(Family),
    /// The WireGuard device.
    Wireguard,
}

/// A route to a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Route {
    /// Where to.
    pub destination: IpNetwork,
    /// [`MAIN`] or [`FROM_PODS`].
    pub table: u32,
    /// The next hop; none behind WireGuard, which finds peers by their allowed addresses.
    pub gateway: Option<IpAddr>,
    /// The device.
    pub device: Device,
    /// The address with which this node itself speaks to the destination.
    pub source: Option<IpAddr>,
}

/// Which hardware address a next hop on an overlay has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Neighbour {
    /// The overlay.
    pub overlay: Family,
    /// The next hop.
    pub address: IpAddr,
    /// Its hardware address.
    pub mac: Mac,
}

/// Behind which node a hardware address is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Forwarding {
    /// The overlay.
    pub overlay: Family,
    /// The hardware address.
    pub mac: Mac,
    /// The node's address.
    pub node: IpAddr,
}

/// Everything that links this node with the others.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mesh {
    /// The node's addresses that are on a link of it: the kernel takes no other for a source. A Node object
    /// tells of a changed address only after a while.
    pub sources: Vec<IpAddr>,
    /// The overlay devices.
    pub overlays: Vec<Overlay>,
    /// The WireGuard device.
    pub wireguard: Option<Wireguard>,
    /// Its peers.
    pub wireguard_peers: BTreeMap<PublicKey, WireguardPeer>,
    /// Routes to peers.
    pub routes: BTreeSet<Route>,
    /// Prefixes of pods that are to be reached encrypted or not at all.
    pub unreachable: BTreeSet<IpNetwork>,
    /// Next hops on overlays.
    pub neighbours: BTreeSet<Neighbour>,
    /// Forwarding entries of overlays.
    pub forwarding: BTreeSet<Forwarding>,
    /// Prefixes of our pods whose packets are looked up in [`FROM_PODS`].
    pub rules: BTreeSet<IpNetwork>,
    /// What cannot be linked, and why.
    pub problems: Vec<(String, Unlinked)>,
}

/// Why a peer's prefix has no route.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unlinked {
    /// Both nodes have no address of a common family.
    #[error("{prefix}: this node and the peer have no InternalIP of the same family")]
    NoAddress {
        /// The prefix.
        prefix: IpNetwork,
    },
    /// The admin wants encryption, and the peer has no key.
    #[error(
        "{prefix}: the peer tells no valid key of WireGuard (spec.wireguardKey of its TripodNode); set backend to \
         \"wireguard\" on that node too, and see its agent's log"
    )]
    NoKey {
        /// The prefix.
        prefix: IpNetwork,
    },
    /// The admin wants direct routes, and they do not lead over another family.
    #[error(
        "{prefix}: the peer has no InternalIP of its family but {address}, and backend is \"direct\"; set it to \"auto\""
    )]
    OtherFamily {
        /// The prefix.
        prefix: IpNetwork,
        /// The peer's address.
        address: IpAddr,
    },
    /// The admin wants direct routes, and the peer is behind a router.
    #[error(
        "{prefix}: {address} is not on a link of this node, and backend is \"direct\"; set it to \"auto\""
    )]
    NotOnLink {
        /// The prefix.
        prefix: IpNetwork,
        /// The peer's address.
        address: IpAddr,
    },
}

/// How packets for a prefix of a peer travel.
enum Way {
    Direct { device: u32, gateway: IpAddr },
    Overlay { family: Family, node: IpAddr },
    Wireguard { key: PublicKey, endpoint: SocketAddr },
}

/// Decides the links with `peers`.
pub fn plan(config: &NodeConfig, facts: &NodeFacts, peers: &[Peer], underlay: &Underlay) -> Mesh {
    let is_here = |ip: &IpAddr| underlay.mtu.contains_key(&Family::of(*ip));
    let sources = facts.node_ips.iter().copied().filter(is_here).collect();
    let mut mesh = Mesh { sources, ..Mesh::default() };
    for peer in peers {
        for prefix in &peer.claim.pod_cidrs {
            match way(config, facts, peer, *prefix, underlay) {
                Ok(way) => mesh.link(peer, *prefix, &way),
                Err(problem) => mesh.problems.push((peer.name.clone(), problem)),
            }
        }
    }
    mesh.overlays = overlay::wanted(config, facts, underlay, &mesh);
    mesh.wireguard = wireguard::wanted(config, facts, underlay, &mesh);
    mesh.unreachable = wireguard::unreachable(config, facts, peers);
    mesh.rules = facts.pod_cidrs.iter().filter(|cidr| mesh.has_nodes_of(cidr)).copied().collect();
    mesh
}

fn way(
    config: &NodeConfig,
    facts: &NodeFacts,
    peer: &Peer,
    prefix: IpNetwork,
    underlay: &Underlay,
) -> Result<Way, Unlinked> {
    // A peer of WireGuard is at one address, whatever its pods have.
    let prefers_ipv4 = prefix.is_ipv4() || config.backend == Backend::Wireguard;
    let address = common_address(facts, peer, prefers_ipv4).ok_or(Unlinked::NoAddress { prefix })?;
    let overlay = Way::Overlay { family: Family::of(address), node: address };
    // IPv6 has no next hops of the other family, and IPv4's over IPv6 are young.
    let reach = underlay.reach.get(&address).filter(|_| address.is_ipv4() == prefix.is_ipv4());
    match (config.backend, reach) {
        (Backend::Vxlan, _) => Ok(overlay),
        (Backend::Wireguard, _) => {
            let key = peer.claim.wireguard_key.ok_or(Unlinked::NoKey { prefix })?;
            Ok(Way::Wireguard { key, endpoint: SocketAddr::new(address, config.wireguard.port) })
        }
        (Backend::Auto | Backend::Direct, Some(Reach::OnLink(device))) => {
            Ok(Way::Direct { device: *device, gateway: address })
        }
        (Backend::Auto, _) => Ok(overlay),
        (Backend::Direct, _) if address.is_ipv4() != prefix.is_ipv4() => {
            Err(Unlinked::OtherFamily { prefix, address })
        }
        (Backend::Direct, _) => Err(Unlinked::NotOnLink { prefix, address }),
    }
}

/// An address of the peer in a family that both nodes have, the pods' own family first.
fn common_address(facts: &NodeFacts, peer: &Peer, prefers_ipv4: bool) -> Option<IpAddr> {
    let has = |address: &&IpAddr| facts.node_ips.iter().any(|ours| ours.is_ipv4() == address.is_ipv4());
    let mut common: Vec<_> = peer.claim.addresses.iter().filter(has).copied().collect();
    common.sort_by_key(|address| address.is_ipv4() != prefers_ipv4);
    common.first().copied()
}

impl Mesh {
    fn link(&mut self, peer: &Peer, destination: IpNetwork, way: &Way) {
        let source = self.source_towards(destination.is_ipv4());
        match *way {
            Way::Direct { device, gateway } => {
                let (device, gateway) = (Device::Link(device), Some(gateway));
                self.routes.insert(Route { destination, table: MAIN, gateway, device, source });
            }
            Way::Overlay { family, node } => {
                let (device, mac) = (Device::Overlay(family), peer.claim.vtep_mac);
                let address = next_hop(destination, mac);
                let gateway = Some(address);
                self.neighbours.insert(Neighbour { overlay: family, address, mac });
                self.forwarding.insert(Forwarding { overlay: family, mac, node });
                self.lead(peer, Route { destination, table: MAIN, gateway, device, source });
            }
            Way::Wireguard { key, endpoint } => {
                self.wireguard_peers.insert(key, WireguardPeer::new(&peer.claim, endpoint));
                let device = Device::Wireguard;
                self.lead(peer, Route { destination, table: MAIN, gateway: None, device, source });
            }
        }
    }

    /// Leads what is for a peer's pods along `route`, and what our pods say to the peer itself too.
    fn lead(&mut self, peer: &Peer, route: Route) {
        self.routes.insert(route);
        let nodes = peer.claim.addresses.iter().filter(|ip| ip.is_ipv4() == route.destination.is_ipv4());
        self.routes.extend(nodes.map(|node| Route {
            destination: IpNetwork::from(*node),
            table: FROM_PODS,
            source: None,
            ..route
        }));
    }

    /// The address with which this node speaks to others of a family.
    pub fn source_towards(&self, is_ipv4: bool) -> Option<IpAddr> {
        self.sources.iter().copied().find(|ip| ip.is_ipv4() == is_ipv4)
    }

    /// How many next hops there are on links that are not ours.
    pub fn neighbours_on_links(&self) -> usize {
        let direct = self.routes.iter().filter(|route| matches!(route.device, Device::Link(_)));
        direct.map(|route| route.gateway).collect::<BTreeSet<_>>().len()
    }

    fn has_nodes_of(&self, cidr: &IpNetwork) -> bool {
        let same_family = |route: &Route| route.destination.is_ipv4() == cidr.is_ipv4();
        self.routes.iter().any(|route| route.table == FROM_PODS && same_family(route))
    }
}

/// The next hop on an overlay. In IPv6 the link-local address that belongs to the hardware address; IPv4
/// has none, and no node gives the first address of its prefix to a pod.
fn next_hop(prefix: IpNetwork, mac: Mac) -> IpAddr {
    match prefix {
        IpNetwork::V4(prefix) => prefix.network().into(),
        IpNetwork::V6(_) => mac.link_local().into(),
    }
}

#[cfg(test)]
mod tests;
