//! `tripod-node agent` over time: what it says to nf_tables, and what becomes of changes from outside.

use std::fs;

use inotify::EventMask;
use tripod_tests::eventually;

use super::Recorder;
use super::agent::{DUAL, GOLDEN, Lab, node};

#[test]
fn the_masquerade_spares_the_cluster_and_hides_the_pods() {
    let Some(lab) = Lab::new() else { return };
    let _api = lab.api_server();
    lab.cluster.set_node(Some(node(&DUAL)));
    let _agent = lab.agent();
    lab.wait_until_ready();
    assert_eq!(
        masquerade_rules(&lab),
        [
            "ip daddr 10.244.0.0/16 return",
            "ip6 daddr fd00:10:244::/48 return",
            "ip daddr 224.0.0.0/4 return",
            "ip6 daddr ff00::/8 return",
            "ip saddr 10.244.1.0/24 masquerade fully-random",
            "ip6 saddr fd00:10:244:1::/64 masquerade fully-random",
        ]
    );
    // A changed configuration is taken over by a running agent, a broken one is not.
    lab.configure("version: v1\nclusterCIDRs: [10.0.0.0/8, \"fd00::/16\"]\nmtu: 1400\n");
    lab.wait_for_conflist("the new MTU", |text| text.contains("\"mtu\": 1400"));
    assert_eq!(masquerade_rules(&lab)[..2], ["ip daddr 10.0.0.0/8 return", "ip6 daddr fd00::/16 return"]);
}

fn masquerade_rules(lab: &Lab) -> Vec<String> {
    let chain = lab.node.sh("nft list chain inet tripod postrouting");
    let rules = chain.lines().map(str::trim).filter(|line| line.starts_with("ip"));
    rules.map(str::to_owned).collect()
}

#[test]
fn without_cluster_cidrs_the_nodes_own_pods_are_spared_and_the_admin_is_told() {
    let Some(lab) = Lab::new() else { return };
    lab.configure("version: v1\n");
    let _api = lab.api_server();
    lab.cluster.set_node(Some(node(&["10.244.1.0/24"])));
    let agent = lab.agent();
    lab.wait_until_ready();
    let expected = [
        "ip daddr 10.244.1.0/24 return",
        "ip daddr 224.0.0.0/4 return",
        "ip saddr 10.244.1.0/24 masquerade fully-random",
    ];
    assert_eq!(masquerade_rules(&lab), expected);
    assert!(agent.log().contains("clusterCIDRs in node.yaml does not contain this node's pods"));
    assert_eq!(lab.sysctl("ipv6/conf/all/forwarding"), "0");
}

#[test]
fn drift_is_repaired_and_a_quiet_node_is_left_in_peace() {
    let Some(lab) = Lab::new() else { return };
    let _api = lab.api_server();
    lab.cluster.set_node(Some(node(&DUAL)));
    let _agent = lab.agent();
    lab.wait_until_ready();
    let mut recorder = Recorder::watch(&lab.path("net.d"));
    fs::remove_file(lab.conflist_path()).unwrap();
    lab.wait_for_conflist("the conflist is back", |text| text == GOLDEN);
    let events = recorder.events_of("10-tripod.conflist");
    assert_eq!(events, [EventMask::DELETE, EventMask::MOVED_TO]);
    fs::write(lab.conflist_path(), "{}").unwrap();
    lab.wait_for_conflist("the conflist is ours again", |text| text == GOLDEN);
    assert_eq!(recorder.events_of("10-tripod.conflist").last(), Some(&EventMask::MOVED_TO));
    lab.node.sh("rm /run/tripod/ready");
    eventually("the marker is back", || lab.node.sh("ls /run/tripod").contains("ready"));
    let table = lab.table();
    lab.node.sh("nft flush ruleset");
    eventually("the table is back", || lab.table() == table);
    lab.node.sh("nft delete chain inet tripod guard");
    eventually("the guard is back", || lab.table().contains("chain guard"));
    lab.node.sh("echo 0 > /proc/sys/net/ipv4/ip_forward");
    eventually("the node forwards again", || lab.sysctl("ipv4/ip_forward") == "1");
    // Looks at a node that is as it should be write nothing.
    let handles = |lab: &Lab| lab.node.sh("nft -a list table inet tripod");
    let (before, mut recorder) = (handles(&lab), Recorder::watch(&lab.path("net.d")));
    fs::write(lab.path("net.d/zz-foreign.conf"), "{}").unwrap();
    lab.configure("version: v1\nclusterCIDRs: [10.244.0.0/16, fd00:10:244::/48]\nmtu: 1300\n");
    lab.wait_for_conflist("the agent has looked", |text| text.contains("1300"));
    assert_eq!(handles(&lab), before);
    assert_eq!(recorder.events_of("10-tripod.conflist"), [EventMask::MOVED_TO]);
}

#[test]
fn rules_flushed_out_of_their_chains_come_back() {
    let Some(lab) = Lab::new() else { return };
    let _api = lab.api_server();
    lab.cluster.set_node(Some(node(&DUAL)));
    let _agent = lab.agent();
    lab.wait_until_ready();
    let table = lab.table();
    assert!(table.contains("fib saddr") && table.contains("masquerade"), "{table}");
    lab.node.sh("nft flush table inet tripod");
    eventually("all rules are back", || lab.table() == table);
    lab.node.sh("nft flush chain inet tripod guard");
    eventually("the guard's rules are back", || lab.table() == table);
}

#[test]
fn the_rules_of_an_earlier_version_are_replaced_at_the_start() {
    let Some(lab) = Lab::new() else { return };
    let _api = lab.api_server();
    lab.cluster.set_node(Some(node(&DUAL)));
    let mut agent = lab.agent();
    lab.wait_until_ready();
    let table = lab.table();
    agent.terminate();
    // As many rules as ours, so that their number tells nothing.
    let rules = table.lines().filter(|line| line.ends_with(" drop")).count();
    lab.node.sh("nft flush chain inet tripod guard");
    for _ in 0..rules {
        lab.node.sh("nft add rule inet tripod guard accept");
    }
    assert_eq!(lab.table().matches("accept").count() - table.matches("accept").count(), rules);
    let _agent = lab.agent();
    eventually("our rules are back", || lab.table() == table);
}
