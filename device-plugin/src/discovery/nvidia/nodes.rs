//! The driver's device nodes.

use super::card::{Card, Part};
use crate::device::DeviceNode;
use crate::discovery::diagnosis::node;
use crate::hostroot::HostRoot;

/// Where they appear.
pub(super) const FOLDERS: [&str; 2] = ["/dev", "/dev/nvidia-caps"];
/// Nodes that every container with a GPU needs; all but the first only as far as their modules are loaded.
const SHARED: [&str; 4] =
    ["/dev/nvidiactl", "/dev/nvidia-modeset", "/dev/nvidia-uvm", "/dev/nvidia-uvm-tools"];
const CAPABILITIES: &str = "/proc/driver/nvidia/capabilities";

pub(super) fn shared(root: &HostRoot) -> Vec<DeviceNode> {
    SHARED.iter().filter_map(|path| node(path, root)).collect()
}

pub(super) fn path(card: &Card) -> String {
    format!("/dev/nvidia{}", card.minor)
}

pub(super) fn card(card: &Card, root: &HostRoot) -> Vec<DeviceNode> {
    node(&path(card), root).into_iter().collect()
}

/// The right to use a part is the right to open two nodes, one of its GPU instance and one of its compute
/// instance, whose numbers `/proc` tells.
pub(super) fn part(part: &Part, card: &Card, root: &HostRoot) -> Vec<DeviceNode> {
    let (gpu, compute) = part.instance;
    let instance = format!("{CAPABILITIES}/gpu{}/mig/gi{gpu}", card.minor);
    let files = [format!("{instance}/access"), format!("{instance}/ci{compute}/access")];
    files
        .iter()
        .filter_map(|file| node(&format!("/dev/nvidia-caps/nvidia-cap{}", minor(file, root)?), root))
        .collect()
}

/// `DeviceFileMinor: 12` of an `access` file.
fn minor(file: &str, root: &HostRoot) -> Option<u32> {
    let text = root.attribute(file).ok()??;
    text.lines().find_map(|line| line.strip_prefix("DeviceFileMinor:")?.trim().parse().ok())
}
