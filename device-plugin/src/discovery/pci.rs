//! PCI functions for containers: virtual functions of network cards, whole cards, and whatever is bound to
//! `vfio-pci`.
//!
//! | the function is | its container gets |
//! |---|---|
//! | bound to `vfio-pci` | the node of its IOMMU group, and `/dev/vfio/vfio` |
//! | bound to a UIO driver | its `/dev/uio*` |
//! | a network interface | nothing but its address: a CNI plugin moves the interface |
//! | wanted with `rdma: true` | its verbs nodes, and `/dev/infiniband/rdma_cm` |
//!
//! and always its address in `PCIDEVICE_<RESOURCE>`. Everything is told by `/sys` and the address alone: a
//! virtual function whose interface has moved into a pod is still found.

use std::collections::HashSet;

use super::Scan;
use crate::config::Rule;
use crate::config::Selector;
use crate::config::criteria::{Properties, Property};
use crate::config::resource_name::ResourceName;
use crate::device::{Found, Health, Kind};
use crate::hostroot::HostRoot;

pub(super) mod function;
mod interface;
mod nodes;

use function::Function;
use interface::Interface;

/// Class of bridges, which lead to other functions and are none themselves.
const BRIDGE: &str = "06";

pub(super) fn scan(root: &HostRoot) -> Scan {
    let mut scan = Scan::default();
    let functions = function::functions(root, &mut scan.faults, |_, class| !class.starts_with(BRIDGE));
    let routed = interface::with_default_route(root);
    scan.folders.extend(nodes::FOLDERS.map(str::to_owned));
    for function in &functions {
        let interface = Interface::of(function, root);
        if !serves_the_node(&interface, &routed) {
            scan.found.push(device(function, &interface, root));
        }
    }
    scan
}

/// A card that is cut into virtual functions carries their traffic, and one with the node's default route
/// the node's own: a container that took it would cut off others.
fn serves_the_node(interface: &Interface, routed: &HashSet<String>) -> bool {
    let physical = interface.virtual_function.is_none();
    physical && (interface.has_virtual_functions || interface.names.iter().any(|name| routed.contains(name)))
}

fn device(function: &Function, interface: &Interface, root: &HostRoot) -> Found {
    let nodes = nodes::nodes(function, root);
    Found {
        vendor: Some(function.vendor.clone()),
        model: Some(function.device.clone()),
        numa: function.numa,
        health: health(interface, nodes.missing),
        nodes: nodes.own,
        edits: nodes.shared,
        vitals: function.vitals.clone(),
        properties: properties(function, interface, root),
        ..Found::new(Kind::Pci, &function.address, &function.address)
    }
}

fn health(interface: &Interface, missing: Option<String>) -> Health {
    let reason = match (missing, &interface.down) {
        (Some(node), _) => format!("its node {node} is not there"),
        (None, Some(name)) => format!("the link of {name} is down"),
        (None, None) => return Health::Healthy,
    };
    Health::Unhealthy { reason }
}

fn properties(function: &Function, interface: &Interface, root: &HostRoot) -> Properties {
    let rdma = nodes::has_rdma(function, root);
    let known = [
        (Property::Vendor, Some(function.vendor.clone())),
        (Property::Device, Some(function.device.clone())),
        (Property::Driver, function.driver.clone()),
        (Property::Address, Some(function.address.clone())),
        (Property::PfName, interface.pf_name()),
        (Property::LinkType, interface.link_type.map(str::to_owned)),
        (Property::Rdma, Some(rdma.to_string())),
    ];
    known.into_iter().filter_map(|(property, value)| Some((property, value?))).collect()
}

/// Gives `found` what depends on the resource: the variable its address is told in, by the name that the
/// SR-IOV network device plugin uses, and RDMA nodes only where they were asked for.
pub(super) fn tailor(found: &mut Found, rule: &Rule, name: &ResourceName) {
    let letter = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' };
    let variable = format!("PCIDEVICE_{}", name.as_str().chars().map(letter).collect::<String>());
    found.edits.env.insert(variable, found.key.clone());
    let wants_rdma = matches!(&rule.selector, Selector::Criteria(_, criteria) if criteria.wants_rdma());
    if !wants_rdma {
        found.nodes.retain(|node| !nodes::is_rdma(&node.path));
        found.edits.nodes.retain(|node| !nodes::is_rdma(&node.path));
    }
}
