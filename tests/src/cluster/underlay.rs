//! The network between the nodes: one machine with a bridge, which is also where the control plane and
//! whatever else nodes talk to are found.

use super::addresses::{CONTROL_PLANE, DualStack, OUTSIDE, REGISTRY};
use super::machine::Machine;

const BRIDGE: &str = "nodes";

/// Makes the bridge on `machine`, with all addresses that nodes reach there.
pub fn lay(machine: &Machine) -> anyhow::Result<()> {
    machine.ip(&["link", "add", BRIDGE, "type", "bridge"])?;
    for address in [CONTROL_PLANE, REGISTRY] {
        add_addresses(machine, BRIDGE, address, [24, 64])?;
    }
    add_addresses(machine, "lo", OUTSIDE, [32, 128])?;
    machine.ip(&["link", "set", BRIDGE, "up"]).map(drop)
}

/// Joins `node` to the bridge of `machine` with a cable whose far end is called `eth0`.
pub fn connect(machine: &Machine, node: &Machine, address: DualStack) -> anyhow::Result<()> {
    let (port, owner) = (node.name(), node.init().to_string());
    machine.ip(&["link", "add", port, "type", "veth", "peer", "name", "eth0", "netns", &owner])?;
    machine.ip(&["link", "set", port, "master", BRIDGE, "up"])?;
    add_addresses(node, "eth0", address, [24, 64])?;
    node.ip(&["link", "set", "eth0", "up"])?;
    node.ip(&["-4", "route", "add", "default", "via", &CONTROL_PLANE.v4.to_string()])?;
    node.ip(&["-6", "route", "add", "default", "via", &CONTROL_PLANE.v6.to_string()]).map(drop)
}

fn add_addresses(machine: &Machine, link: &str, address: DualStack, masks: [u8; 2]) -> anyhow::Result<()> {
    let (v4, v6) = (format!("{}/{}", address.v4, masks[0]), format!("{}/{}", address.v6, masks[1]));
    machine.ip(&["addr", "add", &v4, "dev", link])?;
    // No duplicate can be there, and nothing waits for the search for one.
    machine.ip(&["addr", "add", &v6, "dev", link, "nodad"]).map(drop)
}
