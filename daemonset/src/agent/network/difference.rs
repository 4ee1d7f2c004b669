//! What is there and what should be: adds what is missing, then removes what is too much.

use std::collections::{BTreeMap, BTreeSet};

use ipnetwork::IpNetwork;

use super::There;
use super::device::Devices;
use crate::kernel::{Fdb, HostRoute, Kernel, KernelError, Permanent};
use crate::mesh::{self, Device, Family, Mesh};

/// Routes to peers. Those of pods, without a next hop and not behind WireGuard, are the plugin's.
pub(super) async fn routes(
    kernel: &Kernel,
    there: &There,
    mesh: &Mesh,
    devices: &Devices,
    failed: &mut Vec<KernelError>,
) {
    let is_to_a_peer =
        |it: &&HostRoute| it.gateway.is_some() || it.is_unreachable || Some(it.device) == there.wireguard;
    let to_peers = there.routes.iter().filter(is_to_a_peer);
    let there: BTreeMap<_, _> = to_peers.map(|route| (route.key(), route)).collect();
    let wanted = wanted_routes(mesh, devices);
    for (key, route) in &wanted {
        let found = there.get(key).copied();
        if found != Some(route) {
            failed.extend(kernel.put_route(route, found.is_some()).await.err());
        }
    }
    for (_, stale) in there.iter().filter(|(key, _)| !wanted.contains_key(*key)) {
        failed.extend(kernel.delete_route(stale).await.err());
    }
}

/// What lies on overlay devices: next hops and forwarding entries.
#[derive(Debug, Default)]
pub(super) struct Entries {
    neighbours: BTreeSet<Permanent>,
    forwarding: BTreeSet<Fdb>,
}

impl Entries {
    /// Those that are there.
    pub(super) async fn load(
        kernel: &Kernel,
        neighbours: &[Permanent],
        overlays: &BTreeMap<Family, u32>,
    ) -> Result<Self, KernelError> {
        if overlays.is_empty() {
            return Ok(Self::default());
        }
        let is_on = |device: u32| overlays.values().any(|index| *index == device);
        let neighbours = neighbours.iter().copied().filter(|it| is_on(it.device)).collect();
        let forwarding = kernel.forwarding().await?.into_iter().filter(|it| is_on(it.device)).collect();
        Ok(Self { neighbours, forwarding })
    }

    /// Adds what is missing, before a route leads there.
    pub(super) async fn add(&self, kernel: &Kernel, wanted: &Self, failed: &mut Vec<KernelError>) {
        for entry in wanted.forwarding.difference(&self.forwarding) {
            failed.extend(kernel.put_forwarding(entry).await.err());
        }
        for neighbour in wanted.neighbours.difference(&self.neighbours) {
            failed.extend(kernel.put_neighbour(neighbour).await.err());
        }
    }

    /// Removes what is too much, once no route leads there any more. What was replaced is gone already.
    pub(super) async fn sweep(&self, kernel: &Kernel, wanted: &Self, failed: &mut Vec<KernelError>) {
        let kept: BTreeSet<_> = wanted.neighbours.iter().map(|it| (it.device, it.address)).collect();
        for stale in self.neighbours.iter().filter(|it| !kept.contains(&(it.device, it.address))) {
            failed.extend(kernel.delete_neighbour(stale).await.err());
        }
        // A hardware address can be behind several nodes, and each gets a copy.
        for stale in self.forwarding.difference(&wanted.forwarding) {
            failed.extend(kernel.delete_forwarding(stale).await.err());
        }
    }
}

impl Entries {
    /// Those of a mesh whose overlay devices have these indexes. What needs a device that could not be made
    /// waits for it.
    pub(super) fn of(mesh: &Mesh, overlays: &BTreeMap<Family, u32>) -> Self {
        let neighbour = |it: &mesh::Neighbour| {
            Some(Permanent { device: *overlays.get(&it.overlay)?, address: it.address, mac: it.mac })
        };
        let entry = |it: &mesh::Forwarding| {
            Some(Fdb { device: *overlays.get(&it.overlay)?, mac: it.mac, node: it.node })
        };
        Self {
            neighbours: mesh.neighbours.iter().filter_map(neighbour).collect(),
            forwarding: mesh.forwarding.iter().filter_map(entry).collect(),
        }
    }
}

/// The routes of a mesh whose devices have these indexes, by what the kernel holds one of.
fn wanted_routes(mesh: &Mesh, devices: &Devices) -> BTreeMap<(u32, IpNetwork, bool), HostRoute> {
    let route = |route: &mesh::Route| {
        let onlink =
            matches!(route.device, Device::Overlay(_)) && route.gateway.is_some_and(|ip| ip.is_ipv4());
        let device = devices.index(route.device)?;
        let mesh::Route { table, destination, gateway, source, .. } = *route;
        Some(HostRoute { table, destination, gateway, device, source, onlink, is_unreachable: false })
    };
    let nowhere = mesh.unreachable.iter().copied().map(HostRoute::unreachable);
    mesh.routes.iter().filter_map(route).chain(nowhere).map(|route| (route.key(), route)).collect()
}

/// Rules for packets of our pods.
pub(super) async fn rules(
    kernel: &Kernel,
    wanted: &BTreeSet<IpNetwork>,
    failed: &mut Vec<KernelError>,
) -> Result<(), KernelError> {
    let there = kernel.rules().await?;
    for prefix in wanted.difference(&there) {
        failed.extend(kernel.add_rule(*prefix).await.err());
    }
    for stale in there.difference(wanted) {
        failed.extend(kernel.delete_rule(*stale).await.err());
    }
    Ok(())
}
