use std::net::IpAddr;

use super::*;

const PEER: &str = "192.0.2.2";
const PODS: &str = "10.244.2.0";
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
        to: (if aim == pods() { ip(PODS) } else { ip(PEER) }, 33434).into(),
        hops: None,
        device: None,
        is_through_device: false,
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

fn from(address: &str) -> [Heard; 2] {
    let from = ip(address);
    [Heard::LastHop { from }, Heard::PortClosed { from }]
}

fn node() -> Tried {
    tried(Aim::Node, "vxlan", &[(156, closed()), (1500, closed())])
}

#[test]
fn a_router_that_answers_in_place_of_the_peer_is_named_and_its_answer_is_no_arrival() {
    for (heard, text, fix) in from(ROUTER)
        .into_iter()
        .zip([
            "no address of n2: no route of ours leads there",
            "rejects it in place of 10.244.2.0, as a firewall",
        ])
        .zip(["ip route get 10.244.2.0", "let UDP to 10.244.2.0 pass at 192.0.2.254"])
        .map(|((heard, text), fix)| (heard, text, fix))
    {
        for backend in ["vxlan", "wireguard", "direct"] {
            let pods = tried(pods(), backend, &[(156, heard.clone()), (1450, heard.clone())]);
            assert_eq!(pods.most(), None);
            let [told] = &told(&[node(), pods])[..] else { panic!("{heard:?}") };
            assert!(told.contains(text) && told.contains(fix), "{told}");
        }
    }
}

#[test]
fn a_router_that_knows_no_way_to_pods_shows_that_no_route_of_ours_leads_there() {
    for kind in [(3, 0), (1, 0)] {
        let heard = Heard::Refused { from: ip(ROUTER), kind };
        let [text] = &told(&[node(), tried(pods(), "vxlan", &[(156, heard)])])[..] else { panic!() };
        assert!(text.contains("no route of ours leads there") && !text.contains("UDP port"), "{text}");
    }
}

#[test]
fn a_firewall_that_rejects_for_the_node_is_not_the_node() {
    let [_, closed] = from(ROUTER);
    let node = tried(Aim::Node, "direct", &[(156, closed.clone()), (1500, closed)]);
    let pods = tried(pods(), "direct", &[(156, Heard::Silence), (1500, Heard::Silence)]);
    let [text] = &told(&[node, pods])[..] else { panic!() };
    assert!(
        text.starts_with("n2 | no packet gets to the node") && text.contains("192.0.2.254 rejects it"),
        "{text}"
    );
}

#[test]
fn a_long_packet_that_a_router_answers_is_none_that_arrives() {
    let pods = tried(pods(), "direct", &[(156, last_hop()), (1500, from(ROUTER)[0].clone())]);
    let [text] = &told(&[node(), pods])[..] else { panic!() };
    assert!(text.contains("1500 bytes: 192.0.2.254 answers, which is no address of n2"), "{text}");
}

#[test]
fn a_peer_may_answer_from_its_pods_prefix_and_through_our_device_from_any_address() {
    let pods = |address| tried(pods(), "vxlan", &[(156, from(address)[0].clone())]);
    assert_eq!(told(&[node(), pods("10.244.2.1")]), [""; 0]);
    let mut through = pods("203.0.113.7");
    assert_eq!(told(&[node(), through.clone()]).len(), 1);
    through.target.is_through_device = true;
    assert_eq!(told(&[node(), through.clone()]), [""; 0]);
    through.heard = vec![(156, from("203.0.113.7")[1].clone())];
    assert_eq!(told(&[node(), through]).len(), 1, "a firewall rejects, whatever the way");
}

#[test]
fn what_does_not_leave_this_node_is_no_matter_of_the_ports_in_between() {
    for backend in ["vxlan", "wireguard", "direct"] {
        let heard = Heard::Unsent("Operation not permitted".to_owned());
        let pods = tried(pods(), backend, &[(156, heard.clone()), (1450, heard)]);
        let [text] = &told(&[node(), pods])[..] else { panic!() };
        assert!(text.contains("does not leave this node") && text.contains("hook output"), "{text}");
        assert!(!text.contains("UDP port") && !text.contains("clouds"), "{text}");
    }
}

#[test]
fn each_backend_has_its_name_and_its_own_remedy_for_long_packets() {
    let names =
        [("direct", "by a route"), ("vxlan", "through the overlay"), ("wireguard", "through WireGuard")];
    for (backend, name) in names {
        let pods = tried(pods(), backend, &[(156, last_hop()), (1420, Heard::Silence)]);
        let [text] = &told(&[node(), pods])[..] else { panic!() };
        assert!(text.contains(name) && text.contains("mtu in node.yaml") && !text.contains("70"), "{text}");
    }
}
