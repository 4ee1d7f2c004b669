//! Messages to and from the kernel's WireGuard. Pure.

use ipnetwork::IpNetwork;
use netlink_packet_wireguard::{
    WireguardAddressFamily, WireguardAllowedIp, WireguardAllowedIpAttr, WireguardAttribute, WireguardCmd,
    WireguardMessage, WireguardPeer as PeerMessage, WireguardPeerAttribute, WireguardPeerFlags,
};

use super::{Found, WireguardDevice};
use crate::mesh::WireguardPeer;
use crate::wireguard_key::{PrivateKey, PublicKey};

/// How many peers a message says something of. One has at most 300 bytes, and attributes have 65,535 together.
const PEERS: usize = 64;

/// A key that the kernel takes for none.
const NO_KEY: [u8; 32] = [0; 32];

/// Asks for all of a device.
pub(super) fn query(index: u32) -> WireguardMessage {
    WireguardMessage { cmd: WireguardCmd::GetDevice, attributes: vec![WireguardAttribute::IfIndex(index)] }
}

/// Gives a device its key and port, and takes a mark from it.
pub(super) fn configuration(index: u32, key: &PrivateKey, port: u16) -> WireguardMessage {
    let key = WireguardAttribute::PrivateKey(key.secret());
    change(index, [key, WireguardAttribute::ListenPort(port), WireguardAttribute::Fwmark(0)])
}

/// Makes peers of a device what is said here.
pub(super) fn additions(index: u32, peers: &[(PublicKey, &WireguardPeer)]) -> Vec<WireguardMessage> {
    let peer = |(key, peer): &(PublicKey, &WireguardPeer)| {
        PeerMessage(vec![
            WireguardPeerAttribute::PublicKey(key.0),
            WireguardPeerAttribute::PresharedKey(NO_KEY),
            WireguardPeerAttribute::Flags(WireguardPeerFlags::ReplaceAllowedIps),
            WireguardPeerAttribute::Endpoint(peer.endpoint),
            WireguardPeerAttribute::PersistentKeepalive(0),
            WireguardPeerAttribute::AllowedIps(peer.allowed.iter().map(allowed).collect()),
        ])
    };
    in_parts(index, peers, peer)
}

/// Removes peers of a device.
pub(super) fn removals(index: u32, peers: &[PublicKey]) -> Vec<WireguardMessage> {
    let peer = |key: &PublicKey| {
        PeerMessage(vec![
            WireguardPeerAttribute::PublicKey(key.0),
            WireguardPeerAttribute::Flags(WireguardPeerFlags::RemoveMe),
        ])
    };
    in_parts(index, peers, peer)
}

fn in_parts<T>(index: u32, peers: &[T], peer: impl Fn(&T) -> PeerMessage) -> Vec<WireguardMessage> {
    let part = |part: &[T]| change(index, [WireguardAttribute::Peers(part.iter().map(&peer).collect())]);
    peers.chunks(PEERS).map(part).collect()
}

fn change(index: u32, what: impl IntoIterator<Item = WireguardAttribute>) -> WireguardMessage {
    let attributes = [WireguardAttribute::IfIndex(index)].into_iter().chain(what).collect();
    WireguardMessage { cmd: WireguardCmd::SetDevice, attributes }
}

fn allowed(prefix: &IpNetwork) -> WireguardAllowedIp {
    let family = if prefix.is_ipv4() { WireguardAddressFamily::Ipv4 } else { WireguardAddressFamily::Ipv6 };
    WireguardAllowedIp(vec![
        WireguardAllowedIpAttr::Family(family),
        WireguardAllowedIpAttr::IpAddr(prefix.network()),
        WireguardAllowedIpAttr::Cidr(prefix.prefix()),
    ])
}

/// Adds to a device what the next message of its dump says. What there is to say of a peer may need several.
pub(super) fn read(mut device: WireguardDevice, message: WireguardMessage) -> WireguardDevice {
    for attribute in message.attributes {
        match attribute {
            WireguardAttribute::PrivateKey(key) if key != NO_KEY => {
                device.private_key = Some(PrivateKey::from_bytes(key));
            }
            WireguardAttribute::PublicKey(key) if key != NO_KEY => device.public_key = Some(PublicKey(key)),
            WireguardAttribute::ListenPort(port) => device.port = port,
            WireguardAttribute::Fwmark(mark) => device.mark = mark,
            WireguardAttribute::Peers(peers) => peers.iter().for_each(|peer| read_peer(&mut device, peer)),
            _ => {}
        }
    }
    device
}

fn read_peer(device: &mut WireguardDevice, peer: &PeerMessage) {
    let key = peer.iter().find_map(|attribute| match attribute {
        WireguardPeerAttribute::PublicKey(key) => Some(PublicKey(*key)),
        _ => None,
    });
    let Some(key) = key else { return };
    let found: &mut Found = device.peers.entry(key).or_default();
    for attribute in peer.iter() {
        match attribute {
            WireguardPeerAttribute::Endpoint(endpoint) => found.endpoint = Some(*endpoint),
            WireguardPeerAttribute::PresharedKey(key) => found.has_preshared_key = *key != NO_KEY,
            WireguardPeerAttribute::PersistentKeepalive(seconds) => found.keepalive = *seconds,
            WireguardPeerAttribute::AllowedIps(all) => found.allowed.extend(all.iter().filter_map(prefix)),
            _ => {}
        }
    }
}

fn prefix(allowed: &WireguardAllowedIp) -> Option<IpNetwork> {
    let (mut address, mut length) = (None, None);
    for attribute in allowed.iter() {
        match attribute {
            WireguardAllowedIpAttr::IpAddr(ip) => address = Some(*ip),
            WireguardAllowedIpAttr::Cidr(bits) => length = Some(*bits),
            _ => {}
        }
    }
    IpNetwork::new(address?, length?).ok()
}

#[cfg(test)]
mod tests;
