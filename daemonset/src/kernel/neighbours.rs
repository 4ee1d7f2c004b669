//! Permanent neighbours, and the forwarding entries of overlay devices.

use std::fmt;
use std::net::IpAddr;

use futures_util::TryStreamExt;
use netlink_packet_route::AddressFamily;
use netlink_packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourFlags, NeighbourMessage, NeighbourState,
};
use nix::errno::Errno;

use super::{Kernel, KernelError};
use crate::mac::Mac;

/// A neighbour that nobody has to ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Permanent {
    /// Index of the link.
    pub device: u32,
    /// The neighbour.
    pub address: IpAddr,
    /// Its hardware address.
    pub mac: Mac,
}

/// Behind which node a hardware address is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fdb {
    /// Index of the overlay device.
    pub device: u32,
    /// The hardware address.
    pub mac: Mac,
    /// The node's address.
    pub node: IpAddr,
}

impl fmt::Display for Permanent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {}", self.address, self.mac)
    }
}

impl fmt::Display for Fdb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} behind {}", self.mac, self.node)
    }
}

impl Kernel {
    /// All permanent neighbours, whoever made them.
    pub async fn permanent_neighbours(&self) -> Result<Vec<Permanent>, KernelError> {
        let mut found = Vec::new();
        for family in [AddressFamily::Inet, AddressFamily::Inet6] {
            let messages = self.neighbours(family).await?;
            found.extend(messages.iter().filter_map(|message| {
                let (mac, address) = parts(message)?;
                let is_permanent = message.header.state == NeighbourState::Permanent;
                is_permanent.then_some(Permanent { device: message.header.ifindex, address, mac })
            }));
        }
        Ok(found)
    }

    /// All forwarding entries that lead to a node.
    pub async fn forwarding(&self) -> Result<Vec<Fdb>, KernelError> {
        let messages = self.neighbours(AddressFamily::Bridge).await?;
        let entry = |message: &NeighbourMessage| {
            let (mac, node) = parts(message)?;
            Some(Fdb { device: message.header.ifindex, mac, node })
        };
        Ok(messages.iter().filter_map(entry).collect())
    }

    async fn neighbours(&self, family: AddressFamily) -> Result<Vec<NeighbourMessage>, KernelError> {
        let request = self.handle.neighbours().get().set_address_family(family);
        request.execute().try_collect().await.map_err(KernelError::refused("list", "neighbours"))
    }

    /// Adds a neighbour, or gives it another hardware address.
    pub async fn put_neighbour(&self, neighbour: &Permanent) -> Result<(), KernelError> {
        let Permanent { device, address, mac } = *neighbour;
        let request = self.handle.neighbours().add(device, address).link_layer_address(&mac.0).replace();
        request.execute().await.map_err(KernelError::refused("add neighbour", neighbour))
    }

    /// Removes a neighbour.
    pub async fn delete_neighbour(&self, neighbour: &Permanent) -> Result<(), KernelError> {
        let mut message = NeighbourMessage::default();
        message.header.family = super::family(neighbour.address);
        message.header.ifindex = neighbour.device;
        message.attributes.push(destination(neighbour.address));
        let removed = self.handle.neighbours().del(message).execute().await;
        gone(removed.map_err(KernelError::refused("remove neighbour", neighbour)))
    }

    /// Adds a forwarding entry, or leads its hardware address to another node.
    pub async fn put_forwarding(&self, entry: &Fdb) -> Result<(), KernelError> {
        let request = self.handle.neighbours().add_bridge(entry.device, &entry.mac.0);
        let request = request.flags(NeighbourFlags::Own).destination(entry.node).replace();
        request.execute().await.map_err(KernelError::refused("add forwarding entry", entry))
    }

    /// Removes a forwarding entry.
    pub async fn delete_forwarding(&self, entry: &Fdb) -> Result<(), KernelError> {
        let mut message = NeighbourMessage::default();
        message.header.family = AddressFamily::Bridge;
        message.header.ifindex = entry.device;
        message.header.flags = NeighbourFlags::Own;
        message.header.state = NeighbourState::Permanent;
        message.attributes =
            vec![NeighbourAttribute::LinkLayerAddress(entry.mac.0.to_vec()), destination(entry.node)];
        let removed = self.handle.neighbours().del(message).execute().await;
        gone(removed.map_err(KernelError::refused("remove forwarding entry", entry)))
    }
}

/// What is gone already need not be removed.
fn gone(removed: Result<(), KernelError>) -> Result<(), KernelError> {
    match removed {
        Err(error) if error.is(Errno::ENOENT) => Ok(()),
        removed => removed,
    }
}

fn destination(address: IpAddr) -> NeighbourAttribute {
    NeighbourAttribute::Destination(match address {
        IpAddr::V4(v4) => NeighbourAddress::Inet(v4),
        IpAddr::V6(v6) => NeighbourAddress::Inet6(v6),
    })
}

fn parts(message: &NeighbourMessage) -> Option<(Mac, IpAddr)> {
    let mac = message.attributes.iter().find_map(|attribute| match attribute {
        NeighbourAttribute::LinkLayerAddress(bytes) => Some(Mac(bytes.as_slice().try_into().ok()?)),
        _ => None,
    })?;
    let address = message.attributes.iter().find_map(|attribute| match attribute {
        NeighbourAttribute::Destination(NeighbourAddress::Inet(v4)) => Some((*v4).into()),
        NeighbourAttribute::Destination(NeighbourAddress::Inet6(v6)) => Some((*v6).into()),
        NeighbourAttribute::Destination(NeighbourAddress::Other(bytes)) => address_of(bytes),
        _ => None,
    })?;
    Some((mac, address))
}

/// A forwarding entry's family is the bridge's, so its node's address comes as bytes.
fn address_of(bytes: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(bytes).map(IpAddr::from).ok();
    v4.or_else(|| <[u8; 16]>::try_from(bytes).map(IpAddr::from).ok())
}
