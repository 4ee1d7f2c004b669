//! Calls that must fail: with the right code, a message that names the object, and an unchanged node.

use serde_json::{Value, json};
use tripod_tests::exec::Call;
use tripod_tests::namespace::Namespace;

use super::{attach, conf, dual, footprint};

/// Runs `call`, which must fail with `code`, name each of `names`, and change nothing.
pub(super) fn refused(node: &Namespace, call: Call, code: u64, names: &[&str]) {
    let before = footprint(node);
    let (got, text) = call.run(node).failed();
    assert_eq!(got, code, "{text}");
    for name in names {
        assert!(text.contains(name), "{name:?} is not in {text:?}");
    }
    assert_eq!(footprint(node), before, "{text}");
}

#[test]
fn a_sandbox_that_is_none_is_refused() {
    let Some(node) = Namespace::node() else { return };
    let add = |netns: &str| Call::new("ADD", &dual("1.1.0")).env("CNI_NETNS", netns);
    refused(&node, add("/run/netns/gone"), 8, &["/run/netns/gone", "does not exist"]);
    refused(&node, add("/etc/hostname"), 8, &["/etc/hostname", "not a network namespace"]);
    refused(&node, add("/proc/self/ns/uts"), 8, &["/proc/self/ns/uts", "not a network namespace"]);
    node.sh("mkfifo /run/fifo");
    refused(&node, add("/run/fifo"), 8, &["/run/fifo", "not a network namespace"]);
    refused(&node, add("/proc/self/ns/net"), 8, &["node's own network namespace"]);
}

#[test]
fn a_full_range_asks_to_try_again_and_gives_back_the_other_family() {
    let Some(node) = Namespace::node() else { return };
    let conf = conf("1.1.0", &["fd00:1::/64", "10.1.0.0/30"]);
    let (one, two) = (Namespace::sandbox(), Namespace::sandbox());
    Call::new("ADD", &conf).netns(&one.path()).run(&node).ok();
    let add = Call::new("ADD", &conf).container("c2").netns(&two.path());
    refused(&node, add, 11, &["range set 1", "pods", "10.1.0.1-10.1.0.2", "100"]);
}

#[test]
fn an_interface_name_that_is_taken_is_refused_on_either_side() {
    let Some(node) = Namespace::node() else { return };
    let sandbox = Namespace::sandbox();
    sandbox.sh("ip link add eth0 type veth peer name other");
    refused(&node, Call::new("ADD", &dual("1.1.0")).netns(&sandbox.path()), 103, &["eth0", "in the sandbox"]);
    assert_eq!(sandbox.json("ip -j link").as_array().unwrap().len(), 3);

    let sandbox = Namespace::sandbox();
    let name = attach(&node, &sandbox, "c9")["interfaces"][0]["name"].as_str().unwrap().to_owned();
    Call::new("DEL", &dual("1.1.0")).container("c9").netns(&sandbox.path()).run(&node).silent();
    node.sh(&format!("ip link add {name} type veth peer name foreign"));
    let add = Call::new("ADD", &dual("1.1.0")).container("c9").netns(&sandbox.path());
    refused(&node, add, 103, &[&name, "on the node"]);
}

#[test]
fn a_second_add_of_the_same_attachment_is_refused() {
    let Some(node) = Namespace::node() else { return };
    let sandbox = Namespace::sandbox();
    attach(&node, &sandbox, "c1");
    refused(&node, Call::new("ADD", &dual("1.1.0")).netns(&sandbox.path()), 103, &["eth0"]);
    let elsewhere = Namespace::sandbox();
    let add = Call::new("ADD", &dual("1.1.0")).netns(&elsewhere.path());
    refused(&node, add, 103, &["on the node", "same container"]);
}

#[test]
fn a_source_that_the_node_does_not_have_is_named_with_the_route() {
    let Some(node) = Namespace::node() else { return };
    let mut conf = dual("1.1.0");
    conf["nodeIPs"] = json!(["198.51.100.7"]);
    let sandbox = Namespace::sandbox();
    let add = Call::new("ADD", &conf).netns(&sandbox.path());
    refused(&node, add, 5, &["add route 10.1.0.2/32 src 198.51.100.7 dev tp", "Invalid argument"]);
}

#[test]
fn wrong_configurations_name_field_and_value() {
    let Some(node) = Namespace::node() else { return };
    let sandbox = Namespace::sandbox();
    let table: [(&str, Value, &[&str]); 6] = [
        ("/ipam/ranges/0/0/subnet", json!("10.1.0.0/240"), &["ipam.ranges[0][0].subnet", "10.1.0.0/240"]),
        ("/mode", json!("magic"), &["mode", "magic", "routed"]),
        ("/ipam/ranges", json!([]), &["ipam.ranges"]),
        ("/name", json!("no/name"), &["name", "no/name"]),
        ("/nodeIPs", json!(["::g"]), &["nodeIPs", "::g"]),
        ("/ipam/type", json!("dhcp"), &["ipam.type", "dhcp"]),
    ];
    for (pointer, value, names) in table {
        let mut conf = dual("1.1.0");
        conf["nodeIPs"] = json!([]);
        *conf.pointer_mut(pointer).expect("the key") = value;
        refused(&node, Call::new("ADD", &conf).netns(&sandbox.path()), 7, names);
    }
}

#[test]
fn the_agents_marker_is_asked_for_only_where_the_conflist_names_it() {
    let Some(node) = Namespace::node() else { return };
    let sandbox = Namespace::sandbox();
    let mut conf = dual("1.1.0");
    conf["agentState"] = json!("/run/tripod");
    refused(&node, Call::new("ADD", &conf).netns(&sandbox.path()), 11, &["/run/tripod/ready", "agent"]);
    let (code, text) = Call::new("STATUS", &conf).run(&node).failed();
    assert!(code == 50 && text.contains("/run/tripod/ready"), "{code} {text}");
    node.sh("mkdir -p /run/tripod; touch /run/tripod/ready");
    Call::new("STATUS", &conf).run(&node).silent();
    Call::new("ADD", &conf).netns(&sandbox.path()).run(&node).ok();
}

#[test]
fn status_tells_a_store_that_cannot_be_written() {
    let Some(node) = Namespace::node() else { return };
    Call::new("STATUS", &dual("1.1.0")).run(&node).silent();
    node.sh("mount -o remount,ro /run");
    let (code, text) = Call::new("STATUS", &dual("1.1.0")).run(&node).failed();
    assert!(code == 50 && text.contains("/run/tripod") && text.contains("Read-only"), "{code} {text}");
    let sandbox = Namespace::sandbox();
    refused(&node, Call::new("ADD", &dual("1.1.0")).netns(&sandbox.path()), 5, &["/run/tripod", "Read-only"]);
}
