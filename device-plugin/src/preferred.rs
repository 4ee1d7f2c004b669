//! Which of the available devices go together best. Pure and infallible: an error would fail the pod,
//! while a short answer is only a weaker hint.

use std::collections::HashSet;

use tripod_proto::deviceplugin::v1beta1::{
    ContainerPreferredAllocationRequest, ContainerPreferredAllocationResponse, PreferredAllocationRequest,
    PreferredAllocationResponse,
};

use crate::inventory::Snapshot;

/// Answers each container request.
pub fn preferred(snapshot: &Snapshot, request: &PreferredAllocationRequest) -> PreferredAllocationResponse {
    let container_responses = request
        .container_requests
        .iter()
        .map(|container| ContainerPreferredAllocationResponse { device_i_ds: choose(snapshot, container) })
        .collect();
    PreferredAllocationResponse { container_responses }
}

/// What must be included, then the first available ids in the order of the list; ids of a device not
/// yet chosen come before further replicas of a chosen one.
fn choose(snapshot: &Snapshot, request: &ContainerPreferredAllocationRequest) -> Vec<String> {
    let size = usize::try_from(request.allocation_size).unwrap_or(0);
    let mut chosen: Vec<&str> = request.must_include_device_i_ds.iter().map(String::as_str).collect();
    let mut rest: Vec<_> = request
        .available_device_i_ds
        .iter()
        .filter_map(|id| Some((snapshot.find(id)?, id.as_str())))
        .filter(|(listed, _)| listed.device.found.health.is_healthy())
        .collect();
    rest.sort_by_key(|(listed, _)| listed.position);

    let mut taken: HashSet<&str> = chosen.iter().copied().collect();
    let mut used: HashSet<&str> =
        chosen.iter().filter_map(|id| Some(snapshot.find(id)?.device.id.as_str())).collect();
    for fresh_only in [true, false] {
        for (listed, id) in &rest {
            let fresh = !used.contains(listed.device.id.as_str());
            if chosen.len() < size && (fresh || !fresh_only) && taken.insert(id) {
                used.insert(&listed.device.id);
                chosen.push(id);
            }
        }
    }
    chosen.into_iter().map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::resource_name::ResourceName;
    use crate::config::sharing::Sharing;
    use crate::inventory::tests::devices;

    fn chosen(replicas: u32, available: &[&str], must: &[&str], size: i32) -> Vec<String> {
        let resource = ResourceName::parse("example.com/x").unwrap();
        let snapshot =
            Snapshot::new(resource, devices(&["/dev/a", "/dev/b", "/dev/c"]), Sharing::among(replicas));
        let owned = |ids: &[&str]| ids.iter().map(|id| (*id).to_owned()).collect();
        let container = ContainerPreferredAllocationRequest {
            available_device_i_ds: owned(available),
            must_include_device_i_ds: owned(must),
            allocation_size: size,
        };
        let request = PreferredAllocationRequest { container_requests: vec![container] };
        preferred(&snapshot, &request).container_responses.remove(0).device_i_ds
    }

    #[test]
    fn the_first_devices_of_the_list_are_preferred() {
        assert_eq!(chosen(1, &["c", "a", "b"], &[], 2), ["a", "b"]);
        assert_eq!(chosen(1, &["c", "a", "b"], &["c"], 2), ["c", "a"]);
    }

    #[test]
    fn another_device_is_preferred_to_another_replica() {
        let available = ["a::0", "a::1", "b::0", "b::1"];
        assert_eq!(chosen(2, &available, &[], 2), ["a::0", "b::0"]);
        assert_eq!(chosen(2, &available, &["b::1"], 3), ["b::1", "a::0", "a::1"]);
    }

    #[test]
    fn a_request_that_makes_no_sense_still_gets_an_answer() {
        assert_eq!(chosen(1, &["a", "nobody"], &[], 5), ["a"]);
        assert_eq!(chosen(1, &["a"], &["nobody"], 1), ["nobody"]);
        assert!(chosen(1, &["a"], &[], -1).is_empty());
    }
}
