//! A node with an uplink, pods with host ports, and what the tables say of them.

use serde_json::{Value, json};
use tripod_tests::exec::Call;
use tripod_tests::namespace::Namespace;
use tripod_tests::reach::Server;

use crate::cni::dual;

/// A node with an uplink, and somebody at its other end.
pub(crate) struct Lab {
    pub(crate) node: Namespace,
    pub(crate) outside: Namespace,
}

pub(crate) fn lab() -> Option<Lab> {
    let node = Namespace::node()?;
    let outside = Namespace::sandbox();
    let path = outside.path();
    node.sh(&format!(
        "sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1; \
         ip link add uplink type veth peer name eth1; ip link set eth1 netns {}; ip link set uplink up; \
         ip address add 192.0.2.9/24 dev uplink; ip address add 192.0.2.10/24 dev uplink; \
         ip address add 2001:db8::9/64 dev uplink nodad",
        path.display()
    ));
    outside.sh("ip link set eth1 up; ip address add 192.0.2.1/24 dev eth1; \
                ip address add 2001:db8::1/64 dev eth1 nodad; ip route add 10.1.0.0/24 via 192.0.2.9");
    Some(Lab { node, outside })
}

/// Both families, with these host ports as containerd writes them.
pub(crate) fn with_ports(ports: &Value) -> Value {
    let mut conf = dual("1.1.0");
    conf["runtimeConfig"] = json!({"portMappings": ports});
    conf
}

pub(crate) fn port(protocol: &str, host: u16, container: u16, ip: &str) -> Value {
    json!({"HostPort": host, "ContainerPort": container, "Protocol": protocol, "HostIP": ip})
}

pub(crate) fn add(node: &Namespace, pod: &Namespace, container: &str, ports: Value) -> Value {
    Call::new("ADD", &with_ports(&ports)).container(container).netns(&pod.path()).run(node).ok()
}

pub(super) fn del(node: &Namespace, container: &str) {
    Call::new("DEL", &dual("1.1.0")).container(container).env("CNI_NETNS", "").run(node).silent();
}

pub(super) fn rules(node: &Namespace) -> Value {
    node.json("nft -j list ruleset")
}

/// Elements of all maps and sets of the table.
pub(super) fn elements(node: &Namespace) -> usize {
    let objects = node.json("nft -j list table inet tripod");
    let sets = objects["nftables"].as_array().expect("objects").iter();
    sets.filter_map(|object| object["map"]["elem"].as_array().or(object["set"]["elem"].as_array()))
        .map(Vec::len)
        .sum()
}

pub(super) fn seen(server: &Server, from: &Namespace, target: &str) -> String {
    let peer = server
        .asked_from(from, target)
        .unwrap_or_else(|error| panic!("{server:?} {target} from {from:?}: {error}"));
    peer.ip().to_string()
}
