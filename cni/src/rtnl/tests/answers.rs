//! What we read in answers that the crates wrote, and in any bytes.

use std::net::IpAddr;

use ipnetwork::IpNetwork;
use netlink_packet_core::{NLM_F_MULTIPART, NetlinkMessage};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::address::{AddressAttribute, AddressMessage};
use netlink_packet_route::link::{
    InfoBridge, InfoBridgePort, InfoData, InfoKind, InfoPortData, InfoPortKind, LinkAttribute, LinkFlags,
    LinkInfo, LinkMessage,
};
use netlink_packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourMessage, NeighbourState,
};
use netlink_packet_route::route::{RouteAddress, RouteAttribute, RouteMessage};
use proptest::prelude::*;

use super::super::{Link, PortSpec, address, bridge::BridgeInfo, link, neighbour, route};
use crate::netlink::Messages;

/// The bytes of an answer.
fn sent(message: RouteNetlinkMessage) -> Vec<u8> {
    let mut message = NetlinkMessage::from(message);
    message.header.flags = NLM_F_MULTIPART;
    message.finalize();
    let mut bytes = vec![0; message.buffer_len()];
    message.serialize(&mut bytes);
    bytes
}

fn read_link(message: LinkMessage) -> Link {
    let bytes = sent(RouteNetlinkMessage::NewLink(message));
    Messages(&bytes).find_map(link::read).expect("a link")
}

/// What the answer about `link` says, of a bridge or of one of its ports, among attributes that do not concern us.
fn answer(link: &Link) -> LinkMessage {
    let mut message = LinkMessage::default();
    message.header.index = link.index;
    message.header.flags = if link.up { LinkFlags::Up | LinkFlags::Running } else { LinkFlags::empty() };
    message.header.flags.set(LinkFlags::Promisc, link.promiscuous);
    let port = vec![
        InfoBridgePort::Priority(32),
        InfoBridgePort::HairpinMode(link.port.hairpin),
        InfoBridgePort::Isolated(link.port.isolated),
    ];
    let bridge = vec![
        InfoBridge::VlanFiltering(link.bridge.vlan_filtering),
        InfoBridge::VlanDefaultPvid(link.bridge.default_vlan),
    ];
    let mut info = vec![LinkInfo::Kind(InfoKind::from(link.kind.as_str()))];
    if link.kind == "bridge" {
        info.push(LinkInfo::Data(InfoData::Bridge(bridge)));
    }
    info.push(LinkInfo::PortKind(InfoPortKind::Bridge));
    info.push(LinkInfo::PortData(InfoPortData::BridgePort(port)));
    message.attributes = vec![
        LinkAttribute::IfName(link.name.clone()),
        LinkAttribute::TxQueueLen(1000),
        LinkAttribute::Mtu(link.mtu),
        LinkAttribute::Group(link.group),
        LinkAttribute::Address(link.mac.clone()),
        LinkAttribute::LinkInfo(info),
        LinkAttribute::IfAlias("somebody's".to_owned()),
    ];
    message.attributes.extend(link.peer.map(LinkAttribute::Link));
    message.attributes.extend(link.master.map(LinkAttribute::Controller));
    message
}

prop_compose! {
    fn any_link()(
        (index, mtu, group, default_vlan) in any::<(u32, u32, u32, u16)>(),
        (peer, master) in any::<(Option<u32>, Option<u32>)>(),
        (up, promiscuous, hairpin, isolated, filters) in any::<(bool, bool, bool, bool, bool)>(),
        (name, kind) in ("[a-z0-9]{1,15}", prop::sample::select(vec!["veth", "bridge", "vlan", "tripod"])),
        mac in prop::collection::vec(any::<u8>(), 0..33),
    ) -> Link {
        let bridge = BridgeInfo { vlan_filtering: filters, default_vlan };
        let bridge = if kind == "bridge" { bridge } else { BridgeInfo::default() };
        let port = PortSpec { hairpin, isolated };
        let kind = kind.to_owned();
        Link { index, name, mac, mtu, group, peer, up, promiscuous, kind, master, bridge, port }
    }
}

#[test]
fn addresses_are_those_of_the_link_that_was_asked_for() {
    let mut message = AddressMessage::default();
    (message.header.index, message.header.prefix_len) = (3, 24);
    message.attributes = vec![
        AddressAttribute::Label("eth0".to_owned()),
        AddressAttribute::Address("10.1.0.7".parse().unwrap()),
    ];
    let bytes = sent(RouteNetlinkMessage::NewAddress(message));
    let read = |index| Messages(&bytes).find_map(|message| address::read(message, index));
    assert_eq!(read(3), Some("10.1.0.7/24".parse().unwrap()));
    assert_eq!(read(4), None);
}

#[test]
fn only_permanent_neighbours_are_read() {
    let read = |state| {
        let mut message = NeighbourMessage::default();
        (message.header.ifindex, message.header.state) = (3, state);
        message.attributes = vec![
            NeighbourAttribute::Destination(NeighbourAddress::Inet6("fe80::1".parse().unwrap())),
            NeighbourAttribute::LinkLayerAddress(vec![2, 0, 0, 0, 0, 1]),
        ];
        let bytes = sent(RouteNetlinkMessage::NewNeighbour(message));
        Messages(&bytes).find_map(|message| neighbour::permanent(message, 3))
    };
    let found = ("fe80::1".parse::<IpAddr>().unwrap(), vec![2, 0, 0, 0, 0, 1]);
    assert_eq!(read(NeighbourState::Permanent), Some(found));
    assert_eq!(read(NeighbourState::Reachable), None);
}

#[test]
fn a_default_route_has_a_destination_although_it_states_none() {
    let read = |family, destination: Option<&str>, prefix| {
        let mut message = RouteMessage::default();
        (message.header.address_family, message.header.destination_prefix_length) = (family, prefix);
        let destination = destination.map(|text| text.parse::<IpAddr>().unwrap());
        message.attributes.extend(destination.map(|ip| RouteAttribute::Destination(RouteAddress::from(ip))));
        message.attributes.push(RouteAttribute::Oif(3));
        let bytes = sent(RouteNetlinkMessage::NewRoute(message));
        assert_eq!(Messages(&bytes).find_map(|message| route::destination_by(message, 4)), None);
        Messages(&bytes).find_map(|message| route::destination_by(message, 3)).expect("a destination")
    };
    use netlink_packet_route::AddressFamily::{Inet, Inet6};
    assert_eq!(read(Inet, None, 0), "0.0.0.0/0".parse::<IpNetwork>().unwrap());
    assert_eq!(read(Inet6, None, 0), "::/0".parse().unwrap());
    assert_eq!(read(Inet, Some("10.1.0.0"), 16), "10.1.0.0/16".parse().unwrap());
    assert_eq!(read(Inet6, Some("fd00::7"), 128), "fd00::7/128".parse().unwrap());
}

proptest! {
    #[test]
    fn a_link_is_read_as_the_crates_wrote_it(link in any_link()) {
        prop_assert_eq!(read_link(answer(&link)), link);
    }

    #[test]
    fn damaged_answers_are_read_without_a_panic(
        link in any_link(),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..20),
    ) {
        let mut bytes = sent(RouteNetlinkMessage::NewLink(answer(&link)));
        for (place, byte) in damage {
            *place.get_mut(&mut bytes) = byte;
        }
        for message in Messages(&bytes) {
            link::read(message);
            address::read(message, 3);
            neighbour::permanent(message, 3);
            route::destination_by(message, 3);
        }
    }
}
