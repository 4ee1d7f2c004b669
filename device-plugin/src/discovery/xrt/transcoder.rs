//! Media accelerators of AMD (MA35D), whose driver `ama_transcoder` keeps to itself: nodes
//! `/dev/ama_transcoder0`, each with a folder in `/sys/class/misc`.

use crate::config::criteria::Property;
use crate::device::{Found, Kind};
use crate::discovery::Scan;
use crate::discovery::diagnosis::Diagnosis;
use crate::discovery::numa;
use crate::discovery::pci::function;
use crate::discovery::sysfs::{Folder, noted};
use crate::hostroot::HostRoot;

const CLASS: &str = "/sys/class/misc";
const NAME: &str = "ama_transcoder";
const FUNCTIONS: &str = "/sys/bus/pci/devices";

pub(super) fn add(scan: &mut Scan, root: &HostRoot) {
    for (number, folder) in Folder::new(root, CLASS).numbered(NAME) {
        let name = format!("{NAME}{number}");
        let follows = format!("{name} is known by its node alone; reload its driver");
        let address =
            noted(folder.read("bus_id", "PCI address", function::address), &mut scan.faults, &follows);
        let info = noted(folder.text("device_info"), &mut scan.faults, &follows);
        let model = info.as_deref().and_then(product);
        let mut diagnosis = Diagnosis::default();
        let nodes = diagnosis.node(&format!("/dev/{name}"), root).into_iter().collect();
        let is_taken = |address: &String| scan.found.iter().any(|other| other.key == *address);
        let id = address.clone().filter(|address| !is_taken(address)).unwrap_or(name);
        let known = [(Property::Address, address.clone()), (Property::Model, model.clone())];
        scan.found.push(Found {
            vendor: Some("AMD".to_owned()),
            model,
            numa: address.and_then(|address| numa::node(root, &format!("{FUNCTIONS}/{address}"))),
            nodes,
            health: diagnosis.health(),
            properties: known.into_iter().filter_map(|(key, value)| Some((key, value?))).collect(),
            ..Found::new(Kind::Xrt, &id, &id)
        });
    }
}

/// Lines such as `Product name = MA35D`.
fn product(info: &str) -> Option<String> {
    let mut lines = info.lines().filter_map(|line| line.split_once('='));
    let (_, name) = lines.find(|(key, _)| key.trim().eq_ignore_ascii_case("product name"))?;
    Some(name.trim().to_owned()).filter(|name| !name.is_empty())
}
