//! Addresses of the test network. All of them exist only inside of the run's own namespaces.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};

/// One address of each family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DualStack {
    /// In 172.30.0.0/24 for machines of the test network.
    pub v4: Ipv4Addr,
    /// In fd00:30::/64 for machines of the test network.
    pub v6: Ipv6Addr,
}

/// The API server, and every node's default gateway.
pub const CONTROL_PLANE: DualStack = machine(1);
/// The registry, also known as [`REGISTRY_NAME`].
pub const REGISTRY: DualStack = machine(5);
/// The registry's name in every node's hosts file.
pub const REGISTRY_NAME: &str = "registry.tripod.test";
/// A host beyond the default gateway that knows no way to a pod.
pub const OUTSIDE: DualStack =
    DualStack { v4: Ipv4Addr::new(198, 51, 100, 7), v6: Ipv6Addr::new(0x2001, 0xdb8, 0x51, 0, 0, 0, 0, 7) };
/// The port it listens on.
pub const REGISTRY_PORT: u16 = 5000;
/// Where nodes get their pod ranges from: a /24 and a /64 each.
pub const CLUSTER_CIDRS: &str = "10.244.0.0/16,fd00:244::/56";
/// Where Services get their addresses from.
pub const SERVICE_CIDRS: &str = "10.96.0.0/16,fd00:96::/112";
/// The first Service address, which is the API server's.
pub const API_SERVICE: Ipv4Addr = Ipv4Addr::new(10, 96, 0, 1);

/// Address of the node with this number, from 1.
pub fn node(number: u8) -> DualStack {
    machine(10 + number)
}

const fn machine(host: u8) -> DualStack {
    let v6 = Ipv6Addr::new(0xfd00, 0x30, 0, 0, 0, 0, 0, host as u16);
    DualStack { v4: Ipv4Addr::new(172, 30, 0, host), v6 }
}

impl fmt::Display for DualStack {
    /// As Kubernetes' flags take it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{},{}", self.v4, self.v6)
    }
}
