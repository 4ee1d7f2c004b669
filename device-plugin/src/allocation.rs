//! What containers need in order to use the devices they were given: pure, and as long as the request,
//! not as the inventory.

use std::collections::BTreeSet;

use tripod_proto::deviceplugin::v1beta1::{
    AllocateRequest, AllocateResponse, ContainerAllocateRequest, ContainerAllocateResponse, DeviceSpec,
};

use crate::config::resource_name::ResourceName;
use crate::device::{DeviceNode, Health};
use crate::inventory::Snapshot;

/// Read and write, for block devices as for character devices. Not `m`: the runtime makes the node, so
/// a container needs no right to make others.
const PERMISSIONS: &str = "rw";

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
    let mut nodes = BTreeSet::new();
    for id in &request.devices_ids {
        // Replicas of one device bring the same nodes, which a container has once.
        nodes.extend(usable_nodes(snapshot, id)?.iter().map(|node| node.path.as_str()));
    }
    let devices = nodes.into_iter().map(device_spec).collect();
    Ok(ContainerAllocateResponse { devices, ..ContainerAllocateResponse::default() })
}

fn usable_nodes<'a>(snapshot: &'a Snapshot, id: &str) -> Result<&'a [DeviceNode], AllocationError> {
    let resource = || snapshot.resource().clone();
    let listed = snapshot
        .find(id)
        .ok_or_else(|| AllocationError::Unknown { id: id.to_owned(), resource: resource() })?;
    match &listed.device.found.health {
        Health::Healthy => Ok(&listed.device.found.nodes),
        Health::Unhealthy { reason } => Err(AllocationError::Unhealthy {
            id: id.to_owned(),
            resource: resource(),
            reason: reason.clone(),
        }),
    }
}

fn device_spec(path: &str) -> DeviceSpec {
    DeviceSpec {
        container_path: path.to_owned(),
        host_path: path.to_owned(),
        permissions: PERMISSIONS.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Sharing;
    use crate::inventory::merge;
    use crate::inventory::tests::{devices, found};

    fn snapshot(replicas: u32) -> Snapshot {
        shared(Sharing { replicas, one_each: false })
    }

    fn shared(sharing: Sharing) -> Snapshot {
        let known = devices(&["/dev/a", "/dev/b", "/dev/c"]);
        let devices = merge(&known, vec![found("/dev/a"), found("/dev/b")], 2);
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
    fn a_container_gets_one_of_what_is_shared_unless_the_config_lets_it_have_more() {
        let snapshot = shared(Sharing { replicas: 2, one_each: true });
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
