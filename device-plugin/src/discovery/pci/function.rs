//! PCI functions, as `/sys/bus/pci/devices` lists them (Documentation/ABI/testing/sysfs-bus-pci).

use std::collections::BTreeSet;

use crate::device::Vitals;
use crate::discovery::numa;
use crate::hostroot::HostRoot;
use crate::inventory::limits;

const FUNCTIONS: &str = "/sys/bus/pci/devices";
/// Most lanes of a PCIe link.
const MAX_LANES: u32 = 32;

/// One function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::discovery) struct Function {
    /// `0000:3b:00.1`.
    pub(in crate::discovery) address: String,
    /// Its folder below `/sys`, by the list of functions.
    pub(in crate::discovery) folder: String,
    /// Four hexadecimal digits, as the following one.
    pub(in crate::discovery) vendor: String,
    pub(in crate::discovery) device: String,
    /// Six hexadecimal digits: class, subclass and programming interface.
    pub(in crate::discovery) class: String,
    /// The driver it is bound to.
    pub(in crate::discovery) driver: Option<String>,
    /// The NUMA node it hangs on.
    pub(in crate::discovery) numa: Option<u32>,
    /// Its link, and what the kernel counts of errors on it.
    pub(in crate::discovery) vitals: Vitals,
}

/// `text`, if it is an address such as `0000:3b:00.1`.
pub(in crate::discovery) fn address(text: &str) -> Option<String> {
    let is_hex =
        |part: &str, digits: usize| part.len() == digits && part.bytes().all(|b| b.is_ascii_hexdigit());
    let (slot, function) = text.split_once('.')?;
    let mut parts = slot.split(':');
    let lengths_fit =
        [4, 2, 2].into_iter().all(|digits| parts.next().is_some_and(|part| is_hex(part, digits)));
    (lengths_fit && parts.next().is_none() && is_hex(function, 1)).then(|| text.to_owned())
}

/// The functions that `wanted` picks by vendor and class. What cannot be read is left out and told.
pub(in crate::discovery) fn functions(
    root: &HostRoot,
    faults: &mut BTreeSet<String>,
    wanted: impl Fn(&str, &str) -> bool,
) -> Vec<Function> {
    let addresses = root.names(FUNCTIONS).unwrap_or_else(|error| {
        faults.insert(format!("cannot read the folder {FUNCTIONS}: {error}"));
        Vec::new()
    });
    let mut functions = Vec::new();
    for address in addresses.into_iter().take(limits::MAX_FOUND) {
        match look_at(&address, root, &wanted) {
            Ok(function) => functions.extend(function),
            Err(fault) => drop(faults.insert(fault)),
        }
    }
    functions
}

fn look_at(
    address: &str,
    root: &HostRoot,
    wanted: impl Fn(&str, &str) -> bool,
) -> Result<Option<Function>, String> {
    let folder = format!("{FUNCTIONS}/{address}");
    let need = |attribute: &str| {
        let path = format!("{folder}/{attribute}");
        let text = root.attribute(&path).map_err(|error| format!("cannot read {path}: {error}"))?;
        let digits = text.as_deref().and_then(|text| text.strip_prefix("0x")).map(str::to_owned);
        digits.ok_or_else(|| format!("{path} is no hexadecimal number: {address} is left out"))
    };
    let (vendor, class) = (need("vendor")?, need("class")?);
    if !wanted(&vendor, &class) {
        return Ok(None);
    }
    let driver = root.link_name(&format!("{folder}/driver"));
    let numa = numa::node(root, &folder);
    Ok(Some(Function {
        address: address.to_owned(),
        vendor,
        device: need("device")?,
        class,
        driver,
        numa,
        vitals: vitals(&folder, root),
        folder,
    }))
}

/// A link without a card says 0 lanes, and one that sleeps all ones. Errors that the kernel calls fatal cost the link; others it repaired
/// (Documentation/ABI/testing/sysfs-bus-pci-devices-aer_stats).
pub(in crate::discovery) fn vitals(folder: &str, root: &HostRoot) -> Vitals {
    let read = |attribute: &str| root.attribute(&format!("{folder}/{attribute}")).ok().flatten();
    let lanes = read("current_link_width")
        .and_then(|lanes| lanes.parse().ok())
        .filter(|lanes| (1..=MAX_LANES).contains(lanes));
    let fatal = read("aer_dev_fatal").and_then(|table| {
        table.lines().find_map(|line| line.strip_prefix("TOTAL_ERR_FATAL ")?.trim().parse().ok())
    });
    Vitals { lanes, errors: fatal.map(|count| ("fatal PCIe errors", count)).into_iter().collect() }
}

#[cfg(test)]
mod tests {
    #[test]
    fn an_address_has_four_parts_of_fixed_length() {
        for text in ["", "0000:3b:00", "3b:00.1", "0000:3b:00.1.2", "0000:3b:00:0.1", "000g:3b:00.1", "..."] {
            assert_eq!(super::address(text), None, "{text}");
        }
        assert_eq!(super::address("0000:3b:00.1").as_deref(), Some("0000:3b:00.1"));
    }
}
