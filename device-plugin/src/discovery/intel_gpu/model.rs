//! Names of Intel's cards for servers and workstations.

/// By PCI device id, as the PCI ID repository has them (pci-ids.ucw.cz); others go by their id.
const NAMES: [(&str, &str); 16] = [
    ("0bd5", "Data Center GPU Max 1550"),
    ("0bda", "Data Center GPU Max 1100"),
    ("56c0", "Data Center GPU Flex 170"),
    ("56c1", "Data Center GPU Flex 140"),
    ("56a0", "Arc A770"),
    ("56a1", "Arc A750"),
    ("56a2", "Arc A580"),
    ("56a5", "Arc A380"),
    ("56a6", "Arc A310"),
    ("56b0", "Arc Pro A30M"),
    ("56b1", "Arc Pro A40"),
    ("56b3", "Arc Pro A60"),
    ("e20b", "Arc B580"),
    ("e20c", "Arc B570"),
    ("e211", "Arc Pro B60"),
    ("e212", "Arc Pro B50"),
];

/// The name of the card with this device id, when it is one of those.
pub(super) fn name(device: &str) -> Option<&'static str> {
    NAMES.iter().find(|(known, _)| *known == device).map(|(_, name)| *name)
}
