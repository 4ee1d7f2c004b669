//! NUMA nodes of devices.

use crate::hostroot::HostRoot;

const NODES: &str = "/sys/devices/system/node";

/// The node that the device at `folder` of the host's `/sys` hangs on, when that node has processors of
/// its own.
///
/// The kernel says -1 where there is none, which the kubelet would take for a node. Nodes of nothing but
/// memory, which GPUs bring along, hold no pod's processors: naming them makes the kubelet weigh every
/// set of them, and no pod fit.
pub(super) fn node(root: &HostRoot, folder: &str) -> Option<u32> {
    let node: u32 = root.attribute(&format!("{folder}/numa_node")).ok()??.parse().ok()?;
    let processors = root.attribute(&format!("{NODES}/node{node}/cpulist")).ok()?;
    processors.map(|_| node)
}
