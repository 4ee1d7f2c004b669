//! Finding devices. A finder per kind looks below a [`HostRoot`]; what they find is shared out here.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use crate::config::criteria::Properties;
use crate::config::naming::Naming;
use crate::config::resource_name::ResourceName;
use crate::config::{Rule, Selector};
use crate::device::{Found, Kind};
use crate::hostroot::HostRoot;

mod amd;
mod claim;
mod dfl;
mod diagnosis;
mod drm;
mod fpga_manager;
mod intel_gpu;
mod numa;
mod path;
mod pci;
mod sample;
mod sysfs;
mod usb;
mod xrt;

pub mod nvidia;

use claim::Claims;

/// What one look for the devices of one kind found.
#[derive(Clone, Debug, Default)]
pub struct Scan {
    /// The devices, in order of preference: the first of several names for one device stays.
    pub found: Vec<Found>,
    /// The host's folders in which a change would change the outcome.
    pub folders: BTreeSet<String>,
    /// What went wrong, each in one sentence for a person. It hides nothing else.
    pub faults: BTreeSet<String>,
}

/// What one look at a node found for all rules.
#[derive(Debug, Default)]
pub struct Survey {
    /// What is offered under each name, in the order of the rules.
    pub lots: Vec<Lot>,
    /// The host's folders in which a change would change the outcome.
    pub folders: BTreeSet<String>,
    /// What went wrong.
    pub faults: BTreeSet<Fault>,
}

/// What a rule offers under one name.
#[derive(Clone, Debug)]
pub struct Lot {
    /// The name.
    pub name: ResourceName,
    /// The rule.
    pub rule: Arc<Rule>,
    /// The devices.
    pub found: Vec<Found>,
}

/// Something that went wrong while devices were looked for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fault {
    /// The resource it concerns, as the config names it.
    pub resource: String,
    /// One sentence for a person.
    pub text: String,
}

/// What is listed under a name already.
#[derive(Clone, Debug)]
pub struct Listed {
    /// How its rule names devices.
    pub naming: Naming,
    /// Its devices by key, with what is known of each.
    pub devices: HashMap<String, Properties>,
}

/// By name, what is listed already.
pub type Known = BTreeMap<ResourceName, Listed>;

/// A node, and what is held open to look at it.
#[derive(Debug)]
pub struct Host {
    /// Its file tree.
    pub root: HostRoot,
    /// The driver of its NVIDIA GPUs.
    pub nvidia: nvidia::Driver,
}

/// Finds every device of a kind, but none of paths, which only patterns tell apart. Blocking.
fn scan(kind: Kind, host: &Host) -> Scan {
    let find = match kind {
        Kind::Path => return Scan::default(),
        Kind::Nvidia => return nvidia::scan(&host.root, &host.nvidia),
        Kind::Usb => usb::scan,
        Kind::Pci => pci::scan,
        Kind::Amd => amd::scan,
        Kind::IntelGpu => intel_gpu::scan,
        Kind::Dfl => dfl::scan,
        Kind::Xrt => xrt::scan,
        Kind::FpgaManager => fpga_manager::scan,
        Kind::Sample => sample::scan,
    };
    find(&host.root)
}

/// Looks for the devices of all `rules`, in their order, and settles what is offered under which name.
/// Each kind is looked for once.
pub fn survey(rules: &[Arc<Rule>], known: &Known, host: &Host) -> Survey {
    let mut scans = BTreeMap::new();
    let mut claims = Claims::default();
    let mut survey = Survey::default();
    for rule in rules {
        let mut scan = match &rule.selector {
            Selector::Path(patterns) => path::scan(patterns, &host.root),
            Selector::Criteria(kind, _) => scans.entry(*kind).or_insert_with(|| scan(*kind, host)).clone(),
        };
        scan.found.iter_mut().for_each(|found| recall(found, known));
        scan.found.retain(|found| rule.selector.selects(found));
        // A device that is listed, and perhaps in use, keeps its name when a link to it appears.
        let listed = |found: &Found| known.values().any(|listed| listed.devices.contains_key(&found.key));
        scan.found.sort_by_key(|found| !listed(found));
        claims.settle(rule, &mut scan);
        survey.add(rule, scan, known);
    }
    survey
}

impl Survey {
    fn add(&mut self, rule: &Arc<Rule>, scan: Scan, known: &Known) {
        let mut faults = scan.faults;
        for (name, found) in named(rule, scan.found, known, &mut faults) {
            let found = tailored(found, rule, &name);
            if self.lots.iter().any(|lot| lot.name == name) {
                faults.insert(format!("{name} is offered by an earlier rule already"));
            } else {
                self.lots.push(Lot { name, rule: rule.clone(), found });
            }
        }
        let resource = rule.naming.to_string();
        self.folders.extend(scan.folders);
        self.faults.extend(faults.into_iter().map(|text| Fault { resource: resource.clone(), text }));
    }
}

/// A card whose interface is in a pod is still that card: what the interface told is known from before.
fn recall(found: &mut Found, known: &Known) {
    if found.kind != Kind::Pci {
        return;
    }
    let before = known.values().find_map(|listed| listed.devices.get(&found.key));
    for (property, value) in before.into_iter().flatten() {
        found.properties.entry(*property).or_insert_with(|| value.clone());
    }
}

/// Gives devices what depends on the name they are offered under.
fn tailored(mut found: Vec<Found>, rule: &Rule, name: &ResourceName) -> Vec<Found> {
    if rule.selector.kind() == Kind::Pci {
        found.iter_mut().for_each(|found| pci::tailor(found, rule, name));
    }
    found
}

/// Sorts `found` by name. A fixed name is offered without any device too, and so is one that follows from
/// devices while there are any listed under it.
fn named(
    rule: &Rule,
    found: Vec<Found>,
    known: &Known,
    faults: &mut BTreeSet<String>,
) -> BTreeMap<ResourceName, Vec<Found>> {
    let listed =
        known.iter().filter(|(_, listed)| listed.naming == rule.naming && !listed.devices.is_empty());
    let mut named: BTreeMap<_, _> = listed.map(|(name, _)| (name.clone(), Vec::new())).collect();
    if let Naming::Fixed(name) = &rule.naming {
        named.insert(name.clone(), Vec::new());
    }
    for found in found {
        match rule.naming.name(&found.properties) {
            Ok(name) => named.entry(name).or_default().push(found),
            Err(reason) => drop(faults.insert(format!("{} cannot be named: {reason}", found.id))),
        }
    }
    named
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    fn keys(config: &str, known: &[&str]) -> Vec<(String, Vec<String>)> {
        let rules = Config::parse(config).unwrap().rules;
        let devices = known.iter().map(|key| ((*key).to_owned(), BTreeMap::new())).collect();
        let name = rules[0].naming.name(&BTreeMap::new()).unwrap();
        let known = Known::from([(name, Listed { naming: rules[0].naming.clone(), devices })]);
        let lots =
            survey(&rules, &known, &Host { root: HostRoot::new("/"), nvidia: nvidia::Driver::new("") }).lots;
        let keys = |lot: Lot| (lot.name.to_string(), lot.found.into_iter().map(|found| found.key).collect());
        lots.into_iter().map(keys).collect()
    }

    #[test]
    fn a_device_that_is_listed_keeps_its_name_when_it_gets_a_better_one() {
        let same = "version: v1\nresources: [{name: a/b, match: {paths: [/dev/null, '/dev/nul?']}}]";
        let two = "version: v1\nresources: [{name: a/b, match: {paths: [/dev/core, /dev/null]}}]";
        let lot = |keys: &[&str]| {
            vec![("a/b".to_owned(), keys.iter().map(|key| (*key).to_owned()).collect::<Vec<_>>())]
        };
        assert_eq!(keys(same, &[]), lot(&["/dev/null"]));
        assert_eq!(keys(two, &["/dev/null"]), lot(&["/dev/null"]));
    }

    #[test]
    fn a_fixed_name_is_offered_without_any_device_too() {
        let config = "version: v1\nresources: [{name: a/b, match: {paths: [/dev/not-there]}}]";
        assert_eq!(keys(config, &[]), [("a/b".to_owned(), Vec::new())]);
    }
}
