//! Finding a listed device again among what a scan found.

use std::collections::{BTreeMap, HashMap};

use crate::device::{Device, Found, Kind};

/// The devices that were listed and have not been found again yet.
#[derive(Debug)]
pub(super) struct Known<'a> {
    by_key: BTreeMap<&'a str, &'a Device>,
    by_node: HashMap<&'a str, &'a Device>,
}

impl<'a> Known<'a> {
    pub(super) fn new(previous: &'a [Device]) -> Known<'a> {
        Known {
            by_key: previous.iter().map(|device| (device.found.key.as_str(), device)).collect(),
            by_node: previous.iter().filter_map(|device| Some((node(&device.found)?, device))).collect(),
        }
    }

    /// What `found` is listed as.
    pub(super) fn take(&mut self, found: &Found) -> Option<&'a Device> {
        let plugged_in = node(found).and_then(|node| self.by_node.get(node)).filter(|device| {
            device.found.nodes == found.nodes && device.found.properties == found.properties
        });
        let key = plugged_in.map_or(found.key.as_str(), |device| &device.found.key);
        self.by_key.remove(key).or_else(|| self.by_key.remove(found.key.as_str()))
    }

    /// Those that were not found.
    pub(super) fn rest(self) -> impl Iterator<Item = &'a Device> {
        self.by_key.into_values()
    }
}

/// The key of a USB device has its port in it only while there is another with its serial number. Its node
/// stays the same until it is unplugged: a bus counts its devices on.
fn node(found: &Found) -> Option<&str> {
    let node = found.nodes.first().filter(|_| found.kind == Kind::Usb)?;
    Some(&node.path)
}

#[cfg(test)]
mod tests {
    use super::super::tests::moment;
    use super::super::{Device, merge};
    use super::*;
    use crate::device::DeviceNode;
    use crate::hostroot::DeviceNumber;

    /// A device that was plugged in as the `minor`th, whose serial number is `usb`.
    fn plugged(minor: u64, key: &str) -> Found {
        let number = DeviceNumber { block: false, major: 189, minor };
        let nodes = vec![DeviceNode { path: format!("/dev/bus/usb/001/{minor:03}"), number }];
        Found { nodes, ..Found::new(Kind::Usb, key, key) }
    }

    /// Ids and nodes of what is there, when each scan finds these.
    fn seen(scans: &[&[(u64, &str)]]) -> Vec<(String, u64)> {
        let find = |known: Vec<Device>, scan: &&[(u64, &str)]| {
            merge(&known, scan.iter().map(|(minor, key)| plugged(*minor, key)).collect(), moment(1))
        };
        let devices = scans.iter().fold(Vec::new(), find).into_iter();
        let there = devices.filter(|device| device.vanished.is_none());
        there.map(|device| (device.id, device.found.nodes[0].number.minor)).collect()
    }

    #[test]
    fn a_device_keeps_its_id_when_its_twin_comes_and_when_it_goes() {
        let (alone, both): (&[_], &[_]) = (&[(3, "usb")], &[(3, "usb:1"), (5, "usb:2")]);
        let id = |id: &str, minor| (id.to_owned(), minor);
        assert_eq!(seen(&[alone, both]), [id("usb", 3), id("usb:2", 5)]);
        assert_eq!(seen(&[alone, both, alone]), [id("usb", 3)]);
        assert_eq!(seen(&[alone, both, &[(5, "usb")]]), [id("usb:2", 5)]);
        assert_eq!(seen(&[both, &[(5, "usb")], both]), [id("usb:1", 3), id("usb:2", 5)]);
        assert_eq!(seen(&[alone, &[(7, "usb")]]), [id("usb", 7)], "it was plugged in elsewhere");
    }
}
