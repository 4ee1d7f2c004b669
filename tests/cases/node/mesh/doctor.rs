//! What `tripod-node doctor` tells of the ways to other nodes, on networks that lose packets in different ways.

use std::process::Command;

use serde_json::Value;
use tripod_tests::eventually;
use tripod_tests::programs::program;

use super::site::{Cable, Node, Site};

/// What is found about the ways from `node`, without those that are in order; and the summary.
fn paths(node: &Node) -> (Vec<Value>, String) {
    let output = node.node.run(|| {
        let mut doctor = Command::new(program("tripod-node"));
        doctor.args(["doctor", "--json", "--only", "path"]).output().expect("the program")
    });
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let findings: Vec<Value> = serde_json::from_slice(&output.stdout).expect("findings");
    let (good, bad): (Vec<_>, Vec<_>) = findings.into_iter().partition(|finding| finding["severity"] == "ok");
    let [summary] = &good[..] else { panic!("{good:#?}") };
    (bad, summary["evidence"].as_str().expect("text").to_owned())
}

/// Two nodes that know each other.
fn pair(cable: Cable, settings: &str) -> Option<(Site, Node, Node)> {
    let site = Site::new(cable)?;
    let (a, b) = (site.join(1, settings), site.join(2, settings));
    for node in [&a, &b] {
        node.waits_for_routes("both know each other", |routes| routes.lines().count() == 2);
        // The kernel asks for a moment whether somebody else has them.
        eventually("addresses may be used", || node.node.sh("ip -6 addr show tentative").is_empty());
    }
    Some((site, a, b))
}

fn says(finding: &Value, key: &str, words: &str) {
    assert!(finding[key].as_str().is_some_and(|text| text.contains(words)), "{words}: {finding}");
}

#[test]
fn ways_that_work_are_told_by_the_longest_packet() {
    for (cable, summary) in [
        (Cable::Switch, "1500 bytes get to a node; 1500 bytes get to where its pods are"),
        (Cable::Router, "1500 bytes get to a node; 1450 bytes get to where its pods are"),
    ] {
        let Some((_site, a, _b)) = pair(cable, "") else { return };
        // Twice in a row, since kernels answer a few times a second only.
        for _ in 0..2 {
            assert_eq!(paths(&a), (vec![], format!("1 peers tried, 0 findings; {summary}")), "{cable:?}");
        }
    }
}

#[test]
fn a_closed_port_of_the_overlay_is_found_though_the_node_answers() {
    let Some((_site, a, b)) = pair(Cable::Router, "") else { return };
    b.node.sh("nft 'add table inet wall; add chain inet wall in { type filter hook input priority 0; }; \
               add rule inet wall in udp dport 4789 drop'");
    let (bad, _) = paths(&a);
    assert_eq!(bad.len(), 2, "one for each family: {bad:#?}");
    for (finding, cidr) in bad.iter().zip(["10.244.2.0/24", "fd00:10:244:2::/64"]) {
        assert_eq!((&finding["severity"], &finding["check"]), (&"warn".into(), &"path".into()));
        says(finding, "object", cidr);
        says(finding, "fix", "open the overlay's UDP port");
    }
}

#[test]
fn a_small_mtu_in_between_is_found_whether_or_not_the_router_tells() {
    let Some((site, a, _b)) = pair(Cable::Router, "") else { return };
    site.router.sh("ip link set to2 mtu 1400");
    let (bad, _) = paths(&a);
    says(&bad[0], "evidence", "192.0.1.254 passes 1400 at most");
    // What the kernel has learned is no excuse.
    says(&paths(&a).0[0], "evidence", "192.0.1.254 passes 1400 at most");
    site.router.sh(
        "nft 'add table inet mute; add chain inet mute out { type filter hook output priority 0; }; \
         add rule inet mute out icmp type destination-unreachable drop; \
         add rule inet mute out icmpv6 type packet-too-big drop'",
    );
    let (bad, _) = paths(&a);
    let of =
        |words: &str| bad.iter().find(|it| it["object"].as_str().is_some_and(|text| text.contains(words)));
    for object in ["n2 at 192.0.2.2", "n2 at fd00:30:2::2", "pods of n2 in fd00:10:244:2::/64"] {
        let finding = of(object).unwrap_or_else(|| panic!("{object}: {bad:#?}"));
        says(finding, "evidence", "lost without a word");
        says(finding, "fix", "mtu in node.yaml");
    }
}

#[test]
fn a_network_that_drops_packets_for_pods_is_told_from_one_that_is_down() {
    let Some((site, a, mut b)) = pair(Cable::Switch, "") else { return };
    site.router.sh(
        "nft 'add table bridge cloud; add chain bridge cloud f { type filter hook forward priority 0; }; \
                    add rule bridge cloud f ip daddr 10.244.0.0/16 drop'",
    );
    let (bad, _) = paths(&a);
    let [finding] = &bad[..] else { panic!("{bad:#?}") };
    says(finding, "object", "pods of n2 in 10.244.2.0/24, by a route");
    says(finding, "fix", "backend: vxlan");
    // A node that is gone is named once.
    drop(b.agent.take());
    site.router.sh("ip link set to2 down");
    let (bad, summary) = paths(&a);
    let [finding] = &bad[..] else { panic!("{bad:#?}") };
    assert_eq!(finding["object"], "n2");
    says(finding, "evidence", "no packet to the node or its pods was answered");
    assert_eq!(summary, "1 peers tried, 1 findings");
}

#[test]
fn a_router_that_answers_in_place_of_the_peer_is_told_from_it() {
    let Some((site, a, _b)) = pair(Cable::Router, "") else { return };
    // As where the route of ours is gone, and the default route leads on.
    a.node.sh("ip route add 10.244.2.0/32 via 192.0.1.254");
    let (bad, summary) = paths(&a);
    let [finding] = &bad[..] else { panic!("{bad:#?}") };
    says(finding, "object", "pods of n2 in 10.244.2.0/24");
    says(finding, "evidence", "192.0.1.254 answers, which is no address of n2");
    assert!(summary.contains("1 findings"), "{summary}");
    // A router that knows some way says that the only hop was the last.
    site.router.sh("ip route add 10.244.2.0/24 via 192.0.2.2");
    says(&paths(&a).0[0], "evidence", "192.0.1.254 answers, which is no address of n2");
}

#[test]
fn a_firewall_that_rejects_is_told_from_the_peer() {
    let Some((_site, a, _b)) = pair(Cable::Switch, "") else { return };
    a.node.sh("nft 'add table inet wall; add chain inet wall out { type filter hook output priority 0; }; \
               add rule inet wall out ip daddr 10.244.2.0/24 reject with icmp port-unreachable'");
    let (bad, _) = paths(&a);
    let [finding] = &bad[..] else { panic!("{bad:#?}") };
    says(finding, "object", "pods of n2 in 10.244.2.0/24");
    says(finding, "evidence", "192.0.2.1 rejects it in place of 10.244.2.0");
}

#[test]
fn wrong_checksums_in_the_overlay_are_suspected_by_their_knob() {
    let settings = "vxlan: {checksumOffload: \"off\"}\n";
    let Some((_site, a, _b)) = pair(Cable::Router, settings) else { return };
    assert_eq!(paths(&a).0, [] as [Value; 0]);
    // With it on, the sum that the kernel computes for them would come after this.
    a.node.sh("nft 'add table inet card; add chain inet card out { type filter hook output priority 0; }; \
               add rule inet card out oifname \"tripod*\" meta l4proto udp udp checksum set 0x1234'");
    let (bad, _) = paths(&a);
    let [finding] = &bad[..] else { panic!("{bad:#?}") };
    says(finding, "fix", "checksumOffload: \"off\"");
}
