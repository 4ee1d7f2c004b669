//! The device nodes through which a process reaches a PCI function itself.

use super::function::Function;
use crate::device::{DeviceNode, Edits};
use crate::discovery::diagnosis::node;
use crate::hostroot::HostRoot;

/// Where they appear.
pub(super) const FOLDERS: [&str; 3] = ["/dev", "/dev/vfio", "/dev/infiniband"];
const RDMA: &str = "/dev/infiniband/";

/// The nodes of one function.
#[derive(Clone, Debug, Default)]
pub(super) struct Nodes {
    pub(super) own: Vec<DeviceNode>,
    pub(super) shared: Edits,
    /// A node that should be there.
    pub(super) missing: Option<String>,
}

impl Nodes {
    fn own(&mut self, path: String, root: &HostRoot) {
        match node(&path, root) {
            Some(node) => self.own.push(node),
            None => self.missing = Some(path),
        }
    }
}

pub(super) fn nodes(function: &Function, root: &HostRoot) -> Nodes {
    let mut nodes = Nodes::default();
    if function.driver.as_deref() == Some("vfio-pci") {
        vfio(function, root, &mut nodes);
    }
    for name in below(function, "uio", root) {
        nodes.own(format!("/dev/{name}"), root);
    }
    for name in rdma(function, root) {
        nodes.own(format!("{RDMA}{name}"), root);
    }
    if nodes.own.iter().any(|node| is_rdma(&node.path)) {
        nodes.shared.nodes.extend(node(&format!("{RDMA}rdma_cm"), root));
    }
    nodes
}

/// The group is what a process opens; a kernel without an IOMMU names it so (Documentation/driver-api/vfio.rst).
/// Newer kernels have a node for each function too, used with `/dev/iommu`.
fn vfio(function: &Function, root: &HostRoot, nodes: &mut Nodes) {
    let Some(group) = root.link_name(&format!("{}/iommu_group", function.folder)) else {
        nodes.missing = Some("/dev/vfio/<its IOMMU group>".to_owned());
        return;
    };
    let name = root.attribute(&format!("{}/iommu_group/name", function.folder)).ok().flatten();
    let without_iommu = name.as_deref() == Some("vfio-noiommu");
    nodes.own(format!("/dev/vfio/{}{group}", if without_iommu { "noiommu-" } else { "" }), root);
    nodes.shared.nodes.extend(node("/dev/vfio/vfio", root));
    for name in below(function, "vfio-dev", root) {
        nodes.own.extend(node(&format!("/dev/vfio/devices/{name}"), root));
        nodes.shared.nodes.extend(node("/dev/iommu", root));
    }
}

/// Names of the function's verbs, management and subnet nodes.
fn rdma(function: &Function, root: &HostRoot) -> Vec<String> {
    ["infiniband_verbs", "infiniband_mad"]
        .into_iter()
        .flat_map(|class| below(function, class, root))
        .collect()
}

pub(super) fn has_rdma(function: &Function, root: &HostRoot) -> bool {
    !below(function, "infiniband_verbs", root).is_empty()
}

pub(super) fn is_rdma(path: &str) -> bool {
    path.starts_with(RDMA)
}

fn below(function: &Function, class: &str, root: &HostRoot) -> Vec<String> {
    root.names(&format!("{}/{class}", function.folder)).unwrap_or_default()
}
