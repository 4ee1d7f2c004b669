//! Which ids containers hold, at one moment.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use tripod_proto::podresources::v1::{ContainerDevices, ListPodResourcesResponse};

use crate::config::resource_name::ResourceName;

/// Ids by resource name.
pub type Ids = BTreeMap<String, BTreeSet<String>>;

/// What containers hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Usage {
    /// When the kubelet was asked.
    pub asked: Instant,
    held: Ids,
}

/// An id that a container held and none holds any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Release {
    /// Of which resource.
    pub resource: String,
    /// The id, as it was listed.
    pub id: String,
}

impl Usage {
    /// What `answer`, to a question of the moment `asked`, says of the resources `ours`.
    pub fn of(answer: ListPodResourcesResponse, ours: &BTreeSet<String>, asked: Instant) -> Usage {
        let containers = answer.pod_resources.into_iter().flat_map(|pod| pod.containers);
        Usage { asked, held: ids(containers.flat_map(|container| container.devices), ours) }
    }

    /// The ids per resource that containers hold.
    pub fn in_use(&self) -> &Ids {
        &self.held
    }

    /// Whether a container holds the device `id`, or a share of it.
    pub fn holds(&self, resource: &ResourceName, id: &str) -> bool {
        let of_device = |held: &String| {
            held == id || held.rsplit_once("::").is_some_and(|(device, _replica)| device == id)
        };
        self.held.get(resource.as_str()).is_some_and(|held| held.iter().any(of_device))
    }

    /// What was held in `before` and no longer is.
    pub fn released_since(&self, before: &Usage) -> Vec<Release> {
        let mut released = Vec::new();
        for (resource, ids) in &before.held {
            let still = self.held.get(resource);
            let gone = ids.iter().filter(|id| !still.is_some_and(|held| held.contains(*id)));
            released.extend(gone.map(|id| Release { resource: resource.clone(), id: id.clone() }));
        }
        released
    }
}

/// The ids of `devices`, each of which may come several times, by those of `ours` they belong to.
pub(super) fn ids(devices: impl Iterator<Item = ContainerDevices>, ours: &BTreeSet<String>) -> Ids {
    let mut ids = Ids::new();
    for ContainerDevices { resource_name, device_ids, .. } in devices {
        if ours.contains(&resource_name) {
            ids.entry(resource_name).or_default().extend(device_ids);
        }
    }
    ids
}

#[cfg(test)]
pub(crate) mod tests {
    use tripod_proto::podresources::v1::{ContainerResources, PodResources};

    use super::*;

    pub(crate) fn usage(asked: Instant, held: &[(&str, &str)]) -> Usage {
        let devices = |(resource, id): &(&str, &str)| ContainerDevices {
            resource_name: (*resource).to_owned(),
            device_ids: vec![(*id).to_owned()],
            topology: None,
        };
        let devices = held.iter().map(devices).collect();
        let container = ContainerResources { devices, ..ContainerResources::default() };
        let pod = PodResources { containers: vec![container], ..PodResources::default() };
        let ours = BTreeSet::from(["a/b".to_owned(), "a/c".to_owned()]);
        Usage::of(ListPodResourcesResponse { pod_resources: vec![pod] }, &ours, asked)
    }

    #[test]
    fn what_is_no_longer_held_was_released_and_others_resources_do_not_count() {
        let now = Instant::now();
        let before = usage(now, &[("a/b", "x"), ("a/b", "y"), ("a/c", "x"), ("other/d", "z")]);
        let after = usage(now, &[("a/b", "y")]);
        let release = |resource: &str| Release { resource: resource.to_owned(), id: "x".to_owned() };
        assert_eq!(after.released_since(&before), [release("a/b"), release("a/c")]);
        assert!(before.released_since(&after).is_empty());
    }

    #[test]
    fn a_share_holds_its_device() {
        let usage = usage(Instant::now(), &[("a/b", "x::3"), ("a/b", "y")]);
        let resource = ResourceName::parse("a/b").unwrap();
        assert!(usage.holds(&resource, "x") && usage.holds(&resource, "y"));
        assert!(!usage.holds(&resource, "x::4") && !usage.holds(&resource, "z"));
        assert!(!usage.holds(&ResourceName::parse("a/c").unwrap(), "y"));
    }
}
