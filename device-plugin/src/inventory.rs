//! The devices of one resource over time: pure merging of what a scan found into what was known.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashSet};
use std::time::Instant;

use tripod_proto::deviceplugin::v1beta1 as wire;

use crate::config::sharing::Sharing;
use crate::device::{Device, Found};
use crate::health::Standing;

mod id;
mod known;
pub mod limits;
pub mod snapshot;

pub(crate) use id::hash8;
pub use snapshot::{Listed, Snapshot};

use id::Ids;
use known::Known;

/// What the API calls a device that can be handed out.
const HEALTHY: &str = "Healthy";

/// Something that happened to a device between two scans.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change<'a> {
    /// It is listed for the first time.
    Appeared(&'a Device),
    /// It was healthy and no longer is.
    Failed(&'a Device),
    /// It was unhealthy and no longer is.
    Recovered(&'a Device),
    /// It is no longer listed.
    Forgotten(&'a Device),
}

/// A device list cut to what one message carries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fitted {
    /// The devices that fit, ordered by key.
    pub devices: Vec<Device>,
    /// How many devices that are present had to be left out.
    pub left_out: usize,
}

/// When a scan was made.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// Which scan it was, counted from 1.
    pub scan: u64,
    /// When.
    pub at: Instant,
}

/// Merges the devices `found` at this `moment` into the `previous` ones, ordered by key. Known
/// devices keep their keys and ids. One that was not found stays, unhealthy: of an allocated device that is
/// missing from the list the kubelet would report that it is healthy.
pub fn merge(previous: &[Device], mut found: Vec<Found>, moment: Moment) -> Vec<Device> {
    let mut known = Known::new(previous);
    let mut ids = Ids::new(previous, &found);
    found.sort_by(|a, b| a.key.cmp(&b.key));
    let mut devices = Vec::with_capacity(found.len());
    for found in found {
        let device = match known.take(&found) {
            Some(device) => again(device, found, moment),
            None => {
                let id = ids.give(&found.id, &found.key);
                listed(id, Standing::first(&found, moment.at), found)
            }
        };
        devices.push(device);
    }
    devices.extend(known.rest().map(|device| vanish(device, moment)));
    devices.sort_by(|a, b| a.found.key.cmp(&b.found.key));
    devices
}

fn again(device: &Device, found: Found, moment: Moment) -> Device {
    let standing = device.standing.look(&device.found.vitals, &found, moment.at);
    // What is cut by its memory keeps its pieces when nobody can tell it for a while.
    let memory = found.memory.or(device.found.memory);
    listed(device.id.clone(), standing, Found { key: device.found.key.clone(), memory, ..found })
}

fn listed(id: String, standing: Standing, found: Found) -> Device {
    let found = Found { health: standing.verdict(), ..found };
    Device { id, found, standing, vanished: None }
}

fn vanish(device: &Device, moment: Moment) -> Device {
    let mut device = device.clone();
    let reason = match device.found.nodes.first() {
        Some(node) => format!("its node {} is gone", node.path),
        None => "it is gone".to_owned(),
    };
    device.standing = device.standing.gone(reason, moment.at);
    device.found.health = device.standing.verdict();
    device.vanished = device.vanished.or(Some(moment.scan));
    device
}

/// Cuts `devices`, each listed as often as `sharing` lets it be held, to `limit` bytes. Devices that were listed before go first,
/// then new ones, then those that have vanished, latest first.
pub fn fit(devices: Vec<Device>, previous: &[Device], sharing: Sharing, limit: usize) -> Fitted {
    let listed: HashSet<&str> = previous.iter().map(|d| d.id.as_str()).collect();
    let mut ranked = devices;
    ranked.sort_by_key(|d| (d.vanished.is_some(), Reverse(d.vanished), !listed.contains(d.id.as_str())));
    let (mut bytes, mut vanished, mut left_out) = (0_usize, 0, 0);
    let mut kept = Vec::with_capacity(ranked.len());
    for device in ranked {
        bytes = bytes.saturating_add(limits::listed_size(
            &device.id,
            device.found.numa,
            sharing.replicas(&device.found),
        ));
        vanished += usize::from(device.vanished.is_some());
        if bytes <= limit && vanished <= limits::MAX_VANISHED {
            kept.push(device);
        } else {
            left_out += usize::from(device.vanished.is_none());
        }
    }
    kept.sort_by(|a, b| a.found.key.cmp(&b.found.key));
    Fitted { devices: kept, left_out }
}

/// What differs between two inventories.
pub fn changes<'a>(old: &'a [Device], new: &'a [Device]) -> Vec<Change<'a>> {
    let mut before: BTreeMap<&str, &Device> = old.iter().map(|d| (d.id.as_str(), d)).collect();
    let mut changes = Vec::new();
    for device in new {
        let was = before.remove(device.id.as_str()).map(|d| d.found.health.is_healthy());
        match (was, device.found.health.is_healthy()) {
            (None, _) => changes.push(Change::Appeared(device)),
            (Some(true), false) => changes.push(Change::Failed(device)),
            (Some(false), true) => changes.push(Change::Recovered(device)),
            _ => {}
        }
    }
    changes.extend(before.into_values().map(Change::Forgotten));
    changes
}

/// One entry of a device list, as the kubelet reads it.
fn wire_device(id: &str, healthy: bool, numa: Option<u32>) -> wire::Device {
    let health = if healthy { HEALTHY } else { "Unhealthy" };
    let node = |numa| wire::TopologyInfo { nodes: vec![wire::NumaNode { id: i64::from(numa) }] };
    wire::Device { id: id.to_owned(), health: health.to_owned(), topology: numa.map(node) }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::device::{DeviceNode, Health, Kind};
    use crate::hostroot::DeviceNumber;

    pub(crate) fn found(path: &str) -> Found {
        let number = DeviceNumber { block: false, major: 1, minor: 3 };
        let nodes = vec![DeviceNode { path: path.to_owned(), number }];
        let id = path.trim_start_matches("/dev/").replace('/', "-");
        Found { nodes, ..Found::new(Kind::Path, path, id) }
    }

    pub(crate) fn moment(scan: u64) -> Moment {
        Moment { scan, at: Instant::now() }
    }

    pub(crate) fn devices(paths: &[&str]) -> Vec<Device> {
        merge(&[], paths.iter().map(|path| found(path)).collect(), moment(1))
    }

    fn ids(devices: &[Device]) -> Vec<(&str, bool)> {
        devices.iter().map(|d| (d.id.as_str(), d.found.health.is_healthy())).collect()
    }

    fn ids_by_key(devices: &[Device]) -> Vec<(String, String)> {
        devices.iter().map(|device| (device.found.key.clone(), device.id.clone())).collect()
    }

    #[test]
    fn a_device_that_vanished_stays_listed_unhealthy_and_recovers_with_its_id() {
        let first = devices(&["/dev/a", "/dev/b"]);
        let second = merge(&first, vec![found("/dev/b")], moment(2));
        assert_eq!(ids(&second), [("a", false), ("b", true)]);
        let reason = Health::Unhealthy { reason: "its node /dev/a is gone".to_owned() };
        assert_eq!(second[0].found.health, reason);
        let third = merge(&second, vec![found("/dev/a"), found("/dev/b")], moment(3));
        assert_eq!(ids(&third), ids(&first));
    }

    #[test]
    fn two_paths_that_would_have_one_id_get_two_and_keep_them() {
        let nested_first = merge(&[], vec![found("/dev/a/b")], moment(1));
        let both = merge(&nested_first, vec![found("/dev/a-b"), found("/dev/a/b")], moment(2));
        let hashed = format!("a-b-{}", hash8("/dev/a-b"));
        let expected = [("/dev/a-b", hashed.as_str()), ("/dev/a/b", "a-b")];
        assert_eq!(ids_by_key(&both), expected.map(|(key, id)| (key.to_owned(), id.to_owned())));
    }

    #[test]
    fn ids_do_not_depend_on_who_was_looked_at_first() {
        let ids = |paths: &[&str]| ids_by_key(&devices(paths));
        let both = ids(&["/dev/a/b", "/dev/a-b", "/dev/c"]);
        assert_eq!(ids(&["/dev/c", "/dev/a-b", "/dev/a/b"]), both);
        let hashed = |path: &str| (path.to_owned(), format!("a-b-{}", hash8(path)));
        assert_eq!(both, [hashed("/dev/a-b"), hashed("/dev/a/b"), ("/dev/c".to_owned(), "c".to_owned())]);
    }

    #[test]
    fn changes_name_what_happened() {
        let old = devices(&["/dev/a", "/dev/b", "/dev/c"]);
        let new = merge(&old[..2], vec![found("/dev/a"), found("/dev/d")], moment(2));
        let said: Vec<_> = changes(&old, &new)
            .into_iter()
            .map(|change| match change {
                Change::Appeared(d) => format!("+{}", d.id),
                Change::Failed(d) => format!("!{}", d.id),
                Change::Recovered(d) => format!("^{}", d.id),
                Change::Forgotten(d) => format!("-{}", d.id),
            })
            .collect();
        assert_eq!(said, ["!b", "+d", "-c"]);
        assert!(matches!(
            changes(&new, &old)[..],
            [Change::Recovered(_), Change::Appeared(_), Change::Forgotten(_)]
        ));
    }

    #[test]
    fn a_list_is_cut_at_its_limit_old_devices_first() {
        let old = devices(&["/dev/b", "/dev/gone"]);
        let new = merge(&old, vec![found("/dev/a"), found("/dev/b")], moment(2));
        let one = limits::entry_size("b", None);
        assert_eq!(ids(&fit(new.clone(), &old, Sharing::EXCLUSIVE, one).devices), [("b", true)]);
        assert_eq!(fit(new.clone(), &old, Sharing::EXCLUSIVE, one).left_out, 1);
        assert_eq!(
            ids(&fit(new.clone(), &old, Sharing::EXCLUSIVE, 2 * one).devices),
            [("a", true), ("b", true)]
        );
        assert_eq!(
            fit(new.clone(), &old, Sharing::EXCLUSIVE, 100 * one),
            Fitted { devices: new, left_out: 0 }
        );
    }

    #[test]
    fn only_so_many_vanished_devices_are_remembered_latest_first() {
        let paths: Vec<_> = (0..limits::MAX_VANISHED).map(|n| format!("/dev/old{n:04}")).collect();
        let old = merge(&[], paths.iter().map(|p| found(p)).collect(), moment(1));
        let old = merge(&old, vec![found("/dev/last")], moment(2));
        let new = fit(merge(&old, Vec::new(), moment(3)), &old, Sharing::EXCLUSIVE, limits::MAX_LIST_BYTES);
        assert_eq!((new.devices.len(), new.left_out), (limits::MAX_VANISHED, 0));
        assert!(new.devices.iter().any(|d| d.id == "last"));
    }

    #[test]
    fn the_size_of_an_entry_is_what_it_adds_to_the_encoded_list() {
        use prost::Message;
        let list = |n: usize| wire::ListAndWatchResponse {
            devices: vec![wire_device("ttyUSB0::1", false, Some(1)); n],
        };
        let added = list(3).encoded_len() - list(2).encoded_len();
        assert_eq!(limits::entry_size("ttyUSB0::1", Some(1)), added);
    }
}
