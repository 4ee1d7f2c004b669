//! The network between the nodes: one machine with a bridge, which is also where the control plane and
//! whatever else nodes talk to are found.

use std::net::IpAddr;

use super::addresses::{CONTROL_PLANE, DualStack, Families, OUTSIDE, REGISTRY};
use super::machine::Machine;

const BRIDGE: &str = "nodes";

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
        underlay.machine.ip(&["link", "add", BRIDGE, "type", "bridge"])?;
        for address in [CONTROL_PLANE, REGISTRY] {
            underlay.add_addresses(&underlay.machine, BRIDGE, address, [24, 64])?;
        }
        underlay.add_addresses(&underlay.machine, "lo", OUTSIDE, [32, 128])?;
        underlay.machine.ip(&["link", "set", BRIDGE, "up"])?;
        Ok(underlay)
    }

    /// Its machine.
    pub fn machine(&self) -> &Machine {
        &self.machine
    }

    /// The families it speaks.
    pub fn families(&self) -> Families {
        self.families
    }

    /// Joins `node` to the bridge with a cable whose far end is called `eth0`.
    pub fn connect(&self, node: &Machine, address: DualStack) -> anyhow::Result<()> {
        let (port, owner) = (node.name(), node.init().to_string());
        self.machine.ip(&["link", "add", port, "type", "veth", "peer", "name", "eth0", "netns", &owner])?;
        self.machine.ip(&["link", "set", port, "master", BRIDGE, "up"])?;
        self.add_addresses(node, "eth0", address, [24, 64])?;
        node.ip(&["link", "set", "eth0", "up"])?;
        for gateway in self.families.addresses(CONTROL_PLANE) {
            let family = if gateway.is_ipv4() { "-4" } else { "-6" };
            node.ip(&[family, "route", "add", "default", "via", &gateway.to_string()])?;
        }
        Ok(())
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
