//! The bridged datapath of one attachment: a veth pair whose host end is a port of a bridge that all
//! pods of the network share, and on the bridge the gateway's addresses where the admin wants them.
//!
//! The bridge is the node's, not the attachment's: whoever needs it first makes it, and it stays. What to
//! make is decided here, purely; [`Plan::attach`] makes it.

mod attach;

use std::net::IpAddr;
use std::path::Path;

use ipnetwork::IpNetwork;
use serde_json::Value;

use super::{alias, default_routes, host_ifname, mac_of, of_families};
use crate::config::{Bridge, NetConf, Vlans};
use crate::ipam::Grant;
use crate::ipam::range::Assignment;
use crate::ipam::store::Owner;
use crate::record::Port;
use crate::rtnl::{Link, Mac, PortSpec, VlanSpec};
use crate::spec::{Address, Args, Interface, Route, Success};

/// Group of the bridges and gateway links that we made ("tb" in ASCII). Not the pods' group: what they
/// may not do, their node may.
pub(crate) const BRIDGE_GROUP: u32 = 0x7462;

/// What to make for one attachment.
#[derive(Clone, Debug)]
pub(crate) struct Plan<'a> {
    /// The bridge and what a port of it is like.
    pub bridge: &'a Bridge,
    /// Name of the host end.
    pub host_ifname: String,
    /// Name of the pod's end.
    pub ifname: String,
    /// Alias of the host end: what a person searches for.
    pub alias: String,
    /// Hardware address of the pod's end.
    pub pod_mac: Mac,
    /// MTU of both ends, and of the bridge should it be made now, in bytes.
    pub mtu: u32,
    /// The pod's addresses, with their gateways.
    pub assignments: Vec<Assignment>,
    /// The pod's routes.
    pub routes: Vec<Route>,
    /// `dns` of the result.
    pub dns: Option<Value>,
    /// Every gateway of the network, which other pods may need.
    known_gateways: Vec<IpNetwork>,
}

impl<'a> Plan<'a> {
    /// Plans the attachment of `args` with these addresses.
    pub(crate) fn new(args: &Args, conf: &NetConf, bridge: &'a Bridge, grant: &Grant, mtu: u32) -> Self {
        let owner = Owner { container_id: &args.container_id, ifname: &args.ifname };
        let assignments: Vec<_> = grant.assignments.iter().map(|one| with_gateway(*one, bridge)).collect();
        Self {
            host_ifname: host_ifname(&owner),
            ifname: args.ifname.clone(),
            alias: alias(&owner),
            pod_mac: conf.request.mac.unwrap_or_else(|| pod_mac(&owner, &assignments)),
            mtu,
            routes: routes(grant.routes.as_deref().unwrap_or_default(), bridge, &assignments),
            known_gateways: conf.ipam.sets.iter().flat_map(|set| set.gateways()).collect(),
            assignments,
            bridge,
            dns: grant.dns.clone(),
        }
    }

    /// What the record and the guard must know of the port.
    pub(crate) fn port(&self) -> Port {
        Port {
            bridge: self.bridge.name.clone(),
            mac: self.bridge.check_mac.then_some(self.pod_mac),
            trunk: self.bridge.vlans.as_ref().is_some_and(|vlans| !vlans.trunk.is_empty()),
        }
    }

    /// The result for the runtime, in the reference plugin's order.
    pub(crate) fn success(&self, sandbox: &Path, made: &Made) -> Success {
        let interface = |name: &str, mac: String, mtu, sandbox: Option<String>| Interface {
            name: name.to_owned(),
            mac,
            mtu: Some(mtu),
            sandbox,
        };
        let of_link = |link: &Link| interface(&link.name, hexadecimal(&link.mac), link.mtu, None);
        let sandbox = Some(sandbox.display().to_string());
        let mut interfaces = vec![
            of_link(&made.bridge),
            interface(&self.host_ifname, self.host_mac().to_string(), self.mtu, None),
            interface(&self.ifname, self.pod_mac.to_string(), self.mtu, sandbox),
        ];
        interfaces.extend(made.gateway.as_ref().map(of_link));
        let address =
            |one: &Assignment| Address { address: one.address, gateway: one.gateway, interface: Some(2) };
        Success {
            interfaces,
            ips: self.assignments.iter().map(address).collect(),
            routes: self.routes.clone(),
            dns: self.dns.clone(),
        }
    }

    /// Hardware address of the host end. It differs from the pod's in one bit: both are on one segment.
    pub(crate) fn host_mac(&self) -> Mac {
        let Mac([first, rest @ ..]) = self.pod_mac;
        let [b, c, d, e, f] = rest;
        Mac([first ^ 4, b, c, d, e, f])
    }

    /// The addresses that the bridge must have.
    pub(crate) fn gateways(&self) -> Vec<IpNetwork> {
        let wanted = self.assignments.iter().filter(|_| self.bridge.gateway);
        wanted
            .filter_map(|one| one.gateway.and_then(|ip| IpNetwork::new(ip, one.address.prefix()).ok()))
            .collect()
    }

    /// Settings of the host end as a port.
    pub(crate) fn port_settings(&self) -> PortSpec {
        PortSpec { hairpin: self.bridge.hairpin, isolated: self.bridge.isolated }
    }

    /// Those of `present`, addresses of the bridge, beside which it cannot be the gateway `wanted`: as in
    /// the reference plugin any other IPv4 address, unless it is a gateway of this network too, and IPv6
    /// addresses whose prefix overlaps.
    fn conflicts(&self, present: &[IpNetwork], wanted: IpNetwork) -> Vec<IpNetwork> {
        let overlap = |other: &IpNetwork| other.contains(wanted.ip()) || wanted.contains(other.ip());
        let collides = |other: &&IpNetwork| {
            **other != wanted
                && other.is_ipv4() == wanted.is_ipv4()
                && (other.is_ipv4() || overlap(other))
                && !self.known_gateways.contains(other)
        };
        present.iter().filter(collides).copied().collect()
    }
}

impl Bridge {
    /// Why `link`, which has the bridge's name, cannot be it.
    pub(crate) fn unfit(&self, link: &Link) -> Option<String> {
        if link.kind != "bridge" {
            let kind = if link.kind.is_empty() { "no virtual" } else { &link.kind };
            return Some(format!("already exists and is no bridge (it is a {kind} interface)"));
        }
        // Whether other ports of a foreign bridge are ready for that is not known.
        let foreign = self.vlans.is_some() && !link.bridge.vlan_filtering && link.group != BRIDGE_GROUP;
        foreign.then(|| "was not made by tripod and does not filter VLANs (vlan_filtering 0)".to_owned())
    }
}

/// What ADD found or made on the node for all pods of the network.
#[derive(Clone, Debug)]
pub(crate) struct Made {
    /// The bridge.
    pub bridge: Link,
    /// The gateway's link, where it is inside of a VLAN.
    pub gateway: Option<Link>,
}

/// The VLANs of a port.
pub(crate) fn port_vlans(vlans: &Vlans) -> Vec<VlanSpec> {
    let native = VlanSpec { ids: vlans.native..=vlans.native, native: true };
    // A trunk that includes the native VLAN would take its untagged frames from it.
    let holds_native = |ids: &std::ops::RangeInclusive<u16>| ids.contains(&vlans.native);
    let around = |ids: &std::ops::RangeInclusive<u16>| {
        [*ids.start()..=vlans.native - 1, vlans.native + 1..=*ids.end()]
    };
    let tagged = vlans
        .trunk
        .iter()
        .flat_map(|ids| if holds_native(ids) { around(ids).to_vec() } else { vec![ids.clone()] })
        .filter(|ids| !ids.is_empty());
    std::iter::once(native).chain(tagged.map(|ids| VlanSpec { ids, native: false })).collect()
}

/// From the address, where there is one: whoever gets the address next has the same hardware address,
/// and no neighbour has to forget the old one.
fn pod_mac(owner: &Owner<'_>, assignments: &[Assignment]) -> Mac {
    let Some(first) = assignments.first() else { return mac_of(owner) };
    mac_of(&Owner { container_id: &first.address.ip().to_string(), ifname: "" })
}

/// A bridge that is to be the gateway is the first address of the subnet where none is named. Behind the
/// last address of all, which an IPAM plugin may give, there is none.
fn with_gateway(assignment: Assignment, bridge: &Bridge) -> Assignment {
    let first = || match assignment.address {
        IpNetwork::V4(v4) => u32::from(v4.network()).checked_add(1).map(|first| IpAddr::V4(first.into())),
        IpNetwork::V6(v6) => u128::from(v6.network()).checked_add(1).map(|first| IpAddr::V6(first.into())),
    };
    let gateway = assignment.gateway.or_else(|| bridge.gateway.then(first).flatten());
    Assignment { gateway, ..assignment }
}

/// Routes without a next hop go by the gateway of their family.
fn routes(configured: &[Route], bridge: &Bridge, assignments: &[Assignment]) -> Vec<Route> {
    let gateway = |v4: bool| {
        let of_family = assignments.iter().filter(|one| one.address.is_ipv4() == v4);
        of_family.filter_map(|one| one.gateway).next()
    };
    let addresses: Vec<IpAddr> = assignments.iter().map(|one| one.address.ip()).collect();
    let mut routes = of_families(configured.to_vec(), &addresses);
    if bridge.default_gateway {
        let missing = default_routes(&addresses).into_iter();
        let missing: Vec<Route> =
            missing.filter(|route| !configured.iter().any(|other| other.dst == route.dst)).collect();
        routes.extend(missing);
    }
    let via = |route: Route| Route { gw: route.gw.or_else(|| gateway(route.dst.is_ipv4())), ..route };
    routes.into_iter().map(via).collect()
}

/// A hardware address as results have it.
fn hexadecimal(mac: &[u8]) -> String {
    mac.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(":")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn assignment(address: &str, gateway: Option<&str>) -> Assignment {
        Assignment { address: address.parse().unwrap(), gateway: gateway.map(|ip| ip.parse().unwrap()) }
    }

    fn plan<'a>(bridge: &'a Bridge, assignments: Vec<Assignment>, known: &[&str]) -> Plan<'a> {
        let owner = Owner { container_id: "c1", ifname: "eth0" };
        Plan {
            bridge,
            host_ifname: String::new(),
            ifname: String::new(),
            alias: String::new(),
            pod_mac: pod_mac(&owner, &assignments),
            mtu: 1500,
            assignments,
            routes: Vec::new(),
            dns: None,
            known_gateways: known.iter().map(|known| known.parse().unwrap()).collect(),
        }
    }

    #[test]
    fn default_routes_go_by_the_gateway_and_only_when_asked_for() {
        let pod = [assignment("10.1.0.2/24", Some("10.1.0.1")), assignment("fd00::2/64", Some("fd00::1"))];
        let given = |default_gateway, configured: &[Route]| {
            let bridge = Bridge { default_gateway, ..Bridge::default() };
            let routes = routes(configured, &bridge, &pod).into_iter();
            routes.map(|route| format!("{} {}", route.dst, route.gw.unwrap())).collect::<Vec<_>>()
        };
        assert_eq!(given(false, &[]), [""; 0]);
        assert_eq!(given(true, &[]), ["0.0.0.0/0 10.1.0.1", "::/0 fd00::1"]);
        let own = Route::to("0.0.0.0/0".parse().unwrap(), Some("10.1.0.9".parse().unwrap()));
        assert_eq!(given(true, &[own]), ["0.0.0.0/0 10.1.0.9", "::/0 fd00::1"]);
        let far = Route::to("10.0.0.0/8".parse().unwrap(), None);
        assert_eq!(given(false, std::slice::from_ref(&far)), ["10.0.0.0/8 10.1.0.1"]);
        let only6 = routes(&[far], &Bridge::default(), &[assignment("fd00::2/64", Some("fd00::1"))]);
        assert!(only6.is_empty(), "{only6:?}");
    }

    #[test]
    fn a_gateway_that_nobody_named_is_the_subnets_first_address() {
        let gateway = Bridge { gateway: true, ..Bridge::default() };
        for (address, first) in [("10.1.0.9/24", "10.1.0.1"), ("fd00::9/64", "fd00::1")] {
            let one = with_gateway(assignment(address, None), &gateway);
            assert_eq!(one.gateway.unwrap().to_string(), first);
            assert_eq!(with_gateway(assignment(address, None), &Bridge::default()).gateway, None);
        }
    }

    #[test]
    fn behind_the_last_address_of_all_there_is_no_gateway() {
        let gateway = Bridge { gateway: true, ..Bridge::default() };
        for last in ["255.255.255.255/32", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff/128"] {
            assert_eq!(with_gateway(assignment(last, None), &gateway).gateway, None);
        }
    }

    #[test]
    fn only_addresses_that_are_in_the_gateways_way_conflict() {
        let bridge = Bridge { gateway: true, ..Bridge::default() };
        let plan = plan(&bridge, vec![], &["10.2.0.1/24"]);
        for (present, wanted, collide) in [
            ("10.1.0.1/24", "10.1.0.1/24", false),
            ("10.1.0.1/16", "10.1.0.1/24", true),
            ("10.9.0.1/24", "10.1.0.1/24", true),
            ("10.2.0.1/24", "10.1.0.1/24", false),
            ("fd00::1/64", "10.1.0.1/24", false),
            ("fe80::1/64", "fd00::1/64", false),
            ("fd00::9/64", "fd00::1/64", true),
            ("fd01::1/64", "fd00::1/64", false),
        ] {
            let conflicts = plan.conflicts(&[present.parse().unwrap()], wanted.parse().unwrap());
            assert_eq!(!conflicts.is_empty(), collide, "{present} {wanted}");
        }
    }

    #[test]
    fn the_hardware_address_follows_the_address() {
        let bridge = Bridge::default();
        let mac = |address: &str| plan(&bridge, vec![assignment(address, None)], &[]).pod_mac;
        assert_eq!(mac("10.1.0.2/24"), mac("10.1.0.2/24"));
        assert_ne!(mac("10.1.0.2/24"), mac("10.1.0.3/24"));
        let plan = plan(&bridge, vec![], &[]);
        assert_ne!(plan.host_mac(), plan.pod_mac);
        assert_eq!(plan.host_mac().0[0] & 3, 2);
    }

    #[test]
    fn a_ports_native_vlan_is_left_out_of_its_trunk() {
        let ranges = |native, trunk: &[std::ops::RangeInclusive<u16>]| {
            let vlans = Vlans { native, is_named: true, trunk: trunk.to_vec(), keep_default: false };
            port_vlans(&vlans).into_iter().map(|vlan| (vlan.ids, vlan.native)).collect::<Vec<_>>()
        };
        assert_eq!(ranges(7, &[]), [(7..=7, true)]);
        assert_eq!(ranges(7, &[7..=7]), [(7..=7, true)]);
        assert_eq!(
            ranges(7, &[1..=3, 5..=9]),
            [(7..=7, true), (1..=3, false), (5..=6, false), (8..=9, false)]
        );
        assert_eq!(ranges(1, &[1..=4094]), [(1..=1, true), (2..=4094, false)]);
    }
}
