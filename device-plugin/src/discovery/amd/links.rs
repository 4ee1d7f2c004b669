//! How well GPUs are connected: by the more, the better numbers.

use std::collections::BTreeMap;

use super::kfd::{Link, Topology};
use crate::device::Found;

/// `CRAT_IOLINK_TYPE_XGMI` of the kernel's `kfd_crat.h`, cards joined directly, and
/// `CRAT_IOLINK_TYPE_PCIEXPRESS`.
const XGMI: u64 = 11;
const PCIE: u64 = 2;
/// KFD's weight of one hop over XGMI, and of one between a processor and a card.
const XGMI_HOP: u64 = 15;
const PCIE_HOP: u64 = 20;

/// Parts of one card, whose memory is one.
const ONE_CARD: u32 = 1000;
/// One hop over XGMI; two are worth half as much.
const XGMI_LINK: u64 = 600;
/// One hop over PCIe, which no two cards have.
const PCIE_LINK: u64 = 100;

/// Adds the links of `topology` to `found`, of which `places` says by which KFD node each is known.
pub(super) fn add(found: &mut [Found], topology: &Topology, places: &BTreeMap<u32, String>) {
    let mut families: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for found in found.iter() {
        let parent = found.parent.clone();
        families.entry(parent.unwrap_or_default()).or_default().push(found.key.clone());
    }
    let linked = topology.gpus.iter().filter_map(|gpu| Some((places.get(&gpu.node)?, &gpu.links)));
    let linked: BTreeMap<_, _> = linked.collect();
    for found in found {
        for link in linked.get(&found.key).into_iter().copied().flatten() {
            if let (Some(to), Some(weight)) = (places.get(&link.to), weight(link)) {
                let best = found.links.entry(to.clone()).or_default();
                *best = weight.max(*best);
            }
        }
        let family = found.parent.as_ref().and_then(|parent| families.get(parent));
        let siblings = family.into_iter().flatten().filter(|key| **key != found.key);
        found.links.extend(siblings.map(|key| (key.clone(), ONE_CARD)));
    }
}

fn weight(link: &Link) -> Option<u32> {
    let weight = match link.kind {
        XGMI => XGMI_LINK / link.weight.div_ceil(XGMI_HOP).max(1),
        PCIE => PCIE_LINK * PCIE_HOP / link.weight.max(PCIE_HOP),
        _ => return None,
    };
    u32::try_from(weight).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nearer_links_weigh_more() {
        let weigh = |kind, weight| super::weight(&Link { to: 0, kind, weight });
        for (kind, kfd, expected) in [
            (XGMI, 15, Some(600)),
            (XGMI, 30, Some(300)),
            (XGMI, 0, Some(600)),
            (PCIE, 40, Some(50)),
            (PCIE, 72, Some(27)),
            (PCIE, u64::MAX, Some(0)),
            (1, 20, None),
        ] {
            assert_eq!(weigh(kind, kfd), expected, "type {kind}, weight {kfd}");
        }
    }
}
