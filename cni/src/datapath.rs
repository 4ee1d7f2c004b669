//! The routed datapath of one attachment: a veth pair, the pod's addresses and default routes, and on
//! the host one route and one permanent neighbour per address. No bridge, no ARP, no flooding.
//!
//! What to make is decided here, purely; [`Wiring::attach`] makes it.

mod attach;
pub(crate) mod bridge;
pub(crate) mod ports;
pub(crate) mod shaping;
pub(crate) mod tuning;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;

use ipnetwork::{IpNetwork, Ipv4Network, Ipv6Network};
use serde_json::Value;

use crate::config::NetConf;
use crate::ipam::Grant;
use crate::ipam::store::Owner;
use crate::record::attachment_hash;
use crate::rtnl::{Mac, RouteSpec};
use crate::spec::{Address, Args, Interface, Route, RouteOptions, Success};

/// The pod's IPv4 next hop. It is on no interface; a permanent neighbour stands for it.
pub(crate) const NEXT_HOP_4: Ipv4Addr = Ipv4Addr::new(169, 254, 1, 1);

/// The pod's IPv6 next hop: what the kernel derives from [`HOST_MAC`], so the host end really has it.
pub(crate) const NEXT_HOP_6: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0xecee, 0xeeff, 0xfeee, 0xeeee);

/// Hardware address of every host end. They share no segment, so it need not differ.
pub(crate) const HOST_MAC: Mac = Mac([0xee; 6]);

/// What to make for one attachment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Wiring {
    /// Name of the host end.
    pub host_ifname: String,
    /// Name of the pod's end.
    pub ifname: String,
    /// Alias of the host end: what a person searches for.
    pub alias: String,
    /// Hardware address of the pod's end.
    pub pod_mac: Mac,
    /// MTU of both ends in bytes.
    pub mtu: u32,
    /// The pod's addresses.
    pub addresses: Vec<IpAddr>,
    /// What an IPAM plugin calls the gateway of each address. The pod does not need it, but the plugin may
    /// look for it in the result on CHECK.
    pub gateways: Vec<Option<IpAddr>>,
    /// The pod's routes.
    pub routes: Vec<Route>,
    /// Preferred sources of the host's routes to the pod.
    pub node_ips: Vec<IpAddr>,
    /// `dns` of the result.
    pub dns: Option<Value>,
}

/// Name of the host end of `owner`'s attachment.
pub(crate) fn host_ifname(owner: &Owner<'_>) -> String {
    format!("tp{}", attachment_hash(owner))
}

impl Wiring {
    /// Plans the attachment of `args` with what it was granted.
    pub(crate) fn new(args: &Args, conf: &NetConf, grant: &Grant, mtu: u32) -> Self {
        let addresses = grant.addresses();
        let owner = Owner { container_id: &args.container_id, ifname: &args.ifname };
        let routes = grant.routes.clone().unwrap_or_else(|| default_routes(&addresses));
        Self {
            host_ifname: host_ifname(&owner),
            ifname: args.ifname.clone(),
            alias: alias(&owner),
            pod_mac: conf.request.mac.unwrap_or_else(|| mac_of(&owner)),
            mtu,
            routes: of_families(routes, &addresses).iter().map(via_next_hop).collect(),
            addresses,
            gateways: match conf.ipam.plugin {
                Some(_) => grant.assignments.iter().map(|one| one.gateway).collect(),
                None => Vec::new(),
            },
            node_ips: conf.node_ips.clone(),
            dns: grant.dns.clone(),
        }
    }

    /// The result for the runtime.
    pub(crate) fn success(&self, sandbox: &Path) -> Success {
        let end = |name: &str, mac: Mac, sandbox: Option<String>| Interface {
            name: name.to_owned(),
            mac: mac.to_string(),
            mtu: Some(self.mtu),
            sandbox,
        };
        let pod_end = end(&self.ifname, self.pod_mac, Some(sandbox.display().to_string()));
        let gateways = self.gateways.iter().copied().chain(std::iter::repeat(None));
        let address = |(ip, gateway): (&IpAddr, Option<IpAddr>)| Address {
            address: IpNetwork::from(*ip),
            gateway: gateway.or(Some(next_hop(ip.is_ipv4()))),
            interface: Some(1),
        };
        Success {
            interfaces: vec![end(&self.host_ifname, HOST_MAC, None), pod_end],
            ips: self.addresses.iter().zip(gateways).map(address).collect(),
            routes: self.routes.clone(),
            dns: self.dns.clone(),
        }
    }

    /// The host's routes to the pod.
    pub(crate) fn host_routes(&self, device: u32) -> Vec<RouteSpec> {
        let source = |v4: bool| self.node_ips.iter().copied().find(|ip| ip.is_ipv4() == v4);
        let route = |ip: &IpAddr| RouteSpec {
            destination: IpNetwork::from(*ip),
            gateway: None,
            device,
            source: source(ip.is_ipv4()),
            options: RouteOptions::default(),
        };
        self.addresses.iter().map(route).collect()
    }

    /// The next hops that the pod needs, one per family.
    pub(crate) fn next_hops(&self) -> impl Iterator<Item = IpAddr> + '_ {
        [true, false]
            .into_iter()
            .filter(|v4| self.addresses.iter().any(|ip| ip.is_ipv4() == *v4))
            .map(next_hop)
    }

    fn has_ipv6(&self) -> bool {
        self.addresses.iter().any(IpAddr::is_ipv6)
    }
}

/// The next hop of a family.
pub(crate) fn next_hop(v4: bool) -> IpAddr {
    if v4 { NEXT_HOP_4.into() } else { NEXT_HOP_6.into() }
}

fn default_routes(addresses: &[IpAddr]) -> Vec<Route> {
    const ALL_4: Ipv4Network = match Ipv4Network::new_checked(Ipv4Addr::UNSPECIFIED, 0) {
        Some(all) => all,
        None => unreachable!(),
    };
    const ALL_6: Ipv6Network = match Ipv6Network::new_checked(Ipv6Addr::UNSPECIFIED, 0) {
        Some(all) => all,
        None => unreachable!(),
    };
    [IpNetwork::V4(ALL_4), IpNetwork::V6(ALL_6)]
        .into_iter()
        .filter(|all| addresses.iter().any(|ip| ip.is_ipv4() == all.is_ipv4()))
        .map(|dst| Route::to(dst, None))
        .collect()
}

/// Those of `routes` whose family the pod has an address of. It could send nothing by the others, and a
/// sandbox without IPv6 would refuse them.
fn of_families(mut routes: Vec<Route>, addresses: &[IpAddr]) -> Vec<Route> {
    routes.retain(|route| addresses.iter().any(|ip| ip.is_ipv4() == route.dst.is_ipv4()));
    routes
}

/// The pod reaches everything by the next hop of its family, whatever `gw` says for other plugins.
fn via_next_hop(route: &Route) -> Route {
    Route { gw: Some(next_hop(route.dst.is_ipv4())), ..route.clone() }
}

/// At most 255 bytes, the kernel's `IFALIASZ` without its end.
fn alias(owner: &Owner<'_>) -> String {
    let mut alias = format!("{} {}", owner.container_id, owner.ifname);
    alias.truncate(alias.floor_char_boundary(255));
    alias
}

/// A stable, locally administered unicast address, so that nothing has a reason to change it.
pub(crate) fn mac_of(owner: &Owner<'_>) -> Mac {
    let hash = u64::from_str_radix(&attachment_hash(owner), 16).unwrap_or_default();
    let [_, _, a, b, c, d, e, f] = hash.to_be_bytes();
    Mac([(a & 0xfc) | 0x02, b, c, d, e, f])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_fit_the_kernels_limits() {
        for (length, ifname) in [(255, "eth0"), (253, "étheth0")] {
            let long = "c".repeat(length);
            let owner = Owner { container_id: &long, ifname };
            assert_eq!(host_ifname(&owner).len(), 15);
            assert!((254..=255).contains(&alias(&owner).len()));
        }
    }

    #[test]
    fn the_pods_hardware_address_is_unicast_and_locally_administered() {
        for n in 0..1000 {
            let container_id = format!("c{n}");
            let Mac([first, ..]) = mac_of(&Owner { container_id: &container_id, ifname: "eth0" });
            assert_eq!(first & 3, 2);
        }
    }

    #[test]
    fn default_routes_follow_the_families() {
        let families = |ips: &[&str]| {
            let ips: Vec<IpAddr> = ips.iter().map(|ip| ip.parse().unwrap()).collect();
            default_routes(&ips).iter().map(|route| route.dst.to_string()).collect::<Vec<_>>()
        };
        assert_eq!(families(&["10.0.0.2"]), ["0.0.0.0/0"]);
        assert_eq!(families(&["fd00::2"]), ["::/0"]);
        assert_eq!(families(&["fd00::2", "10.0.0.2"]), ["0.0.0.0/0", "::/0"]);
    }
}
