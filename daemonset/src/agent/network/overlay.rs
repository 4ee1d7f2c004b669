//! Overlay devices: made, repaired, removed.

use std::collections::BTreeMap;

use super::device;
use crate::kernel::{Kernel, KernelError, Link, VxlanLink};
use crate::mesh::{Family, Overlay};

/// Makes the overlay devices what they should be. Returns the indexes of those that are.
pub(super) async fn ensure(
    kernel: &Kernel,
    links: &[Link],
    wanted: &[Overlay],
    failed: &mut Vec<KernelError>,
) -> BTreeMap<Family, u32> {
    let mut made = BTreeMap::new();
    for overlay in wanted {
        let found = links.iter().find(|link| link.name == overlay.family.overlay());
        match put(kernel, overlay, found).await {
            // What is there carries packets, whatever could not be put right on it.
            Ok(link) => {
                made.insert(overlay.family, link.index);
                failed.extend(repair(kernel, overlay, &link).await.err());
            }
            Err(error) => failed.push(error),
        }
    }
    made
}

/// Removes the overlay devices that nothing needs. A link of another kind with such a name is somebody
/// else's.
pub(super) async fn sweep(
    kernel: &Kernel,
    links: &[Link],
    wanted: &[Overlay],
    failed: &mut Vec<KernelError>,
) {
    let is_wanted = |name: &str| wanted.iter().any(|overlay| overlay.family.overlay() == name);
    let is_ours = |name: &str| Family::ALL.iter().any(|family| family.overlay() == name);
    for link in links {
        if link.vxlan.is_some() && is_ours(&link.name) && !is_wanted(&link.name) {
            match kernel.delete_link(link).await {
                Ok(()) => tracing::info!(link = link.name, "removed the overlay device, which no peer needs"),
                Err(error) => failed.push(error),
            }
        }
    }
}

async fn put(kernel: &Kernel, overlay: &Overlay, found: Option<&Link>) -> Result<Link, KernelError> {
    match found {
        Some(link) if is_like(link, overlay) => Ok(link.clone()),
        Some(link) if link.vxlan.is_some() => {
            tracing::warn!(link = link.name, "made anew: the overlay device has other settings than ours");
            kernel.delete_link(link).await?;
            make(kernel, overlay).await
        }
        _ => make(kernel, overlay).await,
    }
}

async fn make(kernel: &Kernel, overlay: &Overlay) -> Result<Link, KernelError> {
    kernel.add_overlay(overlay).await?;
    let (name, vni, port) = (overlay.family.overlay(), overlay.vni, overlay.port);
    tracing::info!(link = name, vni, port, local = %overlay.local, "made the overlay device");
    let links = kernel.links().await?;
    Ok(links.into_iter().find(|link| link.name == name).unwrap_or_default())
}

/// Whether what cannot be changed is as it should be.
fn is_like(link: &Link, overlay: &Overlay) -> bool {
    let wanted =
        VxlanLink { vni: overlay.vni, port: overlay.port, local: Some(overlay.local), learning: false };
    link.vxlan.as_ref() == Some(&wanted)
}

async fn repair(kernel: &Kernel, overlay: &Overlay, link: &Link) -> Result<(), KernelError> {
    if link.mac != Some(overlay.mac) {
        kernel.set_mac(link, overlay.mac).await?;
    }
    device::settle(kernel, link, overlay.mtu, &overlay.addresses).await?;
    if kernel.offloads_checksums(link)? != overlay.offloads_checksums {
        kernel.offload_checksums(link, overlay.offloads_checksums)?;
        let on = overlay.offloads_checksums;
        tracing::info!(link = link.name, on, "set checksum offload of the overlay device");
    }
    Ok(())
}
