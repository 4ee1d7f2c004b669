//! What a person asks by hand.

use serde_json::Value;
use tripod_tests::eventually;
use tripod_tests::namespace::Namespace;
use tripod_tests::programs;

use super::{attach, dual};

/// Standard output of the program with these words, and whether it succeeded.
fn told(node: &Namespace, words: &str) -> (String, bool) {
    let output = node.try_sh(&format!("{} {words}", programs::program("tripod-cni").display()));
    (String::from_utf8(output.stdout).expect("text"), output.status.success())
}

#[test]
fn leases_name_the_address_its_owner_and_whether_its_sandbox_lives() {
    let Some(node) = Namespace::node() else { return };
    let (living, dead) = (Namespace::sandbox(), Namespace::sandbox());
    attach(&node, &living, "c1");
    attach(&node, &dead, "c2");
    drop(dead);
    // The folder of its namespace goes with it here; then its link tells, which the kernel takes away in its own time.
    eventually("its link is gone", || node.sh("ip -br link").matches("tp").count() == 1);
    node.sh("mkdir /run/tripod/ipam/other; printf 'c3\\r\\neth1' > /run/tripod/ipam/other/10.9.0.7");
    let (text, good) = told(&node, "leases --json");
    let leases: Value = serde_json::from_str(&text).expect("JSON");
    assert!(good && leases.as_array().unwrap().len() == 5, "{leases}");
    for lease in leases.as_array().unwrap() {
        let alive = match lease["containerID"].as_str().unwrap() {
            "c1" => Value::Bool(true),
            "c2" => Value::Bool(false),
            _ => Value::Null,
        };
        assert_eq!(lease["alive"], alive, "{lease}");
        assert!(lease["since"].as_str().unwrap().starts_with("20"), "{lease}");
    }
    assert_eq!(leases[0]["network"], "other");
    assert_eq!(leases[0]["address"], "10.9.0.7");
    assert_eq!(leases[1]["netns"], living.path().to_str().unwrap());
    let (table, _) = told(&node, "leases");
    assert!(table.starts_with("NETWORK") && table.contains("10.1.0.2"), "{table}");
}

#[test]
fn leases_tell_of_a_record_that_cannot_be_read_and_of_none() {
    let Some(node) = Namespace::node() else { return };
    assert_eq!(told(&node, "leases --json"), ("[]\n".to_owned(), true));
    node.sh("mkdir -p /run/tripod/attachments; echo '{' > /run/tripod/attachments/0123456789abc.json");
    let program = programs::program("tripod-cni");
    let output = node.try_sh(&format!("{} leases", program.display()));
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("0123456789abc.json"), "{output:?}");
}

#[test]
fn explain_says_what_an_add_would_do_and_changes_nothing() {
    let Some(node) = Namespace::node() else { return };
    node.sh(&format!("echo '{}' > /run/pods.conf; nft add table ip filter", dual("1.1.0")));
    node.sh("nft 'add chain ip filter FORWARD { type filter hook forward priority 0; policy drop; }'");
    let before = node.sh("nft list ruleset; find /run");
    let (text, good) = told(&node, "explain /run/pods.conf --json");
    let findings: Value = serde_json::from_str(&text).expect("JSON");
    assert!(good, "{findings}");
    let of = |check: &str| {
        let mut all = findings.as_array().unwrap().iter();
        all.find(|finding| finding["check"] == check).unwrap_or_else(|| panic!("{check}: {findings}")).clone()
    };
    assert_eq!(of("addresses")["evidence"], "0 of 253 given");
    assert_eq!(of("forward")["severity"], "warn");
    assert!(of("forward")["object"].as_str().unwrap().contains("FORWARD"), "{findings}");
    assert_eq!(of("forwarding")["severity"], "warn");
    assert_eq!(node.sh("nft list ruleset; find /run"), before);
    let (text, good) = told(&node, "explain /run/none.conflist");
    assert!(!good && text.contains("FAIL") && text.contains("/run/none.conflist"), "{text}");
}

#[test]
fn explain_finds_that_something_else_has_the_bridges_name() {
    let Some(node) = Namespace::node() else { return };
    let mut conf = dual("1.1.0");
    conf["mode"] = Value::from("bridge");
    node.sh(&format!("echo '{conf}' > /run/pods.conf; ip link add tripod0 type veth peer name far"));
    let (text, good) = told(&node, "explain /run/pods.conf");
    assert!(!good && text.contains("FAIL  bridge") && text.contains("tripod0: already exists"), "{text}");
    node.sh("ip link del tripod0; ip link add tripod0 type bridge");
    let (text, good) = told(&node, "explain /run/pods.conf");
    assert!(good, "{text}");
}

#[test]
fn a_command_that_is_none_is_answered_with_those_that_are() {
    let Some(node) = Namespace::node() else { return };
    let program = programs::program("tripod-cni");
    let output = node.try_sh(&format!("{} frobnicate", program.display()));
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(
        !output.status.success() && text.contains("frobnicate") && text.contains("explain CONFLIST"),
        "{text}"
    );
    assert!(told(&node, "--help").0.contains("leases [--json]"));
}
