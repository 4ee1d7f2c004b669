//! GPUs of AMD, by what the `amdgpu` driver tells in `/sys` (Documentation/gpu/amdgpu) and its compute side KFD in
//! `/sys/class/kfd`.
//!
//! | what | from |
//! |---|---|
//! | cards | PCI functions of vendor 1002 bound to `amdgpu` |
//! | their partitions, memory and links | KFD's topology |
//! | a partition's node for displays | `/sys/devices/platform/amdgpu_xcp_*` |
//! | health | nodes, KFD's list, and `ras/*_err_count`, `ras/aca_*` |
//!
//! What fails in a card fails in each of its partitions. A card that is not partitioned has the profile
//! `spx_nps1`, as far as it tells; one that cannot be partitioned `full`.

use std::collections::{BTreeMap, BTreeSet};

use super::Scan;
use super::drm::{self, Drm};
use super::pci::function;
use super::sysfs::Folder;
use crate::hostroot::HostRoot;

mod card;
mod kfd;
mod links;
mod part;

use card::Card;
use kfd::{Gpu, Topology};
use part::Part;

const VENDOR: &str = "1002";
/// PCI classes of displays and of processing accelerators.
const CLASSES: [&str; 2] = ["03", "12"];
const PLATFORM: &str = "/sys/devices/platform";

pub(super) fn scan(root: &HostRoot) -> Scan {
    let mut scan = Scan::default();
    scan.folders.extend(["/dev", drm::NODES].map(str::to_owned));
    let cards = cards(root, &mut scan.faults);
    if cards.is_empty() {
        return scan;
    }
    let topology = Topology::read(root, &mut scan.faults);
    let drms = all_drms(&cards, root);
    let mut places = BTreeMap::new();
    for card in &cards {
        let parts = topology.parts(card, &cards);
        if parts.is_empty() {
            scan.found.push(unlisted(card, &topology, root).found(root));
        }
        for (number, gpu) in &parts {
            let is_part = card.is_cut() || parts.len() > 1;
            let found = listed(card, is_part.then_some(*number), gpu, &drms).found(root);
            places.insert(gpu.node, found.key.clone());
            scan.found.push(found);
        }
    }
    links::add(&mut scan.found, &topology, &places);
    scan
}

fn cards(root: &HostRoot, faults: &mut BTreeSet<String>) -> Vec<Card> {
    let wanted =
        |vendor: &str, class: &str| vendor == VENDOR && CLASSES.iter().any(|of| class.starts_with(of));
    let functions = function::functions(root, faults, wanted);
    let mut cards: Vec<Card> = Vec::new();
    for function in functions.into_iter().filter(|function| function.driver.as_deref() == Some("amdgpu")) {
        let mut card = Card::read(function, root, faults);
        // Virtual machines have been seen to give all their GPUs one number.
        if cards.iter().any(|other| other.id == card.id) {
            card.id = card.function.address.clone();
        }
        cards.push(card);
    }
    cards
}

/// The nodes of all cards, and those that the driver keeps for partitions, used or not.
fn all_drms(cards: &[Card], root: &HostRoot) -> Vec<Drm> {
    let platform = Folder::new(root, PLATFORM);
    let parts = platform.names("amdgpu_xcp").into_iter().map(|name| platform.below(&name));
    let whole = cards.iter().map(|card| Folder::new(root, &card.function.folder));
    whole.chain(parts).map(|folder| Drm::of(&folder)).collect()
}

/// A card that KFD does not list, or not to us.
fn unlisted<'a>(card: &'a Card, topology: &Topology, root: &HostRoot) -> Part<'a> {
    let mut part = Part::new(card, Drm::of(&Folder::new(root, &card.function.folder)));
    if !topology.is_hidden {
        part.diagnosis.add("the driver's compute side (KFD) does not list it: see the kernel's log for kfd");
    } else if card.is_cut() {
        part.diagnosis.add("it is partitioned, but KFD's list of its partitions cannot be read");
    }
    part
}

fn listed<'a>(card: &'a Card, number: Option<u32>, gpu: &'a Gpu, drms: &[Drm]) -> Part<'a> {
    let known = drms.iter().find(|drm| drm.render.as_ref() == Some(&gpu.render));
    let drm = known.cloned().unwrap_or_else(|| Drm { card: None, render: Some(gpu.render.clone()) });
    let mut part = Part::new(card, drm);
    (part.number, part.gpu) = (number, Some(gpu));
    part
}
