//! What all devices of ours have in common.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnetwork::IpNetwork;

use crate::kernel::{Kernel, KernelError, Link};
use crate::mesh::{Device, Family};

/// Indexes of the devices that are there.
#[derive(Debug, Default)]
pub(super) struct Devices {
    pub(super) overlays: BTreeMap<Family, u32>,
    pub(super) wireguard: Option<u32>,
}

impl Devices {
    /// The index of `device`; none for one that could not be made.
    pub(super) fn index(&self, device: Device) -> Option<u32> {
        match device {
            Device::Link(index) => Some(index),
            Device::Overlay(family) => self.overlays.get(&family).copied(),
            Device::Wireguard => self.wireguard,
        }
    }
}

/// Gives a device its MTU and its addresses, and sets it up. An address that it cannot have, as where a family is
/// turned off, is in no other's way.
pub(super) async fn settle(
    kernel: &Kernel,
    link: &Link,
    mtu: Option<u32>,
    wanted: &[IpAddr],
) -> Result<(), KernelError> {
    if let Some(mtu) = mtu.filter(|mtu| link.mtu != *mtu) {
        kernel.set_mtu(link, mtu).await?;
    }
    if !link.is_up {
        kernel.set_up(link).await?;
    }
    let addresses = kernel.addresses().await?;
    let on_link: Vec<_> = addresses.into_iter().filter(|(index, _)| *index == link.index).collect();
    let mut failure = None;
    for address in wanted.iter().filter(|ip| !on_link.iter().any(|(_, on)| on.ip() == **ip)) {
        failure = kernel.add_address(link, *address).await.err().or(failure);
    }
    for (_, stale) in on_link.iter().filter(|(_, on)| is_stale(on, wanted)) {
        failure = kernel.delete_address(link, *stale).await.err().or(failure);
    }
    failure.map_or(Ok(()), Err)
}

/// The kernel gives links a link-local address by itself.
fn is_stale(on_link: &IpNetwork, wanted: &[IpAddr]) -> bool {
    let is_kernels = matches!(on_link.ip(), IpAddr::V6(ip) if ip.is_unicast_link_local());
    !is_kernels && !wanted.contains(&on_link.ip())
}
