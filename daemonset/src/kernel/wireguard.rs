//! WireGuard devices: their keys, ports and peers, by generic netlink (`linux/wireguard.h`).

mod message;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::SocketAddr;

use futures_util::StreamExt;
use ipnetwork::IpNetwork;
use netlink_packet_core::{
    NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST, NetlinkDeserializable, NetlinkMessage, NetlinkPayload,
    NetlinkSerializable,
};
use netlink_packet_generic::ctrl::nlas::GenlCtrlAttrs;
use netlink_packet_generic::ctrl::{GenlCtrl, GenlCtrlCmd};
use netlink_packet_generic::{GenlFamily, GenlMessage};
use netlink_packet_wireguard::WireguardMessage;
use rtnetlink::proto::{ConnectionHandle, new_connection};
use rtnetlink::sys::SocketAddr as NetlinkAddress;
use rtnetlink::sys::protocols::NETLINK_GENERIC;
use tokio::task::JoinSet;

use super::{CONFIGURE_WIREGUARD, KernelError, Link};
use crate::mesh::WireguardPeer;
use crate::wireguard_key::{PrivateKey, PublicKey};

/// What the kernel has of a device.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WireguardDevice {
    /// Its key; none in a new device.
    pub private_key: Option<PrivateKey>,
    /// What the kernel made of that.
    pub public_key: Option<PublicKey>,
    /// UDP port.
    pub port: u16,
    /// The mark on what it sends.
    pub mark: u32,
    /// Its peers.
    pub peers: BTreeMap<PublicKey, Found>,
}

/// A peer that a device has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Where it was heard last, or is said to hear.
    pub endpoint: Option<SocketAddr>,
    /// The addresses that its packets may have.
    pub allowed: BTreeSet<IpNetwork>,
    /// Whether it has a secret beside its key.
    pub has_preshared_key: bool,
    /// How often it is sent to although there is nothing to say, in seconds.
    pub keepalive: u16,
}

impl Found {
    /// Whether it is as we would make it.
    pub fn is_like(&self, peer: &WireguardPeer) -> bool {
        let Self { endpoint, allowed, has_preshared_key, keepalive } = self;
        *endpoint == Some(peer.endpoint) && *allowed == peer.allowed && !has_preshared_key && *keepalive == 0
    }
}

type Message = GenlMessage<WireguardMessage>;

/// A connection to the kernel's WireGuard.
#[derive(Debug)]
pub struct Wireguard {
    family: u16,
    handle: ConnectionHandle<Message>,
    _connection: JoinSet<()>,
}

impl Wireguard {
    /// Connects. The kernel has no such family before there is a device, unless its module was loaded.
    pub async fn open() -> Result<Self, KernelError> {
        let refused = KernelError::system("find generic netlink family", WireguardMessage::family_name());
        let family = family().await.map_err(refused)?;
        let (handle, connection) = connect().map_err(KernelError::socket)?;
        Ok(Self { family, handle, _connection: connection })
    }

    /// What there is of a device.
    pub async fn device(&self, link: &Link) -> Result<WireguardDevice, KernelError> {
        let answers = self.ask(message::query(link.index), NLM_F_DUMP).await;
        let answers = answers.map_err(KernelError::system("look at WireGuard device", &link.name))?;
        Ok(answers.into_iter().fold(WireguardDevice::default(), message::read))
    }

    /// Gives a device its key and its port.
    pub async fn configure(&self, link: &Link, key: &PrivateKey, port: u16) -> Result<(), KernelError> {
        let set = self.ask(message::configuration(link.index, key, port), NLM_F_ACK).await;
        set.map(drop).map_err(KernelError::system(CONFIGURE_WIREGUARD, &link.name))
    }

    /// Adds peers to a device, or makes those that are there what is said here.
    pub async fn put_peers(
        &self,
        link: &Link,
        peers: &[(PublicKey, &WireguardPeer)],
    ) -> Result<(), KernelError> {
        for message in message::additions(link.index, peers) {
            let put = self.ask(message, NLM_F_ACK).await;
            put.map_err(KernelError::system("add peers to WireGuard device", &link.name))?;
        }
        Ok(())
    }

    /// Removes peers from a device; one that is gone already is gone.
    pub async fn remove_peers(&self, link: &Link, peers: &[PublicKey]) -> Result<(), KernelError> {
        for message in message::removals(link.index, peers) {
            let removed = self.ask(message, NLM_F_ACK).await;
            removed.map_err(KernelError::system("remove peers from WireGuard device", &link.name))?;
        }
        Ok(())
    }

    async fn ask(&self, message: WireguardMessage, flags: u16) -> io::Result<Vec<WireguardMessage>> {
        let mut message = GenlMessage::from_payload(message);
        message.set_resolved_family_id(self.family);
        let answers = ask(&self.handle, message, flags).await?;
        Ok(answers.into_iter().map(|answer| answer.payload).collect())
    }
}

/// The number of the kernel's generic netlink family for WireGuard.
async fn family() -> io::Result<u16> {
    let (handle, _connection) = connect::<GenlMessage<GenlCtrl>>()?;
    let name = GenlCtrlAttrs::FamilyName(WireguardMessage::family_name().to_owned());
    let question = GenlCtrl { cmd: GenlCtrlCmd::GetFamily, nlas: vec![name] };
    let answers = ask(&handle, GenlMessage::from_payload(question), NLM_F_ACK).await?;
    let number = answers.iter().flat_map(|answer| &answer.payload.nlas).find_map(|it| match it {
        GenlCtrlAttrs::FamilyId(number) => Some(*number),
        _ => None,
    });
    number.ok_or_else(|| io::Error::other("the kernel's answer has no number"))
}

/// A connection and what keeps it alive.
fn connect<T>() -> io::Result<(ConnectionHandle<T>, JoinSet<()>)>
where
    T: std::fmt::Debug + NetlinkSerializable + NetlinkDeserializable + Unpin + Send + 'static,
{
    let (connection, handle, _unasked) = new_connection::<T>(NETLINK_GENERIC)?;
    let mut tasks = JoinSet::new();
    tasks.spawn(connection);
    Ok((handle, tasks))
}

/// Everything that is answered to `message`. A refusal is the error.
async fn ask<T>(handle: &ConnectionHandle<T>, message: T, flags: u16) -> io::Result<Vec<T>>
where
    T: std::fmt::Debug + NetlinkSerializable,
    NetlinkPayload<T>: From<T>,
{
    let mut message = NetlinkMessage::from(message);
    message.header.flags = NLM_F_REQUEST | flags;
    message.finalize();
    let lost = |_| io::Error::from(io::ErrorKind::NotConnected);
    let mut stream = handle.request(message, NetlinkAddress::new(0, 0)).map_err(lost)?;
    let mut answers = Vec::new();
    while let Some(answer) = stream.next().await {
        match answer.payload {
            NetlinkPayload::InnerMessage(answer) => answers.push(answer),
            NetlinkPayload::Error(error) if error.code.is_some() => return Err(error.to_io()),
            _ => {}
        }
    }
    Ok(answers)
}
