use serde_json::json;

use super::*;
use crate::config::{Backend, NodeConfig};
use crate::mesh::{self, Underlay};
use crate::tripod_node::{Claim, ClaimError};
use crate::wireguard_key::PublicKey;

fn facts(number: u8) -> NodeFacts {
    NodeFacts {
        uid: format!("u{number}"),
        pod_cidrs: vec![format!("10.244.{number}.0/24").parse().unwrap()],
        node_ips: vec![IpAddr::from([192, 0, 2, number])],
    }
}

fn peer(number: u8) -> Peer {
    let key = (number == 2).then_some(PublicKey([2; 32]));
    Peer { name: format!("n{number}"), claim: Claim::new(&facts(number), key).unwrap() }
}

#[test]
fn each_peer_has_its_backend_and_state() {
    let underlay = Underlay {
        reach: [(IpAddr::from([192, 0, 2, 2]), mesh::Reach::OnLink(3))].into(),
        ..Underlay::default()
    };
    let refused = [("n9".to_owned(), Refusal::Nonsense(ClaimError::Protocol(7)))];
    let told = |backend| {
        let config = NodeConfig { backend, ..NodeConfig::default() };
        let believed = [peer(2), peer(3)];
        let mesh = mesh::plan(&config, &facts(1), &believed, &underlay);
        let peers = peers(&mesh, &believed, &refused);
        peers.iter().map(|peer| (peer.backend, peer.state)).collect::<Vec<_>>()
    };
    let ignored = ("none", "ignored");
    assert_eq!(told(Backend::Auto), [("direct", "linked"), ("vxlan", "linked"), ignored]);
    assert_eq!(told(Backend::Direct), [("direct", "linked"), ("none", "unlinked"), ignored]);
    assert_eq!(told(Backend::Vxlan), [("vxlan", "linked"), ("vxlan", "linked"), ignored]);
    assert_eq!(told(Backend::Wireguard), [("wireguard", "linked"), ("none", "unlinked"), ignored]);
    for (backend, state) in told(Backend::Auto).into_iter().chain(told(Backend::Wireguard)) {
        assert!(BACKENDS.contains(&backend) && PEER_STATES.contains(&state));
    }
}

#[test]
fn the_ways_to_a_peer_are_its_routes_and_no_others() {
    let both = |number: u8| {
        let cidrs = [format!("fd00:{number}::/64"), format!("10.244.{number}.0/24")];
        let facts =
            NodeFacts { pod_cidrs: cidrs.map(|cidr| cidr.parse().unwrap()).to_vec(), ..facts(number) };
        Peer { name: format!("n{number}"), claim: Claim::new(&facts, None).unwrap() }
    };
    let config = NodeConfig { backend: Backend::Vxlan, ..NodeConfig::default() };
    let believed = [both(2), both(3)];
    let mesh = mesh::plan(&config, &facts(1), &believed, &Underlay::default());
    let told = &peers(&mesh, &believed, &[])[1];
    let ways: Vec<_> = told.ways.iter().map(|way| (way.destination.to_string(), way.overlay)).collect();
    let overlay = Some("tripod4");
    assert_eq!(ways, [("10.244.3.0/24".to_owned(), overlay), ("fd00:3::/64".to_owned(), overlay)]);
    assert_eq!(told.ways[0].gateway, Some(IpAddr::from([10, 244, 3, 0])));
}

#[test]
fn the_time_is_that_of_the_phases_beginning() {
    let at = |text: &str| text.parse().unwrap();
    let mut status = Status::default();
    status.enter(&Phase::Failing("a".into()), at("2026-01-02T03:04:05.6Z"));
    status.enter(&Phase::Failing("b".into()), at("2026-01-02T03:05:00Z"));
    assert_eq!((status.since.as_str(), status.detail.as_str()), ("2026-01-02T03:04:05Z", "failing: b"));
    status.enter(&Phase::Ready, at("2026-01-02T03:06:00Z"));
    assert_eq!((status.since.as_str(), status.ready), ("2026-01-02T03:06:00Z", true));
}

#[test]
fn a_person_reads_a_table_in_which_no_node_moves_the_cursor() {
    let status = Status { node: "n1".into(), facts: Some(facts(1)), ..Status::default() };
    let mut status = serde_json::to_value(status).unwrap();
    status["peers"] = json!([{"name": "n2", "backend": "direct", "state": "linked", "why": "\u{1b}[2J"}]);
    status["overlays"] = json!([
        {"name": "tripod4", "vni": 84, "port": 4789, "local": "192.0.2.1", "mtu": 1450},
        OverlayStatus::from(&Wireguard { port: 51820, mtu: Some(1440), addresses: vec![] }),
    ]);
    let text = table(&status);
    assert!(text.contains("  overlay tripod4: from 192.0.2.1 port 4789, VNI 84, MTU 1450\n"), "{text}");
    assert!(text.contains("  WireGuard tripod-wg: port 51820, MTU 1440\n"), "{text}");
    assert!(text.contains("pod CIDRs: 10.244.1.0/24\n") && text.contains("\nPEER  BACKEND"), "{text}");
    assert!(text.contains("n2    direct") && !text.contains('\u{1b}'), "{text}");
}
