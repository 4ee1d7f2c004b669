//! Which rule has a device that several of them match.

use std::collections::HashMap;

use super::Scan;
use crate::config::Rule;
use crate::config::criteria::Property;
use crate::device::{Found, Kind};
use crate::hostroot::DeviceNumber;

/// What no two resources may offer both: different names for it, and different finders that see it, mean
/// the same device.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Claim {
    Node(DeviceNumber),
    Function(String),
    Key(Kind, String),
}

/// Who has what. A rule goes by its name here, which no other has.
#[derive(Debug, Default)]
pub(super) struct Claims(HashMap<Claim, Owner>);

#[derive(Clone, Debug)]
struct Owner {
    resource: String,
    shared: bool,
}

impl Claims {
    /// Keeps in `scan` what `rule` may offer: a device belongs to the first rule that finds it. Two rules
    /// offer the same one only if both let containers share it.
    pub(super) fn settle(&mut self, rule: &Rule, scan: &mut Scan) {
        let owner = Owner { resource: rule.naming.to_string(), shared: rule.sharing.is_shared() };
        let faults = &mut scan.faults;
        scan.found.retain(|found| {
            let claims = claims(found);
            for (claim, name) in &claims {
                match self.0.get(claim) {
                    // Several names of one node are one device. Functions of one IOMMU group are several,
                    // of which only one container can open the group.
                    Some(first) if first.resource == owner.resource => {
                        faults.extend(rivalry(found, claim, name));
                        return false;
                    }
                    Some(first) if !(owner.shared && first.shared) => {
                        faults.insert(format!("{name} belongs to {} already", first.resource));
                        return false;
                    }
                    _ => {}
                }
            }
            self.0.extend(claims.into_iter().map(|(claim, _)| (claim, owner.clone())));
            true
        });
    }
}

/// What is worth a word when two devices of one rule want the same.
fn rivalry(found: &Found, claim: &Claim, name: &str) -> Option<String> {
    match claim {
        _ if found.kind == Kind::Path => None,
        Claim::Key(..) => Some(format!("two devices call themselves {name}: the second is left out")),
        _ => Some(format!("{} shares {name} with another device", found.id)),
    }
}

/// Parts of a device share its PCI function.
fn claims(found: &Found) -> Vec<(Claim, &str)> {
    let nodes = found.nodes.iter().map(|node| (Claim::Node(node.number), node.path.as_str()));
    let function = found.properties.get(&Property::Address).filter(|_| found.parent.is_none());
    let function = function.map(|address| (Claim::Function(address.clone()), address.as_str()));
    let key = (Claim::Key(found.kind, found.key.clone()), found.id.as_str());
    std::iter::once(key).chain(nodes).chain(function).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Selector;
    use crate::config::naming::Naming;
    use crate::config::sharing::Sharing;
    use crate::config::strategy::Strategy;
    use crate::inventory::tests::found;

    fn rule(name: &str, count: u32) -> Rule {
        Rule {
            naming: Naming::parse(name, Kind::Path).unwrap(),
            selector: Selector::Path(Vec::new()),
            sharing: Sharing::among(count),
            exclude_topology: false,
            reset: None,
            strategy: Strategy::Auto,
        }
    }

    /// Keys that two rules keep when both find the same device, the first under two names.
    fn shared_out(counts: [u32; 2]) -> (Vec<String>, Vec<String>, Vec<String>) {
        let mut claims = Claims::default();
        let mut first = Scan { found: vec![found("/dev/link"), found("/dev/a")], ..Scan::default() };
        let mut second = Scan { found: vec![found("/dev/a")], ..Scan::default() };
        claims.settle(&rule("a/first", counts[0]), &mut first);
        claims.settle(&rule("a/second", counts[1]), &mut second);
        let keys = |scan: &Scan| scan.found.iter().map(|f| f.key.clone()).collect();
        (keys(&first), keys(&second), second.faults.into_iter().collect())
    }

    #[test]
    fn a_device_belongs_to_the_first_rule_and_is_listed_once() {
        let (first, second, faults) = shared_out([1, 2]);
        assert_eq!(first, ["/dev/link"]);
        assert!(second.is_empty());
        assert_eq!(faults, ["/dev/a belongs to a/first already"]);
    }

    #[test]
    fn of_two_devices_with_one_name_the_second_is_left_out() {
        let mut claims = Claims::default();
        let twin = || Found::new(Kind::Nvidia, "GPU-1", "GPU-1");
        let mut scan = Scan { found: vec![twin(), twin()], ..Scan::default() };
        claims.settle(&rule("a/gpu", 1), &mut scan);
        assert_eq!(scan.found.len(), 1);
        let told = "two devices call themselves GPU-1: the second is left out";
        assert_eq!(scan.faults.into_iter().collect::<Vec<_>>(), [told]);
    }

    #[test]
    fn rules_that_both_share_may_offer_the_same_device() {
        let (first, second, faults) = shared_out([2, 3]);
        assert_eq!((first, second), (vec!["/dev/link".to_owned()], vec!["/dev/a".to_owned()]));
        assert!(faults.is_empty());
    }

    #[test]
    fn a_pci_function_is_one_device_whoever_finds_it_but_its_parts_are_several() {
        let function = |kind, key: &str, parent: Option<&str>| Found {
            properties: [(Property::Address, "0000:3b:00.0".to_owned())].into(),
            parent: parent.map(str::to_owned),
            ..Found::new(kind, key, key)
        };
        let mut claims = Claims::default();
        let mut parts = Scan {
            found: vec![
                function(Kind::Nvidia, "MIG-1", Some("GPU-1")),
                function(Kind::Nvidia, "MIG-2", Some("GPU-1")),
            ],
            ..Scan::default()
        };
        let mut whole = Scan { found: vec![function(Kind::Nvidia, "GPU-2", None)], ..Scan::default() };
        let mut again = Scan { found: vec![function(Kind::Pci, "0000:3b:00.0", None)], ..Scan::default() };
        claims.settle(&rule("a/mig", 1), &mut parts);
        claims.settle(&rule("a/gpu", 1), &mut whole);
        claims.settle(&rule("a/pci", 1), &mut again);
        assert_eq!((parts.found.len(), whole.found.len(), again.found.len()), (2, 1, 0));
        assert_eq!(again.faults.into_iter().collect::<Vec<_>>(), ["0000:3b:00.0 belongs to a/gpu already"]);
    }
}
