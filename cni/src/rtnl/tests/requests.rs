//! Each request byte by byte as the crates made it, which had made all of them before.

use ipnetwork::IpNetwork;
use netlink_packet_core::NetlinkMessage;
use netlink_packet_route::RouteNetlinkMessage;
use nix::libc::{RTM_DELQDISC, RTM_GETQDISC, RTM_GETTFILTER, RTM_NEWQDISC};

use super::super::{
    AF_INET, AF_INET6, BridgeSpec, Bucket, Mac, PortSpec, RouteSpec, VethSpec, VlanSpec, address, bridge,
    link, neighbour, route, traffic,
};
use crate::netlink::{NLM_F_ACK, NLM_F_CREATE, NLM_F_EXCL, Request};
use crate::spec::RouteOptions;

/// A name, a colon and a space, and the bytes in hexadecimal.
const GOLDEN: &str = include_str!("requests.txt");

const GROUP: u32 = 0x7470;
const HOST: &str = "tp0123456789a";
const ALIAS: &str = "pod default/web";
const MAC: Mac = Mac([2, 0, 0, 0, 0, 1]);
const POD_MAC: Mac = Mac([2, 0, 0, 0, 0, 2]);
const PORT: PortSpec = PortSpec { hairpin: true, isolated: true };
const BUCKET: Bucket = Bucket { rate: 6_250_000_000, burst: 1_000_000, limit: 2_000_000 };

fn net(text: &str) -> IpNetwork {
    text.parse().unwrap()
}

fn links() -> Vec<(&'static str, Request)> {
    let pair = VethSpec {
        host: HOST,
        host_mac: MAC,
        group: GROUP,
        pod: "eth0",
        pod_mac: POD_MAC,
        netns: Some(5),
        mtu: 1450,
        master: None,
    };
    vec![
        ("new_veth", link::new_veth(&pair)),
        ("new_veth on a bridge", link::new_veth(&VethSpec { netns: None, master: Some(9), ..pair })),
        ("set_alias", link::set_alias(HOST, ALIAS)),
        ("set_mac", link::set_mac(3, &MAC.0)),
        ("set_up", link::set_up(3, true)),
        ("set_down", link::set_up(3, false)),
        ("get_link_by_name", link::get_link_by_name(HOST)),
        ("get_link_by_index", link::get_link_by_index(3)),
        ("delete_link", link::delete_link(HOST)),
    ]
}

fn addresses() -> Vec<(&'static str, Request)> {
    let [v4, v6] = ["10.1.0.7/24", "fd00::7/64"].map(net);
    vec![
        ("new_address v4", address::new_address(3, v4)),
        ("new_address v6", address::new_address(3, v6)),
        ("delete_address v4", address::delete_address(3, v4)),
        ("delete_address v6", address::delete_address(3, v6)),
        ("dump_addresses", address::dump_addresses(3)),
        ("new_neighbour v4", neighbour::new_neighbour(3, v4.ip(), MAC)),
        ("new_neighbour v6", neighbour::new_neighbour(3, v6.ip(), MAC)),
        ("dump_neighbours", neighbour::dump_neighbours()),
    ]
}

fn routes() -> Vec<(&'static str, Request)> {
    let [v4, v6] = ["10.1.0.7/32", "fd00::7/128"].map(net);
    let options = RouteOptions::default();
    let local = RouteSpec { destination: v4, gateway: None, device: 3, source: None, options };
    let default = RouteSpec {
        destination: net("0.0.0.0/0"),
        gateway: Some(net("169.254.1.1").ip()),
        source: Some(v4.ip()),
        ..local
    };
    let metric = RouteOptions { advmss: Some(1360), ..options };
    let all = RouteSpec {
        destination: net("fd00:1::/48"),
        gateway: Some(net("fe80::1").ip()),
        source: Some(v6.ip()),
        options: RouteOptions {
            table: Some(1000),
            priority: Some(7),
            scope: Some(253),
            mtu: Some(1400),
            ..metric
        },
        ..local
    };
    vec![
        ("new_route on the link", route::new_route(&local)),
        ("new_route default v4", route::new_route(&default)),
        ("new_route with all", route::new_route(&all)),
        ("new_route with a metric", route::new_route(&RouteSpec { options: metric, ..local })),
        ("dump_routes v4", route::dump_routes(AF_INET)),
        ("dump_routes v6", route::dump_routes(AF_INET6)),
        ("get_route v4", route::get_route(v4.ip())),
        ("get_route v6", route::get_route(v6.ip())),
    ]
}

fn bridges() -> Vec<(&'static str, Request)> {
    let plain = BridgeSpec { name: "br0", mac: MAC, mtu: 1500, group: GROUP, vlan_filtering: false };
    let vlans = [(7..=7, true), (8..=8, false), (10..=20, false)];
    let vlans = vlans.map(|(ids, native)| VlanSpec { ids, native });
    vec![
        ("new_bridge", bridge::new_bridge(&plain)),
        ("new_bridge with VLANs", bridge::new_bridge(&BridgeSpec { vlan_filtering: true, ..plain })),
        ("filter_vlans", bridge::filter_vlans(3)),
        ("set_promiscuous", bridge::set_promiscuous(3)),
        ("set_port", bridge::set_port(HOST, ALIAS, PORT)),
        ("set_port off", bridge::set_port(HOST, ALIAS, PortSpec::default())),
        ("add_vlans", bridge::add_vlans(3, &vlans)),
        ("delete_vlan", bridge::delete_vlan(3, 7)),
    ]
}

fn traffic() -> Vec<(&'static str, Request)> {
    let new = NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL;
    vec![
        ("new_ifb", traffic::new_ifb("tpi0123", GROUP, 1450)),
        ("new_bucket", traffic::new_bucket(3, &BUCKET)),
        ("new_bucket of 32 bits", traffic::new_bucket(3, &Bucket { rate: 125_000, ..BUCKET })),
        ("delete_bucket", traffic::delete_bucket(3)),
        ("new_ingress", traffic::ingress(RTM_NEWQDISC, new, 3)),
        ("delete_ingress", traffic::ingress(RTM_DELQDISC, NLM_F_ACK, 3)),
        ("new_detour", traffic::new_detour(3, 4)),
        ("delete_detour", traffic::delete_detour(3)),
        ("dump_disciplines", traffic::dump(RTM_GETQDISC, 3, 0)),
        ("dump_filters", traffic::dump(RTM_GETTFILTER, 3, 0xffff << 16)),
    ]
}

fn framed(request: &Request) -> Vec<u8> {
    let mut datagram = Vec::new();
    request.frame(1, &mut datagram);
    datagram
}

#[test]
fn every_request_is_byte_by_byte_what_it_was() {
    let all = [links(), addresses(), routes(), bridges(), traffic()].concat();
    let lines = all.iter().map(|(name, request)| {
        let hex = framed(request).iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        format!("{name}: {hex}")
    });
    let golden: Vec<_> = GOLDEN.lines().collect();
    assert_eq!(lines.collect::<Vec<_>>(), golden);
}

#[test]
fn the_crates_read_every_request_and_write_it_again() {
    // Filters they read, but fail to write what they read.
    for (name, request) in [links(), addresses(), routes(), bridges()].concat() {
        let ours = framed(&request);
        let read = NetlinkMessage::<RouteNetlinkMessage>::deserialize(&ours);
        let read = read.unwrap_or_else(|error| panic!("{name}: {error}"));
        let mut theirs = vec![0; read.buffer_len()];
        read.serialize(&mut theirs);
        assert_eq!(theirs, ours, "{name}");
    }
}
