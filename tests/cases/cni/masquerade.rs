//! The masquerade chain that the agent keeps, read back and tried out.

use tripod_cni::nft::masquerade::Masquerade;
use tripod_cni::nft::{Nft, base};
use tripod_tests::namespace::Namespace;

use super::attach;

fn masquerade() -> Masquerade {
    let prefixes = |list: &[&str]| list.iter().map(|prefix| prefix.parse().expect("a prefix")).collect();
    Masquerade {
        pods: prefixes(&["10.1.0.0/24", "fd00:1::/64"]),
        spared: prefixes(&["10.0.0.0/8", "fd00::/8", "224.0.0.0/4"]),
    }
}

fn apply(node: &Namespace) {
    node.run(|| base::apply(&Nft::open().unwrap(), Some(&masquerade())).unwrap());
}

#[test]
fn the_chain_reads_back_as_it_was_meant_however_often_it_is_applied() {
    let Some(node) = Namespace::node() else { return };
    for _ in 0..2 {
        apply(&node);
        let text = node.sh("nft list chain inet tripod postrouting");
        let rules: Vec<&str> = text.lines().map(str::trim).collect();
        assert_eq!(
            rules[2..8],
            [
                "type nat hook postrouting priority srcnat; policy accept;",
                "ip daddr 10.0.0.0/8 return",
                "ip6 daddr fd00::/8 return",
                "ip daddr 224.0.0.0/4 return",
                "ip saddr 10.1.0.0/24 masquerade fully-random",
                "ip6 saddr fd00:1::/64 masquerade fully-random",
            ]
        );
    }
}

#[test]
fn the_table_is_whole_only_with_the_rules_of_both_chains() {
    let Some(node) = Namespace::node() else { return };
    let whole = || node.run(|| base::is_whole(&Nft::open().unwrap(), Some(&masquerade())).unwrap());
    assert!(!whole());
    for damage in ["nft flush ruleset", "nft flush table inet tripod", "nft flush chain inet tripod guard"] {
        apply(&node);
        assert!(whole());
        node.sh(damage);
        assert!(!whole(), "{damage}");
    }
}

#[test]
fn pods_leave_the_cluster_with_the_nodes_address_and_keep_their_own_inside() {
    let Some(node) = Namespace::node() else { return };
    let outside = Namespace::sandbox();
    let path = outside.path();
    node.sh(&format!(
        "sysctl -qw net.ipv4.ip_forward=1; ip link add uplink type veth peer name eth1; \
         nsenter --net={} ip link set lo up; ip link set eth1 netns {}; \
         ip link set uplink up; ip address add 192.0.2.9/24 dev uplink; ip address add 10.9.0.9/24 dev uplink",
        path.display(),
        path.display()
    ));
    outside.sh("ip link set eth1 up; ip address add 192.0.2.1/24 dev eth1; ip address add 10.9.0.1/24 dev eth1; \
                ip route add 10.1.0.0/24 via 10.9.0.9; \
                nft add table inet seen; nft 'add chain inet seen in { type filter hook input priority 0; }'; \
                nft add rule inet seen in ip saddr 192.0.2.9 counter; nft add rule inet seen in ip saddr 10.1.0.2 counter");
    apply(&node);
    let pod = Namespace::sandbox();
    attach(&node, &pod, "c1");
    for target in ["192.0.2.1", "10.9.0.1"] {
        pod.sh(&format!("ping -c1 -W2 {target}"));
    }
    let text = outside.sh("nft list chain inet seen in");
    assert!(text.contains("saddr 192.0.2.9 counter packets 1"), "{text}");
    assert!(text.contains("saddr 10.1.0.2 counter packets 1"), "{text}");
}
