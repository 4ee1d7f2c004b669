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
        };
        let source = route.source.map(|ip| format!(" src {ip}")).unwrap_or_default();
        format!("{} via {} dev {device}{source} table {}", route.destination, route.gateway, route.table)
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
