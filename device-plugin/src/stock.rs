//! What one name has to offer now: what was found for it, beside what was listed before.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::cdi;
use crate::cdi::spec::Spec;
use crate::config::Rule;
use crate::config::resource_name::ResourceName;
use crate::device::{Device, Found};
use crate::discovery::{Fault, Lot};
use crate::inventory::{self, Fitted, Moment, Snapshot, limits};

/// The devices to list under a name.
#[derive(Clone, Debug)]
pub(crate) struct Stock {
    pub(crate) name: ResourceName,
    pub(crate) rule: Arc<Rule>,
    pub(crate) devices: Vec<Device>,
    /// How many do not fit in one message to the kubelet.
    pub(crate) left_out: usize,
    /// Why none of them can be given to a container, if so.
    pub(crate) withheld: Option<String>,
}

impl Stock {
    /// What there is of `lot` at this `moment`, given the devices that were listed under its name.
    pub(crate) fn take(lot: Lot, previous: &[Device], moment: Moment, faults: &mut BTreeSet<Fault>) -> Stock {
        let Lot { name, rule, mut found } = lot;
        let still_meant = |device: &&Device| {
            let named = rule.naming.name(&device.found.properties);
            rule.selector.selects(&device.found) && named.as_ref() == Ok(&name)
        };
        let kept: Vec<_> = previous.iter().filter(still_meant).cloned().collect();
        if rule.exclude_topology {
            found.iter_mut().for_each(|found| found.numa = None);
        }
        let fault = |text| Fault { resource: rule.naming.to_string(), text };
        let none_of_it = |found: &&Found| rule.sharing.replicas(found) == 0;
        faults.extend(found.iter().filter(none_of_it).map(|found| fault(too_small(found))));
        let merged = inventory::merge(&kept, found, moment);
        let Fitted { devices, left_out } =
            inventory::fit(merged, &kept, rule.sharing, limits::MAX_LIST_BYTES);
        if left_out > 0 {
            faults.insert(fault(format!(
                "{left_out} devices are left out: the list would be too long for the kubelet; \
                 lower `count` or `replicas`, or match fewer"
            )));
        }
        Stock { name, rule, devices, left_out, withheld: None }
    }

    /// What the kubelet is to be told of it.
    pub(crate) fn snapshot(&self) -> Snapshot {
        Snapshot::new(self.name.clone(), self.devices.clone(), self.rule.sharing)
            .by(self.rule.strategy)
            .withheld(self.withheld.clone())
            .resetting(self.rule.reset.clone())
    }

    /// The CDI spec that containers with its devices need, if any does.
    pub(crate) fn spec(&self) -> Option<Spec> {
        let is_kind = cdi::name::kind(&self.name).is_some();
        let needs_spec = |device: &&Device| self.rule.strategy.way(&device.found, is_kind).needs_spec();
        Spec::of(&self.name, self.devices.iter().filter(needs_spec))
    }
}

fn too_small(found: &Found) -> String {
    match found.memory {
        Some(bytes) => {
            format!("{}: has {bytes} bytes of memory, less than one unit: make `unit` smaller", found.id)
        }
        None => format!("{}: its memory is not known, so none of it can be offered", found.id),
    }
}
