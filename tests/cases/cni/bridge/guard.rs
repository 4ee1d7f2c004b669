//! The guard of bridges, attacked from a pod: towards the node, and towards another pod. The reference
//! plugin has only `macspoofchk` of all this.

use serde_json::json;
use tripod_tests::namespace::Namespace;

use super::{Plugin, Pod, footprint, settled_footprint};
use crate::cni::guard::{count, send_icmpv6};

struct Attacked {
    node: Namespace,
    attacker: Pod,
    victim: Pod,
}

/// Who must not receive the attack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Target {
    Node,
    Pod,
}

fn attacked() -> Option<Attacked> {
    let node = Namespace::node()?;
    node.sh("sysctl -qw net.ipv4.conf.all.route_localnet=1 net.ipv4.conf.default.route_localnet=1");
    let plugin = Plugin::ours();
    let network = plugin.network(&node, json!({"isDefaultGateway": true, "macspoofchk": true}));
    let (attacker, victim) = (network.add("c1"), network.add("c2"));
    // So that no attack ends at an address that is asked for in vain.
    for (name, address) in [("br7", "10.1.0.1"), ("br7", "fd00:1::1"), (victim.host_end(), "")] {
        let mac = node.json(&format!("ip -j link show {name}"))[0]["address"].as_str().unwrap().to_owned();
        if !address.is_empty() {
            attacker.sandbox.sh(&format!("ip neigh replace {address} lladdr {mac} dev eth0"));
        }
    }
    let mac = victim.result["interfaces"][2]["mac"].as_str().unwrap().to_owned();
    for address in victim.addresses() {
        attacker.sandbox.sh(&format!("ip neigh replace {address} lladdr {mac} dev eth0"));
    }
    Some(Attacked { node, attacker, victim })
}

impl Attacked {
    fn place(&self, target: Target) -> (&Namespace, &'static str) {
        match target {
            Target::Node => (&self.node, "br7"),
            Target::Pod => (&self.victim.sandbox, "eth0"),
        }
    }

    /// The attack must arrive when the guard chain is emptied, or the test would prove nothing.
    fn stopped(&self, target: Target, family: &str, matching: &str, attack: impl Fn(&Namespace)) {
        let (place, device) = self.place(target);
        let matching = format!("iifname {device} {matching}");
        let attack = || attack(&self.attacker.sandbox);
        assert_eq!(count(place, family, &matching, attack), 0, "{matching} passed the guard");
        self.node.sh("nft flush chain bridge tripod guard");
        assert_ne!(count(place, family, &matching, attack), 0, "{matching} does not arrive even unguarded");
    }
}

#[test]
fn a_pod_does_not_reach_the_hosts_loopback() {
    let Some(at) = attacked() else { return };
    at.attacker.sandbox.sh(
        "ip link set lo down; ip route add 127.0.0.0/8 via 10.1.0.1 dev eth0 onlink src 10.1.0.2; \
         sysctl -qw net.ipv4.conf.all.route_localnet=1; ip rule add pref 1 to 127.0.0.1 lookup main; \
         ip rule del pref 0",
    );
    at.stopped(Target::Node, "inet", "ip daddr 127.0.0.0/8", |pod| {
        pod.try_sh("ping -c1 -W1 -I 10.1.0.2 127.0.0.1");
    });
}

#[test]
fn a_pod_does_not_send_from_foreign_addresses() {
    for (source, matching, node, pod) in [
        ("10.1.0.99", "ip saddr 10.1.0.99", "10.1.0.1", "10.1.0.3"),
        ("10.99.0.1", "ip saddr 10.99.0.1", "10.1.0.1", "10.1.0.3"),
        ("fd00:1::99", "ip6 saddr fd00:1::99", "fd00:1::1", "fd00:1::3"),
    ] {
        for (target, address) in [(Target::Node, node), (Target::Pod, pod)] {
            let Some(at) = attacked() else { return };
            let length = if source.contains(':') { "128 nodad" } else { "32" };
            at.attacker.sandbox.sh(&format!("ip address add dev eth0 {source}/{length}"));
            at.stopped(target, "inet", matching, |pod| {
                pod.try_sh(&format!("ping -c1 -W1 -I {source} {address}"));
            });
        }
    }
}

#[test]
fn a_pod_is_no_router() {
    for (kind, protocol) in [(134, "nd-router-advert"), (137, "nd-redirect")] {
        for target in [Target::Node, Target::Pod] {
            let Some(at) = attacked() else { return };
            at.stopped(target, "inet", &format!("icmpv6 type {protocol}"), |pod| send_icmpv6(pod, kind));
        }
    }
}

#[test]
fn a_pod_does_not_claim_the_gateways_address_in_arp() {
    for target in [Target::Node, Target::Pod] {
        let Some(at) = attacked() else { return };
        at.stopped(target, "arp", "arp saddr ip 10.1.0.1", |pod| {
            let script = "import socket
s=socket.socket(socket.AF_PACKET,socket.SOCK_RAW); s.bind((\"eth0\",0))
m=s.getsockname()[4]; g=bytes([10,1,0,1])
s.send(b\"\\xff\"*6+m+bytes([8,6,0,1,8,0,6,4,0,1])+m+g+bytes(6)+g)";
            pod.sh(&format!("python3 -c '{script}'"));
        });
    }
}

#[test]
fn a_pod_does_not_claim_the_gateways_address_in_neighbour_discovery() {
    let Some(at) = attacked() else { return };
    let claim = "icmpv6 type nd-neighbor-advert @th,64,128 0xfd000001000000000000000000000001";
    at.stopped(Target::Pod, "inet", claim, |pod| {
        let script = "import socket
s=socket.socket(socket.AF_INET6,socket.SOCK_RAW,58)
s.setsockopt(socket.IPPROTO_IPV6,socket.IPV6_MULTICAST_HOPS,255)
g=socket.inet_pton(socket.AF_INET6,\"fd00:1::1\")
s.bind((\"fd00:1::2\",0,0,0))
s.sendto(bytes([136,0,0,0,0x20,0,0,0])+g+bytes([2,1,2,0,0,0,0,9]),(\"ff02::1\",0,0,socket.if_nametoindex(\"eth0\")))";
        pod.sh(&format!("python3 -c '{script}'"));
    });
}

#[test]
fn a_pod_held_to_its_hardware_address_does_not_send_from_another() {
    for target in [Target::Node, Target::Pod] {
        let Some(at) = attacked() else { return };
        let address = if target == Target::Node { "10.1.0.1" } else { "10.1.0.3" };
        at.stopped(target, "inet", "ether saddr 02:00:00:00:00:99", |pod| {
            pod.sh("ip link set eth0 address 02:00:00:00:00:99");
            pod.try_sh(&format!("ping -c1 -W1 {address}"));
        });
    }
}

/// As the reference plugin: its `macspoofchk` is proven on it, and without that key neither has it.
#[test]
fn hardware_addresses_are_checked_where_the_admin_says_so() {
    for plugin in Plugin::all() {
        for checked in [false, true] {
            let Some(node) = Namespace::node() else { return };
            let pod = plugin.network(&node, json!({"isGateway": true, "macspoofchk": checked})).add("c1");
            pod.must_reach("10.1.0.1");
            pod.must_reach("fd00:1::1");
            pod.sandbox.sh("ip link set eth0 address 02:00:00:00:00:99");
            assert_eq!(pod.reaches("10.1.0.1"), !checked);
        }
    }
}

#[test]
fn the_table_reads_back_as_it_was_meant() {
    let Some(at) = attacked() else { return };
    let text = at.node.sh("nft list table bridge tripod");
    for line in [
        "type filter hook prerouting priority dstnat; policy accept;",
        "iifgroup != 29808 return",
        "iifname @mac_ports iifname . ether saddr != @macs drop",
        "ip daddr 127.0.0.0/8 drop",
        "iifname . ip saddr @sources4 return",
        "meta protocol ip iifname @ports drop",
        "iifname . arp saddr ip @sources4 return",
        "arp saddr ip 0.0.0.0 return",
        "meta protocol arp iifname @ports drop",
        "ip6 daddr ::1 drop",
        "icmpv6 type nd-router-advert drop",
        "icmpv6 type nd-redirect drop",
        "iifname . ip6 saddr @sources6 return",
        "ip6 saddr fe80::/10 return",
        "meta protocol ip6 iifname @ports drop",
        &format!("\"{}\" . 10.1.0.2 comment \"c1 eth0\"", at.attacker.host_end()),
    ] {
        assert!(text.contains(line), "{line:?} is not in\n{text}");
    }
    let table = at.node.json("nft -j list table bridge tripod");
    let objects = table["nftables"].as_array().unwrap();
    let number = |kind: &str| objects.iter().filter(|object| object[kind].is_object()).count();
    assert_eq!((number("rule"), number("set")), (16, 5));
    let elements = |name: &str| {
        let set = objects.iter().find(|object| object["set"]["name"] == name).unwrap();
        set["set"]["elem"].as_array().unwrap().len()
    };
    assert_eq!(["ports", "sources4", "sources6", "mac_ports", "macs"].map(elements), [2; 5]);
}

#[test]
fn what_somebody_flushed_comes_back_for_every_pod_with_the_next() {
    for damage in ["nft flush ruleset", "nft flush table bridge tripod"] {
        let Some(at) = attacked() else { return };
        let whole = at.node.sh("nft list table bridge tripod");
        at.node.sh(damage);
        let plugin = Plugin::ours();
        let network = plugin.network(&at.node, json!({"isDefaultGateway": true, "macspoofchk": true}));
        let later = network.add("c3");
        assert!(at.attacker.reaches("10.1.0.1") && at.victim.reaches("fd00:1::1"), "{damage}");
        network.del("c3", &later);
        assert_eq!(sorted(&at.node.sh("nft list table bridge tripod")), sorted(&whole), "{damage}");
        at.node.sh(damage);
        network.del("c2", &at.victim);
        network.del("c1", &at.attacker);
    }
}

/// The kernel lists elements in no order.
fn sorted(text: &str) -> Vec<&str> {
    let mut words: Vec<&str> = text.split_whitespace().map(|word| word.trim_end_matches(',')).collect();
    words.sort_unstable();
    words
}

#[test]
fn del_takes_a_pods_elements_and_leaves_the_others() {
    let Some(at) = attacked() else { return };
    let plugin = Plugin::ours();
    let network = plugin.network(&at.node, json!({"macspoofchk": false}));
    network.del("c1", &at.attacker);
    let text = at.node.sh("nft list table bridge tripod");
    assert!(!text.contains(at.attacker.host_end()) && text.contains(at.victim.host_end()), "{text}");
}

#[test]
fn an_interrupted_add_is_repaired_by_the_next_one() {
    let Some(node) = Namespace::node() else { return };
    let plugin = Plugin::ours();
    let network = plugin.network(&node, json!({"isGateway": true, "macspoofchk": true}));
    let first = network.add("c1");
    // What a kill before the completed record leaves.
    node.sh("sed -i 's/\"complete\"/\"intent\"/' /run/tripod/attachments/*.json");
    let again = Pod { result: network.try_add("c1", &first.sandbox).ok(), ..first };
    assert!(again.reaches("10.1.0.1") && again.reaches("fd00:1::1"));
    let text = node.sh("nft list table bridge tripod");
    assert!(!text.contains("10.1.0.2") && text.contains("10.1.0.3"), "{text}");
    network.del("c1", &again);
    assert!(!node.sh("nft list table bridge tripod").contains("elements"));
}

#[test]
fn a_failed_add_takes_back_what_it_told_the_guard() {
    let Some(node) = Namespace::node() else { return };
    let plugin = Plugin::ours();
    let _first = plugin.network(&node, json!({"isGateway": true})).add("c1");
    let before = (settled_footprint(&node), node.sh("nft list ruleset"));
    let mut network = plugin.network(&node, json!({"isGateway": true}));
    // A next hop that the pod cannot have: its own address.
    network.conf["ipam"]["routes"] = json!([{"dst": "192.0.2.0/24", "gw": "10.1.0.3"}]);
    let (code, text) = network.try_add("c2", &Namespace::sandbox()).failed();
    assert!(code == 5 && text.contains("192.0.2.0/24 via 10.1.0.3"), "{code} {text}");
    assert_eq!((footprint(&node), node.sh("nft list ruleset")), before);
}
