//! What containers need in order to use the devices they were given: pure, and as long as the request,
//! not as the inventory.

use tripod_proto::deviceplugin::v1beta1::{
    AllocateRequest, AllocateResponse, ContainerAllocateRequest, ContainerAllocateResponse,
};

use crate::config::resource_name::ResourceName;
use crate::device::Health;
use crate::inventory::{Listed, Snapshot};

mod needs;

use needs::Needs;

/// Why devices cannot be handed out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AllocationError {
    /// The kubelet asks for an id that was never listed, or no longer is.
    #[error("{id:?} is not a device of {resource}")]
    Unknown {
        /// The id asked for.
        id: String,
        /// The resource asked.
        resource: ResourceName,
    },
    /// A container asks for several devices that may be one.
    #[error(
        "a container asked for {asked} of {resource}, whose devices are shared: two of them may be one and the same device, which is no more than one; ask for 1, or set failRequestsGreaterThanOne: false"
    )]
    MoreThanOne {
        /// How many it asked for.
        asked: usize,
        /// The resource asked.
        resource: ResourceName,
    },
    /// Nothing of the resource can reach a container now.
    #[error("nothing of {resource} can be given to a container: {reason}")]
    Withheld {
        /// The resource asked.
        resource: ResourceName,
        /// Why.
        reason: String,
    },
    /// The device failed after the kubelet chose it.
    #[error("device {id} of {resource} is unhealthy: {reason}")]
    Unhealthy {
        /// The id asked for.
        id: String,
        /// The resource asked.
        resource: ResourceName,
        /// Why it cannot be used.
        reason: String,
    },
}

/// Answers a whole request, or refuses it at the first device that cannot be handed out.
pub fn allocate(snapshot: &Snapshot, request: &AllocateRequest) -> Result<AllocateResponse, AllocationError> {
    let container_responses = request
        .container_requests
        .iter()
        .map(|container| for_container(snapshot, container))
        .collect::<Result<_, _>>()?;
    Ok(AllocateResponse { container_responses })
}

fn for_container(
    snapshot: &Snapshot,
    request: &ContainerAllocateRequest,
) -> Result<ContainerAllocateResponse, AllocationError> {
    let asked = request.devices_ids.len();
    if snapshot.sharing().one_each && asked > 1 {
        return Err(AllocationError::MoreThanOne { asked, resource: snapshot.resource().clone() });
    }
    if let Some(reason) = snapshot.why_withheld() {
        let (resource, reason) = (snapshot.resource().clone(), reason.to_owned());
        return Err(AllocationError::Withheld { resource, reason });
    }
    let mut needs = Needs::of(snapshot.resource());
    for Listed { device, .. } in in_order_of_the_list(snapshot, &request.devices_ids)? {
        needs.add(device, snapshot.way(&device.found));
    }
    Ok(needs.answer())
}

/// The kubelet names ids in the order of a hash map, another one at each start of a pod. A container is to
/// find its devices in the same order each time.
fn in_order_of_the_list<'a>(
    snapshot: &'a Snapshot,
    ids: &[String],
) -> Result<Vec<Listed<'a>>, AllocationError> {
    let mut wanted = ids.iter().map(|id| usable(snapshot, id)).collect::<Result<Vec<_>, _>>()?;
    wanted.sort_unstable_by_key(|listed| listed.position);
    Ok(wanted)
}

fn usable<'a>(snapshot: &'a Snapshot, id: &str) -> Result<Listed<'a>, AllocationError> {
    let resource = || snapshot.resource().clone();
    let listed = snapshot
        .find(id)
        .ok_or_else(|| AllocationError::Unknown { id: id.to_owned(), resource: resource() })?;
    match &listed.device.found.health {
        Health::Healthy => Ok(listed),
        Health::Unhealthy { reason } => Err(AllocationError::Unhealthy {
            id: id.to_owned(),
            resource: resource(),
            reason: reason.clone(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::sharing::Sharing;
    use crate::inventory::merge;
    use crate::inventory::tests::{devices, found, moment};

    fn snapshot(replicas: u32) -> Snapshot {
        shared(Sharing::among(replicas))
    }

    fn shared(sharing: Sharing) -> Snapshot {
        let known = devices(&["/dev/a", "/dev/b", "/dev/c"]);
        let devices = merge(&known, vec![found("/dev/a"), found("/dev/b")], moment(2));
        Snapshot::new(ResourceName::parse("example.com/x").unwrap(), devices, sharing)
    }

    fn request(containers: &[&[&str]]) -> AllocateRequest {
        let container = |ids: &&[&str]| ContainerAllocateRequest {
            devices_ids: ids.iter().map(|id| (*id).to_owned()).collect(),
        };
        AllocateRequest { container_requests: containers.iter().map(container).collect() }
    }

    fn paths(response: &AllocateResponse) -> Vec<Vec<&str>> {
        response
            .container_responses
            .iter()
            .map(|c| c.devices.iter().map(|d| d.host_path.as_str()).collect())
            .collect()
    }

    #[test]
    fn each_container_gets_the_nodes_of_its_devices() {
        let response = allocate(&snapshot(1), &request(&[&["b", "a"], &["b"], &[]])).unwrap();
        assert_eq!(paths(&response), [vec!["/dev/a", "/dev/b"], vec!["/dev/b"], vec![]]);
        let spec = &response.container_responses[0].devices[0];
        assert_eq!((spec.container_path.as_str(), spec.permissions.as_str()), ("/dev/a", "rw"));
    }

    #[test]
    fn two_replicas_of_one_device_give_its_nodes_once() {
        let response = allocate(&snapshot(2), &request(&[&["a::0", "a::1", "b::0"]])).unwrap();
        assert_eq!(paths(&response), [vec!["/dev/a", "/dev/b"]]);
    }

    #[test]
    fn what_is_to_be_in_the_answer_is_there_whichever_way_the_rest_goes() {
        use crate::config::strategy::Strategy;
        let mount = crate::device::Mount {
            host_path: "/run/x".to_owned(),
            container_path: "/run/y".to_owned(),
            read_only: false,
        };
        let mut devices = devices(&["/dev/a"]);
        devices[0].found.edits.answered = vec![mount];
        for strategy in Strategy::ALL {
            let resource = ResourceName::parse("example.com/x").unwrap();
            let snapshot = Snapshot::new(resource, devices.clone(), Sharing::EXCLUSIVE).by(strategy);
            let response = allocate(&snapshot, &request(&[&["a"]])).unwrap();
            let mounts = &response.container_responses[0].mounts;
            assert!(mounts.iter().any(|mount| mount.container_path == "/run/y"), "{strategy}: {mounts:?}");
        }
    }

    #[test]
    fn what_several_devices_need_is_given_once_and_their_values_joined() {
        let mount = crate::device::Mount {
            host_path: "/usr/lib/libx.so".to_owned(),
            container_path: "/usr/lib/libx.so".to_owned(),
            read_only: true,
        };
        let mut devices = devices(&["/dev/a", "/dev/b"]);
        for device in &mut devices {
            let env = [("FUNCTIONS".to_owned(), device.id.clone()), ("CARD".to_owned(), "x".to_owned())];
            device.found.edits = crate::device::Edits {
                nodes: vec![found("/dev/shared").nodes.remove(0)],
                mounts: vec![mount.clone()],
                env: env.into(),
                hooks: Vec::new(),
                ..crate::device::Edits::default()
            };
        }
        let snapshot =
            Snapshot::new(ResourceName::parse("example.com/x").unwrap(), devices, Sharing::EXCLUSIVE);
        let response = allocate(&snapshot, &request(&[&["b", "a"]])).unwrap();
        assert_eq!(paths(&response), [vec!["/dev/a", "/dev/b", "/dev/shared"]]);
        let container = &response.container_responses[0];
        assert_eq!(container.mounts.len(), 1);
        assert_eq!((container.envs["FUNCTIONS"].as_str(), container.envs["CARD"].as_str()), ("a,b", "x"));
    }

    #[test]
    fn each_strategy_says_a_device_in_its_own_words() {
        use crate::config::strategy::Strategy;
        let answer = |strategy| {
            let name = ResourceName::parse("example.com/card").unwrap();
            let snapshot =
                Snapshot::new(name, devices(&["/dev/a", "/dev/b"]), Sharing::EXCLUSIVE).by(strategy);
            allocate(&snapshot, &request(&[&["a", "b"]])).unwrap().container_responses.remove(0)
        };
        let nodes = answer(Strategy::Auto);
        assert_eq!((nodes.devices.len(), nodes.cdi_devices.len()), (2, 0));
        let cdi = answer(Strategy::CdiCri);
        let names: Vec<_> = cdi.cdi_devices.iter().map(|device| device.name.as_str()).collect();
        assert_eq!((names, cdi.devices.len()), (vec!["example.com/card=a", "example.com/card=b"], 0));
        let annotated = answer(Strategy::CdiAnnotations);
        let (key, value) = annotated.annotations.iter().next().unwrap();
        assert!(key.starts_with("cdi.k8s.io/tripod_"), "{key}");
        assert_eq!(value, "example.com/card=a,example.com/card=b");
        assert_eq!(answer(Strategy::Envvar).envs["NVIDIA_VISIBLE_DEVICES"], "a,b");
        let mounted = answer(Strategy::VolumeMounts);
        assert_eq!(mounted.mounts[1].container_path, "/var/run/nvidia-container-devices/b");
        assert_eq!(mounted.envs["NVIDIA_VISIBLE_DEVICES"], "/var/run/nvidia-container-devices");
    }

    #[test]
    fn what_is_withheld_is_refused_with_the_reason() {
        let snapshot = snapshot(1).withheld(Some("no room".to_owned()));
        let error = allocate(&snapshot, &request(&[&["a"]])).unwrap_err();
        assert_eq!(error.to_string(), "nothing of example.com/x can be given to a container: no room");
    }

    #[test]
    fn a_container_gets_one_of_what_is_shared_unless_the_config_lets_it_have_more() {
        let snapshot = shared(Sharing { one_each: true, ..Sharing::among(2) });
        assert_eq!(paths(&allocate(&snapshot, &request(&[&["a::0"], &["a::1"]])).unwrap()).len(), 2);
        let error = allocate(&snapshot, &request(&[&["a::0", "b::0"]])).unwrap_err();
        assert!(error.to_string().starts_with("a container asked for 2 of example.com/x"), "{error}");
    }

    #[test]
    fn an_unknown_id_is_refused_with_its_name() {
        let error = allocate(&snapshot(2), &request(&[&["a::0"], &["a::2"]])).unwrap_err();
        assert_eq!(error.to_string(), "\"a::2\" is not a device of example.com/x");
    }

    #[test]
    fn an_unhealthy_device_is_refused_with_the_reason() {
        let error = allocate(&snapshot(1), &request(&[&["c"]])).unwrap_err();
        assert_eq!(error.to_string(), "device c of example.com/x is unhealthy: its node /dev/c is gone");
    }
}
