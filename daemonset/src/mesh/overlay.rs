//! Overlay devices: one VXLAN device per family of the network between the nodes.

use std::fmt;
use std::net::IpAddr;

use super::{Device, Mesh, Underlay};
use crate::config::{Backend, ChecksumOffload, NodeConfig};
use crate::mac::Mac;
use crate::node_facts::NodeFacts;

/// A family of the network between the nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    /// Both.
    pub const ALL: [Self; 2] = [Self::V4, Self::V6];

    /// That of `address`.
    pub fn of(address: IpAddr) -> Self {
        if address.is_ipv4() { Self::V4 } else { Self::V6 }
    }

    /// Name of the overlay device over it.
    pub fn overlay(self) -> &'static str {
        match self {
            Self::V4 => "tripod4",
            Self::V6 => "tripod6",
        }
    }

    /// What VXLAN adds to each packet, in bytes: an IP header, UDP's 8, VXLAN's own 8 and an Ethernet
    /// header of 14 (RFC 7348, section 5).
    pub fn overhead(self) -> u32 {
        match self {
            Self::V4 => 20 + 8 + 8 + 14,
            Self::V6 => 40 + 8 + 8 + 14,
        }
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::V4 => "IPv4",
            Self::V6 => "IPv6",
        })
    }
}

/// An overlay device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Overlay {
    /// The family it sends its packets over.
    pub family: Family,
    /// VXLAN network identifier.
    pub vni: u32,
    /// UDP port.
    pub port: u16,
    /// The node's address that its packets come from.
    pub local: IpAddr,
    /// Its hardware address.
    pub mac: Mac,
    /// Its MTU in bytes, where the underlay's is known.
    pub mtu: Option<u32>,
    /// Whether it leaves checksums to the hardware.
    pub offloads_checksums: bool,
    /// Addresses on it: the node's own once more, since masquerade takes the leaving device's, and one
    /// without an address would lend that of any other.
    pub addresses: Vec<IpAddr>,
}

/// The devices that `mesh` needs; with backend `vxlan` also before there is a peer.
pub(super) fn wanted(
    config: &NodeConfig,
    facts: &NodeFacts,
    underlay: &Underlay,
    mesh: &Mesh,
) -> Vec<Overlay> {
    let overlay = |local: &IpAddr| {
        let family = Family::of(*local);
        let through = |is_ipv4: bool| {
            let device = Device::Overlay(family);
            mesh.routes.iter().any(|it| it.device == device && it.destination.is_ipv4() == is_ipv4)
        };
        let is_wanted = config.backend == Backend::Vxlan || through(true) || through(false);
        let mtu = underlay.mtu.get(&family).map(|mtu| mtu.saturating_sub(family.overhead()));
        is_wanted.then(|| Overlay {
            family,
            vni: config.vxlan.vni,
            port: config.vxlan.port,
            local: *local,
            mac: Mac::of_node(&facts.uid),
            mtu,
            offloads_checksums: match config.vxlan.checksum_offload {
                ChecksumOffload::Auto => !underlay.has_broken_checksums,
                ChecksumOffload::On => true,
                ChecksumOffload::Off => false,
            },
            addresses: facts.node_ips.iter().copied().filter(|ip| through(ip.is_ipv4())).collect(),
        })
    };
    facts.node_ips.iter().filter_map(overlay).collect()
}

impl Mesh {
    /// MTU of pods in bytes: what fits through every device of ours that leads to nodes. None without one: the plugin
    /// takes that of the default route's link.
    pub fn pod_mtu(&self) -> Option<u32> {
        let overlays = self.overlays.iter().map(|overlay| overlay.mtu);
        overlays.chain(self.wireguard.iter().map(|device| device.mtu)).flatten().min()
    }
}
