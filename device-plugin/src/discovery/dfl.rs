//! FPGAs of Intel, by the kernel's device feature lists (Documentation/fpga/dfl.rst), or by the older drivers
//! that came with OPAE.
//!
//! A card has a management engine (FME) and ports, each of which leads to an accelerator function. They are
//! offered in two ways, as `mode` says:
//!
//! | `mode` | a device is | told apart by | its nodes |
//! |---|---|---|---|
//! | `af` | a port, with the function that is programmed into it | the function's id | the port |
//! | `region` | a card, with everything that may be programmed into it | the interface's id | the FME and all ports |
//!
//! Only who has a region can program it; who has a function cannot change it.

use std::collections::BTreeSet;

use super::Scan;
use super::diagnosis::Diagnosis;
use crate::config::criteria::Property;
use crate::device::{Found, Kind};
use crate::hostroot::HostRoot;

mod card;
mod identity;

use card::{Card, Unit};

/// What of a card makes a device.
#[derive(Debug)]
struct Part<'a> {
    mode: &'static str,
    units: Vec<&'a Unit<'a>>,
    /// What is, or may be, programmed into it.
    id: Result<String, String>,
}

pub(super) fn scan(root: &HostRoot) -> Scan {
    let mut scan = Scan::default();
    scan.folders.insert("/dev".to_owned());
    for card in card::all(root) {
        for port in &card.ports {
            let found = function(&card, port, &mut scan, root);
            scan.found.push(found);
        }
        let region = region(&card, &mut scan, root);
        scan.found.extend(region);
    }
    scan
}

/// A card's functions are several devices, so none of them has the card's PCI function to itself.
fn function(card: &Card<'_>, port: &Unit<'_>, scan: &mut Scan, root: &HostRoot) -> Found {
    let part = Part { mode: "af", units: vec![port], id: identity::function(&port.folder) };
    let found = part.found(card, &mut scan.faults, root);
    let number = port.folder.number("id").ok().flatten();
    let name = match (&card.address, number) {
        (Some(address), Some(number)) => format!("{address}-port{number}"),
        _ => port.name.clone(),
    };
    let is_taken = scan.found.iter().any(|other| other.key == name);
    let key = if is_taken { port.name.clone() } else { name };
    Found { parent: Some(card.name().to_owned()), id: key.clone(), key, ..found }
}

/// Nothing of a card without management engine, as a virtual function is one, and of one that cannot be
/// programmed in part.
fn region(card: &Card<'_>, scan: &mut Scan, root: &HostRoot) -> Option<Found> {
    let engine = card.engine.as_ref()?;
    let id = identity::interface(&engine.folder)?;
    let units = std::iter::once(engine).chain(&card.ports).collect();
    let found = Part { mode: "region", units, id }.found(card, &mut scan.faults, root);
    let key = format!("{}-fme", card.name());
    Some(Found { id: key.clone(), key, ..found })
}

impl Part<'_> {
    /// Without its id it cannot be used, and what it would be offered as is not known.
    fn found(self, card: &Card<'_>, faults: &mut BTreeSet<String>, root: &HostRoot) -> Found {
        let mut diagnosis = Diagnosis::default();
        let paths = self.units.iter().map(|unit| format!("/dev/{}", unit.name));
        let nodes = paths.filter_map(|path| diagnosis.node(&path, root)).collect();
        let id = self.id.map_err(|fault| {
            faults.insert(fault.clone());
            diagnosis.add(fault);
        });
        let known = [
            (Property::Vendor, card.vendor.clone()),
            (Property::Device, card.device.clone()),
            (Property::Address, card.address.clone()),
            (Property::Uuid, id.ok()),
            (Property::Mode, Some(self.mode.to_owned())),
        ];
        Found {
            vendor: card.vendor.clone(),
            model: card.device.clone(),
            numa: card.numa,
            nodes,
            health: diagnosis.health(),
            vitals: card.vitals.clone(),
            properties: known.into_iter().filter_map(|(property, value)| Some((property, value?))).collect(),
            ..Found::new(Kind::Dfl, "", "")
        }
    }
}
