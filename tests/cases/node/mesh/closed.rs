//! Pods cannot put packets into the overlay that links their nodes.

use std::io;
use std::net::{Ipv4Addr, UdpSocket};
use std::time::Duration;

use tripod_node::mac::Mac;
use tripod_tests::namespace::Namespace;

use super::site::{Cable, Site};

/// What VXLAN carries of a UDP packet to `to`, as if node n2 had got it from a pod of node n1.
fn forged(to: Ipv4Addr, port: u16) -> Vec<u8> {
    let text = b"forged";
    let udp = [&[0x30, 0x39][..], &port.to_be_bytes(), &[0, 8 + 6, 0, 0], text].concat();
    let mut ip =
        [&[0x45, 0, 0, 20 + 14, 0, 0, 0, 0, 64, 17, 0, 0, 10, 244, 1, 77][..], &to.octets()].concat();
    let sum: u32 = ip.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(pair[1])).sum();
    let checksum = !u16::try_from((sum & 0xffff) + (sum >> 16)).expect("two carries at most");
    ip[10..12].copy_from_slice(&checksum.to_be_bytes());
    let ethernet = [&Mac::of_node("uid-2").0[..], &Mac::of_node("uid-1").0, &[8, 0]].concat();
    let vxlan = [8, 0, 0, 0, 0, 0, 84, 0];
    [&vxlan[..], &ethernet, &ip, &udp].concat()
}

fn send(from: &Namespace, packet: Vec<u8>, to: &'static str) {
    let sent = from.run(move || UdpSocket::bind("0.0.0.0:0").and_then(|socket| socket.send_to(&packet, to)));
    sent.expect("it is sent");
}

#[test]
fn a_pod_cannot_send_through_the_overlay_of_its_node() {
    let Some(site) = Site::new(Cable::Router) else { return };
    let (a, b) = (site.join(1, ""), site.join(2, ""));
    let [_, target] = [a.attach(), b.attach()].map(|[ipv4, _]| ipv4.parse::<Ipv4Addr>().expect("an address"));
    a.waits_for_routes("linked", |routes| routes.lines().count() == 2);
    b.waits_for_routes("linked", |routes| routes.lines().count() == 2);
    let victim = b.pod.run(|| UdpSocket::bind("0.0.0.0:9999")).expect("a socket");
    victim.set_read_timeout(Some(Duration::from_secs(2))).expect("a timeout");
    let hear = || -> io::Result<String> {
        let mut buffer = [0; 16];
        let (length, from) = victim.recv_from(&mut buffer)?;
        Ok(format!("{} from {}", String::from_utf8_lossy(&buffer[..length]), from.ip()))
    };
    // The node itself can, which shows that the packet is good.
    send(&a.node, forged(target, 9999), "192.0.2.2:4789");
    assert_eq!(hear().expect("a packet"), "forged from 10.244.1.77");
    send(&a.pod, forged(target, 9999), "192.0.2.2:4789");
    assert_eq!(hear().unwrap_err().kind(), io::ErrorKind::WouldBlock);
    send(&b.pod, forged(target, 9999), "192.0.2.2:4789");
    assert_eq!(hear().unwrap_err().kind(), io::ErrorKind::WouldBlock);
    // Another port is nobody's concern.
    let server = b.node.run(|| UdpSocket::bind("0.0.0.0:4790")).expect("a socket");
    server.set_read_timeout(Some(Duration::from_secs(10))).expect("a timeout");
    send(&a.pod, b"hello".to_vec(), "192.0.2.2:4790");
    assert_eq!(server.recv(&mut [0; 16]).expect("a packet"), 5);
}
