//! Addresses of the test network. All of them exist only inside of the run's own namespaces.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// One address of each family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DualStack {
    /// In 172.30.0.0/24 or, on the far link, 172.30.1.0/24 for machines of the test network.
    pub v4: Ipv4Addr,
    /// In fd00:30::/64 or fd00:30:0:1::/64 for machines of the test network.
    pub v6: Ipv6Addr,
}

/// A link of the test network. A router is between the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Link {
    /// The one that the control plane is on.
    Near,
    /// The one behind the router.
    Far,
}

impl Link {
    /// Where nodes of this link send what is for others: the router's address on it.
    pub fn gateway(self) -> DualStack {
        self.machine(1)
    }

    /// Address of the node with this number, from 1.
    pub fn node(self, number: u8) -> DualStack {
        self.machine(10 + number)
    }

    const fn machine(self, host: u8) -> DualStack {
        let link = self as u8;
        let v6 = Ipv6Addr::new(0xfd00, 0x30, 0, link as u16, 0, 0, 0, host as u16);
        DualStack { v4: Ipv4Addr::new(172, 30, link, host), v6 }
    }
}

/// Which families a cluster speaks. With both, IPv4 gives a pod its first address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Families {
    /// IPv4 only.
    V4,
    /// IPv6 only.
    V6,
    /// Both.
    Dual,
}

impl Families {
    /// Those of `one_each` that are of these families, given in the order IPv4, IPv6.
    pub fn of<T>(self, one_each: [T; 2]) -> Vec<T> {
        let wanted = [self != Self::V6, self != Self::V4];
        one_each.into_iter().zip(wanted).filter_map(|(one, wanted)| wanted.then_some(one)).collect()
    }

    /// The same of an address.
    pub fn addresses(self, address: DualStack) -> Vec<IpAddr> {
        self.of([address.v4.into(), address.v6.into()])
    }

    /// Where nodes get their pod ranges from: a /24 and a /64 each.
    pub fn cluster_cidrs(self) -> Vec<&'static str> {
        self.of(["10.244.0.0/16", "fd00:244::/56"])
    }

    /// Where Services get their addresses from.
    pub fn service_cidrs(self) -> Vec<&'static str> {
        self.of(["10.96.0.0/16", "fd00:96::/112"])
    }

    /// Where clients find the API server.
    pub fn api_server(self) -> SocketAddr {
        SocketAddr::new(self.addresses(CONTROL_PLANE)[0], 6443)
    }

    /// The API server's Service, which has the first address of the first range.
    pub fn api_service(self) -> IpAddr {
        self.of([Ipv4Addr::new(10, 96, 0, 1).into(), Ipv6Addr::new(0xfd00, 0x96, 0, 0, 0, 0, 0, 1).into()])[0]
    }
}

/// The API server, and the default gateway of the near link's nodes.
pub const CONTROL_PLANE: DualStack = Link::Near.machine(1);
/// The registry, also known as [`REGISTRY_NAME`].
pub const REGISTRY: DualStack = Link::Near.machine(5);
/// The registry's name in every node's hosts file.
pub const REGISTRY_NAME: &str = "registry.tripod.test";
/// A host beyond the default gateway that knows no way to a pod.
pub const OUTSIDE: DualStack =
    DualStack { v4: Ipv4Addr::new(198, 51, 100, 7), v6: Ipv6Addr::new(0x2001, 0xdb8, 0x51, 0, 0, 0, 0, 7) };
/// The port it listens on.
pub const REGISTRY_PORT: u16 = 5000;
