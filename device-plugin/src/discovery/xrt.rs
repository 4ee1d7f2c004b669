//! Accelerator cards of AMD (Xilinx), by what the drivers of their runtime XRT tell in `/sys`.
//!
//! A card has two PCI functions: one for users, bound to `xocl`, and one for management, bound to `xclmgmt`. A
//! container gets the user function's node, with which it loads and runs its programs, and the node of its DMA
//! engine. The node for management, `/dev/xclmgmt*`, is not given: it can replace the card's shell, and with
//! that what the next container finds. Where one is wanted, a rule of kind `path` offers it.

use std::collections::BTreeSet;

use super::Scan;
use super::drm;
use super::pci::function::{self, Function};
use crate::hostroot::HostRoot;

mod card;
mod shell;
mod transcoder;

/// Xilinx, and who builds cards with its chips: Amazon, Advantech, Arista.
const VENDORS: [&str; 4] = ["10ee", "1d0f", "13fe", "3475"];
const USER: &str = "xocl";
const MANAGEMENT: &str = "xclmgmt";

pub(super) fn scan(root: &HostRoot) -> Scan {
    let mut scan = Scan::default();
    scan.folders.extend(["/dev", drm::NODES, card::DMA_NODES].map(str::to_owned));
    let functions = function::functions(root, &mut scan.faults, |vendor, _| VENDORS.contains(&vendor));
    let is_bound = |function: &&Function, driver: &str| function.driver.as_deref() == Some(driver);
    let users: Vec<_> = functions.iter().filter(|function| is_bound(function, USER)).collect();
    for user in &users {
        scan.found.push(card::device(user, root, &mut scan.faults));
    }
    let managed: BTreeSet<_> =
        functions.iter().filter(|function| is_bound(function, MANAGEMENT)).map(slot).collect();
    for slot in managed.into_iter().filter(|slot| !users.iter().any(|user| self::slot(user) == *slot)) {
        scan.faults.insert(format!(
            "the card at {slot} has a function for management but none for users: it is left out; load xocl"
        ));
    }
    transcoder::add(&mut scan, root);
    scan
}

/// The address but for the function: `0000:3b:00`.
fn slot(function: &Function) -> &str {
    function.address.rsplit_once('.').map_or(&function.address, |(slot, _)| slot)
}
