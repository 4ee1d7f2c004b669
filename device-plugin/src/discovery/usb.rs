//! USB devices, as `/sys/bus/usb/devices` lists them (Documentation/ABI/testing/sysfs-bus-usb): a folder
//! each, named after the ports that lead to it, beside folders of interfaces, whose names have a `:`.

use std::collections::BTreeMap;

use super::Scan;
use crate::config::criteria::Property;
use crate::device::{DeviceNode, Found, Kind};
use crate::hostroot::{HostRoot, Inode};
use crate::inventory::limits;

const DEVICES: &str = "/sys/bus/usb/devices";
const NODES: &str = "/dev/bus/usb";
/// `bDeviceClass` of a hub, root hubs included.
const HUB: &str = "09";

pub(super) fn scan(root: &HostRoot) -> Scan {
    let mut scan = Scan::default();
    let names = root.names(DEVICES).unwrap_or_else(|error| {
        scan.faults.insert(format!("cannot read the folder {DEVICES}: {error}"));
        Vec::new()
    });
    // Plugging in and out is seen by the nodes: the kernel's own folder tells nobody of changes.
    scan.folders.insert(NODES.to_owned());
    for bus in root.names(NODES).unwrap_or_default() {
        scan.folders.insert(format!("{NODES}/{bus}"));
    }
    let mut ported = Vec::new();
    for name in names.iter().filter(|name| !name.contains(':')).take(limits::MAX_FOUND) {
        match look_at(name, root) {
            Ok(Some(found)) => ported.push((name.as_str(), found)),
            Ok(None) => {}
            Err(fault) => drop(scan.faults.insert(fault)),
        }
    }
    scan.found = told_apart(ported);
    scan
}

/// Nothing of a hub. The error is for a person.
fn look_at(name: &str, root: &HostRoot) -> Result<Option<Found>, String> {
    let folder = format!("{DEVICES}/{name}");
    let read = |attribute: &str| {
        let path = format!("{folder}/{attribute}");
        root.attribute(&path).map_err(|error| format!("cannot read {path}: {error}"))
    };
    let need = |attribute: &str| {
        read(attribute)?
            .ok_or_else(|| format!("{folder}/{attribute} is missing: USB device {name} is left out"))
    };
    if read("bDeviceClass")?.as_deref() == Some(HUB) {
        return Ok(None);
    }
    let (vendor, product, serial) = (need("idVendor")?, need("idProduct")?, read("serial")?);
    let node = node(&need("busnum")?, &need("devnum")?, name, root)?;
    let stays = serial.clone().unwrap_or_else(|| name.to_owned());
    let known = [(Property::Vendor, Some(vendor.clone())), (Property::Product, Some(product.clone()))];
    let known = known.into_iter().chain([(Property::Serial, serial)]);
    let key = format!("usb:{vendor}:{product}:{stays}");
    let id = format!("{vendor}-{product}-{}", printable(&stays));
    Ok(Some(Found {
        vendor: read("manufacturer")?,
        model: read("product")?,
        nodes: vec![node],
        properties: known.filter_map(|(property, value)| Some((property, value?))).collect(),
        ..Found::new(Kind::Usb, key, id)
    }))
}

/// Cheap devices share a serial number. Then the port tells them apart, all of them: were the first to
/// keep the plain name, the second would take it over when the first is unplugged. What is listed already
/// keeps its id when a twin comes or goes, for it keeps its node (see [`crate::inventory::merge`]), until
/// this program is restarted: then both are named by port.
fn told_apart(ported: Vec<(&str, Found)>) -> Vec<Found> {
    let mut alike = BTreeMap::<String, usize>::new();
    for (_, found) in &ported {
        *alike.entry(found.key.clone()).or_default() += 1;
    }
    let is_twin = |found: &Found| alike.get(&found.key).is_some_and(|count| *count > 1);
    let name = |(port, found)| if is_twin(&found) { by_port(found, port) } else { found };
    ported.into_iter().map(name).collect()
}

fn by_port(mut found: Found, port: &str) -> Found {
    found.key = format!("{}:{port}", found.key);
    found.id = format!("{}-{port}", found.id);
    found
}

/// `/dev/bus/usb/<bus>/<device>`, both in three digits.
fn node(bus: &str, device: &str, name: &str, root: &HostRoot) -> Result<DeviceNode, String> {
    let number = |text: &str| {
        let number: Option<u16> = text.parse().ok();
        number
            .ok_or_else(|| format!("{text:?} is no number of a bus or device: USB device {name} is left out"))
    };
    let path = format!("{NODES}/{:03}/{:03}", number(bus)?, number(device)?);
    match root.inspect(&path) {
        Ok(Some(Inode::Device(number))) => Ok(DeviceNode { path, number }),
        Ok(_) => Err(format!("{path} is no device node: USB device {name} is left out")),
        Err(error) => Err(format!("cannot look at {path}: {error}")),
    }
}

/// A serial number can be any text; an id is read by people and programs.
fn printable(text: &str) -> String {
    let keep = |c: char| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '-' };
    text.chars().map(keep).collect()
}
