//! A card's function for users.

use std::collections::BTreeSet;

use super::shell::{self, Shell};
use crate::config::criteria::{Properties, Property};
use crate::device::{Found, Kind};
use crate::discovery::diagnosis::Diagnosis;
use crate::discovery::drm::{Drm, NODES};
use crate::discovery::pci::function::Function;
use crate::discovery::sysfs::{Folder, noted};
use crate::hostroot::HostRoot;

/// Where DMA engines have their nodes.
pub(super) const DMA_NODES: &str = "/dev/xfpga";
const DMA: &str = "dma.qdma.u.";

pub(super) fn device(function: &Function, root: &HostRoot, faults: &mut BTreeSet<String>) -> Found {
    let folder = Folder::new(root, &function.folder);
    let (shell, mut diagnosis) = (shell::read(&folder, faults), Diagnosis::default());
    if shell.model.is_none() {
        diagnosis.add("its driver does not say which shell it has");
    }
    state(&folder, &mut diagnosis, faults);
    let paths = render(&folder, &mut diagnosis).into_iter().chain(dma(function, &folder));
    let nodes = paths.filter_map(|path| diagnosis.node(&path, root)).collect();
    let address = &function.address;
    Found {
        vendor: Some(function.vendor.clone()),
        model: shell.model.clone(),
        numa: function.numa,
        nodes,
        health: diagnosis.health(),
        vitals: function.vitals.clone(),
        properties: properties(function, shell),
        ..Found::new(Kind::Xrt, address, address)
    }
}

fn render(folder: &Folder<'_>, diagnosis: &mut Diagnosis) -> Option<String> {
    let render = Drm::of(folder).render;
    if render.is_none() {
        diagnosis.add("its driver has made no render node for it: see the kernel's log for xocl");
    }
    render.map(|name| format!("{NODES}/{name}"))
}

/// The engine's node is called after the function's number on its bus.
fn dma(function: &Function, folder: &Folder<'_>) -> Option<String> {
    let has_one = !folder.names(DMA).is_empty();
    let number = number(&function.address).filter(|_| has_one)?;
    Some(format!("{DMA_NODES}/{DMA}{number}.0"))
}

/// `0000:3b:00.1` as one number: domain, bus, device and function (`PCI_DEVID` in the kernel).
fn number(address: &str) -> Option<u64> {
    let (slot, function) = address.split_once('.')?;
    let parts: Option<Vec<_>> = slot.split(':').map(|part| u64::from_str_radix(part, 16).ok()).collect();
    let [domain, bus, device] = parts?[..] else { return None };
    let function: u64 = function.parse().ok()?;
    Some(domain << 16 | bus << 8 | device << 3 | function)
}

/// What `xocl` says of the card: that it has set it up, and that it has not lost it since.
fn state(folder: &Folder<'_>, diagnosis: &mut Diagnosis, faults: &mut BTreeSet<String>) {
    let follows = "its state is not observed; reload xocl";
    let flag = |text: &str| u8::from_str_radix(text.trim_start_matches("0x"), 16).ok();
    let mut read = |attribute| noted(folder.read(attribute, "flag", flag), faults, follows);
    if read("ready") == Some(0) {
        diagnosis.add("its driver is not done setting it up: wait, or reset it with xbutil");
    }
    if read("dev_offline").is_some_and(|offline| offline != 0) {
        diagnosis.add("its driver has lost it: reset it with xbutil");
    }
}

fn properties(function: &Function, shell: Shell) -> Properties {
    let known = [
        (Property::Vendor, Some(function.vendor.clone())),
        (Property::Device, Some(function.device.clone())),
        (Property::Address, Some(function.address.clone())),
        (Property::Model, shell.model),
        (Property::Uuid, shell.uuid),
    ];
    known.into_iter().filter_map(|(property, value)| Some((property, value?))).collect()
}

#[cfg(test)]
mod tests {
    #[test]
    fn an_address_is_a_number_too() {
        for (address, number) in
            [("0000:00:00.0", Some(0)), ("0001:3b:02.1", Some(0x1_3b11)), ("3b:02.1", None), ("x", None)]
        {
            assert_eq!(super::number(address), number, "{address}");
        }
    }
}
