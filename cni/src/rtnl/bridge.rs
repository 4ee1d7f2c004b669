//! Bridges and their ports: messages and their verbs.

use std::io;
use std::ops::RangeInclusive;

use nix::libc::{
    IFLA_ADDRESS, IFLA_AF_SPEC, IFLA_GROUP, IFLA_IFALIAS, IFLA_IFNAME, IFLA_INFO_DATA, IFLA_INFO_KIND,
    IFLA_INFO_SLAVE_DATA, IFLA_INFO_SLAVE_KIND, IFLA_LINKINFO, IFLA_MTU, RTM_DELLINK, RTM_NEWLINK,
    RTM_SETLINK,
};

use super::link::{IFF_PROMISC, Ifinfomsg};
use super::{AF_BRIDGE, AF_INET6, Link, Mac, Rtnl};
use crate::netlink::{Attributes, NLM_F_ACK, NLM_F_CREATE, NLM_F_EXCL, Reader, Request, text};

/// What a bridge is called as a kind of link.
const BRIDGE: &str = "bridge";

/// Attributes of a bridge, of a port, and of a link under IPv6, `linux/if_link.h`.
const IFLA_BR_VLAN_FILTERING: u16 = 7;
const IFLA_BR_VLAN_DEFAULT_PVID: u16 = 39;
const IFLA_BRPORT_MODE: u16 = 4;
const IFLA_BRPORT_ISOLATED: u16 = 33;
const IFLA_INET6_ADDR_GEN_MODE: u16 = 8;
const IN6_ADDR_GEN_MODE_NONE: u8 = 1;

/// Attribute of a port in messages of `AF_BRIDGE`, and the flags in it, `linux/if_bridge.h`.
const IFLA_BRIDGE_VLAN_INFO: u16 = 2;
const BRIDGE_VLAN_INFO_PVID: u16 = 1 << 1;
const BRIDGE_VLAN_INFO_UNTAGGED: u16 = 1 << 2;
const BRIDGE_VLAN_INFO_RANGE_BEGIN: u16 = 1 << 3;
const BRIDGE_VLAN_INFO_RANGE_END: u16 = 1 << 4;

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

impl Rtnl {
    /// Creates a bridge that is up. `EEXIST` when the name is taken.
    pub(crate) fn create_bridge(&self, bridge: &BridgeSpec<'_>) -> io::Result<()> {
        self.change(&new_bridge(bridge))
    }

    /// Makes a bridge tell VLANs apart.
    pub(crate) fn filter_vlans(&self, index: u32) -> io::Result<()> {
        self.change(&filter_vlans(index))
    }

    /// Makes a link take every frame, whoever it is for.
    pub(crate) fn set_promiscuous(&self, index: u32) -> io::Result<()> {
        self.change(&set_promiscuous(index))
    }

    /// Gives a new port of a bridge its alias and its settings, and no link-local address of its own.
    pub(crate) fn set_port(&self, name: &str, alias: &str, port: PortSpec) -> io::Result<()> {
        self.change(&set_port(name, alias, port))
    }

    /// Puts a port of a bridge into VLANs.
    pub(crate) fn add_vlans(&self, port: u32, vlans: &[VlanSpec]) -> io::Result<()> {
        self.change(&add_vlans(port, vlans))
    }

    /// Takes a port of a bridge out of a VLAN.
    pub(crate) fn delete_vlan(&self, port: u32, vlan: u16) -> io::Result<()> {
        self.change(&delete_vlan(port, vlan))
    }
}

pub(super) fn new_bridge(bridge: &BridgeSpec<'_>) -> Request {
    let info = if bridge.vlan_filtering { filtering() } else { kind() };
    let attributes = Attributes::new()
        .text(IFLA_IFNAME, bridge.name)
        .bytes(IFLA_ADDRESS, &bridge.mac.0)
        .native(IFLA_MTU, bridge.mtu)
        .native(IFLA_GROUP, bridge.group)
        .plain(IFLA_LINKINFO, &info);
    Ifinfomsg::UP.request(RTM_NEWLINK, NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL, &attributes)
}

pub(super) fn filter_vlans(index: u32) -> Request {
    let attributes = Attributes::new().plain(IFLA_LINKINFO, &filtering());
    Ifinfomsg::of(index).request(RTM_NEWLINK, NLM_F_ACK, &attributes)
}

fn kind() -> Attributes {
    Attributes::new().text(IFLA_INFO_KIND, BRIDGE)
}

fn filtering() -> Attributes {
    kind().plain(IFLA_INFO_DATA, &Attributes::new().bytes(IFLA_BR_VLAN_FILTERING, &[1]))
}

pub(super) fn set_promiscuous(index: u32) -> Request {
    let link = Ifinfomsg { flags: IFF_PROMISC, change: IFF_PROMISC, ..Ifinfomsg::of(index) };
    link.request(RTM_SETLINK, NLM_F_ACK, &Attributes::new())
}

/// A message of the creating kind about a link that exists already: the only one in which the kernel
/// takes a port's settings and the link's own together.
pub(super) fn set_port(name: &str, alias: &str, port: PortSpec) -> Request {
    let settings = Attributes::new()
        .bytes(IFLA_BRPORT_MODE, &[u8::from(port.hairpin)])
        .bytes(IFLA_BRPORT_ISOLATED, &[u8::from(port.isolated)]);
    let info = Attributes::new().text(IFLA_INFO_SLAVE_KIND, BRIDGE).plain(IFLA_INFO_SLAVE_DATA, &settings);
    let inet6 = Attributes::new().bytes(IFLA_INET6_ADDR_GEN_MODE, &[IN6_ADDR_GEN_MODE_NONE]);
    let attributes = Attributes::new()
        .text(IFLA_IFNAME, name)
        .text(IFLA_IFALIAS, alias)
        .plain(IFLA_LINKINFO, &info)
        .plain(IFLA_AF_SPEC, &Attributes::new().plain(u16::from(AF_INET6), &inet6));
    Ifinfomsg::default().request(RTM_NEWLINK, NLM_F_ACK, &attributes)
}

pub(super) fn add_vlans(port: u32, vlans: &[VlanSpec]) -> Request {
    of_port(RTM_SETLINK, port, vlans)
}

pub(super) fn delete_vlan(port: u32, vlan: u16) -> Request {
    of_port(RTM_DELLINK, port, &[VlanSpec { ids: vlan..=vlan, native: false }])
}

fn of_port(kind: u16, port: u32, vlans: &[VlanSpec]) -> Request {
    let entries = vlans.iter().flat_map(entries);
    let list = entries.fold(Attributes::new(), |list, (flags, vlan)| {
        let [f0, f1] = flags.to_ne_bytes();
        let [v0, v1] = vlan.to_ne_bytes();
        list.bytes(IFLA_BRIDGE_VLAN_INFO, &[f0, f1, v0, v1])
    });
    let link = Ifinfomsg { family: AF_BRIDGE, ..Ifinfomsg::of(port) };
    link.request(kind, NLM_F_ACK, &Attributes::new().plain(IFLA_AF_SPEC, &list))
}

/// `struct bridge_vlan_info`: flags and VLAN.
fn entries(vlan: &VlanSpec) -> Vec<(u16, u16)> {
    let (first, last) = (*vlan.ids.start(), *vlan.ids.end());
    if first == last {
        let native = BRIDGE_VLAN_INFO_PVID | BRIDGE_VLAN_INFO_UNTAGGED;
        return vec![(if vlan.native { native } else { 0 }, first)];
    }
    vec![(BRIDGE_VLAN_INFO_RANGE_BEGIN, first), (BRIDGE_VLAN_INFO_RANGE_END, last)]
}

/// Reads what a link's answer says of its kind.
pub(super) fn read_info(info: &[u8], link: &mut Link) {
    let info = Reader(info);
    link.kind = info.text(IFLA_INFO_KIND).unwrap_or_default();
    if link.kind == BRIDGE {
        read_bridge(info.nested(IFLA_INFO_DATA).into_iter().flatten(), &mut link.bridge);
    }
    if info.find(IFLA_INFO_SLAVE_KIND).map(text).is_some_and(|master| master == BRIDGE) {
        read_port(info.nested(IFLA_INFO_SLAVE_DATA).into_iter().flatten(), &mut link.port);
    }
}

fn read_bridge<'a>(attributes: impl Iterator<Item = (u16, &'a [u8])>, bridge: &mut BridgeInfo) {
    for attribute in attributes {
        match attribute {
            (IFLA_BR_VLAN_FILTERING, [filters, ..]) => bridge.vlan_filtering = *filters != 0,
            (IFLA_BR_VLAN_DEFAULT_PVID, [v0, v1, ..]) => bridge.default_vlan = u16::from_ne_bytes([*v0, *v1]),
            _ => {}
        }
    }
}

fn read_port<'a>(attributes: impl Iterator<Item = (u16, &'a [u8])>, port: &mut PortSpec) {
    for attribute in attributes {
        match attribute {
            (IFLA_BRPORT_MODE, [hairpin, ..]) => port.hairpin = *hairpin != 0,
            (IFLA_BRPORT_ISOLATED, [isolated, ..]) => port.isolated = *isolated != 0,
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_of_vlans_is_two_entries_and_a_native_one_is_untagged() {
        assert_eq!(entries(&VlanSpec { ids: 7..=7, native: true }), [(2 | 4, 7)]);
        assert_eq!(entries(&VlanSpec { ids: 7..=7, native: false }), [(0, 7)]);
        assert_eq!(entries(&VlanSpec { ids: 7..=9, native: false }), [(8, 7), (16, 9)]);
    }
}
