//! GPUs of NVIDIA, and the parts that Multi-Instance GPU (MIG) cuts them into.
//!
//! The driver's own library, NVML, tells everything; it is loaded at run time from where the driver is, and
//! needs the right to open the driver's nodes. Without that, `/proc/driver/nvidia` tells which GPUs there
//! are, but neither their memory, links and parts, nor whether they are well.
//!
//! | mode | devices |
//! |---|---|
//! | MIG off | the GPU, `profile` `full` |
//! | MIG on | its parts, `profile` such as `1g.10gb`; the GPU itself is of no use to a process |
//!
//! A container gets the nodes of its devices, those that all of them share, and the driver's libraries and
//! programs, unless NVIDIA's toolkit has described the device in a CDI spec: then its name there.

use super::Scan;
use crate::config::criteria::{Properties, Property};
use crate::device::{Edits, Found, Health, Kind, Vitals};
use crate::hostroot::HostRoot;

mod card;
mod driver;
mod files;
mod nodes;
mod nvml;
mod proc;
mod toolkit;
pub mod xid;

use card::{Card, Part};
pub use driver::Driver;
use driver::View;
use toolkit::Toolkit;

/// PCI vendor id.
const VENDOR: &str = "10de";
/// PCI classes of display and 3D controllers.
const DISPLAY: &str = "03";
/// `profile` of a GPU that is not cut.
const WHOLE: &str = "full";

/// Looks for GPUs with what `driver` knows.
pub(super) fn scan(root: &HostRoot, driver: &Driver) -> Scan {
    let mut scan = Scan::default();
    scan.folders.extend(nodes::FOLDERS.map(str::to_owned));
    let cards = cards(root, driver, &mut scan);
    if cards.is_empty() {
        return scan;
    }
    let edits =
        Edits { nodes: nodes::shared(root), mounts: files::mounts(root, driver.root()), ..Edits::default() };
    let toolkit = Toolkit::read(root);
    for card in &cards {
        let found = devices(card, root, driver, &mut scan);
        scan.found.extend(found.into_iter().map(|found| Found {
            edits: Edits { nodes: [found.edits.nodes, edits.nodes.clone()].concat(), ..edits.clone() },
            cdi: toolkit.name(&found.id),
            ..found
        }));
    }
    scan
}

/// What NVML tells, else what `/proc` does.
fn cards(root: &HostRoot, driver: &Driver, scan: &mut Scan) -> Vec<Card> {
    let unobserved = "health, links and MIG parts of NVIDIA GPUs are not observed";
    let (why, waiting) = match driver.look(root) {
        View::Fresh(cards) => return cards,
        View::Stale(cards, why) => {
            scan.faults.insert(format!("{why}: NVIDIA GPUs are offered as they were"));
            return cards;
        }
        View::Refused(why) => (Some(why), None),
        View::Silent(why) => (Some(why.clone()), Some(why)),
        View::Absent => (None, None),
    };
    let mut cards = proc::cards(root, &mut scan.faults);
    // What does not answer yet may soon say more of them: nothing is handed out before.
    cards.iter_mut().for_each(|card| card.trouble.clone_from(&waiting));
    match why {
        Some(why) => drop(scan.faults.insert(format!("{unobserved}: {why}"))),
        None if !cards.is_empty() => {
            let why = "there is no libnvidia-ml.so.1 below the driver root";
            scan.faults.insert(format!("{unobserved}: {why}"));
        }
        None => scan.faults.extend(without_driver(root)),
    }
    cards
}

/// A GPU that no driver serves is worth a word: pods that ask for it stay Pending.
fn without_driver(root: &HostRoot) -> Option<String> {
    let mut unread = std::collections::BTreeSet::new();
    let wanted = |vendor: &str, class: &str| vendor == VENDOR && class.starts_with(DISPLAY);
    let functions = super::pci::function::functions(root, &mut unread, wanted);
    // One that is handed to virtual machines has a driver, and needs none of NVIDIA's.
    let first = functions.iter().find(|function| function.driver.is_none())?;
    Some(format!("the NVIDIA GPU at {} has no driver: install NVIDIA's on the node", first.address))
}

/// The card, or what it is cut into.
fn devices(card: &Card, root: &HostRoot, driver: &Driver, scan: &mut Scan) -> Vec<Found> {
    let Some(parts) = &card.parts else { return vec![whole(card, root, driver)] };
    if parts.is_empty() {
        let fix = "make some with `nvidia-smi mig -cgi`, or turn MIG off";
        scan.faults.insert(format!("{} is in MIG mode and has no instances: {fix}", card.id()));
    }
    parts.iter().map(|each| part(each, card, root, driver)).collect()
}

fn whole(card: &Card, root: &HostRoot, driver: &Driver) -> Found {
    Found {
        nodes: nodes::card(card, root),
        memory: card.memory,
        links: card.links.clone(),
        properties: properties(card, card.id(), WHOLE),
        ..common(card, card.id(), root, driver)
    }
}

/// A part has nodes of its own for the right to use it, and needs its card's as well.
fn part(part: &Part, card: &Card, root: &HostRoot, driver: &Driver) -> Found {
    Found {
        nodes: nodes::part(part, card, root),
        edits: Edits { nodes: nodes::card(card, root), ..Edits::default() },
        memory: part.memory,
        // To other cards: the parts of one card are nearest to each other anyway.
        links: card.links.clone(),
        parent: Some(card.id().to_owned()),
        properties: properties(card, &part.uuid, &part.profile),
        ..common(card, &part.uuid, root, driver)
    }
}

/// What a part has in common with its card, health above all.
fn common(card: &Card, id: &str, root: &HostRoot, driver: &Driver) -> Found {
    let (reason, strikes) = driver.trouble(card);
    let missing =
        || nodes::card(card, root).is_empty().then(|| format!("its node {} is not there", nodes::path(card)));
    let health = reason.or_else(missing).map_or(Health::Healthy, |reason| Health::Unhealthy { reason });
    Found {
        vendor: Some("NVIDIA".to_owned()),
        model: Some(card.model.clone()),
        numa: card
            .address
            .as_ref()
            .and_then(|address| super::numa::node(root, &format!("/sys/bus/pci/devices/{address}"))),
        health,
        vitals: Vitals { lanes: None, errors: [("errors that need a reset", strikes)].into() },
        ..Found::new(Kind::Nvidia, id, id)
    }
}

fn properties(card: &Card, uuid: &str, profile: &str) -> Properties {
    let known = [
        (Property::Model, Some(card.model.clone())),
        (Property::Uuid, Some(uuid.to_owned())),
        (Property::Address, card.address.clone()),
        (Property::Device, card.device.clone()),
        (Property::Profile, Some(profile.to_owned())),
    ];
    known.into_iter().filter_map(|(property, value)| Some((property, value?))).collect()
}
