use super::*;
use crate::config::Vxlan;
use crate::tripod_node::Claim;

const VNI: u32 = 84;

fn facts() -> NodeFacts {
    NodeFacts {
        uid: "u1".into(),
        pod_cidrs: networks(&["10.244.1.0/24", "fd00:1::/64"]),
        node_ips: addresses(&["192.0.2.1", "2001:db8::1"]),
    }
}

fn networks(texts: &[&str]) -> Vec<IpNetwork> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

fn addresses(texts: &[&str]) -> Vec<IpAddr> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

fn peer(name: &str, ips: &[&str], cidrs: &[&str]) -> Peer {
    let claim = Claim {
        node_uid: name.into(),
        addresses: addresses(ips),
        pod_cidrs: networks(cidrs),
        vtep_mac: "02:00:00:00:00:02".parse().unwrap(),
        wireguard_key: None,
        protocol: 1,
    };
    Peer { name: name.into(), claim }
}

fn underlay(reach: &[(&str, Reach)]) -> Underlay {
    Underlay {
        reach: reach.iter().map(|(ip, reach)| (ip.parse().unwrap(), *reach)).collect(),
        mtu: BTreeMap::from([(Family::V4, 1500), (Family::V6, 1500)]),
        has_broken_checksums: false,
    }
}

/// The routes as `ip route` would tell them.
fn routes(mesh: &Mesh) -> Vec<String> {
    let text = |route: &Route| {
        let device = match route.device {
            Device::Link(index) => format!("link {index}"),
            Device::Overlay(family) => family.overlay().to_owned(),
            Device::Wireguard => WIREGUARD.to_owned(),
        };
        let source = route.source.map(|ip| format!(" src {ip}")).unwrap_or_default();
        let gateway = route.gateway.map(|ip| format!(" via {ip}")).unwrap_or_default();
        format!("{}{gateway} dev {device}{source} table {}", route.destination, route.table)
    };
    mesh.routes.iter().map(text).collect()
}

fn with(backend: Backend, peers: &[Peer], reach: &[(&str, Reach)]) -> Mesh {
    plan(&NodeConfig { backend, ..NodeConfig::default() }, &facts(), peers, &underlay(reach))
}

fn dual() -> Peer {
    peer("n2", &["192.0.2.2", "2001:db8::2"], &["10.244.2.0/24", "fd00:2::/64"])
}

const ON_LINK: [(&str, Reach); 2] = [("192.0.2.2", Reach::OnLink(7)), ("2001:db8::2", Reach::OnLink(7))];

#[test]
fn a_peer_on_our_link_gets_a_route_per_family_and_nothing_else() {
    let mesh = with(Backend::Auto, &[dual()], &ON_LINK);
    assert_eq!(
        routes(&mesh),
        [
            "10.244.2.0/24 via 192.0.2.2 dev link 7 src 192.0.2.1 table 254",
            "fd00:2::/64 via 2001:db8::2 dev link 7 src 2001:db8::1 table 254",
        ]
    );
    assert!(mesh.overlays.is_empty() && mesh.neighbours.is_empty() && mesh.rules.is_empty());
    assert_eq!(mesh.pod_mtu(), None);
}

#[test]
fn a_peer_behind_a_router_is_reached_through_the_overlay_and_so_is_its_node_from_pods() {
    let mesh = with(Backend::Auto, &[dual()], &[("192.0.2.2", Reach::Routed(None))]);
    assert_eq!(
        routes(&mesh),
        [
            "10.244.2.0/24 via 10.244.2.0 dev tripod4 src 192.0.2.1 table 254",
            "192.0.2.2/32 via 10.244.2.0 dev tripod4 table 84",
            "2001:db8::2/128 via fe80::ff:fe00:2 dev tripod6 table 84",
            "fd00:2::/64 via fe80::ff:fe00:2 dev tripod6 src 2001:db8::1 table 254",
        ]
    );
    let forwarding: Vec<_> = mesh.forwarding.iter().map(|it| (it.overlay, it.node.to_string())).collect();
    assert_eq!(forwarding, [(Family::V4, "192.0.2.2".to_owned()), (Family::V6, "2001:db8::2".to_owned())]);
    assert_eq!(mesh.neighbours.len(), 2);
    assert_eq!(mesh.rules, facts().pod_cidrs.into_iter().collect());
    let [v4, v6] = &mesh.overlays[..] else { panic!("{:?}", mesh.overlays) };
    assert_eq!((v4.mtu, v6.mtu, mesh.pod_mtu()), (Some(1450), Some(1430), Some(1430)));
    assert_eq!((v4.vni, v4.port, v4.mac), (VNI, Vxlan::default().port, Mac::of_node("u1")));
    assert_eq!(v4.addresses, addresses(&["192.0.2.1"]));
}

#[test]
fn forced_backends_are_obeyed() {
    assert_eq!(with(Backend::Vxlan, &[dual()], &ON_LINK).overlays.len(), 2);
    assert_eq!(with(Backend::Vxlan, &[], &[]).overlays.len(), 2);
    let mesh = with(Backend::Direct, &[dual()], &[("192.0.2.2", Reach::Routed(None)), ON_LINK[1]]);
    assert_eq!(routes(&mesh), ["fd00:2::/64 via 2001:db8::2 dev link 7 src 2001:db8::1 table 254"]);
    let (_, problem) = &mesh.problems[0];
    assert_eq!(
        problem.to_string(),
        "10.244.2.0/24: 192.0.2.2 is not on a link of this node, and backend is \"direct\"; set it to \"auto\""
    );
}

#[test]
fn pods_of_a_family_that_nodes_do_not_have_travel_over_the_other() {
    let mesh = with(Backend::Auto, &[peer("n2", &["192.0.2.2"], &["fd00:2::/64"])], &ON_LINK[..1]);
    assert_eq!(routes(&mesh), ["fd00:2::/64 via fe80::ff:fe00:2 dev tripod4 src 2001:db8::1 table 254"]);
    assert_eq!(mesh.overlays[0].addresses, addresses(&["2001:db8::1"]));
    assert!(mesh.rules.is_empty());
}

#[test]
fn without_a_common_family_there_is_no_way() {
    let facts = NodeFacts { node_ips: addresses(&["2001:db8::1"]), ..facts() };
    let peers = [peer("n2", &["192.0.2.2"], &["10.244.2.0/24"]), dual()];
    let mesh = plan(&NodeConfig::default(), &facts, &peers, &underlay(&ON_LINK));
    let [(name, problem)] = &mesh.problems[..] else { panic!("{:?}", mesh.problems) };
    assert_eq!(name, "n2");
    assert!(problem.to_string().contains("no InternalIP of the same family"));
}

#[test]
fn one_peer_in_trouble_is_in_no_others_way() {
    let peers =
        [peer("n2", &["192.0.2.2"], &["10.244.2.0/24"]), peer("n3", &["192.0.2.3"], &["10.244.3.0/24"])];
    let mesh =
        with(Backend::Direct, &peers, &[("192.0.2.2", Reach::Unknown), ("192.0.2.3", Reach::OnLink(7))]);
    assert_eq!(routes(&mesh).len(), 1);
    assert_eq!(mesh.problems.len(), 1);
}

const KEY: PublicKey = PublicKey([2; 32]);

fn with_key(mut peer: Peer, key: PublicKey) -> Peer {
    peer.claim.wireguard_key = Some(key);
    peer
}

#[test]
fn encrypted_peers_are_behind_one_device_for_both_families() {
    let mesh = with(Backend::Wireguard, &[with_key(dual(), KEY)], &ON_LINK);
    assert_eq!(
        routes(&mesh),
        [
            "10.244.2.0/24 dev tripod-wg src 192.0.2.1 table 254",
            "192.0.2.2/32 dev tripod-wg table 84",
            "2001:db8::2/128 dev tripod-wg table 84",
            "fd00:2::/64 dev tripod-wg src 2001:db8::1 table 254",
        ]
    );
    assert!(mesh.overlays.is_empty() && mesh.neighbours.is_empty() && mesh.forwarding.is_empty());
    assert_eq!(mesh.rules, facts().pod_cidrs.into_iter().collect());
    assert_eq!(mesh.neighbours_on_links(), 0);
    let allowed = networks(&["10.244.2.0/24", "fd00:2::/64", "192.0.2.2/32", "2001:db8::2/128"]);
    let endpoint = "192.0.2.2:51820".parse().unwrap();
    let peer = WireguardPeer { endpoint, allowed: allowed.into_iter().collect() };
    assert_eq!(mesh.wireguard_peers, BTreeMap::from([(KEY, peer)]));
    let device = mesh.wireguard.clone().unwrap();
    assert_eq!((device.port, device.mtu, mesh.pod_mtu()), (51820, Some(1440), Some(1440)));
    assert_eq!(device.addresses, facts().node_ips);
}

#[test]
fn what_any_peer_leaves_of_the_mtu_is_what_all_get() {
    let six = || with_key(peer("n3", &["2001:db8::3"], &["fd00:3::/64"]), PublicKey([3; 32]));
    let device = |peers: &[Peer]| with(Backend::Wireguard, peers, &[]).wireguard.unwrap();
    assert_eq!(device(&[with_key(dual(), KEY), six()]).mtu, Some(1420));
    let alone = device(&[]);
    assert_eq!((alone.mtu, alone.addresses), (Some(1440), vec![]));
    let facts = NodeFacts { node_ips: addresses(&["2001:db8::1"]), ..facts() };
    let config = NodeConfig { backend: Backend::Wireguard, ..NodeConfig::default() };
    let mesh = plan(&config, &facts, &[], &underlay(&[]));
    assert_eq!(mesh.wireguard.and_then(|device| device.mtu), Some(1420));
}

#[test]
fn who_has_no_key_is_not_linked_and_never_in_plain_text() {
    let peers = [dual(), with_key(peer("n3", &["192.0.2.3"], &["10.244.3.0/24"]), PublicKey([3; 32]))];
    let mesh = with(Backend::Wireguard, &peers, &ON_LINK);
    assert!(routes(&mesh).iter().all(|route| !route.contains(":2::/64") && !route.contains("10.244.2.")));
    assert_eq!(mesh.wireguard_peers.len(), 1);
    let all = networks(&["10.244.2.0/24", "10.244.3.0/24", "fd00:2::/64"]);
    assert_eq!(mesh.unreachable, all.into_iter().collect());
    let [(v4, problem), (v6, _)] = &mesh.problems[..] else { panic!("{:?}", mesh.problems) };
    assert_eq!((v4.as_str(), v6.as_str()), ("n2", "n2"));
    assert!(problem.to_string().starts_with("10.244.2.0/24: the peer tells no valid key of WireGuard"));
    // A key alone does not choose it.
    let auto = with(Backend::Auto, &[with_key(dual(), KEY)], &ON_LINK);
    assert_eq!((auto.wireguard, auto.unreachable), (None, BTreeSet::new()));
}
