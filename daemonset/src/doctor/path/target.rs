//! What is tried of which peer. Pure, but for the names of links.

use std::net::{IpAddr, SocketAddr, SocketAddrV6};

use ipnetwork::IpNetwork;
use nix::net::if_::if_nametoindex;
use serde::Deserialize;
use serde_json::Value;

/// The first of the ports that traceroute uses, which nobody listens on.
const PORT: u16 = 33434;

/// A datagram that any link takes.
pub(super) const SMALL: usize = 128;

/// What an agent says of a peer, as far as it matters here.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Seen {
    pub(super) name: String,
    backend: String,
    state: String,
    addresses: Vec<IpAddr>,
    #[serde(rename = "podCIDRs")]
    pod_cidrs: Vec<IpNetwork>,
    ways: Vec<Way>,
}

/// How one of its prefixes is reached.
#[derive(Clone, Debug, Deserialize)]
struct Way {
    destination: Option<IpNetwork>,
    gateway: Option<IpAddr>,
    overlay: Option<String>,
}

/// What a packet is to show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Aim {
    /// That it gets to the node.
    Node,
    /// That it gets to where the pods of a prefix are.
    Pods(IpNetwork),
    /// That its checksum is right at the far end of the overlay.
    Checksum,
}

/// Where packets go.
#[derive(Clone, Debug)]
pub(super) struct Target {
    pub(super) peer: String,
    /// `direct`, `vxlan` or `wireguard`.
    pub(super) backend: String,
    /// Those from which this peer and nobody else answers.
    pub(super) addresses: Vec<IpAddr>,
    pub(super) aim: Aim,
    pub(super) to: SocketAddr,
    pub(super) hops: Option<u8>,
    /// The device of ours that leads there, by its name.
    pub(super) device: Option<String>,
    /// Whether the kernel sends what goes there through that device, at whose other end is nobody but the peer.
    pub(super) is_through_device: bool,
}

/// How long a packet is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Size {
    /// So many bytes of payload.
    Payload(usize),
    /// As many as the link takes.
    Full,
}

impl Target {
    /// Whether the peer, and nobody else, has this address: it is one of its nodes' addresses or of its pods'.
    pub(super) fn is_of_peer(&self, address: IpAddr) -> bool {
        let is_of_pods = matches!(self.aim, Aim::Pods(cidr) if cidr.contains(address));
        is_of_pods || self.addresses.contains(&address)
    }

    /// The packets that go there.
    pub(super) fn sizes(&self) -> Vec<Size> {
        match self.aim {
            Aim::Node | Aim::Pods(_) => vec![Size::Payload(SMALL), Size::Full],
            Aim::Checksum => vec![Size::Payload(SMALL)],
        }
    }

    pub(super) fn is_for_pods(&self) -> bool {
        matches!(self.aim, Aim::Pods(_))
    }
}

/// The peers to try, at most so many, and how many others there are. They begin after this node's own name, so that
/// not all nodes try the same ones.
pub(super) fn peers(status: &Value, names: &[String], most: usize) -> (Vec<Seen>, usize) {
    let is_wanted = |peer: &Seen| names.is_empty() || names.contains(&peer.name);
    let mut wanted: Vec<Seen> = linked(status).filter(is_wanted).collect();
    let own = status.get("node").and_then(Value::as_str).unwrap_or_default();
    wanted.sort_by(|a, b| (a.name.as_str() < own, &a.name).cmp(&(b.name.as_str() < own, &b.name)));
    let left_out = wanted.len().saturating_sub(most);
    wanted.truncate(most);
    (wanted, left_out)
}

/// Whether there is a peer of this name with a way to it.
pub(super) fn is_linked(status: &Value, name: &str) -> bool {
    linked(status).any(|peer| peer.name == name)
}

fn linked(status: &Value) -> impl Iterator<Item = Seen> {
    let peers = status.get("peers").and_then(Value::as_array).into_iter().flatten();
    peers.filter_map(|peer| Seen::deserialize(peer).ok()).filter(|peer| peer.state == "linked")
}

/// Everything that is tried of `peer`.
pub(super) fn of_peer(peer: &Seen) -> Vec<Target> {
    let target = |aim, to, hops| Target {
        peer: peer.name.clone(),
        backend: peer.backend.clone(),
        addresses: peer
            .addresses
            .iter()
            .copied()
            .chain(peer.ways.iter().filter_map(|way| way.gateway))
            .collect(),
        aim,
        to,
        hops,
        device: None,
        is_through_device: false,
    };
    let nodes = peer.addresses.iter().map(|ip| target(Aim::Node, SocketAddr::new(*ip, PORT), None));
    let pods = peer.pod_cidrs.iter().map(|cidr| {
        let to = SocketAddr::new(cidr.network(), PORT);
        let way = peer.ways.iter().find(|way| way.destination == Some(*cidr));
        Target { device: way.and_then(|way| way.overlay.clone()), ..target(Aim::Pods(*cidr), to, Some(1)) }
    });
    let ends = peer.ways.iter().filter_map(overlay_end).map(|to| target(Aim::Checksum, to, None));
    nodes.chain(pods).chain(ends).collect()
}

/// The address of the other node's overlay, where it has one: with IPv6.
fn overlay_end(way: &Way) -> Option<SocketAddr> {
    let (Some(IpAddr::V6(gateway)), Some(name)) = (way.gateway, &way.overlay) else { return None };
    let link = if_nametoindex(name.as_str()).ok()?;
    gateway.is_unicast_link_local().then(|| SocketAddrV6::new(gateway, PORT, 0, link).into())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn status() -> Value {
        let peer = |name: &str, state: &str| {
            json!({"name": name, "state": state, "backend": "vxlan", "addresses": ["192.0.2.2", "fd00::2"],
                "podCIDRs": ["10.244.2.0/24"], "ways": [{"gateway": "10.244.2.0", "overlay": "tripod4"}]})
        };
        json!({"peers": [peer("n2", "linked"), peer("n3", "ignored"), peer("n4", "linked"), 7]})
    }

    #[test]
    fn linked_peers_are_tried_up_to_a_number_or_by_name() {
        let names = |(peers, left_out): (Vec<Seen>, usize)| {
            (peers.into_iter().map(|peer| peer.name).collect::<Vec<_>>().join(" "), left_out)
        };
        assert_eq!(names(peers(&status(), &[], 16)), ("n2 n4".to_owned(), 0));
        assert_eq!(names(peers(&status(), &[], 1)), ("n2".to_owned(), 1));
        assert_eq!(names(peers(&status(), &["n4".to_owned()], 1)), ("n4".to_owned(), 0));
        assert!(is_linked(&status(), "n4") && !is_linked(&status(), "n3"));
    }

    #[test]
    fn peers_are_tried_from_the_nodes_own_name_on_so_that_each_is_tried_from_somewhere() {
        let names = |own: &str| {
            let peer = |name: &str| json!({"name": name, "state": "linked"});
            let all = ["n4", "n1", "n5", "n2"].map(peer);
            let (peers, left_out) = peers(&json!({"node": own, "peers": all}), &[], 3);
            (peers.into_iter().map(|peer| peer.name).collect::<Vec<_>>().join(" "), left_out)
        };
        assert_eq!(names("n3"), ("n4 n5 n1".to_owned(), 1));
        assert_eq!(names("n6"), ("n1 n2 n4".to_owned(), 1));
    }

    #[test]
    fn a_node_is_tried_by_each_address_and_its_pods_by_the_first_of_their_prefix() {
        let (peers, _) = peers(&status(), &["n2".to_owned()], 1);
        let targets = of_peer(&peers[0]);
        let told: Vec<_> = targets.iter().map(|it| (it.to.to_string(), it.hops)).collect();
        let expected = [("192.0.2.2:33434", None), ("[fd00::2]:33434", None), ("10.244.2.0:33434", Some(1))];
        assert_eq!(told, expected.map(|(to, hops)| (to.to_owned(), hops)));
    }
}
