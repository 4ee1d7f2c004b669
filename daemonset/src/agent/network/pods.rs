//! The ways from this node to its own pods. The plugin makes them at ADD; whoever flushes routes or
//! neighbours takes them from running pods, and a node's new address changes the source they carry.

use std::collections::{BTreeMap, BTreeSet};

use ipnetwork::IpNetwork;
use tripod_cni::nft::base::LINK_GROUP;
use tripod_cni::record::WayToPod;

use super::There;
use crate::kernel::{HostRoute, Kernel, KernelError, Permanent};
use crate::mac::Mac;
use crate::mesh::{MAIN, Mesh};

/// Puts back what is missing of `ways`. A pod whose link is gone is itself going: nothing leads to it.
pub(super) async fn restore(
    kernel: &Kernel,
    ways: &[WayToPod],
    mesh: &Mesh,
    there: &There,
    failed: &mut Vec<KernelError>,
) -> Result<(), KernelError> {
    if ways.is_empty() {
        return Ok(());
    }
    let links = kernel.links().await?.into_iter().filter(|link| link.group == LINK_GROUP);
    let links: BTreeMap<_, _> = links.map(|link| (link.name, link.index)).collect();
    let routes: BTreeMap<_, _> = there.routes.iter().map(|route| (route.key(), route)).collect();
    let neighbours: BTreeSet<_> = there.neighbours.iter().copied().collect();
    for way in ways {
        let Some(device) = links.get(&way.link) else { continue };
        for address in &way.addresses {
            let neighbour = Permanent { device: *device, address: *address, mac: Mac(way.mac) };
            if !neighbours.contains(&neighbour) {
                failed.extend(kernel.put_neighbour(&neighbour).await.err());
            }
            let source = mesh.source_towards(address.is_ipv4());
            let destination = IpNetwork::from(*address);
            let route = HostRoute {
                table: MAIN,
                destination,
                gateway: None,
                device: *device,
                source,
                onlink: false,
                is_unreachable: false,
            };
            let found = routes.get(&route.key()).copied();
            if found != Some(&route) {
                failed.extend(kernel.put_route(&route, found.is_some()).await.err());
            }
        }
    }
    Ok(())
}
