//! GPUs of Intel, by what the `i915` and `xe` drivers tell in `/sys`.
//!
//! A container gets both nodes of a card, and the names by which udev links to them in `/dev/dri/by-path`: media
//! libraries find cards by those. A card that is cut into virtual functions carries their work and is not
//! offered; they are.

use std::collections::BTreeSet;

use super::Scan;
use super::diagnosis::{self, Diagnosis};
use super::drm::{self, Drm};
use super::pci::function::{self, Function};
use super::sysfs::{Folder, noted};
use crate::config::criteria::{Properties, Property};
use crate::device::{DeviceNode, Found, Kind};
use crate::hostroot::HostRoot;

mod model;

const VENDOR: &str = "8086";
/// PCI class of displays, which those without any output have too.
const CLASS: &str = "03";
const DRIVERS: [&str; 2] = ["i915", "xe"];
const BY_PATH: &str = "/dev/dri/by-path";

pub(super) fn scan(root: &HostRoot) -> Scan {
    let mut scan = Scan::default();
    scan.folders.extend(["/dev", drm::NODES, BY_PATH].map(str::to_owned));
    let wanted = |vendor: &str, class: &str| vendor == VENDOR && class.starts_with(CLASS);
    for function in function::functions(root, &mut scan.faults, wanted) {
        let is_driven = function.driver.as_deref().is_some_and(|driver| DRIVERS.contains(&driver));
        if is_driven && !is_cut(&function, root, &mut scan.faults) {
            scan.found.push(device(&function, root, &mut scan.faults));
        }
    }
    scan
}

/// Documentation/ABI/testing/sysfs-bus-pci.
fn is_cut(function: &Function, root: &HostRoot, faults: &mut BTreeSet<String>) -> bool {
    let count = Folder::new(root, &function.folder).number("sriov_numvfs");
    let follows = format!("{} is offered whole; reload its driver", function.address);
    noted(count, faults, &follows).is_some_and(|count| count > 0)
}

fn device(function: &Function, root: &HostRoot, faults: &mut BTreeSet<String>) -> Found {
    let folder = Folder::new(root, &function.folder);
    let (drm, mut diagnosis) = (Drm::of(&folder), Diagnosis::default());
    if drm.render.is_none() {
        diagnosis.add("its driver has made no render node for it: see the kernel's log");
    }
    let nodes: Vec<_> = drm.paths().iter().filter_map(|path| diagnosis.node(path, root)).collect();
    let model = model::name(&function.device).unwrap_or(&function.device).to_owned();
    let mut found = Found {
        vendor: Some("Intel".to_owned()),
        model: Some(model.clone()),
        numa: function.numa,
        memory: memory(&folder, &drm, faults),
        health: diagnosis.health(),
        vitals: function.vitals.clone(),
        properties: properties(function, model),
        ..Found::new(Kind::IntelGpu, &function.address, &function.address)
    };
    found.edits.nodes = by_path(&function.address, &nodes, root);
    found.nodes = nodes;
    found
}

/// Those of udev's links that lead to the `nodes` of the card.
fn by_path(address: &str, nodes: &[DeviceNode], root: &HostRoot) -> Vec<DeviceNode> {
    let link = |what| diagnosis::node(&format!("{BY_PATH}/pci-{address}-{what}"), root);
    let is_own = |link: &DeviceNode| nodes.iter().any(|node| node.number == link.number);
    ["card", "render"].into_iter().filter_map(link).filter(is_own).collect()
}

/// Bytes of a card's own memory: by `xe` for each of its tiles, by Intel's `i915` for the whole; the kernel's
/// `i915` does not say, and a processor's GPU has none.
fn memory(folder: &Folder<'_>, drm: &Drm, faults: &mut BTreeSet<String>) -> Option<u64> {
    let follows = "this memory is not counted; reload its driver";
    let tiles = folder.numbered("tile").into_iter().map(|(_, tile)| tile.number("physical_vram_size_bytes"));
    let card = drm.card.as_ref().map(|card| folder.below("drm").below(card).number("lmem_total_bytes"));
    let sizes = tiles.chain(card).filter_map(|size| noted(size, faults, follows));
    Some(sizes.fold(0, u64::saturating_add)).filter(|total| *total > 0)
}

fn properties(function: &Function, model: String) -> Properties {
    let known = [
        (Property::Model, Some(model)),
        (Property::Driver, function.driver.clone()),
        (Property::Address, Some(function.address.clone())),
        (Property::Device, Some(function.device.clone())),
    ];
    known.into_iter().filter_map(|(property, value)| Some((property, value?))).collect()
}
