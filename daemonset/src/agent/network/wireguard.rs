//! The WireGuard device and its peers: made, repaired, removed.

use crate::kernel::{Kernel, KernelError, Link, Wireguard, WireguardDevice};
use crate::mesh::{self, Mesh, WIREGUARD};
use crate::wireguard_key::{PrivateKey, PublicKey};

use super::device;

/// The device as it is now.
#[derive(Debug)]
pub(super) struct Tunnel {
    /// Its link.
    pub(super) link: Link,
    /// The key by which others know this node.
    pub(super) public_key: Option<PublicKey>,
    control: Wireguard,
    /// Peers that are not wanted any more.
    stale: Vec<PublicKey>,
}

/// Our device among `links`. A link of another kind with its name is somebody else's.
pub(super) fn find(links: &[Link]) -> Option<&Link> {
    links.iter().find(|link| link.is_wireguard && link.name == WIREGUARD)
}

/// Makes the device what `mesh` says, with this key. Peers that are too much go by [`Tunnel::sweep`]. A device that
/// has a key and is up carries packets, whatever could not be put right on it.
pub(super) async fn ensure(
    kernel: &Kernel,
    links: &[Link],
    mesh: &Mesh,
    key: Option<&PrivateKey>,
    failed: &mut Vec<KernelError>,
) -> Result<Option<Tunnel>, KernelError> {
    let (Some(wanted), Some(key)) = (&mesh.wireguard, key) else { return Ok(None) };
    let link = match find(links) {
        Some(link) => link.clone(),
        None => make(kernel, wanted).await?,
    };
    let control = Wireguard::open().await?;
    let found = configure(&control, &link, wanted, key, failed).await?;
    failed.extend(put_peers(&control, &link, &found, mesh).await.err());
    if !link.is_up {
        kernel.set_up(&link).await?;
    }
    failed.extend(device::settle(kernel, &link, wanted.mtu, &wanted.addresses).await.err());
    let is_stale = |key: &&PublicKey| !mesh.wireguard_peers.contains_key(*key);
    let stale = found.peers.keys().filter(is_stale).copied().collect();
    Ok(Some(Tunnel { link, public_key: found.public_key, control, stale }))
}

async fn make(kernel: &Kernel, wanted: &mesh::Wireguard) -> Result<Link, KernelError> {
    kernel.add_wireguard(WIREGUARD, wanted.mtu).await?;
    tracing::info!(link = WIREGUARD, port = wanted.port, "made the WireGuard device");
    Ok(find(&kernel.links().await?).cloned().unwrap_or_default())
}

/// Gives the device our key and port, unless it has them, and says what it has then.
async fn configure(
    control: &Wireguard,
    link: &Link,
    wanted: &mesh::Wireguard,
    key: &PrivateKey,
    failed: &mut Vec<KernelError>,
) -> Result<WireguardDevice, KernelError> {
    let found = control.device(link).await?;
    let has_key = found.private_key.as_ref() == Some(key);
    if (has_key, found.port, found.mark) == (true, wanted.port, 0) {
        return Ok(found);
    }
    match control.configure(link, key, wanted.port).await {
        Ok(()) => {}
        // Another port that is taken: the kernel keeps the one it had.
        Err(error) if has_key && link.is_up => {
            failed.push(error);
            return Ok(found);
        }
        Err(error) => return Err(error),
    }
    let found = control.device(link).await?;
    let key = found.public_key.map(tracing::field::display);
    tracing::info!(link = link.name, port = wanted.port, key, "gave the WireGuard device its key");
    Ok(found)
}

async fn put_peers(
    control: &Wireguard,
    link: &Link,
    found: &WireguardDevice,
    mesh: &Mesh,
) -> Result<(), KernelError> {
    let is_there = |key, peer| found.peers.get(key).is_some_and(|found| found.is_like(peer));
    let wanted = mesh.wireguard_peers.iter().filter(|(key, peer)| !is_there(*key, peer));
    let wanted: Vec<_> = wanted.map(|(key, peer)| (*key, peer)).collect();
    control.put_peers(link, &wanted).await
}

impl Tunnel {
    /// Removes peers that are not wanted any more.
    pub(super) async fn sweep(&self) -> Result<(), KernelError> {
        self.control.remove_peers(&self.link, &self.stale).await
    }
}

/// Removes the device if nothing needs it.
pub(super) async fn sweep(kernel: &Kernel, links: &[Link], mesh: &Mesh) -> Result<(), KernelError> {
    let Some(link) = find(links).filter(|_| mesh.wireguard.is_none()) else { return Ok(()) };
    kernel.delete_link(link).await?;
    tracing::info!(link = link.name, "removed the WireGuard device, which nothing needs");
    Ok(())
}
