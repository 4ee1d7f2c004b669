//! What the node shall look like, decided from the admin's word and the cluster's. Pure.

use std::path::Path;

use ipnetwork::IpNetwork;
use tripod_cni::nft::masquerade::{MULTICAST, Masquerade};

use crate::config::{Backend, ForwardDrop, NodeConfig};
use crate::conflist;
use crate::firewall::Firewall;
use crate::mesh::{Family, Mesh, WIREGUARD};
use crate::node_facts::NodeFacts;
use crate::prefix;

/// The state of a node whose pods have a network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Desired {
    /// Parameters below `/proc/sys/net`.
    pub sysctls: Vec<Sysctl>,
    /// How many nodes are asked for by their addresses.
    pub neighbours: usize,
    /// Which packets leave with the node's address, and which do not pass.
    pub firewall: Firewall,
    /// Whether pods are to pass where rules of others drop.
    pub forward_drop: ForwardDrop,
    /// Bytes of the conflist.
    pub conflist: Vec<u8>,
}

/// A kernel parameter that the node's pods need.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sysctl {
    /// Path below `/proc/sys/net`.
    pub key: &'static str,
    /// Its value.
    pub value: &'static str,
}

/// The node is to forward packets of this family.
const FORWARD4: Sysctl = Sysctl { key: "ipv4/ip_forward", value: "1" };
const FORWARD6: Sysctl = Sysctl { key: "ipv6/conf/all/forwarding", value: "1" };

/// Decides the state of a node with `facts`. `agent_state` is the folder of the readiness marker.
pub fn decide(config: &NodeConfig, facts: &NodeFacts, mesh: &Mesh, agent_state: &Path) -> Desired {
    let mtu = config.mtu.or_else(|| mesh.pod_mtu());
    let families = [(FORWARD4, facts.pod_cidrs.iter().any(IpNetwork::is_ipv4)), (FORWARD6, has_ipv6(facts))];
    Desired {
        sysctls: families.into_iter().filter_map(|(sysctl, wanted)| wanted.then_some(sysctl)).collect(),
        neighbours: mesh.neighbours_on_links(),
        firewall: Firewall {
            masquerade: masquerade(config, facts),
            // Also where this node needs no overlay: others may.
            overlay_port: may_use_vxlan(config.backend).then_some(config.vxlan.port),
        },
        forward_drop: config.forward_drop,
        conflist: conflist::render(&facts.pod_cidrs, &facts.node_ips, mtu, agent_state),
    }
}

/// WireGuard needs no closed port: it takes only what a peer has encrypted.
fn may_use_vxlan(backend: Backend) -> bool {
    matches!(backend, Backend::Auto | Backend::Vxlan)
}

/// Whether the pods have IPv6 addresses.
pub fn has_ipv6(facts: &NodeFacts) -> bool {
    facts.pod_cidrs.iter().any(IpNetwork::is_ipv6)
}

/// The node's pod CIDRs that `clusterCIDRs` leaves out. Traffic of other nodes' pods to them would be
/// taken for traffic with the outside.
pub fn unlisted<'a>(config: &NodeConfig, facts: &'a NodeFacts) -> Vec<&'a IpNetwork> {
    facts
        .pod_cidrs
        .iter()
        .filter(|cidr| !config.cluster_cidrs.iter().any(|all| prefix::contains(all, cidr)))
        .collect()
}

fn masquerade(config: &NodeConfig, facts: &NodeFacts) -> Masquerade {
    if !config.masquerade.enabled {
        return Masquerade::default();
    }
    let own = unlisted(config, facts).into_iter().copied();
    let known = config.cluster_cidrs.iter().chain(&config.masquerade.exclude).copied();
    let mut spared: Vec<_> = known.chain(own).chain(MULTICAST).filter(|p| has_family(facts, p)).collect();
    let mut seen = std::collections::HashSet::new();
    spared.retain(|prefix| seen.insert(*prefix));
    let spared_links = Family::ALL.map(Family::overlay).into_iter().chain([WIREGUARD]).collect();
    Masquerade { pods: facts.pod_cidrs.clone(), spared, spared_links }
}

fn has_family(facts: &NodeFacts, prefix: &IpNetwork) -> bool {
    facts.pod_cidrs.iter().any(|cidr| cidr.is_ipv4() == prefix.is_ipv4())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Masquerading;

    fn networks(texts: &[&str]) -> Vec<IpNetwork> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    fn facts(cidrs: &[&str]) -> NodeFacts {
        NodeFacts {
            pod_cidrs: networks(cidrs),
            node_ips: vec!["10.0.0.1".parse().unwrap()],
            ..NodeFacts::default()
        }
    }

    #[test]
    fn each_family_of_pods_brings_its_sysctl() {
        let keys = |cidrs: &[&str]| -> Vec<_> {
            let desired =
                decide(&NodeConfig::default(), &facts(cidrs), &Mesh::default(), Path::new("/run/tripod"));
            desired.sysctls.iter().map(|sysctl| sysctl.key).collect()
        };
        assert_eq!(keys(&["10.1.0.0/24"]), ["ipv4/ip_forward"]);
        assert_eq!(keys(&["fd00::/64"]), ["ipv6/conf/all/forwarding"]);
        assert_eq!(keys(&["fd00::/64", "10.1.0.0/24"]), ["ipv4/ip_forward", "ipv6/conf/all/forwarding"]);
    }

    #[test]
    fn cluster_cidrs_exclusions_and_multicast_are_spared_once_and_per_family() {
        let config = NodeConfig {
            cluster_cidrs: networks(&["10.0.0.0/8", "fd00::/48"]),
            masquerade: Masquerading { enabled: true, exclude: networks(&["192.168.0.0/16", "10.0.0.0/8"]) },
            ..NodeConfig::default()
        };
        let desired = decide(&config, &facts(&["10.1.0.0/24"]), &Mesh::default(), Path::new("/run/tripod"));
        assert_eq!(desired.firewall.masquerade.pods, networks(&["10.1.0.0/24"]));
        assert_eq!(
            desired.firewall.masquerade.spared,
            networks(&["10.0.0.0/8", "192.168.0.0/16", "224.0.0.0/4"])
        );
    }

    #[test]
    fn without_cluster_cidrs_the_nodes_own_are_spared() {
        let facts = facts(&["10.1.0.0/24", "fd00:1::/64"]);
        let config = NodeConfig::default();
        assert_eq!(unlisted(&config, &facts), facts.pod_cidrs.iter().collect::<Vec<_>>());
        let spared =
            decide(&config, &facts, &Mesh::default(), Path::new("/run/tripod")).firewall.masquerade.spared;
        assert_eq!(spared, networks(&["10.1.0.0/24", "fd00:1::/64", "224.0.0.0/4", "ff00::/8"]));
    }

    #[test]
    fn a_smaller_cluster_cidr_does_not_contain_the_nodes() {
        let config = NodeConfig { cluster_cidrs: networks(&["10.1.0.0/25"]), ..NodeConfig::default() };
        assert_eq!(unlisted(&config, &facts(&["10.1.0.0/24"])).len(), 1);
    }

    #[test]
    fn only_where_there_may_be_an_overlay_its_port_is_closed_and_no_device_of_ours_hides_pods() {
        for (backend, port) in [
            (Backend::Auto, Some(4789)),
            (Backend::Direct, None),
            (Backend::Vxlan, Some(4789)),
            (Backend::Wireguard, None),
        ] {
            let config = NodeConfig { backend, ..NodeConfig::default() };
            let facts = facts(&["10.1.0.0/24"]);
            let firewall = decide(&config, &facts, &Mesh::default(), Path::new("/run/tripod")).firewall;
            assert_eq!(firewall.overlay_port, port);
            assert_eq!(firewall.masquerade.spared_links, ["tripod4", "tripod6", "tripod-wg"]);
        }
    }

    #[test]
    fn without_masquerade_nothing_is_hidden() {
        let masquerade = Masquerading { enabled: false, exclude: Vec::new() };
        let config = NodeConfig { masquerade, ..NodeConfig::default() };
        let desired = decide(&config, &facts(&["10.1.0.0/24"]), &Mesh::default(), Path::new("/run/tripod"));
        assert_eq!(desired.firewall.masquerade, Masquerade::default());
    }
}
