//! The links that carry packets between nodes. Pure.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnetwork::IpNetwork;

use crate::kernel::Link;
use crate::mesh::{Family, Reach, WIREGUARD};

/// MTU of the link with each of `ours`, by family. An address on the loopback link, as nodes that speak BGP
/// have, says nothing of the way: what fits the links to all peers does.
pub(super) fn mtu(
    ours: &[IpAddr],
    links: &[Link],
    addresses: &[(u32, IpNetwork)],
    reach: &BTreeMap<IpAddr, Reach>,
) -> BTreeMap<Family, u32> {
    let is_overlay = |link: &Link| {
        link.name == WIREGUARD || Family::ALL.iter().any(|family| family.overlay() == link.name)
    };
    let carries = |link: &Link, ip: IpAddr| {
        addresses.iter().any(|(index, address)| *index == link.index && address.ip() == ip)
    };
    let mtu = |ip: &IpAddr| {
        let link = links.iter().find(|link| carries(link, *ip) && !is_overlay(link))?;
        let mtu = if link.is_loopback { smallest_to_peers(*ip, links, reach)? } else { link.mtu };
        Some((Family::of(*ip), mtu))
    };
    ours.iter().filter_map(mtu).collect()
}

fn smallest_to_peers(ours: IpAddr, links: &[Link], reach: &BTreeMap<IpAddr, Reach>) -> Option<u32> {
    let same_family = reach.iter().filter(|(ip, _)| ip.is_ipv4() == ours.is_ipv4());
    let devices = same_family.filter_map(|(_, reach)| match reach {
        Reach::OnLink(device) => Some(*device),
        Reach::Routed(device) => *device,
        Reach::Unknown => None,
    });
    devices.filter_map(|device| links.iter().find(|link| link.index == device)).map(|link| link.mtu).min()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(index: u32, name: &str, mtu: u32) -> Link {
        Link { index, name: name.into(), mtu, is_loopback: name == "lo", ..Link::default() }
    }

    #[test]
    fn the_link_with_the_address_counts_and_loopback_does_not() {
        let links = [
            link(1, "lo", 65536),
            link(2, "eth0", 1500),
            link(3, "eth1", 9000),
            link(9, "tripod4", 1450),
            link(8, "tripod-wg", 1440),
        ];
        let [a, b, c] = ["10.0.0.1", "10.0.0.2", "fd00::2"].map(|ip| ip.parse::<IpAddr>().unwrap());
        let on = |index, ip: IpAddr| (index, IpNetwork::from(ip));
        let found = |addresses: &[(u32, IpNetwork)], reach| {
            mtu(&[a], &links, addresses, &reach).get(&Family::V4).copied()
        };
        let none = BTreeMap::new;
        assert_eq!(found(&[on(3, a)], none()), Some(9000));
        assert_eq!(found(&[on(9, a), on(3, a)], none()), Some(9000), "the overlay has it too");
        assert_eq!(found(&[on(9, a)], none()), None);
        assert_eq!(found(&[on(8, a)], none()), None);
        assert_eq!(found(&[on(1, a)], none()), None);
        let peers = [(b, Reach::Routed(Some(3))), (c, Reach::OnLink(2))];
        assert_eq!(found(&[on(1, a)], peers.into()), Some(9000), "the other family is another matter");
        let peers = [(b, Reach::Routed(Some(3))), ("10.0.0.3".parse().unwrap(), Reach::OnLink(2))];
        assert_eq!(found(&[on(1, a)], peers.into()), Some(1500));
    }
}
