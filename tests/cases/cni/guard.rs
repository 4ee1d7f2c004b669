//! The guard chain, attacked from a pod.

use std::time::Duration;

use serde_json::{Value, json};
use tripod_tests::namespace::Namespace;

use super::{attach, ports};

/// Packets that arrived after the guard, by a counter of our own: in prerouting, and ARP in input.
pub(super) fn count(node: &Namespace, family: &str, matching: &str, attack: impl Fn()) -> u64 {
    let hook = if family == "arp" { "input" } else { "prerouting" };
    node.sh(&format!(
        "nft add table {family} probe; \
         nft 'add chain {family} probe seen {{ type filter hook {hook} priority 0; }}'; \
         nft 'add rule {family} probe seen {matching} counter'"
    ));
    attack();
    let rules = node.json(&format!("nft -j list chain {family} probe seen"));
    node.sh(&format!("nft delete table {family} probe"));
    let packets = rules["nftables"].as_array().expect("rules").iter().find_map(|object| {
        let expressions = object["rule"]["expr"].as_array()?;
        expressions.iter().find_map(|one| one["counter"]["packets"].as_u64())
    });
    packets.expect("a counter")
}

struct Attacked {
    node: Namespace,
    pod: Namespace,
    link: String,
}

fn attacked() -> Option<Attacked> {
    let node = Namespace::node()?;
    node.sh(
        "sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1 net.ipv4.conf.all.route_localnet=1",
    );
    let pod = Namespace::sandbox();
    let link = attach(&node, &pod, "c1")["interfaces"][0]["name"].as_str().expect("a name").to_owned();
    Some(Attacked { node, pod, link })
}

/// The attack must arrive when the guard chain is emptied, or the test would prove nothing.
fn stopped_by_the_guard(at: &Attacked, matching: &str, attack: impl Fn()) {
    assert_eq!(count(&at.node, "inet", matching, &attack), 0, "{matching} passed the guard");
    at.node.sh("nft flush chain inet tripod guard");
    assert_ne!(
        count(&at.node, "inet", matching, &attack),
        0,
        "{matching} does not arrive even without the guard"
    );
}

#[test]
fn a_pod_does_not_reach_the_hosts_loopback() {
    let Some(at) = attacked() else { return };
    at.pod.sh("ip link set lo down; ip route add 127.0.0.0/8 via 169.254.1.1 dev eth0 onlink src 10.1.0.2; \
               sysctl -qw net.ipv4.conf.all.route_localnet=1; ip rule add pref 1 to 127.0.0.1 lookup main; \
               ip rule del pref 0");
    stopped_by_the_guard(&at, &format!("iifname {} ip daddr 127.0.0.0/8", at.link), || {
        at.pod.try_sh("ping -c1 -W1 -I 10.1.0.2 127.0.0.1");
    });
}

#[test]
fn a_host_port_opens_the_hosts_loopback_to_nobody() {
    let Some(node) = Namespace::node() else { return };
    let pod = Namespace::sandbox();
    let ports = json!([{"hostPort": 8080, "containerPort": 80}]);
    let added = ports::add(&node, &pod, "c1", ports);
    let link = added["interfaces"][0]["name"].as_str().expect("a name").to_owned();
    let opened = |link: &str| node.sh(&format!("cat /proc/sys/net/ipv4/conf/{link}/route_localnet"));
    assert_eq!((opened(&link).trim(), opened("all").trim(), opened("lo").trim()), ("1", "0", "0"));
    let service = node.run(|| std::net::TcpListener::bind("127.0.0.1:9999")).expect("a free port");
    service.set_nonblocking(true).expect("a socket");
    // Its own loopback is down, so the address is nobody's in the pod.
    pod.sh("ip route add 127.0.0.0/8 via 169.254.1.1 dev eth0 onlink src 10.1.0.2; \
            sysctl -qw net.ipv4.conf.all.route_localnet=1");
    let attack = || {
        let target = "127.0.0.1:9999".parse().expect("an address");
        drop(pod.run(move || std::net::TcpStream::connect_timeout(&target, Duration::from_millis(300))));
        service.accept().is_ok()
    };
    assert!(!attack(), "the guard stops it");
    node.sh("nft flush chain inet tripod guard");
    assert!(attack(), "without the guard the service is reached, so the attack is one");
}

#[test]
fn a_pod_does_not_send_from_foreign_addresses() {
    for (source, target, matching) in [
        ("10.99.0.1/32", "169.254.1.1", "ip saddr 10.99.0.1"),
        ("fd99::1/128", "fe80::ecee:eeff:feee:eeee%eth0", "ip6 saddr fd99::1"),
    ] {
        let Some(at) = attacked() else { return };
        at.pod.sh(&format!("ip address add {source} dev eth0 nodad"));
        let from = source.split('/').next().unwrap();
        stopped_by_the_guard(&at, &format!("iifname {} {matching}", at.link), || {
            at.pod.try_sh(&format!("ping -c1 -W1 -I {from} {target}"));
        });
    }
}

#[test]
fn a_pod_is_no_router() {
    for kind in [134u8, 137] {
        let Some(at) = attacked() else { return };
        let protocol = if kind == 134 { "nd-router-advert" } else { "nd-redirect" };
        stopped_by_the_guard(&at, &format!("iifname {} icmpv6 type {protocol}", at.link), || {
            send_icmpv6(&at.pod, kind)
        });
    }
}

/// One ICMPv6 packet of `kind` from the pod's link-local address to all nodes.
pub(super) fn send_icmpv6(pod: &Namespace, kind: u8) {
    let script = format!(
        "import socket;s=socket.socket(socket.AF_INET6,socket.SOCK_RAW,58);\
         s.setsockopt(socket.IPPROTO_IPV6,socket.IPV6_MULTICAST_HOPS,255);\
         s.sendto(bytes([{kind},0,0,0]+[0]*36),('ff02::1',0,0,socket.if_nametoindex('eth0')))"
    );
    tripod_tests::eventually("the pod has a link-local address", || {
        let addresses = pod.json("ip -j -6 address show dev eth0 scope link -tentative");
        addresses[0]["addr_info"].as_array().is_some_and(|list| !list.is_empty())
    });
    pod.sh(&format!("python3 -c \"{script}\""));
}

#[test]
fn the_chain_reads_back_as_it_was_meant() {
    let Some(at) = attacked() else { return };
    let text = at.node.sh("nft list table inet tripod");
    for line in [
        "type filter hook prerouting priority raw; policy accept;",
        "iifgroup 29808 ip daddr 127.0.0.0/8 drop",
        "iifgroup 29808 ip6 daddr ::1 drop",
        "iifgroup 29808 icmpv6 type nd-router-advert drop",
        "iifgroup 29808 icmpv6 type nd-redirect drop",
        "iifgroup 29808 fib saddr . iif oif 0 drop",
    ] {
        assert!(text.contains(line), "{line:?} is not in\n{text}");
    }
    let Value::Array(objects) = at.node.json("nft -j list table inet tripod")["nftables"].take() else {
        panic!()
    };
    assert_eq!(objects.iter().filter(|object| object["rule"].is_object()).count(), 5);
}
