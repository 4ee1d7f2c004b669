//! Masquerade, the agent's and that of `ipMasq`, read back and tried out.

use serde_json::{Value, json};
use tripod_cni::nft::masquerade::Masquerade;
use tripod_cni::nft::{Nft, base};
use tripod_tests::exec::Call;
use tripod_tests::namespace::Namespace;
use tripod_tests::reach::Server;

use super::attach;
use super::ports::{Lab, lab};

fn masquerade() -> Masquerade {
    let prefixes = |list: &[&str]| list.iter().map(|prefix| prefix.parse().expect("a prefix")).collect();
    Masquerade {
        pods: prefixes(&["10.1.0.0/24", "fd00:1::/64"]),
        spared: prefixes(&["10.0.0.0/8", "fd00::/8", "224.0.0.0/4"]),
        spared_links: vec!["tripod4"],
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
            rules[2..10],
            [
                "type nat hook postrouting priority srcnat; policy accept;",
                "meta mark & 0x00004000 != 0x00000000 return",
                "oifname \"tripod4\" return",
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

/// A configuration of network `name` whose pods are masqueraded.
fn hidden(name: &str, subnets: &[&str], exclude: &[&str]) -> Value {
    let mut conf = super::conf("1.1.0", subnets);
    conf["name"] = json!(name);
    conf["ipMasq"] = json!(true);
    conf["masqueradeExclude"] = json!(exclude);
    conf
}

fn chain(node: &Namespace, name: &str) -> Vec<String> {
    let text = node.sh(&format!("nft list chain inet tripod {name}"));
    text.lines().map(str::trim).filter(|line| line.starts_with("ip")).map(str::to_owned).collect()
}

#[test]
fn a_network_with_ip_masq_is_hidden_but_from_itself_and_what_is_excluded() {
    let Some(Lab { node, outside }) = lab() else { return };
    let pods = [Namespace::sandbox(), Namespace::sandbox()];
    let conf = |exclude: &[&str]| hidden("pods", &["10.1.0.0/24", "fd00:1::/64"], exclude);
    let add = |conf: &Value, number: usize| {
        Call::new("ADD", conf).container(&format!("c{number}")).netns(&pods[number].path()).run(&node).ok()
    };
    let added = add(&conf(&[]), 0);
    let expected = [
        "ip daddr 10.1.0.0/24 return",
        "ip daddr 224.0.0.0/4 return",
        "ip saddr 10.1.0.0/24 masquerade fully-random",
    ];
    assert_eq!(chain(&node, "masquerade-10.1.0.0/24"), expected);
    assert_eq!(chain(&node, "masquerade-fd00-1--/64").len(), 3);
    let server = Server::listen(&outside, "tcp", 7);
    let seen = |target: &str| server.asked_from(&pods[0], target).expect("an answer").ip().to_string();
    assert_eq!((seen("192.0.2.1:7"), seen("[2001:db8::1]:7")), ("192.0.2.9".into(), "2001:db8::9".into()));
    // The second pod changes nothing; another exclusion is taken over by the next ADD.
    let before = node.json("nft -j list ruleset");
    let mut check = conf(&[]);
    check["prevResult"] = added;
    Call::new("CHECK", &check).container("c0").netns(&pods[0].path()).run(&node).silent();
    add(&conf(&[]), 1);
    assert_eq!(node.json("nft -j list ruleset"), before);
    Call::new("DEL", &conf(&[])).container("c1").netns(&pods[1].path()).run(&node).silent();
    add(&conf(&["192.0.2.0/24"]), 1);
    assert_eq!(seen("192.0.2.1:7"), "10.1.0.2");
    for (number, pod) in pods.iter().enumerate() {
        Call::new("DEL", &conf(&[])).container(&format!("c{number}")).netns(&pod.path()).run(&node).silent();
    }
    assert!(chain(&node, "masquerade-10.1.0.0/24").contains(&"ip daddr 192.0.2.0/24 return".to_owned()));
}

#[test]
fn two_networks_and_the_agent_leave_one_anothers_masquerade_alone() {
    let Some(node) = Namespace::node() else { return };
    let sandboxes: Vec<Namespace> = (0..3).map(|_| Namespace::sandbox()).collect();
    let add = |conf: &Value, number: usize| {
        let call = Call::new("ADD", conf).container(&format!("c{number}"));
        call.netns(&sandboxes[number].path()).run(&node).ok();
    };
    add(&hidden("one", &["10.1.0.0/24"], &["10.0.0.0/8"]), 0);
    apply(&node);
    let first = chain(&node, "masquerade-10.1.0.0/24");
    add(&hidden("two", &["10.2.0.0/24"], &[]), 1);
    assert_eq!(chain(&node, "masquerade-10.1.0.0/24"), first);
    assert_eq!(chain(&node, "masquerade-10.2.0.0/24").len(), 3);
    assert_eq!(chain(&node, "postrouting").len(), 5);
    let whole = node.json("nft -j list ruleset");
    apply(&node);
    // A network that moved keeps what its remaining pods need.
    add(&hidden("one", &["10.3.0.0/24"], &[]), 2);
    assert_eq!(chain(&node, "masquerade-10.1.0.0/24"), first);
    assert_ne!(node.json("nft -j list ruleset"), whole);
}

#[test]
fn check_names_a_lost_masquerade_and_the_next_add_restores_it() {
    let conf = || hidden("pods", &["10.1.0.0/24"], &["10.0.0.0/8"]);
    for damage in ["nft flush chain inet tripod masquerade-10.1.0.0/24", "nft delete table inet tripod"] {
        let Some(node) = Namespace::node() else { return };
        let (one, two) = (Namespace::sandbox(), Namespace::sandbox());
        let mut check = conf();
        check["prevResult"] = Call::new("ADD", &conf()).netns(&one.path()).run(&node).ok();
        let rules = chain(&node, "masquerade-10.1.0.0/24");
        node.sh(damage);
        node.run(|| base::ensure_guard(&Nft::open().unwrap()).unwrap());
        let (code, text) = Call::new("CHECK", &check).netns(&one.path()).run(&node).failed();
        assert!(code == 106 && text.contains("masquerade of 10.1.0.0/24"), "{code} {text}");
        Call::new("ADD", &conf()).container("c2").netns(&two.path()).run(&node).ok();
        assert_eq!(chain(&node, "masquerade-10.1.0.0/24"), rules);
        Call::new("CHECK", &check).netns(&one.path()).run(&node).silent();
    }
}

/// Every exclusion that a configuration may list, and enough of the ranges that one datagram for all rules
/// would be too long.
#[test]
fn the_largest_networks_are_hidden() {
    let Some(node) = Namespace::node() else { return };
    let ranges = |number: u32| -> Vec<Value> {
        (0..64).map(|last| json!({"subnet": format!("10.{number}.{last}.0/24")})).collect()
    };
    let spared: Vec<String> = (0..64).map(|number| format!("172.{number}.0.0/16")).collect();
    let conf = json!({
        "cniVersion": "1.1.0", "name": "pods", "type": "tripod-cni", "ipMasq": true, "masqueradeExclude": spared,
        "ipam": {"ranges": [ranges(1), ranges(2), ranges(3)]},
    });
    let sandbox = Namespace::sandbox();
    Call::new("ADD", &conf).netns(&sandbox.path()).run(&node).ok();
    let rules = node.sh("nft list table inet tripod");
    assert_eq!(rules.matches("172.63.0.0/16 return").count(), 3, "{rules}");
}

/// As cloud providers' plugins do.
#[test]
fn addresses_without_a_subnet_take_their_chains_along() {
    let Some(node) = Namespace::node() else { return };
    node.run(|| {
        std::fs::create_dir_all("/run/plugins").expect("an empty /run");
        let answer = r#"[ $CNI_COMMAND != ADD ] || echo '{"cniVersion": "1.1.0", "ips": [{"address": "10.9.0.5/32"}]}'"#;
        std::fs::write("/run/plugins/cloud", format!("#!/bin/sh\n{answer}\n")).expect("an empty /run");
    });
    node.sh("chmod +x /run/plugins/cloud");
    let conf = json!({
        "cniVersion": "1.1.0", "name": "pods", "type": "tripod-cni", "ipMasq": true, "ipam": {"type": "cloud"},
    });
    let sandbox = Namespace::sandbox();
    let call =
        |verb| Call::new(verb, &conf).env("CNI_PATH", "/run/plugins").netns(&sandbox.path()).run(&node);
    call("ADD").ok();
    assert!(node.sh("nft list table inet tripod").contains("ip saddr 10.9.0.5 masquerade"));
    call("DEL").silent();
    let left = node.sh("nft list table inet tripod");
    assert!(!left.contains("masquerade"), "{left}");
}
