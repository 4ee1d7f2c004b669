use std::collections::BTreeSet;

use netlink_packet_core::{Emitable, ParseableParametrized};
use netlink_packet_generic::GenlHeader;

use super::*;

/// What comes behind the headers of a message.
fn bytes(message: &WireguardMessage) -> Vec<u8> {
    let mut bytes = vec![0; message.buffer_len()];
    message.emit(&mut bytes);
    bytes
}

/// Bytes as they are written in hexadecimal, with spaces for the eye.
fn hexadecimal(text: &str) -> Vec<u8> {
    let digits: Vec<_> = text.chars().filter(|digit| !digit.is_whitespace()).collect();
    let byte = |pair: &[char]| u8::from_str_radix(&pair.iter().collect::<String>(), 16).unwrap();
    digits.chunks(2).map(byte).collect()
}

fn parse(text: &str) -> WireguardMessage {
    WireguardMessage::parse_with_param(&hexadecimal(text), GenlHeader { cmd: 0, version: 1 }).unwrap()
}

fn peer(endpoint: &str, allowed: &[&str]) -> WireguardPeer {
    let allowed = allowed.iter().map(|prefix| prefix.parse().unwrap()).collect();
    WireguardPeer { endpoint: endpoint.parse().unwrap(), allowed }
}

#[test]
fn a_device_is_asked_for_by_its_index() {
    assert_eq!(bytes(&query(7)), hexadecimal("0800 0100 07000000"));
}

#[test]
fn a_key_and_a_port_are_set_and_a_mark_goes() {
    let key = PrivateKey::from_bytes([0x50; 32]);
    let expected =
        format!("0800 0100 07000000  2400 0300 {}  0600 0600 6cca 0000  0800 0700 00000000", "50".repeat(32));
    assert_eq!(bytes(&configuration(7, &key, 51820)), hexadecimal(&expected));
}

#[test]
fn a_peer_has_its_place_and_its_addresses_and_no_others() {
    let peer = peer("192.0.2.2:51820", &["10.244.2.0/24", "2001:db8::2/128"]);
    let [message] = &additions(7, &[(PublicKey([0x22; 32]), &peer)])[..] else { panic!("one message") };
    let expected = format!(
        "0800 0100 07000000  bc00 0880  b800 0080
         2400 0100 {}  2400 0200 {}  0800 0300 02000000
         1400 0400 0200 ca6c c0000202 0000000000000000  0600 0500 0000 0000
         4800 0980
         1c00 0080  0600 0100 0200 0000  0800 0200 0af40200  0500 0300 18 000000
         2800 0080  0600 0100 0a00 0000  1400 0200 20010db8000000000000000000000002  0500 0300 80 000000",
        "22".repeat(32),
        "00".repeat(32)
    );
    assert_eq!(bytes(message), hexadecimal(&expected));
}

#[test]
fn an_endpoint_of_ipv6_and_a_removal() {
    let peer = peer("[2001:db8::2]:51820", &[]);
    let added = bytes(&additions(7, &[(PublicKey([0x22; 32]), &peer)])[0]);
    let endpoint = hexadecimal("2000 0400 0a00 ca6c 00000000 20010db8000000000000000000000002 00000000");
    assert!(added.windows(endpoint.len()).any(|window| window == endpoint));
    let [message] = &removals(7, &[PublicKey([0x22; 32])])[..] else { panic!("one message") };
    let expected = format!(
        "0800 0100 07000000  3400 0880  3000 0080  2400 0100 {}  0800 0300 01000000",
        "22".repeat(32)
    );
    assert_eq!(bytes(message), hexadecimal(&expected));
}

#[test]
fn five_thousand_peers_take_messages_of_bounded_size() {
    let allowed = ["10.244.2.0/24", "fd00:10:244:2::/64", "192.0.2.2/32", "2001:db8::2/128"];
    let peer = peer("[2001:db8::2]:51820", &allowed);
    let keys: Vec<_> = (0..5000_u16)
        .map(|number| {
            let mut key = [1; 32];
            key[..2].copy_from_slice(&number.to_be_bytes());
            PublicKey(key)
        })
        .collect();
    let peers: Vec<_> = keys.iter().map(|key| (*key, &peer)).collect();
    let messages = additions(7, &peers);
    assert!(messages.iter().all(|message| bytes(message).len() < 1 << 15));
    let device = messages.into_iter().fold(WireguardDevice::default(), read);
    assert!(device.peers.len() == 5000 && device.peers.values().all(|found| found.is_like(&peer)));
    assert_eq!(removals(7, &keys).len(), 5000_usize.div_ceil(PEERS));
}

#[test]
fn a_dump_tells_of_a_peer_in_several_messages() {
    let first = format!(
        "0600 0600 6cca 0000  0800 0700 09000000  0800 0100 07000000  0e00 0200 7472 6970 6f64 2d77 6700 0000
         2400 0300 {}  2400 0400 {}
         8c00 0880  8800 0080  2400 0100 {}  2400 0200 {}  0600 0500 1900 0000
         1400 0400 0200 ca6c c0000202 0000000000000000
         2000 0980 1c00 0080  0500 0300 18 000000  0600 0100 0200 0000  0800 0200 0af40200",
        "50".repeat(32),
        "11".repeat(32),
        "22".repeat(32),
        "33".repeat(32)
    );
    let second = format!(
        "4c00 0880  4800 0080  2400 0100 {}
         2000 0980 1c00 0080  0500 0300 20 000000  0600 0100 0200 0000  0800 0200 c0000202",
        "22".repeat(32)
    );
    let device = [first, second].iter().map(|text| parse(text)).fold(WireguardDevice::default(), read);
    assert_eq!(device.private_key, Some(PrivateKey::from_bytes([0x50; 32])));
    assert_eq!((device.public_key, device.port, device.mark), (Some(PublicKey([0x11; 32])), 51820, 9));
    let found = &device.peers[&PublicKey([0x22; 32])];
    let allowed: BTreeSet<IpNetwork> =
        ["10.244.2.0/24", "192.0.2.2/32"].iter().map(|prefix| prefix.parse().unwrap()).collect();
    assert_eq!((&found.allowed, found.keepalive, found.has_preshared_key), (&allowed, 25, true));
    assert_eq!(found.endpoint, "192.0.2.2:51820".parse().ok());
    let wanted = WireguardPeer { endpoint: found.endpoint.unwrap(), allowed };
    assert!(!found.is_like(&wanted), "it has a secret, and speaks by itself");
    let plain = Found { has_preshared_key: false, keepalive: 0, ..found.clone() };
    assert!(plain.is_like(&wanted));
}

#[test]
fn a_new_device_has_no_key() {
    let zero = "00".repeat(32);
    let message = parse(&format!("2400 0300 {zero}  2400 0400 {zero}"));
    assert_eq!(read(WireguardDevice::default(), message), WireguardDevice::default());
}
