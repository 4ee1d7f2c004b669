//! Kernel parameters of the pod's namespace, and of no other.

use serde_json::{Value, json};
use tripod_tests::exec::Call;
use tripod_tests::namespace::Namespace;

use super::{dual, footprint};

fn with(sysctl: Value) -> Value {
    let mut conf = dual("1.1.0");
    conf["sysctl"] = sysctl;
    conf
}

/// All parameters below `net` of a namespace that have a value, without those that count time.
fn parameters(namespace: &Namespace) -> String {
    namespace.sh("cd /proc/sys/net; find . -type f ! -name '*_time*' ! -path './ipv*/conf/*' ! -path './ipv*/neigh/*' \
                  -exec grep -aH '' {} + 2>/dev/null | sort; \
                  grep -H '' ipv4/conf/all/* ipv4/conf/default/* ipv6/conf/default/* ipv6/conf/lo/* 2>/dev/null; true")
}

#[test]
fn parameters_are_set_in_the_pod_after_its_interface_exists_and_not_on_the_node() {
    let Some(node) = Namespace::node() else { return };
    let sandbox = Namespace::sandbox();
    let before = parameters(&node);
    assert!(before.contains("somaxconn") && before.contains("./ipv4/ip_unprivileged_port_start"), "{before}");
    let conf = with(json!({
        "net.core.somaxconn": "777",
        "net/ipv4/ip_unprivileged_port_start": "79",
        "net.ipv4.conf.IFNAME.arp_filter": "1",
        "net/ipv6/conf/IFNAME/accept_ra": "0",
        "net.ipv4.ip_local_port_range": "20000\t30000",
    }));
    let add = Call::new("ADD", &conf).netns(&sandbox.path()).run(&node).ok();
    let of_pod = |path: &str| sandbox.sh(&format!("cat /proc/sys/net/{path}")).trim().to_owned();
    assert_eq!(of_pod("core/somaxconn"), "777");
    assert_eq!(of_pod("ipv4/ip_unprivileged_port_start"), "79");
    assert_eq!(of_pod("ipv4/conf/eth0/arp_filter"), "1");
    assert_eq!(of_pod("ipv6/conf/eth0/accept_ra"), "0");
    assert_eq!(of_pod("ipv4/ip_local_port_range"), "20000\t30000");
    assert_eq!(parameters(&node), before);
    // A pod that may changes its own: its affair, and no reason to call its network broken.
    sandbox.sh("echo 888 > /proc/sys/net/core/somaxconn");
    let mut check = conf.clone();
    check["prevResult"] = add;
    Call::new("CHECK", &check).netns(&sandbox.path()).run(&node).silent();
    Call::new("DEL", &conf).netns(&sandbox.path()).run(&node).silent();
    assert_eq!(parameters(&node), before);
}

#[test]
fn a_write_that_the_kernel_refuses_names_key_value_and_answer() {
    let Some(node) = Namespace::node() else { return };
    let sandbox = Namespace::sandbox();
    let before = footprint(&node);
    for (key, value, answer) in [
        ("net.ipv4.no_such_thing", "1", "No such file"),
        ("net.ipv4.ip_forward", "yes", "Invalid argument"),
        ("net.ipv4.conf.eth7.arp_filter", "1", "No such file"),
        // A folder.
        ("net.ipv4.conf", "1", "directory"),
    ] {
        let call = Call::new("ADD", &with(json!({ key: value }))).netns(&sandbox.path());
        let (code, text) = call.run(&node).failed();
        assert_eq!(code, 5, "{text}");
        for part in [key, value, answer] {
            assert!(text.contains(part), "{part:?} is not in {text:?}");
        }
        assert_eq!(footprint(&node), before);
    }
}

#[test]
fn keys_outside_the_pods_network_are_refused_before_anything_happens() {
    let Some(node) = Namespace::node() else { return };
    let sandbox = Namespace::sandbox();
    let before = footprint(&node);
    for key in [
        "kernel.core_pattern",
        "net/../kernel/core_pattern",
        "vm.overcommit_memory",
        "net",
        "net..ipv4.x",
        "/net/x",
    ] {
        let call = Call::new("ADD", &with(json!({ key: "1" }))).netns(&sandbox.path());
        let (code, text) = call.run(&node).failed();
        assert!(code == 7 && text.contains(key), "{code} {text}");
        assert_eq!(footprint(&node), before);
    }
}

#[test]
fn a_sandbox_that_is_the_node_itself_gets_no_parameters() {
    let Some(node) = Namespace::node() else { return };
    let before = (footprint(&node), parameters(&node));
    let call = Call::new("ADD", &with(json!({"net.core.somaxconn": "777"})));
    let (code, text) = call.env("CNI_NETNS_OVERRIDE", "1").netns(&node.path()).run(&node).failed();
    assert!(code == 7 && text.contains("sysctl"), "{code} {text}");
    assert_eq!((footprint(&node), parameters(&node)), before);
}
