//! Rules and elements that are gone: by whom they come back, and what is left of the rest.

use serde_json::json;
use tripod_cni::nft::Nft;
use tripod_cni::record::{Entry, Records};
use tripod_tests::exec::Call;
use tripod_tests::namespace::Namespace;
use tripod_tests::reach::Server;

use super::{Lab, add, del, elements, lab, port, rules, seen, with_ports};
use crate::cni::{attach, dual};

#[test]
fn the_chains_read_back_as_they_were_meant() {
    let Some(node) = Namespace::node() else { return };
    attach(&node, &Namespace::sandbox(), "c1");
    assert!(!node.sh("nft list ruleset").contains("hostports"), "no port, no chain");
    add(&node, &Namespace::sandbox(), "c2", json!([port("tcp", 80, 80, "")]));
    let text = node.sh("nft list table inet tripod");
    let mut rest = text.as_str();
    for line in [
        "map hostports4 {\n\t\ttype inet_proto . inet_service : ipv4_addr . inet_service",
        "chain hostports {\n\t\ttype nat hook prerouting priority dstnat + 5; policy accept;",
        "ip daddr 127.0.0.0/8 return",
        "dnat ip to meta l4proto . ip daddr . th dport map @hostip_ports4",
        "dnat ip6 to meta l4proto . ip6 daddr . th dport map @hostip_ports6",
        "fib daddr type local dnat ip to meta l4proto . th dport map @hostports4",
        "fib daddr type local dnat ip6 to meta l4proto . th dport map @hostports6",
        "chain hostports_output {\n\t\ttype nat hook output priority -95; policy accept;",
        "dnat ip to meta l4proto . ip daddr . th dport map @hostip_ports4",
        "ip daddr 127.0.0.0/8 ip daddr != 127.0.0.1 return",
        "ip6 daddr ::1 return",
        "fib daddr type local dnat ip to meta l4proto . th dport map @hostports4",
        "chain hostports_postrouting {\n\t\ttype nat hook postrouting priority srcnat - 5; policy accept;",
        "ip saddr . ip daddr @hairpin4 masquerade",
        "ip6 saddr . ip6 daddr @hairpin6 masquerade",
        "ip saddr 127.0.0.0/8 ip daddr . ip daddr @hairpin4 masquerade",
        "ct status dnat iifname . oifname @bounce ip daddr . ip daddr @hairpin4 masquerade",
    ] {
        let found = rest.find(line);
        rest = &rest
            [found.unwrap_or_else(|| panic!("{line:?} is not, or not there, in\n{text}")) + line.len()..];
    }
    node.sh("nft list ruleset > /run/rules; nft flush ruleset; nft -f /run/rules");
    assert_eq!(node.sh("nft list table inet tripod"), text);
}

#[test]
fn flushed_rules_disturb_neither_the_next_add_nor_any_del() {
    let Some(Lab { node, outside }) = lab() else { return };
    let (one, two, three) = (Namespace::sandbox(), Namespace::sandbox(), Namespace::sandbox());
    add(&node, &one, "c1", json!([port("tcp", 8001, 80, "")]));
    let before = node.sh("nft list ruleset");
    for damage in
        ["nft flush ruleset", "nft flush table inet tripod", "nft flush chain inet tripod hostports"]
    {
        node.sh(damage);
        add(&node, &two, "c2", json!([port("tcp", 8002, 80, "")]));
        let server = Server::listen(&two, "tcp", 80);
        seen(&server, &outside, "192.0.2.9:8002");
        del(&node, "c2");
        // What was c1's is the agent's to restore, from its record.
        restore(&node);
        assert_eq!(node.sh("nft list ruleset"), before, "{damage}");
        let server = Server::listen(&one, "tcp", 80);
        seen(&server, &outside, "192.0.2.9:8001");
    }
    node.sh("nft flush ruleset");
    del(&node, "c1");
    add(&node, &three, "c3", json!([port("tcp", 8001, 80, "")]));
    // Another's port is not taken away, whatever a late DEL believes.
    node.sh("nft flush ruleset");
    add(&node, &two, "c2", json!([port("tcp", 8001, 80, "")]));
    let held = rules(&node);
    del(&node, "c3");
    assert_eq!(rules(&node), held);
}

#[test]
fn what_is_left_when_only_a_map_was_emptied_goes_with_the_pod() {
    let Some(Lab { node, .. }) = lab() else { return };
    let one = Namespace::sandbox();
    add(&node, &one, "c1", json!([port("tcp", 8001, 80, ""), port("udp", 8001, 80, "::")]));
    node.sh("nft flush map inet tripod hostports4; nft flush map inet tripod hostports6");
    del(&node, "c1");
    let left = node.sh("nft list ruleset");
    assert!(!left.contains("elements"), "{left}");
}

fn restore(node: &Namespace) {
    node.run(|| {
        let nft = Nft::open().expect("a socket");
        tripod_cni::nft::base::ensure_guard(&nft).expect("the guard");
        let records = Records::new("/run/tripod/attachments".into());
        for entry in records.list().expect("records") {
            let Ok(Entry::Whole(record)) = entry else { panic!("{entry:?}") };
            tripod_cni::restore(&nft, &records, &record).expect("the kernel takes it");
        }
    });
}

#[test]
fn check_names_a_lost_port_and_lost_chains() {
    for (loss, named) in [
        ("nft delete element inet tripod hostports4 { tcp . 8080 }", "host port tcp 8080"),
        ("nft delete element inet tripod hostip_ports6 { udp . 2001:db8::9 . 53 }", "udp 53 of 2001:db8::9"),
        ("nft flush set inet tripod hairpin4", "hairpin"),
        ("nft flush chain inet tripod hostports_output", "host port chains"),
        (
            "nft delete element inet tripod hostports4 { tcp . 8080 }; \
             nft 'add element inet tripod hostports4 { tcp . 8080 : 10.1.0.9 . 80 }'",
            "host port tcp 8080",
        ),
    ] {
        let Some(node) = Namespace::node() else { return };
        let pod = Namespace::sandbox();
        let ports = json!([port("tcp", 8080, 80, ""), port("udp", 53, 53, "2001:db8::9")]);
        let mut conf = with_ports(&ports);
        conf["prevResult"] = add(&node, &pod, "c1", ports);
        let check = Call::new("CHECK", &conf).netns(&pod.path());
        check.clone().run(&node).silent();
        node.sh(loss);
        let (code, text) = check.run(&node).failed();
        assert!(code == 106 && text.contains(named), "{loss}: {code} {text}");
    }
}

#[test]
fn a_killed_add_and_a_lost_record_leave_no_port_taken() {
    let Some(node) = Namespace::node() else { return };
    let pod = Namespace::sandbox();
    let ports = || json!([port("tcp", 8080, 80, ""), port("udp", 53, 53, "192.0.2.9")]);
    add(&node, &pod, "c1", ports());
    // What a kill between the last change and the completed record leaves.
    node.sh("sed -i 's/\"complete\"/\"intent\"/; s/\"addresses\":\\[[^]]*\\]/\"addresses\":[]/' /run/tripod/attachments/*.json");
    add(&node, &pod, "c1", ports());
    assert_eq!(elements(&node), 3 + 2);
    node.sh("rm /run/tripod/attachments/*.json");
    add(&node, &Namespace::sandbox(), "c2", json!([port("tcp", 8081, 80, "")]));
    let both = elements(&node);
    del(&node, "c1");
    assert_eq!((both, elements(&node)), (5 + 4, 4));
    let mut gc = dual("1.1.0");
    gc["cni.dev/valid-attachments"] = json!([]);
    Call::new("GC", &gc).run(&node).silent();
    assert_eq!(elements(&node), 0);
}
