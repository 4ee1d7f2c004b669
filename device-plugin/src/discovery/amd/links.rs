//! How well GPUs are connected: by the more, the better numbers.

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
pub(super) fn add(found: &mut [Found], topology: &Topology, places: &[(u32, String)]) {
    let key = |node: u32| places.iter().find(|(place, _)| *place == node).map(|(_, key)| key.clone());
    let parents: Vec<_> = found.iter().map(|found| (found.parent.clone(), found.key.clone())).collect();
    for found in found {
        let gpu = topology.gpus.iter().find(|gpu| key(gpu.node).as_ref() == Some(&found.key));
        for link in gpu.map(|gpu| gpu.links.as_slice()).unwrap_or_default() {
            if let (Some(to), Some(weight)) = (key(link.to), weight(link)) {
                let best = found.links.entry(to).or_default();
                *best = weight.max(*best);
            }
        }
        let siblings = parents.iter().filter(|(parent, key)| parent.is_some() && *key != found.key);
        let siblings = siblings.filter(|(parent, _)| *parent == found.parent);
        found.links.extend(siblings.map(|(_, key)| (key.clone(), ONE_CARD)));
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
