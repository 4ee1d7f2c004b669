//! Which of the available devices go together best. Pure and infallible: an error would fail the pod,
//! while a short answer is only a weaker hint.
//!
//! Of devices that are handed out whole, the links inside the set are to weigh as much as they can; then
//! the links that the set cuts off from what stays behind as little as they can, so that a container
//! that wants one device takes the one that nobody misses; then the set is to lie on few NUMA nodes.
//! Shares and parts of devices go by [`Placement`](crate::config::sharing::Placement) first.

use std::collections::HashSet;

use tripod_proto::deviceplugin::v1beta1::{
    ContainerPreferredAllocationRequest, ContainerPreferredAllocationResponse, PreferredAllocationRequest,
    PreferredAllocationResponse,
};

use crate::inventory::Snapshot;

mod cards;
mod exact;
mod greedy;
mod placement;
mod slots;
mod subsets;
mod units;

pub(crate) use placement::Demand;
pub(crate) use units::Units;

/// Answers each container request.
pub fn preferred(snapshot: &Snapshot, request: &PreferredAllocationRequest) -> PreferredAllocationResponse {
    let container_responses = request
        .container_requests
        .iter()
        .map(|container| ContainerPreferredAllocationResponse { device_i_ds: choose(snapshot, container) })
        .collect();
    PreferredAllocationResponse { container_responses }
}

/// What must be included, then what goes best with it, in the order of the list.
fn choose(snapshot: &Snapshot, request: &ContainerPreferredAllocationRequest) -> Vec<String> {
    let mut known = HashSet::new();
    let must = || request.must_include_device_i_ds.iter();
    let mut chosen: Vec<String> = must().filter(|id| known.insert(id.as_str())).cloned().collect();
    let size = usize::try_from(request.allocation_size).unwrap_or(0);
    if size <= chosen.len() {
        return chosen;
    }
    let mut units = Units::new(snapshot.listed());
    for listed in chosen.iter().filter_map(|id| snapshot.find(id)) {
        units.hold(listed.position, listed.index);
    }
    for listed in request.available_device_i_ds.iter().filter_map(|id| snapshot.find(id)) {
        if listed.healthy {
            units.free(listed.position, listed.index);
        }
    }
    let demand = Demand::new(snapshot.topology(), snapshot.sharing(), units);
    let placed = demand.place(size - chosen.len());
    let id = |position| snapshot.id(position).map(str::to_owned);
    chosen.extend(placed.into_iter().filter_map(id));
    chosen
}

#[cfg(test)]
mod tests;
