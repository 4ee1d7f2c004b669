//! Finding devices. A backend per kind looks below a [`HostRoot`]; what they find is shared out here.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::fmt;

use crate::config::criteria::{Criteria, Property};
use crate::config::resource_name::ResourceName;
use crate::config::{Resource, Selector};
use crate::device::{Found, Kind};
use crate::hostroot::{DeviceNumber, HostRoot};

mod path;
mod usb;

/// One way of finding devices, set up for one resource.
pub trait Discovery: fmt::Debug + Send + Sync {
    /// Looks once. Blocking. What cannot be read is a fault of the scan and hides nothing else.
    fn scan(&self, root: &HostRoot) -> Scan;

    /// Whether a device that was found before would still be one of the resource's, present or not.
    fn selects(&self, found: &Found) -> bool;
}

/// What one look found.
#[derive(Debug, Default)]
pub struct Scan {
    /// The devices, in order of preference: the first of several names for one device stays.
    pub found: Vec<Found>,
    /// The host's folders in which a change would change the outcome.
    pub folders: BTreeSet<String>,
    /// What went wrong, each in one sentence for a person.
    pub faults: BTreeSet<String>,
}

/// The backend for `selector`.
pub fn backend(selector: &Selector) -> Box<dyn Discovery> {
    match selector {
        Selector::Path(patterns) => Box::new(path::PathDiscovery::new(patterns.clone())),
        Selector::Criteria(kind, criteria) => {
            Box::new(Chosen { finder: finder(*kind), criteria: criteria.clone() })
        }
    }
}

/// Finds every device of a kind. Blocking.
type Finder = fn(&HostRoot) -> Scan;

/// None of a kind that a config cannot name yet.
fn finder(kind: Kind) -> Finder {
    match kind {
        Kind::Usb => usb::scan,
        _ => |_| Scan::default(),
    }
}

/// The devices of a kind that a resource means.
struct Chosen {
    finder: Finder,
    criteria: Criteria,
}

impl fmt::Debug for Chosen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Chosen").field(&self.criteria).finish()
    }
}

impl Discovery for Chosen {
    fn scan(&self, root: &HostRoot) -> Scan {
        let mut scan = (self.finder)(root);
        scan.found.retain(|found| self.criteria.admit(&found.properties));
        scan
    }

    fn selects(&self, found: &Found) -> bool {
        self.criteria.admit(&found.properties)
    }
}

/// Keys of the devices that each resource has listed before.
pub type Known = HashMap<ResourceName, HashSet<String>>;

/// Scans for all `resources`, in their order, and settles which of them owns what.
pub fn scan(resources: &[Resource], known: &Known, root: &HostRoot) -> Vec<Scan> {
    let mut owners = HashMap::new();
    resources
        .iter()
        .map(|resource| {
            let mut scan = backend(&resource.selector).scan(root);
            if let Some(known) = known.get(&resource.name) {
                // A device that is listed, and perhaps in use, keeps its name when a link to it appears.
                scan.found.sort_by_key(|found| !known.contains(&found.key));
            }
            claim(resource, &mut scan, &mut owners);
            scan
        })
        .collect()
}

/// Who owns a device.
#[derive(Clone, Debug)]
struct Owner {
    resource: ResourceName,
    shared: bool,
}

/// What no two resources may offer both: different names for it, and different backends that find it, mean
/// the same device.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Claim {
    Node(DeviceNumber),
    Function(String),
}

/// Parts of a device share its PCI function.
fn claims(found: &Found) -> Vec<(Claim, &str)> {
    let nodes = found.nodes.iter().map(|node| (Claim::Node(node.number), node.path.as_str()));
    let function = found.properties.get(&Property::Address).filter(|_| found.parent.is_none());
    nodes.chain(function.map(|address| (Claim::Function(address.clone()), address.as_str()))).collect()
}

/// Keeps in `scan` what `resource` may offer: a device belongs to the first resource that finds it. Two
/// resources offer the same one only if both let containers share it.
fn claim(resource: &Resource, scan: &mut Scan, owners: &mut HashMap<Claim, Owner>) {
    let shared = resource.sharing.is_shared();
    let faults = &mut scan.faults;
    scan.found.retain(|found| {
        let claims = claims(found);
        for (claim, name) in &claims {
            match owners.get(claim) {
                Some(owner) if owner.resource == resource.name => return false,
                Some(owner) if !(shared && owner.shared) => {
                    faults.insert(format!("{name} belongs to {} already", owner.resource));
                    return false;
                }
                _ => {}
            }
        }
        let owner = Owner { resource: resource.name.clone(), shared };
        owners.extend(claims.into_iter().map(|(claim, _)| (claim, owner.clone())));
        true
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::path_pattern::PathPattern;
    use crate::config::sharing::Sharing;
    use crate::config::strategy::Strategy;
    use crate::inventory::tests::found;

    fn resource(name: &str, count: u32) -> Resource {
        Resource {
            name: ResourceName::parse(name).unwrap(),
            selector: Selector::Path(Vec::new()),
            sharing: Sharing::among(count),
            exclude_topology: false,
            strategy: Strategy::Auto,
        }
    }

    /// Keys that two resources keep when both find the same device, the first under two names.
    fn shared_out(counts: [u32; 2]) -> (Vec<String>, Vec<String>, Vec<String>) {
        let mut owners = HashMap::new();
        let mut first = Scan { found: vec![found("/dev/link"), found("/dev/a")], ..Scan::default() };
        let mut second = Scan { found: vec![found("/dev/a")], ..Scan::default() };
        claim(&resource("a/first", counts[0]), &mut first, &mut owners);
        claim(&resource("a/second", counts[1]), &mut second, &mut owners);
        let keys = |scan: &Scan| scan.found.iter().map(|f| f.key.clone()).collect();
        (keys(&first), keys(&second), second.faults.into_iter().collect())
    }

    #[test]
    fn a_device_belongs_to_the_first_resource_and_is_listed_once() {
        let (first, second, faults) = shared_out([1, 2]);
        assert_eq!(first, ["/dev/link"]);
        assert!(second.is_empty());
        assert_eq!(faults, ["/dev/a belongs to a/first already"]);
    }

    #[test]
    fn a_device_that_is_listed_keeps_its_name_when_it_gets_a_better_one() {
        let selector =
            |paths: [&str; 2]| Selector::Path(paths.map(|p| PathPattern::parse(p).unwrap()).to_vec());
        let resource = Resource { selector: selector(["/dev/core", "/dev/null"]), ..resource("a/b", 1) };
        let same = Resource { selector: selector(["/dev/null", "/dev/nul?"]), ..resource.clone() };
        let keys = |resource: Resource, known: &[&str]| -> Vec<String> {
            let known = known.iter().map(|key| (*key).to_owned()).collect();
            let known = Known::from([(resource.name.clone(), known)]);
            let scans = scan(&[resource], &known, &HostRoot::new("/"));
            scans.into_iter().flat_map(|scan| scan.found).map(|found| found.key).collect()
        };
        assert_eq!(keys(same, &[]), ["/dev/null"]);
        assert_eq!(keys(resource, &["/dev/null"]), ["/dev/null"]);
    }

    #[test]
    fn resources_that_both_share_may_offer_the_same_device() {
        let (first, second, faults) = shared_out([2, 3]);
        assert_eq!((first, second), (vec!["/dev/link".to_owned()], vec!["/dev/a".to_owned()]));
        assert!(faults.is_empty());
    }
}
