//! The messages about bridges and their ports. Pure.

use std::ops::RangeInclusive;

use netlink_packet_core::{NLM_F_ACK, NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::link::{
    AfSpecBridge, AfSpecInet6, AfSpecUnspec, BridgeVlanInfo, BridgeVlanInfoFlags, In6AddrGenMode, InfoBridge,
    InfoBridgePort, InfoData, InfoKind, InfoPortData, InfoPortKind, LinkAttribute, LinkFlags, LinkInfo,
    LinkMessage,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};

use super::message::{Mac, request};
use super::{Link, Message};

/// A bridge to create.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BridgeSpec<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its hardware address; without one it would change with its ports.
    pub mac: Mac,
    /// Its MTU in bytes.
    pub mtu: u32,
    /// Its group.
    pub group: u32,
    /// Whether it tells VLANs apart.
    pub vlan_filtering: bool,
}

/// Settings of a port.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct PortSpec {
    /// What came in by it may leave by it.
    pub hairpin: bool,
    /// It does not reach other isolated ports.
    pub isolated: bool,
}

/// What we need to know of a bridge.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct BridgeInfo {
    /// Whether it tells VLANs apart.
    pub vlan_filtering: bool,
    /// The VLAN that new ports are in; 0 for none.
    pub default_vlan: u16,
}

/// A VLAN of a port, or several in a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct VlanSpec {
    /// Its ids.
    pub ids: RangeInclusive<u16>,
    /// Whether the port's untagged frames are of this VLAN.
    pub native: bool,
}

pub(super) fn new_bridge(bridge: &BridgeSpec<'_>) -> Message {
    let mut link = LinkMessage::default();
    link.header.flags = LinkFlags::Up;
    link.header.change_mask = LinkFlags::Up;
    let mut info = vec![LinkInfo::Kind(InfoKind::Bridge)];
    if bridge.vlan_filtering {
        info.push(LinkInfo::Data(InfoData::Bridge(vec![InfoBridge::VlanFiltering(true)])));
    }
    link.attributes = vec![
        LinkAttribute::IfName(bridge.name.to_owned()),
        LinkAttribute::Address(bridge.mac.0.to_vec()),
        LinkAttribute::Mtu(bridge.mtu),
        LinkAttribute::Group(bridge.group),
        LinkAttribute::LinkInfo(info),
    ];
    request(RouteNetlinkMessage::NewLink(link), NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL)
}

pub(super) fn filter_vlans(index: u32) -> Message {
    let mut link = LinkMessage::default();
    link.header.index = index;
    link.attributes = vec![LinkAttribute::LinkInfo(vec![
        LinkInfo::Kind(InfoKind::Bridge),
        LinkInfo::Data(InfoData::Bridge(vec![InfoBridge::VlanFiltering(true)])),
    ])];
    request(RouteNetlinkMessage::NewLink(link), NLM_F_ACK)
}

pub(super) fn set_promiscuous(index: u32) -> Message {
    let mut link = LinkMessage::default();
    link.header.index = index;
    link.header.flags = LinkFlags::Promisc;
    link.header.change_mask = LinkFlags::Promisc;
    request(RouteNetlinkMessage::SetLink(link), NLM_F_ACK)
}

/// A message of the creating kind about a link that exists already: the only one in which the kernel
/// takes a port's settings and the link's own together.
pub(super) fn set_port(name: &str, alias: &str, port: PortSpec) -> Message {
    let mut link = LinkMessage::default();
    let settings = vec![InfoBridgePort::HairpinMode(port.hairpin), InfoBridgePort::Isolated(port.isolated)];
    link.attributes = vec![
        LinkAttribute::IfName(name.to_owned()),
        LinkAttribute::IfAlias(alias.to_owned()),
        LinkAttribute::LinkInfo(vec![
            LinkInfo::PortKind(InfoPortKind::Bridge),
            LinkInfo::PortData(InfoPortData::BridgePort(settings)),
        ]),
        LinkAttribute::AfSpecUnspec(vec![AfSpecUnspec::Inet6(vec![AfSpecInet6::AddrGenMode(
            In6AddrGenMode::None,
        )])]),
    ];
    request(RouteNetlinkMessage::NewLink(link), NLM_F_ACK)
}

pub(super) fn add_vlans(port: u32, vlans: &[VlanSpec]) -> Message {
    request(RouteNetlinkMessage::SetLink(of_port(port, vlans)), NLM_F_ACK)
}

pub(super) fn delete_vlan(port: u32, vlan: u16) -> Message {
    let vlan = VlanSpec { ids: vlan..=vlan, native: false };
    request(RouteNetlinkMessage::DelLink(of_port(port, &[vlan])), NLM_F_ACK)
}

fn of_port(port: u32, vlans: &[VlanSpec]) -> LinkMessage {
    let mut link = LinkMessage::default();
    link.header.interface_family = AddressFamily::Bridge;
    link.header.index = port;
    link.attributes = vec![LinkAttribute::AfSpecBridge(vlans.iter().flat_map(entries).collect())];
    link
}

fn entries(vlan: &VlanSpec) -> Vec<AfSpecBridge> {
    use BridgeVlanInfoFlags as Flags;
    let entry = |vid, flags| AfSpecBridge::VlanInfo(BridgeVlanInfo { flags, vid });
    let (first, last) = (*vlan.ids.start(), *vlan.ids.end());
    if first == last {
        let flags = if vlan.native { Flags::Pvid | Flags::Untagged } else { Flags::empty() };
        return vec![entry(first, flags)];
    }
    vec![entry(first, Flags::RangeBegin), entry(last, Flags::RangeEnd)]
}

/// Reads what a link's answer says of its kind.
pub(super) fn read_infos(infos: &[LinkInfo], link: &mut Link) {
    for info in infos {
        match info {
            LinkInfo::Kind(kind) => link.kind = kind.to_string(),
            LinkInfo::Data(InfoData::Bridge(bridge)) => {
                for one in bridge {
                    match one {
                        InfoBridge::VlanFiltering(filters) => link.bridge.vlan_filtering = *filters,
                        InfoBridge::VlanDefaultPvid(vlan) => link.bridge.default_vlan = *vlan,
                        _ => {}
                    }
                }
            }
            LinkInfo::PortData(InfoPortData::BridgePort(port)) => {
                for one in port {
                    match one {
                        InfoBridgePort::HairpinMode(hairpin) => link.port.hairpin = *hairpin,
                        InfoBridgePort::Isolated(isolated) => link.port.isolated = *isolated,
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_of_vlans_is_two_entries_and_a_native_one_is_untagged() {
        let flags = |spec: &VlanSpec| {
            let entries = entries(spec).into_iter();
            let read = entries.map(|entry| match entry {
                AfSpecBridge::VlanInfo(info) => (info.vid, info.flags.bits()),
                other => panic!("{other:?}"),
            });
            read.collect::<Vec<_>>()
        };
        assert_eq!(flags(&VlanSpec { ids: 7..=7, native: true }), [(7, 2 | 4)]);
        assert_eq!(flags(&VlanSpec { ids: 7..=7, native: false }), [(7, 0)]);
        assert_eq!(flags(&VlanSpec { ids: 7..=9, native: false }), [(7, 8), (9, 16)]);
    }
}
