//! Beside the rules of others: written here with the hooks, priorities and policies that they use.

use serde_json::{Value, json};
use tripod_cni::nft::Nft;
use tripod_cni::nft::foreign::{Cause, forward_drops};
use tripod_tests::exec::Call;
use tripod_tests::namespace::Namespace;
use tripod_tests::reach::Server;

use super::ports::{Lab, add, lab, port, with_ports};

/// kube-proxy in mode iptables, with one Service.
const KUBE_PROXY_IPTABLES: &str = "
table ip nat {
    chain KUBE-MARK-MASQ { meta mark set meta mark or 0x4000; }
    chain KUBE-SEP { ip saddr 10.1.0.2 jump KUBE-MARK-MASQ; meta l4proto tcp dnat to 10.1.0.2:80; }
    chain KUBE-SERVICES {
        ip daddr 10.96.0.10 tcp dport 8080 ip saddr != 10.1.0.0/24 jump KUBE-MARK-MASQ
        ip daddr 10.96.0.10 tcp dport 8080 jump KUBE-SEP
        fib daddr type local jump KUBE-NODEPORTS
    }
    chain KUBE-NODEPORTS { tcp dport 30080 jump KUBE-MARK-MASQ; tcp dport 30080 jump KUBE-SEP; }
    chain KUBE-POSTROUTING {
        meta mark and 0x4000 != 0x4000 return
        meta mark set meta mark xor 0x4000
        masquerade fully-random
    }
    chain PREROUTING { type nat hook prerouting priority dstnat; policy accept; jump KUBE-SERVICES; }
    chain OUTPUT { type nat hook output priority -100; policy accept; jump KUBE-SERVICES; }
    chain POSTROUTING { type nat hook postrouting priority srcnat; policy accept; jump KUBE-POSTROUTING; }
}
table ip filter {
    chain KUBE-FIREWALL {
        ip saddr != 127.0.0.0/8 ip daddr 127.0.0.0/8 ct state != { established, related } ct status ! dnat drop
    }
    chain KUBE-FORWARD {
        ct state invalid drop
        meta mark and 0x4000 == 0x4000 accept
        ct state established,related accept
    }
    chain INPUT { type filter hook input priority filter; policy accept; jump KUBE-FIREWALL; }
    chain FORWARD { type filter hook forward priority filter; policy accept; jump KUBE-FORWARD; }
    chain OUTPUT { type filter hook output priority filter; policy accept; jump KUBE-FIREWALL; }
}";

/// kube-proxy in mode nftables, with the same Service.
const KUBE_PROXY_NFTABLES: &str = "
table ip kube-proxy {
    map service-ips {
        type ipv4_addr . inet_proto . inet_service : verdict
        elements = { 10.96.0.10 . tcp . 8080 : goto service-web }
    }
    map service-nodeports {
        type inet_proto . inet_service : verdict
        elements = { tcp . 30080 : goto external-web }
    }
    set cluster-ips { type ipv4_addr; elements = { 10.96.0.10 }; }
    chain mark-for-masquerade { meta mark set meta mark or 0x4000; }
    chain endpoint-web { ip saddr 10.1.0.2 jump mark-for-masquerade; meta l4proto tcp dnat to 10.1.0.2:80; }
    chain service-web {
        ip daddr 10.96.0.10 tcp dport 8080 ip saddr != 10.1.0.0/24 jump mark-for-masquerade
        goto endpoint-web
    }
    chain external-web { jump mark-for-masquerade; goto endpoint-web; }
    chain services {
        ip daddr . meta l4proto . th dport vmap @service-ips
        fib daddr type local ip daddr != 127.0.0.0/8 meta l4proto . th dport vmap @service-nodeports
    }
    chain cluster-ips-check { ip daddr @cluster-ips reject; }
    chain masquerading {
        meta mark and 0x4000 == 0 return
        meta mark set meta mark xor 0x4000
        masquerade fully-random
    }
    chain filter-prerouting { type filter hook prerouting priority dstnat - 10; policy accept; }
    chain filter-forward {
        type filter hook forward priority -110; policy accept;
        ct state new jump cluster-ips-check
    }
    chain filter-output { type filter hook output priority -110; policy accept; }
    chain filter-output-post-dnat {
        type filter hook output priority -90; policy accept;
        ct state new jump cluster-ips-check
    }
    chain nat-prerouting { type nat hook prerouting priority dstnat; policy accept; jump services; }
    chain nat-output { type nat hook output priority -100; policy accept; jump services; }
    chain nat-postrouting { type nat hook postrouting priority srcnat; policy accept; jump masquerading; }
}";

/// Docker without a container: it drops what it does not know.
const DOCKER: &str = "
table ip nat {
    chain DOCKER { iifname docker0 return; }
    chain PREROUTING { type nat hook prerouting priority dstnat; policy accept; fib daddr type local jump DOCKER; }
    chain OUTPUT {
        type nat hook output priority -100; policy accept
        ip daddr != 127.0.0.0/8 fib daddr type local jump DOCKER
    }
    chain POSTROUTING {
        type nat hook postrouting priority srcnat; policy accept
        ip saddr 172.17.0.0/16 oifname != docker0 masquerade
    }
}
table ip filter {
    chain DOCKER-USER { return; }
    chain DOCKER-ISOLATION-STAGE-1 { return; }
    chain FORWARD {
        type filter hook forward priority filter; policy drop;
        jump DOCKER-USER
        jump DOCKER-ISOLATION-STAGE-1
        oifname docker0 ct state established,related accept
    }
}";

/// firewalld with nothing allowed but what was led elsewhere.
const FIREWALLD: &str = "
table inet firewalld {
    chain nat_PREROUTING { type nat hook prerouting priority dstnat + 10; policy accept; }
    chain nat_POSTROUTING { type nat hook postrouting priority srcnat + 10; policy accept; }
    chain nat_OUTPUT { type nat hook output priority -90; policy accept; }
    chain filter_INPUT { type filter hook input priority filter + 10; policy accept; }
    chain filter_FORWARD {
        type filter hook forward priority filter + 10; policy accept;
        ct state established,related accept
        ct status dnat accept
        iifname lo accept
        ct state invalid drop
        reject with icmpx admin-prohibited
    }
}";

/// A node with these rules, and a pod with host port 8080 whose packets are masqueraded.
fn beside(rules: &str) -> Option<(Lab, Namespace)> {
    let lab = lab()?;
    write(&lab.node, rules);
    let pod = Namespace::sandbox();
    let mut conf = with_ports(&json!([port("tcp", 8080, 80, "")]));
    conf["ipMasq"] = json!(true);
    let added = Call::new("ADD", &conf).netns(&pod.path()).run(&lab.node).ok();
    assert_eq!(added["ips"][0]["address"], "10.1.0.2/32", "the Service's endpoint");
    Some((lab, pod))
}

fn write(node: &Namespace, rules: &str) {
    let rules = rules.to_owned();
    node.run(move || std::fs::write("/run/foreign.nft", rules)).expect("a file");
    node.sh("nft -f /run/foreign.nft");
}

fn drops(node: &Namespace) -> Vec<(String, Cause)> {
    let drops = node.run(|| Nft::open().and_then(|nft| forward_drops(&nft)).expect("an answer"));
    drops.into_iter().map(|one| (one.path(), one.cause.expect("a drop"))).collect()
}

#[test]
fn host_ports_services_and_masquerade_work_beside_kube_proxy_in_both_modes() {
    for rules in [KUBE_PROXY_IPTABLES, KUBE_PROXY_NFTABLES] {
        let Some((Lab { node, outside }, pod)) = beside(rules) else { return };
        assert_eq!(drops(&node), []);
        let other = Namespace::sandbox();
        super::attach(&node, &other, "c2");
        let server = Server::listen(&pod, "tcp", 80);
        for (from, target, source) in [
            (&outside, "192.0.2.9:8080", "192.0.2.1"),
            (&outside, "[2001:db8::9]:8080", "2001:db8::1"),
            (&outside, "192.0.2.9:30080", "192.0.2.9"),
            (&node, "127.0.0.1:8080", "192.0.2.9"),
            (&other, "192.0.2.9:8080", "10.1.0.3"),
            (&other, "10.96.0.10:8080", "10.1.0.3"),
            (&pod, "192.0.2.9:8080", "192.0.2.9"),
            (&pod, "10.96.0.10:8080", "192.0.2.9"),
        ] {
            let seen = server.asked_from(from, target).unwrap_or_else(|error| panic!("{target}: {error}"));
            assert_eq!(seen.ip().to_string(), source, "{target}");
        }
        let outer = Server::listen(&outside, "tcp", 7);
        let seen = outer.asked_from(&pod, "192.0.2.1:7").expect("an answer");
        assert_eq!(seen.ip().to_string(), "192.0.2.9", "masqueraded");
    }
}

#[test]
fn dockers_drop_stops_forwarded_traffic_but_no_add_and_is_found() {
    let Some((Lab { node, outside }, pod)) = beside(DOCKER) else { return };
    let server = Server::listen(&pod, "tcp", 80);
    assert!(server.is_hidden_from(&outside, "192.0.2.9:8080"));
    assert!(server.asked_from(&node, "127.0.0.1:8080").is_ok(), "the node itself forwards nothing");
    assert_eq!(drops(&node), [("ip filter FORWARD".to_owned(), Cause::Policy)]);
    // What the finding leads an admin to do.
    node.sh("nft insert rule ip filter DOCKER-USER iifgroup 29808 accept; \
             nft insert rule ip filter DOCKER-USER oifgroup 29808 accept");
    assert!(server.asked_from(&outside, "192.0.2.9:8080").is_ok());
}

#[test]
fn firewallds_reject_stops_what_pods_send_but_no_add_and_is_found() {
    let Some((Lab { node, outside }, pod)) = beside(FIREWALLD) else { return };
    let server = Server::listen(&pod, "tcp", 80);
    assert!(server.asked_from(&outside, "192.0.2.9:8080").is_ok(), "it accepts what was led elsewhere");
    let outer = Server::listen(&outside, "tcp", 7);
    assert!(outer.is_hidden_from(&pod, "192.0.2.1:7"));
    assert_eq!(drops(&node), [("inet firewalld filter_FORWARD".to_owned(), Cause::LastRule)]);
    node.sh("nft insert rule inet firewalld filter_FORWARD iifgroup 29808 accept");
    assert_eq!(outer.asked_from(&pod, "192.0.2.1:7").expect("an answer").ip().to_string(), "192.0.2.9");
}

#[test]
fn chains_that_let_packets_pass_are_no_finding() {
    let Some(node) = Namespace::node() else { return };
    assert_eq!(drops(&node), []);
    write(
        &node,
        "table ip6 filter { chain FORWARD { type filter hook forward priority filter; policy drop; }; }
         table ip one { chain f { type filter hook forward priority 0; ip saddr 10.0.0.0/8 counter drop; accept; }; }
         table inet two { chain f { drop; }; chain i { type filter hook input priority 0; policy drop; }; }
         table bridge three { chain f { type filter hook forward priority 0; policy drop; }; }",
    );
    add(&node, &Namespace::sandbox(), "c1", Value::Null);
    assert_eq!(drops(&node), [("ip6 filter FORWARD".to_owned(), Cause::Policy)]);
    write(&node, "add rule ip one f counter drop");
    assert!(drops(&node).contains(&("ip one f".to_owned(), Cause::LastRule)));
}
