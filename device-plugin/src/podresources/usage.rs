//! Which ids containers hold, at one moment.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

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
    /// All resources of which containers hold something, ours or not.
    resources: BTreeSet<String>,
}

/// An id that a container held and none holds any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Release {
    /// Of which resource.
    pub resource: String,
    /// The id, as it was listed.
    pub id: String,
    /// The first answer by which nothing holds it was to a question of this moment.
    pub since: Instant,
}

impl Usage {
    /// What `answer`, to a question of the moment `asked`, says of the resources `ours`.
    pub fn of(answer: ListPodResourcesResponse, ours: &BTreeSet<String>, asked: Instant) -> Usage {
        let containers = answer.pod_resources.into_iter().flat_map(|pod| pod.containers);
        let mut resources = BTreeSet::new();
        let devices = containers.flat_map(|container| container.devices).inspect(|devices| {
            if !devices.device_ids.is_empty() && !resources.contains(&devices.resource_name) {
                resources.insert(devices.resource_name.clone());
            }
        });
        let held = ids(devices, ours);
        Usage { asked, held, resources }
    }

    /// Whether a container holds anything of `resource`, which need not be ours any more.
    pub fn holds_any_of(&self, resource: &str) -> bool {
        self.resources.contains(resource)
    }

    /// The ids per resource that containers hold.
    pub fn in_use(&self) -> &Ids {
        &self.held
    }

    /// Whether a container holds the device `id`, or a share of it.
    pub fn holds(&self, resource: &ResourceName, id: &str) -> bool {
        self.holds_exactly(resource.as_str(), id) || self.devices(resource).any(|device| device == id)
    }

    /// The ids of devices of which containers hold all or shares; those of several shares come as often.
    pub fn devices(&self, resource: &ResourceName) -> impl Iterator<Item = &str> {
        let held = self.held.get(resource.as_str()).into_iter().flatten();
        held.map(|id| id.rsplit_once("::").map_or(id.as_str(), |(device, _replica)| device))
    }

    fn holds_exactly(&self, resource: &str, id: &str) -> bool {
        self.held.get(resource).is_some_and(|held| held.contains(id))
    }
}

/// What containers seem to have given back. It is believed only when it stays so: a kubelet that has just
/// started does not know of its pods yet.
#[derive(Debug, Default)]
pub(super) struct Releases {
    held: Ids,
    /// By resource and id, since when.
    absent: BTreeMap<(String, String), Instant>,
}

impl Releases {
    /// What of the resources `ours` was held before, and by `usage` and all answers of the time `patience`
    /// before it no longer is.
    pub(super) fn settle(
        &mut self,
        usage: &Usage,
        ours: &BTreeSet<String>,
        patience: Duration,
    ) -> Vec<Release> {
        for (resource, ids) in std::mem::replace(&mut self.held, usage.held.clone()) {
            for id in ids.into_iter().filter(|id| !usage.holds_exactly(&resource, id)) {
                self.absent.entry((resource.clone(), id)).or_insert(usage.asked);
            }
        }
        // Of a resource that is no longer ours the answer tells nothing.
        self.absent.retain(|(resource, id), _| ours.contains(resource) && !usage.holds_exactly(resource, id));
        let settled = |since: &Instant| usage.asked.duration_since(*since) >= patience;
        let released = self.absent.extract_if(.., |_, since| settled(since));
        released.map(|((resource, id), since)| Release { resource, id, since }).collect()
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

    const PATIENCE: Duration = Duration::from_secs(30);

    /// Ids that count as released after each of these answers, which come every twenty seconds.
    fn released(ours: &[&str], answers: &[&[(&str, &str)]]) -> Vec<Vec<String>> {
        let ours = ours.iter().map(|name| (*name).to_owned()).collect();
        let (mut releases, begin) = (Releases::default(), Instant::now());
        let mut settle = |(step, held): (u32, &&[(&str, &str)])| {
            let usage = usage(begin + Duration::from_secs(20) * step, held);
            let released = releases.settle(&usage, &ours, PATIENCE);
            released.into_iter().map(|release| format!("{}={}", release.resource, release.id)).collect()
        };
        (0..).zip(answers).map(&mut settle).collect()
    }

    #[test]
    fn what_stays_given_back_was_released_once() {
        let both: &[_] = &[("a/b", "x"), ("a/b", "y"), ("a/c", "x"), ("other/d", "z")];
        let one: &[_] = &[("a/b", "y")];
        let told = released(&["a/b", "a/c"], &[both, one, one, one, one]);
        assert_eq!(told.concat(), ["a/b=x", "a/c=x"]);
        assert_eq!(told[3].len(), 2, "forty seconds after it was first absent");
    }

    #[test]
    fn an_answer_that_lacks_pods_for_a_moment_releases_nothing() {
        let held: &[_] = &[("a/b", "x")];
        assert!(released(&["a/b"], &[held, &[], held, &[], held]).concat().is_empty());
        assert!(released(&[], &[held, &[], &[], &[]]).concat().is_empty(), "it is no longer ours");
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
