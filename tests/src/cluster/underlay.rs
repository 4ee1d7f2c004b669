//! The network between the nodes: one machine with a bridge, which is also where the control plane and
//! whatever else nodes talk to are found. For nodes that are not to share a link with the others it has a
//! second bridge, and is the router between the two.

use std::net::IpAddr;

use anyhow::Context;

use super::addresses::{CONTROL_PLANE, DualStack, Families, Link, OUTSIDE, REGISTRY};
use super::machine::Machine;

const NEAR: &str = "nodes";
const FAR: &str = "far";
/// A router as clouds have them: it hands on what nodes say, and drops what carries a pod's address.
const ROUTER: &str = "add table inet router; add counter inet router pods; \
    add chain inet router forward { type filter hook forward priority 0; }";
/// From one link to the other. Where frames within one link are shown to the firewall too, they are not meant.
const CROSSING: &str = "meta iifname . meta oifname { nodes . far, far . nodes }";
const DROP: &str = "counter name pods drop";

/// The network, which speaks no other families than these.
#[derive(Debug)]
pub struct Underlay {
    machine: Machine,
    families: Families,
}

impl Underlay {
    /// Makes the bridge on `machine`, with all addresses that nodes reach there.
    pub fn lay(machine: Machine, families: Families) -> anyhow::Result<Self> {
        let underlay = Self { machine, families };
        underlay.add_bridge(NEAR, "02:fe:00:00:00:01")?;
        for address in [CONTROL_PLANE, REGISTRY] {
            underlay.add_addresses(&underlay.machine, NEAR, address, [24, 64])?;
        }
        underlay.add_addresses(&underlay.machine, "lo", OUTSIDE, [32, 128])?;
        underlay.machine.ip(&["link", "set", NEAR, "up"])?;
        Ok(underlay)
    }

    /// Makes the second link, and a router of this machine.
    pub fn lay_far_link(&self) -> anyhow::Result<()> {
        self.add_bridge(FAR, "02:fe:00:00:00:02")?;
        self.add_addresses(&self.machine, FAR, Link::Far.gateway(), [24, 64])?;
        self.machine.ip(&["link", "set", FAR, "up"])?;
        self.machine.exec(&["nft", ROUTER])?;
        for prefix in self.families.cluster_cidrs() {
            let family = if prefix.contains(':') { "ip6" } else { "ip" };
            for way in ["saddr", "daddr"] {
                let rule = format!("add rule inet router forward {CROSSING} {family} {way} {prefix} {DROP}");
                self.machine.exec(&["nft", &rule])?;
            }
        }
        self.machine.exec(&["sysctl", "-qw", "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1"])?;
        Ok(())
    }

    /// How many packets with a pod's address came to the router.
    pub fn dropped(&self) -> anyhow::Result<u64> {
        let listing = self.machine.exec(&["nft", "-j", "list", "counter", "inet", "router", "pods"])?;
        let listing: serde_json::Value = serde_json::from_str(&listing)?;
        let counters = listing["nftables"].as_array().into_iter().flatten();
        let mut packets = counters.filter_map(|entry| entry["counter"]["packets"].as_u64());
        packets.next_back().with_context(|| format!("nft printed {listing}"))
    }

    /// Its machine.
    pub fn machine(&self) -> &Machine {
        &self.machine
    }

    /// The families it speaks.
    pub fn families(&self) -> Families {
        self.families
    }

    /// Joins `node` to the bridge of `link` with a cable whose other end is called `eth0`.
    pub fn connect(&self, node: &Machine, link: Link, address: DualStack) -> anyhow::Result<()> {
        let bridge = if link == Link::Near { NEAR } else { FAR };
        let (port, owner) = (node.name(), node.init().to_string());
        self.machine.ip(&["link", "add", port, "type", "veth", "peer", "name", "eth0", "netns", &owner])?;
        self.machine.ip(&["link", "set", port, "master", bridge, "up"])?;
        self.add_addresses(node, "eth0", address, [24, 64])?;
        node.ip(&["link", "set", "eth0", "address", &hardware_address(address), "up"])?;
        for gateway in self.families.addresses(link.gateway()) {
            let family = if gateway.is_ipv4() { "-4" } else { "-6" };
            node.ip(&[family, "route", "add", "default", "via", &gateway.to_string()])?;
        }
        Ok(())
    }

    /// Cuts the cable of the node of this name.
    pub fn disconnect(&self, node: &str) -> anyhow::Result<()> {
        self.machine.ip(&["link", "delete", node]).map(drop)
    }

    /// With an address of its own, as a router has: the kernel would take the least one of its ports, and another
    /// one when a node is rebooted.
    fn add_bridge(&self, name: &str, address: &str) -> anyhow::Result<()> {
        self.machine.ip(&["link", "add", name, "address", address, "type", "bridge"]).map(drop)
    }

    fn add_addresses(
        &self,
        machine: &Machine,
        link: &str,
        address: DualStack,
        masks: [u8; 2],
    ) -> anyhow::Result<()> {
        let with_masks = [(IpAddr::from(address.v4), masks[0]), (IpAddr::from(address.v6), masks[1])];
        for (address, mask) in self.families.of(with_masks) {
            // No duplicate can be there, and nothing waits for the search for one.
            let nodad = if address.is_ipv6() { &["nodad"][..] } else { &[] };
            let place = format!("{address}/{mask}");
            machine.ip(&[&["addr", "add", &place, "dev", link], nodad].concat())?;
        }
        Ok(())
    }
}

/// The same again after a reboot, as that of a real card: neighbours still know it.
fn hardware_address(address: DualStack) -> String {
    let [a, b, c, d] = address.v4.octets();
    format!("02:00:{a:02x}:{b:02x}:{c:02x}:{d:02x}")
}
