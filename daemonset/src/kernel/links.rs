//! Links and the addresses on them.

use std::net::IpAddr;

use futures_util::TryStreamExt;
use ipnetwork::IpNetwork;
use netlink_packet_route::address::{AddressAttribute, AddressHeaderFlags, AddressMessage};
use netlink_packet_route::link::{
    InfoData, InfoKind, InfoVxlan, LinkAttribute, LinkExtentMask, LinkFlags, LinkInfo, LinkMessage,
};
use rtnetlink::{LinkUnspec, LinkVxlan, LinkWireguard};

use super::{Kernel, KernelError, MAKE_OVERLAY, MAKE_WIREGUARD, SET_UP};
use crate::mac::Mac;
use crate::mesh::Overlay;

/// A link.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Link {
    /// Its index.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// Its MTU in bytes.
    pub mtu: u32,
    /// Its hardware address, if that has six bytes.
    pub mac: Option<Mac>,
    /// Its group.
    pub group: u32,
    /// Whether it is up.
    pub is_up: bool,
    /// Whether it leads nowhere but back.
    pub is_loopback: bool,
    /// What it is as a VXLAN device, if it is one.
    pub vxlan: Option<VxlanLink>,
    /// Whether it is a WireGuard device.
    pub is_wireguard: bool,
}

/// What cannot be changed on a VXLAN device once it is there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VxlanLink {
    /// Network identifier.
    pub vni: u32,
    /// UDP port.
    pub port: u16,
    /// Where its packets come from.
    pub local: Option<IpAddr>,
    /// Whether it learns from packets.
    pub learning: bool,
}

impl Kernel {
    /// All links.
    pub async fn links(&self) -> Result<Vec<Link>, KernelError> {
        let request = self
            .handle
            .link()
            .get()
            .set_filter_mask(netlink_packet_route::AddressFamily::Unspec, vec![LinkExtentMask::SkipStats]);
        let links = request.execute().map_ok(read).try_collect().await;
        links.map_err(KernelError::refused("list", "links"))
    }

    /// Makes an overlay device.
    pub async fn add_overlay(&self, overlay: &Overlay) -> Result<(), KernelError> {
        let name = overlay.family.overlay();
        let link = LinkVxlan::new(name, overlay.vni).port(overlay.port).learning(false);
        let link = match overlay.local {
            IpAddr::V4(local) => link.local(local),
            // Without a checksum over IPv6 a packet that was mangled on the way could reach another pod.
            IpAddr::V6(local) => link.local6(local).udp_zero_csum6_tx(false).udp_zero_csum6_rx(false),
        };
        let link = link.address(overlay.mac.0.to_vec());
        let link = match overlay.mtu {
            Some(mtu) => link.mtu(mtu),
            None => link,
        };
        let made = self.handle.link().add(link.build()).execute().await;
        made.map_err(KernelError::refused(MAKE_OVERLAY, name))
    }

    /// Makes a WireGuard device, which has no key yet.
    pub async fn add_wireguard(&self, name: &str, mtu: Option<u32>) -> Result<(), KernelError> {
        let link = LinkWireguard::new(name);
        let link = match mtu {
            Some(mtu) => link.mtu(mtu),
            None => link,
        };
        let made = self.handle.link().add(link.build()).execute().await;
        made.map_err(KernelError::refused(MAKE_WIREGUARD, name))
    }

    /// Gives a link this hardware address, which some drivers take only while it is down.
    pub async fn set_mac(&self, link: &Link, mac: Mac) -> Result<(), KernelError> {
        self.set(
            link,
            LinkUnspec::new_with_index(link.index).address(mac.0.to_vec()).build(),
            "give a MAC to",
        )
        .await
    }

    /// Gives a link this MTU.
    pub async fn set_mtu(&self, link: &Link, mtu: u32) -> Result<(), KernelError> {
        self.set(link, LinkUnspec::new_with_index(link.index).mtu(mtu).build(), "give an MTU to").await
    }

    /// Sets a link up.
    pub async fn set_up(&self, link: &Link) -> Result<(), KernelError> {
        self.set(link, LinkUnspec::new_with_index(link.index).up().build(), SET_UP).await
    }

    async fn set(&self, link: &Link, message: LinkMessage, act: &'static str) -> Result<(), KernelError> {
        self.handle.link().set(message).execute().await.map_err(KernelError::refused(act, &link.name))
    }

    /// Removes a link.
    pub async fn delete_link(&self, link: &Link) -> Result<(), KernelError> {
        self.handle.link().del(link.index).execute().await.map_err(KernelError::refused("remove", &link.name))
    }

    /// Addresses of all links, with the links' indexes.
    pub async fn addresses(&self) -> Result<Vec<(u32, IpNetwork)>, KernelError> {
        let addresses = self.handle.address().get().execute();
        let addresses: Vec<_> =
            addresses.try_collect().await.map_err(KernelError::refused("list", "addresses"))?;
        Ok(addresses.iter().filter_map(address_of).collect())
    }

    /// Adds an address alone, without its neighbours.
    pub async fn add_address(&self, link: &Link, address: IpAddr) -> Result<(), KernelError> {
        let length = IpNetwork::from(address).prefix();
        let mut request = self.handle.address().add(link.index, address, length);
        // Another link of this node has it too; nobody else can.
        request.message_mut().header.flags |= AddressHeaderFlags::Nodad;
        let object = format!("{address} to {}", link.name);
        request.execute().await.map_err(KernelError::refused("add address", object))
    }

    /// Removes an address.
    pub async fn delete_address(&self, link: &Link, address: IpNetwork) -> Result<(), KernelError> {
        let mut message = AddressMessage::default();
        message.header.index = link.index;
        message.header.family = super::family(address.ip());
        message.header.prefix_len = address.prefix();
        message.attributes =
            vec![AddressAttribute::Local(address.ip()), AddressAttribute::Address(address.ip())];
        let object = format!("{address} from {}", link.name);
        let removed = self.handle.address().del(message).execute().await;
        removed.map_err(KernelError::refused("remove address", object))
    }
}

fn address_of(message: &AddressMessage) -> Option<(u32, IpNetwork)> {
    // On a link with a peer, `Address` is the peer's.
    let local = message.attributes.iter().find_map(|attribute| match attribute {
        AddressAttribute::Local(ip) => Some(*ip),
        _ => None,
    });
    let ip = local.or_else(|| {
        message.attributes.iter().find_map(|attribute| match attribute {
            AddressAttribute::Address(ip) => Some(*ip),
            _ => None,
        })
    })?;
    Some((message.header.index, IpNetwork::new(ip, message.header.prefix_len).ok()?))
}

fn read(message: LinkMessage) -> Link {
    let is_up = message.header.flags.contains(LinkFlags::Up);
    let is_loopback = message.header.flags.contains(LinkFlags::Loopback);
    let mut link = Link { index: message.header.index, is_up, is_loopback, ..Link::default() };
    for attribute in message.attributes {
        match attribute {
            LinkAttribute::IfName(name) => link.name = name,
            LinkAttribute::Mtu(mtu) => link.mtu = mtu,
            LinkAttribute::Address(bytes) => link.mac = bytes.try_into().ok().map(Mac),
            LinkAttribute::Group(group) => link.group = group,
            LinkAttribute::LinkInfo(infos) => {
                link.vxlan = read_vxlan(&infos);
                link.is_wireguard = infos.contains(&LinkInfo::Kind(InfoKind::Wireguard));
            }
            _ => {}
        }
    }
    link
}

fn read_vxlan(infos: &[LinkInfo]) -> Option<VxlanLink> {
    infos.iter().find(|info| matches!(info, LinkInfo::Kind(InfoKind::Vxlan)))?;
    let mut vxlan = VxlanLink::default();
    for info in infos {
        let LinkInfo::Data(InfoData::Vxlan(data)) = info else { continue };
        for value in data {
            match value {
                InfoVxlan::Id(vni) => vxlan.vni = *vni,
                InfoVxlan::Port(port) => vxlan.port = *port,
                InfoVxlan::Local(local) => vxlan.local = Some((*local).into()),
                InfoVxlan::Local6(local) => vxlan.local = Some((*local).into()),
                InfoVxlan::Learning(learning) => vxlan.learning = *learning,
                _ => {}
            }
        }
    }
    Some(vxlan)
}
