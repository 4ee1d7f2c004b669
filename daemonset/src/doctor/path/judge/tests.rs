use std::net::IpAddr;

use super::*;

const PEER: &str = "192.0.2.2";
const ROUTER: &str = "192.0.2.254";

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn tried(aim: Aim, backend: &str, heard: &[(usize, Heard)]) -> Tried {
    let target = Target {
        peer: "n2".to_owned(),
        backend: backend.to_owned(),
        addresses: vec![ip(PEER)],
        aim,
        to: (ip(PEER), 33434).into(),
        hops: None,
    };
    Tried { target, heard: heard.to_vec() }
}

fn pods() -> Aim {
    Aim::Pods("10.244.2.0/24".parse().unwrap())
}

fn closed() -> Heard {
    Heard::PortClosed { from: ip(PEER) }
}

fn last_hop() -> Heard {
    Heard::LastHop { from: ip(PEER) }
}

/// The findings' objects and fixes in one text each.
fn told(tried: &[Tried]) -> Vec<String> {
    let found = findings(&tried.iter().collect::<Vec<_>>());
    found.into_iter().map(|it| format!("{} | {} | {}", it.object, it.evidence, it.fix)).collect()
}

#[test]
fn nothing_is_said_where_all_is_answered_or_only_the_nodes_firewall_is_silent() {
    let through = tried(pods(), "vxlan", &[(156, last_hop()), (1450, last_hop())]);
    let node = |small: Heard, full: Heard| tried(Aim::Node, "vxlan", &[(156, small), (1500, full)]);
    assert_eq!(told(&[node(closed(), closed()), through.clone()]), [""; 0]);
    assert_eq!(told(&[node(Heard::Silence, Heard::Silence), through.clone()]), [""; 0]);
    // Answers are rationed: the long one is proof for the short one.
    assert_eq!(told(&[node(Heard::Silence, closed()), through.clone()]), [""; 0]);
    let rejected = Heard::Refused { from: ip(PEER), kind: (3, 10) };
    assert_eq!(told(&[node(rejected.clone(), rejected), through]), [""; 0]);
}

#[test]
fn long_packets_that_are_lost_are_told_with_what_fits_if_somebody_says_it() {
    let node = |full| tried(Aim::Node, "direct", &[(156, closed()), (1500, full)]);
    let [text] = &told(&[node(Heard::TooBig { from: ip(ROUTER), mtu: 1400 })])[..] else { panic!() };
    assert!(
        text.starts_with("n2 at 192.0.2.2 | 1500 bytes do not get there: 192.0.2.254 passes 1400"),
        "{text}"
    );
    let [text] = &told(&[node(Heard::Silence)])[..] else { panic!() };
    assert!(text.contains("lost without a word") && text.contains("mtu in node.yaml"), "{text}");
}

#[test]
fn a_way_to_pods_that_is_closed_is_told_by_what_closes_it() {
    let node = tried(Aim::Node, "vxlan", &[(156, closed()), (1500, closed())]);
    let lost = |backend| tried(pods(), backend, &[(156, Heard::Silence), (1450, Heard::Silence)]);
    let [text] = &told(&[node.clone(), lost("vxlan")])[..] else { panic!() };
    assert!(text.contains("through the overlay") && text.contains("UDP port"), "{text}");
    let [text] = &told(&[node.clone(), lost("direct")])[..] else { panic!() };
    assert!(text.contains("by a route") && text.contains("backend: vxlan"), "{text}");
    let refused = Heard::Refused { from: ip(ROUTER), kind: (3, 1) };
    let [text] = &told(&[node, tried(pods(), "direct", &[(156, refused)])])[..] else { panic!() };
    assert!(text.contains("192.0.2.254 answers with ICMP type 3, code 1"), "{text}");
}

#[test]
fn a_wrong_checksum_is_suspected_only_where_the_overlay_works_otherwise() {
    let silent = tried(Aim::Checksum, "vxlan", &[(176, Heard::Silence)]);
    let through = tried(pods(), "vxlan", &[(156, last_hop()), (1450, last_hop())]);
    let node = tried(Aim::Node, "vxlan", &[(156, closed()), (1500, closed())]);
    let [text] = &told(&[node.clone(), through.clone(), silent.clone()])[..] else { panic!() };
    assert!(text.contains("checksumOffload: \"off\""), "{text}");
    assert_eq!(told(&[node, silent.clone()]), [""; 0]);
    assert_eq!(told(&[through, silent]), [""; 0], "the node's firewall says nothing of closed ports");
}

#[test]
fn a_node_of_which_nothing_is_heard_may_be_gone_or_closed() {
    let silent = |aim| tried(aim, "vxlan", &[(156, Heard::Silence), (1500, Heard::Silence)]);
    let [text] = &told(&[silent(Aim::Node), silent(pods())])[..] else { panic!() };
    assert!(text.starts_with("n2 | no packet") && text.contains("cannot be told from a node that is gone"));
    let gone = Heard::Refused { from: ip("192.0.2.1"), kind: (3, 1) };
    let [text] = &told(&[tried(Aim::Node, "vxlan", &[(156, gone)])])[..] else { panic!() };
    assert!(text.contains("192.0.2.1 answers with ICMP type 3, code 1"), "{text}");
}
