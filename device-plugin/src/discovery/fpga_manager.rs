//! FPGAs that the kernel's `fpga_manager` programs (Documentation/ABI/testing/sysfs-class-fpga-manager), as on
//! boards whose processors have one beside them.
//!
//! The kernel's own managers have no node. What a design in the FPGA is used by is a UIO device below the same
//! device, or the node `/dev/fpga0` of a vendor's kernel; without either there is nothing to give a container.

use std::collections::BTreeSet;

use super::Scan;
use super::diagnosis::{self, Diagnosis};
use super::numa;
use super::sysfs::{Folder, noted};
use crate::config::criteria::Property;
use crate::device::{DeviceNode, Found, Kind};
use crate::hostroot::HostRoot;

const CLASS: &str = "/sys/class/fpga_manager";
/// Of the words of `fpga-mgr.c`, those for an FPGA that works as far as its driver can tell.
const GOOD: [&str; 2] = ["operating", "unknown"];

pub(super) fn scan(root: &HostRoot) -> Scan {
    let mut scan = Scan::default();
    scan.folders.insert("/dev".to_owned());
    for (number, folder) in Folder::new(root, CLASS).numbered("fpga") {
        let nodes = nodes(number, &folder, root);
        if nodes.is_empty() {
            scan.faults.insert(format!(
                "fpga{number} has neither a node /dev/fpga{number} nor one of UIO: it is left out; bind its \
                 design to a UIO driver"
            ));
        } else {
            scan.found.push(device(number, &folder, nodes, &mut scan.faults, root));
        }
    }
    scan
}

fn nodes(number: u32, folder: &Folder<'_>, root: &HostRoot) -> Vec<DeviceNode> {
    let uio = ["uio", "device/uio"].into_iter().flat_map(|below| folder.below(below).names("uio"));
    let names: BTreeSet<_> = uio.chain([format!("fpga{number}")]).collect();
    names.iter().filter_map(|name| diagnosis::node(&format!("/dev/{name}"), root)).collect()
}

fn device(
    number: u32,
    folder: &Folder<'_>,
    nodes: Vec<DeviceNode>,
    faults: &mut BTreeSet<String>,
    root: &HostRoot,
) -> Found {
    let id = format!("fpga{number}");
    let model = noted(folder.text("name"), faults, &format!("{id} has no model"));
    let mut diagnosis = Diagnosis::default();
    match folder.text("state") {
        Ok(Some(state)) if !GOOD.contains(&state.as_str()) => diagnosis.add(format!(
            "{}/state says {state:?}: program it again, or wait until it is programmed",
            folder.path()
        )),
        Ok(_) => {}
        Err(fault) => diagnosis.add(fault),
    }
    Found {
        model: model.clone(),
        numa: numa::node(root, &format!("{}/device", folder.path())),
        nodes,
        health: diagnosis.health(),
        properties: model.into_iter().map(|model| (Property::Model, model)).collect(),
        ..Found::new(Kind::FpgaManager, &id, &id)
    }
}
